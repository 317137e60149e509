//! A connection's socket. TLS will be a second kind of it.

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

/// Where bytes come from and go to.
pub(crate) enum Socket {
    /// TCP as it is.
    Plain(TcpStream),
}

impl Socket {
    /// Has the loop told, once each time, that there is something to read or room to write.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let Socket::Plain(tcp) = self;
        registry.register(tcp, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// What has come; 0 at the end.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Socket::Plain(tcp) = self;
        tcp.read(into)
    }

    /// Writes some of it.
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Socket::Plain(tcp) = self;
        match slices {
            [one] => tcp.write(one),
            _ => tcp.write_vectored(slices),
        }
    }

    /// Says that nothing more will be written.
    pub(crate) fn finish(&mut self) {
        let Socket::Plain(tcp) = self;
        // A socket that is gone already has nothing to be told.
        let _ = tcp.shutdown(Shutdown::Write);
    }

    /// The bare socket, for another protocol.
    pub(crate) fn release(self, registry: &Registry) -> io::Result<std::net::TcpStream> {
        let Socket::Plain(mut tcp) = self;
        registry.deregister(&mut tcp)?;
        Ok(tcp.into())
    }
}
