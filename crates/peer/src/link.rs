//! One connection, made or accepted: bytes in order, with a limit on how long writing may stall.

use crate::config::Config;
use crate::urls::{PeerUrl, Scheme};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};

/// How often the kernel asks a silent connection whether it lives.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// What carries the bytes. TLS will be another variant, made by [`Dialer::connect`] and by the
/// server where it accepts.
#[derive(Debug)]
enum Socket {
    Plain(TcpStream),
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Link {
    socket: Socket,
    write_timeout: Duration,
    /// Runs while the other side takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Link {
    /// Over an open socket.
    pub(crate) fn plain(socket: TcpStream, write_timeout: Duration) -> Link {
        // A socket that refuses the options still works.
        let _ = socket.set_nodelay(true);
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
        let _ = SockRef::from(&socket).set_tcp_keepalive(&keepalive);
        Link { socket: Socket::Plain(socket), write_timeout, stalled: None }
    }

    fn socket(&mut self) -> Pin<&mut (impl AsyncRead + AsyncWrite + use<>)> {
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket),
        }
    }

    fn timed<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes no bytes")))
    }
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().socket().poll_read(context, buffer)
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let link = self.get_mut();
        let written = link.socket().poll_write(context, bytes);
        link.timed(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let link = self.get_mut();
        let written = link.socket().poll_write_vectored(context, pieces);
        link.timed(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Plain(socket) => socket.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().socket().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().socket().poll_shutdown(context)
    }
}

/// Makes connections to peers.
#[derive(Debug)]
pub(crate) struct Dialer {
    dial_timeout: Duration,
    write_timeout: Duration,
}

impl Dialer {
    pub(crate) fn new(config: &Config) -> Dialer {
        let write_timeout = config.limits.write_timeout;
        Dialer { dial_timeout: config.dial_timeout(), write_timeout }
    }

    /// Connects to the peer at `url`.
    pub(crate) async fn connect(&self, url: &PeerUrl) -> io::Result<Link> {
        if url.scheme != Scheme::Http {
            let text = format!("{url}: only http is spoken between members so far");
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let late = || io::Error::new(io::ErrorKind::TimedOut, format!("{url}: dialing timed out"));
        let connecting = TcpStream::connect(url.address.as_str());
        let socket = timeout(self.dial_timeout, connecting).await.map_err(|_| late())??;
        Ok(Link::plain(socket, self.write_timeout))
    }
}
