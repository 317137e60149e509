//! A socket as hyper takes it: TCP or TLS over it, with what was read from it before.

use crate::h2::Released;
use crate::secure::Secure;
use bytes::Bytes;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// TCP, or TLS over it.
pub(crate) enum Stream {
    Plain(TcpStream),
    Secure(Secure<Trying>),
}

impl Stream {
    /// # Errors
    /// The socket cannot be registered.
    pub(crate) fn new(released: Released) -> io::Result<Stream> {
        Ok(match released {
            Released::Plain(socket) => Stream::Plain(TcpStream::from_std(socket)?),
            Released::Secure(secure) => {
                let mut failed = None;
                let secure = secure.with(|socket| {
                    Trying(TcpStream::from_std(socket).map_err(|error| failed = Some(error)).ok())
                });
                match failed {
                    Some(error) => return Err(error),
                    None => Stream::Secure(secure),
                }
            }
        })
    }
}

/// A socket that does what it can at once. None only where it could not be registered.
pub(crate) struct Trying(Option<TcpStream>);

impl Trying {
    fn socket(&self) -> io::Result<&TcpStream> {
        self.0.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Read for Trying {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.socket()?.try_read(into)
    }
}

impl Write for Trying {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.socket()?.try_write(from)
    }

    fn write_vectored(&mut self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket()?.try_write_vectored(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Secure<Trying> {
    /// Tries until it is done, fails or has to wait for the socket.
    fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        until: fn(&TcpStream, &mut Context<'_>) -> Poll<io::Result<()>>,
        mut attempt: impl FnMut(&mut Self) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            match attempt(self) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            ready!(until(self.socket.socket()?, context))?;
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let attempt = |secure: &mut Self| match secure.flush()? {
            true => Ok(()),
            false => Err(io::ErrorKind::WouldBlock.into()),
        };
        self.poll(context, TcpStream::poll_write_ready, attempt)
    }
}

/// A socket that gives back first what was read from it.
pub(crate) struct Rewound {
    pub(crate) begin: Bytes,
    pub(crate) stream: Stream,
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.begin.is_empty() {
            let len = into.remaining().min(self.begin.len());
            into.put_slice(&self.begin.split_to(len));
            return Poll::Ready(Ok(()));
        }
        match &mut self.stream {
            Stream::Plain(socket) => Pin::new(socket).poll_read(context, into),
            Stream::Secure(secure) => {
                let space = into.initialize_unfilled();
                let read =
                    secure.poll(context, TcpStream::poll_read_ready, |secure| secure.read(space));
                let len = ready!(read)?;
                into.advance(len);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(from)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(socket) => Pin::new(socket).poll_write_vectored(context, from),
            Stream::Secure(secure) => {
                secure.poll(context, TcpStream::poll_write_ready, |secure| secure.write(from))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(socket) => Pin::new(socket).poll_flush(context),
            Stream::Secure(secure) => secure.poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Stream::Secure(secure) => {
                secure.farewell();
                ready!(secure.poll_flush(context))?;
                match &mut secure.socket.0 {
                    Some(socket) => Pin::new(socket).poll_shutdown(context),
                    None => Poll::Ready(Ok(())),
                }
            }
        }
    }
}
