//! Who a member is to others and whom it believes: certificates from files, as fresh as their files.
//!
//! [`Settings`] are etcd's flags. From them an [`Acceptor`] is made for connections that come and a
//! [`Connector`] for those that are made. Both read certificate and key anew for every handshake,
//! and believe what the files of authorities and revocations say at that time.
//!
//! ```text
//! settings   what the flags say; contradictions are refused in the words of etcd
//! files      PEM from disk; what was read last is kept while the bytes are the same
//! suites     versions, cipher suites and signatures that are spoken
//! verify     whether the other side is who it should be
//! check      what is looked at when a handshake is done: revocations, addresses
//! words      rustls's errors in the words of Go, which operators know from etcd's logs
//! own        certificates for --auto-tls
//! ```
//! Sources: `client/pkg/transport`, `client/pkg/tlsutil` of etcd v3.7.

mod acceptor;
mod certificate;
mod check;
mod connector;
mod error;
mod files;
mod own;
mod p521;
mod refusals;
mod resolve;
mod settings;
mod suites;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod verify;
mod words;

pub use acceptor::{Acceptor, Endpoint, Protocols};
pub use certificate::common_name;
pub use connector::Connector;
pub use error::Error;
pub use own::self_signed;
pub use settings::{Settings, Version};
pub use suites::check_names as check_cipher_suites;
pub use words::{explain, explain_io};
