//! The addresses that the program listens on.

use std::net::SocketAddr;

/// Where to listen.
#[derive(Clone, Debug)]
pub(crate) struct Listen {
    /// As it was written.
    pub(crate) url: String,
    /// The host and port as they were written.
    pub(crate) host: String,
    pub(crate) address: SocketAddr,
    pub(crate) is_secure: bool,
}
