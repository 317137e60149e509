//! A connection's socket: TCP as it is, or with TLS over it.

use crate::secure::{Handshake, Secure};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use tls::Acceptor;

/// Where bytes come from and go to.
pub(crate) enum Socket {
    /// TCP as it is.
    Plain(TcpStream),
    /// TLS over it.
    Secure(Secure<TcpStream>),
    /// The same while the two sides find out about each other.
    Shaking(Box<Shaking>),
    /// Nothing any more.
    Gone,
}

/// A handshake under way.
pub(crate) struct Shaking {
    secure: Secure<TcpStream>,
    acceptor: Arc<Acceptor>,
    remote: SocketAddr,
    until_ms: u64,
}

/// A socket for another protocol.
pub(crate) enum Released {
    Plain(std::net::TcpStream),
    Secure(Secure<std::net::TcpStream>),
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl Socket {
    /// Over an accepted socket; `acceptor` is for TLS.
    ///
    /// # Errors
    /// No session can be made.
    pub(crate) fn new(
        tcp: TcpStream,
        acceptor: Option<Arc<Acceptor>>,
        remote: SocketAddr,
        now_ms: u64,
    ) -> Result<Socket, String> {
        let Some(acceptor) = acceptor else { return Ok(Socket::Plain(tcp)) };
        let secure = Secure::new(tcp, &acceptor)?;
        let until_ms = now_ms + Acceptor::HANDSHAKE_LIMIT.as_millis() as u64;
        Ok(Socket::Shaking(Box::new(Shaking { secure, acceptor, remote, until_ms })))
    }

    /// Has the loop told, once each time, that there is something to read or room to write.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let tcp = self.tcp().ok_or_else(gone)?;
        registry.register(tcp, token, Interest::READABLE | Interest::WRITABLE)
    }

    fn tcp(&mut self) -> Option<&mut TcpStream> {
        match self {
            Socket::Plain(tcp) => Some(tcp),
            Socket::Secure(secure) => Some(&mut secure.socket),
            Socket::Shaking(shaking) => Some(&mut shaking.secure.socket),
            Socket::Gone => None,
        }
    }

    /// Whether the handshake is under way.
    pub(crate) fn is_shaking(&self) -> bool {
        matches!(self, Socket::Shaking(_))
    }

    /// Goes on with the handshake.
    ///
    /// # Errors
    /// The other side is refused, which it and the log know.
    pub(crate) fn shake(&mut self) -> Result<Handshake, String> {
        let Socket::Shaking(shaking) = self else { return Ok(Handshake::Waits) };
        let Shaking { secure, acceptor, remote, .. } = &mut **shaking;
        let handshake = secure.shake(acceptor, *remote)?;
        if handshake != Handshake::Waits
            && let Socket::Shaking(shaking) = std::mem::replace(self, Socket::Gone)
        {
            *self = Socket::Secure(shaking.secure);
        }
        Ok(handshake)
    }

    /// Whether the handshake took too long, which is logged.
    pub(crate) fn is_late(&self, now_ms: u64) -> bool {
        let Socket::Shaking(shaking) = self else { return false };
        let is_late = now_ms >= shaking.until_ms;
        if is_late {
            self.reject("i/o timeout");
        }
        is_late
    }

    /// Logs that the handshake is ended, and why.
    pub(crate) fn reject(&self, why: &str) {
        if let Socket::Shaking(shaking) = self {
            shaking.secure.reject(&shaking.acceptor, shaking.remote, why);
        }
    }

    /// The common name in the certificate that the client showed.
    pub(crate) fn common_name(&self) -> Option<Arc<str>> {
        match self {
            Socket::Secure(secure) => secure.common_name(),
            _ => None,
        }
    }

    /// What has come; 0 at the end.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Plain(tcp) => tcp.read(into),
            Socket::Secure(secure) => secure.read(into),
            Socket::Shaking(_) => Err(io::ErrorKind::WouldBlock.into()),
            Socket::Gone => Err(gone()),
        }
    }

    /// Writes some of it.
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Plain(tcp) => match slices {
                [one] => tcp.write(one),
                _ => tcp.write_vectored(slices),
            },
            Socket::Secure(secure) => secure.write(slices),
            Socket::Shaking(_) => Err(io::ErrorKind::WouldBlock.into()),
            Socket::Gone => Err(gone()),
        }
    }

    /// Whether something written still waits here.
    pub(crate) fn has_pending(&self) -> bool {
        match self {
            Socket::Secure(secure) => secure.has_pending(),
            _ => false,
        }
    }

    /// Sends what waits here; whether nothing is left.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        match self {
            Socket::Secure(secure) => secure.flush(),
            _ => Ok(true),
        }
    }

    /// Says that nothing more will be written.
    pub(crate) fn finish(&mut self) {
        if let Socket::Secure(secure) = self {
            secure.farewell();
            // Whoever does not take it sees the end of the connection.
            let _ = secure.flush();
        }
        // A socket that is gone already has nothing to be told.
        let _ = self.tcp().map(|tcp| tcp.shutdown(Shutdown::Write));
    }

    /// The bare socket, for another protocol.
    pub(crate) fn release(mut self, registry: &Registry) -> io::Result<Released> {
        registry.deregister(self.tcp().ok_or_else(gone)?)?;
        match self {
            Socket::Plain(tcp) => Ok(Released::Plain(tcp.into())),
            Socket::Secure(secure) => Ok(Released::Secure(secure.with(Into::into))),
            Socket::Shaking(_) | Socket::Gone => Err(gone()),
        }
    }
}
