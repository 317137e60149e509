//! TLS over a socket that never blocks.

use rustls::ServerConnection;
use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use tls::Acceptor;

/// How far a handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// The other side has to say something, or to take what is said.
    Waits,
    /// Done; HTTP/2 is spoken from now on.
    Http2,
    /// Done; HTTP/1 is spoken from now on.
    Http1,
}

/// One side of a session, over `S`, which answers `WouldBlock` where it would.
pub(crate) struct Secure<S> {
    pub(crate) socket: S,
    session: Box<ServerConnection>,
}

impl<S: Read + Write> Secure<S> {
    /// # Errors
    /// The session cannot be made, for want of memory or random numbers.
    pub(crate) fn new(socket: S, acceptor: &Acceptor) -> Result<Secure<S>, String> {
        let session = ServerConnection::new(acceptor.config());
        let session = session.map_err(|error| tls::explain(&error))?;
        Ok(Secure { socket, session: Box::new(session) })
    }

    /// The same session over the same socket in another guise.
    pub(crate) fn with<T: Read + Write>(self, change: impl FnOnce(S) -> T) -> Secure<T> {
        Secure { socket: change(self.socket), session: self.session }
    }

    /// Goes on with the handshake as far as the socket lets it.
    ///
    /// # Errors
    /// Why the other side is refused; it was told, and so was the log.
    pub(crate) fn shake(
        &mut self,
        acceptor: &Acceptor,
        remote: SocketAddr,
    ) -> Result<Handshake, String> {
        let shaken = self.shake_on().and_then(|done| match done {
            true => {
                let shown = self.session.peer_certificates().unwrap_or_default();
                acceptor.check(shown, remote.ip()).map(|()| true)
            }
            false => Ok(false),
        });
        match shaken {
            Ok(false) => Ok(Handshake::Waits),
            Ok(true) if self.session.alpn_protocol() == Some(b"h2") => Ok(Handshake::Http2),
            Ok(true) => Ok(Handshake::Http1),
            Err(why) => {
                self.reject(acceptor, remote, &why);
                Err(why)
            }
        }
    }

    /// Logs why the other side is refused.
    pub(crate) fn reject(&self, acceptor: &Acceptor, remote: SocketAddr, why: &str) {
        let shown = self.session.peer_certificates().unwrap_or_default();
        acceptor.log_rejected(remote, self.session.server_name(), shown, why);
    }

    /// Whether the handshake is done.
    fn shake_on(&mut self) -> Result<bool, String> {
        loop {
            let all_written = self.flush().map_err(|error| tls::explain_io(&error))?;
            if !self.session.is_handshaking() {
                // What is left goes out with what comes next.
                return Ok(true);
            }
            if !all_written {
                return Ok(false);
            }
            match self.session.read_tls(&mut self.socket) {
                Ok(0) => return Err("EOF".to_owned()),
                Ok(_) => self.process().map_err(|error| tls::explain(&error))?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(tls::explain_io(&error)),
            }
        }
    }

    fn process(&mut self) -> Result<(), rustls::Error> {
        let processed = self.session.process_new_packets();
        match processed {
            // Whoever speaks no TLS would not know what an alert is.
            Ok(_) | Err(rustls::Error::InvalidMessage(_)) => {}
            // Whoever does not take it learns nothing.
            Err(_) => drop(self.flush()),
        }
        processed.map(drop)
    }

    /// Fills `into` with what has come, as far as it goes; 0 at the end.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        loop {
            match self.session.reader().read(&mut into[filled..]) {
                Ok(0) => return Ok(filled),
                Ok(n) => {
                    filled += n;
                    if filled == into.len() {
                        return Ok(filled);
                    }
                    continue;
                }
                // An end without a farewell is an end.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(filled),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            match self.session.read_tls(&mut self.socket) {
                Ok(_) => self.process().map_err(io::Error::other)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What is wrong is wrong the next time, too.
                Err(_) if filled > 0 => return Ok(filled),
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes some of it, if nothing taken before waits for the socket.
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.flush()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = self.session.writer().write_vectored(slices)?;
        self.flush()?;
        Ok(taken)
    }

    /// Whether something taken waits for the socket.
    pub(crate) fn has_pending(&self) -> bool {
        self.session.wants_write()
    }

    /// Writes what was taken; whether nothing is left.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Says that nothing more will be written.
    pub(crate) fn farewell(&mut self) {
        self.session.send_close_notify();
    }

    /// The common name in the certificate that the other side showed.
    pub(crate) fn common_name(&self) -> Option<Arc<str>> {
        let first = self.session.peer_certificates()?.first()?;
        tls::common_name(first).map(Arc::from)
    }
}
