//! URLs and addresses as Go and etcd read, write and compare them.
//!
//! A member's identity is a hash over the text of its URLs, so that text must be the one that Go's
//! `net/url` writes, byte for byte, and what Go refuses must be refused here. General URL parsers
//! follow the rules of browsers, which lower the case of hosts, drop ports that go without saying
//! and read `010` as eight.
//!
//! ```text
//! "HTTP://u@[FD00::1%25lo]:2380?x"      the text
//!  ----   - -----------------  -
//!  scheme   host and port, without escapes     Url
//! "http://u@[FD00::1%25lo]:2380?x"      as_str(): the form that is advertised, stored and hashed
//! ```
//!
//! [`Url`] is `net/url`, [`Urls`] and [`UrlsByName`] are `client/pkg/types`, [`same`] is `pkg/netutil`,
//! the checks of [`Urls`] are those of `server/embed`, and [`Endpoint`] is what etcd's client makes of
//! an endpoint. Nothing here opens a socket, and names become addresses only through what a caller hands
//! in; with the feature `names` that may be a `Resolver`, which asks the system and waits.

mod cluster;
mod endpoint;
mod escape;
mod host;
mod ip;
mod listen;
#[cfg(feature = "names")]
mod names;
mod quote;
mod same;
mod url;
mod urls;

pub use endpoint::{Endpoint, Target, Tls};
pub use host::{is_number_of_c, join_host_port, normalize_host, port_number, split_host_port};
pub use ip::parse_ip;
#[cfg(feature = "names")]
pub use names::Resolver;
pub use quote::quote;
pub use same::{resolve, same};
pub use url::Url;
pub use urls::{Urls, UrlsByName};

/// Why text is no address, in the words of Go or etcd.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub(crate) String);
