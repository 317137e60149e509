//! One connection, made or accepted: bytes in order, with a limit on how long writing may stall.

use crate::config::Config;
use address::Url;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tls::{Acceptor, Connector};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// How often the kernel asks a silent connection whether it lives.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// What carries the bytes.
#[derive(Debug)]
enum Socket {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

/// What a socket of either kind does.
macro_rules! with {
    ($socket:expr, $inner:ident => $do:expr) => {
        match $socket {
            Socket::Plain($inner) => $do,
            Socket::Secure($inner) => $do,
        }
    };
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
        prepare(&socket);
        Link { socket: Socket::Plain(socket), write_timeout, stalled: None }
    }

    /// Over one that came, as soon as the other side has shown who it is.
    ///
    /// # Errors
    /// Why it was refused, in the words of Go.
    pub(crate) async fn accept(
        socket: TcpStream,
        from: SocketAddr,
        acceptor: &Arc<Acceptor>,
        write_timeout: Duration,
    ) -> Result<Link, String> {
        prepare(&socket);
        let shaking = TlsAcceptor::from(acceptor.config()).accept(socket);
        let limit = Acceptor::HANDSHAKE_LIMIT;
        let refuse = |shown: &[_], name: Option<&str>, why: String| {
            acceptor.log_rejected(from, name, shown, &why);
            why
        };
        let shaken = match timeout(limit, shaking).await {
            Ok(Ok(shaken)) => shaken,
            Ok(Err(error)) => return Err(refuse(&[], None, tls::explain_io(&error))),
            Err(_) => return Err(refuse(&[], None, "i/o timeout".to_owned())),
        };
        let session = shaken.get_ref().1;
        let shown = session.peer_certificates().unwrap_or_default().to_vec();
        let checker = Arc::clone(acceptor);
        let check = move || (checker.check(&shown, from.ip()), shown);
        // Names of addresses may take their time.
        let checked = tokio::task::spawn_blocking(check).await;
        let (checked, shown) = checked.map_err(|error| error.to_string())?;
        checked.map_err(|why| refuse(&shown, session.server_name(), why))?;
        let socket = Socket::Secure(Box::new(TlsStream::Server(shaken)));
        Ok(Link { socket, write_timeout, stalled: None })
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
        let read = with!(&mut self.get_mut().socket, socket => {
            Pin::new(socket).poll_read(context, buffer)
        });
        read.map_err(told)
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let link = self.get_mut();
        let written =
            with!(&mut link.socket, socket => Pin::new(socket).poll_write(context, bytes));
        link.timed(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let link = self.get_mut();
        let written = with!(&mut link.socket, socket => {
            Pin::new(socket).poll_write_vectored(context, pieces)
        });
        link.timed(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        with!(&self.socket, socket => socket.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let link = self.get_mut();
        let flushed = with!(&mut link.socket, socket => Pin::new(socket).poll_flush(context));
        link.timed(context, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        with!(&mut self.get_mut().socket, socket => Pin::new(socket).poll_shutdown(context))
    }
}

fn prepare(socket: &TcpStream) {
    // A socket that refuses the options still works.
    let _ = socket.set_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    let _ = SockRef::from(socket).set_tcp_keepalive(&keepalive);
}

/// An error in the words of Go; who is refused by the other side learns it when it reads.
fn told(error: io::Error) -> io::Error {
    match error.get_ref() {
        Some(_) => io::Error::new(error.kind(), tls::explain_io(&error)),
        None => error,
    }
}

/// Makes connections to peers.
#[derive(Debug)]
pub(crate) struct Dialer {
    dial_timeout: Duration,
    write_timeout: Duration,
    connector: Connector,
}

impl Dialer {
    pub(crate) fn new(config: &Config) -> Dialer {
        Dialer {
            dial_timeout: config.dial_timeout(),
            write_timeout: config.limits.write_timeout,
            connector: config.connector.clone(),
        }
    }

    /// Connects to the peer at `url`.
    pub(crate) async fn connect(&self, url: &Url) -> io::Result<Link> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, format!("{url}: dialing timed out"));
        if url.is_unix() {
            let text = format!("{url}: only http and https are spoken between members so far");
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let address = url.dial();
        let address =
            address.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let connecting = TcpStream::connect(address);
        let socket = timeout(self.dial_timeout, connecting).await.map_err(|_| late())??;
        match url.is_secure() {
            true => self.secure(socket, url).await,
            false => Ok(Link::plain(socket, self.write_timeout)),
        }
    }

    async fn secure(&self, socket: TcpStream, url: &Url) -> io::Result<Link> {
        prepare(&socket);
        let name = self.connector.name(url.host());
        let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let shaking = TlsConnector::from(self.connector.config()).connect(name, socket);
        let late = || io::Error::new(io::ErrorKind::TimedOut, "net/http: TLS handshake timeout");
        let shaken = timeout(Acceptor::HANDSHAKE_LIMIT, shaking).await.map_err(|_| late())?;
        let socket = Socket::Secure(Box::new(TlsStream::Client(shaken.map_err(told)?)));
        Ok(Link { socket, write_timeout: self.write_timeout, stalled: None })
    }
}
