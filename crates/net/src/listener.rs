//! Where connections come from.

use std::net::TcpListener;
use std::sync::Arc;
use tls::Acceptor;

/// A bound socket, and how its connections are made secure.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// None where bytes go as they are.
    pub acceptor: Option<Arc<Acceptor>>,
}

impl From<TcpListener> for Listener {
    /// Bytes go as they are.
    fn from(socket: TcpListener) -> Listener {
        Listener { socket, acceptor: None }
    }
}
