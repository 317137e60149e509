//! Connections on which no request goes out before the server has said something.
//!
//! A server that refuses a client's certificate says so after the client's handshake is done; one that
//! speaks another protocol closes when it has seen a little. Requests that were sent by then might
//! have been executed for all the client knows. So they wait until the server has spoken, as they do
//! in Go: it lets HTTP/2's preface, settings and windows pass, and nothing else.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const PREFACE_LEN: usize = 24;
const FRAME_HEAD_LEN: usize = 9;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;

/// Whether requests could go out to an endpoint.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// Connections on which the server has spoken, and which are not over.
    open: AtomicUsize,
    /// Counts those that were ever open.
    opened: AtomicU64,
}

/// A moment of a way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    was_open: bool,
    opened: u64,
}

impl Way {
    /// Of connections without a gate.
    pub(crate) fn unknown() -> Arc<Way> {
        let way = Way::default();
        way.open.store(1, Ordering::Release);
        Arc::new(way)
    }

    pub(crate) fn mark(&self) -> Mark {
        let opened = self.opened.load(Ordering::Acquire);
        Mark { was_open: self.open.load(Ordering::Acquire) > 0, opened }
    }

    /// Whether nothing can have been sent since.
    pub(crate) fn was_shut_since(&self, mark: Mark) -> bool {
        !mark.was_open && self.opened.load(Ordering::Acquire) == mark.opened
    }
}

/// TCP, or TLS over it.
pub(crate) enum Socket {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

macro_rules! with {
    ($socket:expr, $inner:ident => $do:expr) => {
        match $socket {
            Socket::Plain($inner) => $do,
            Socket::Secure($inner) => $do,
        }
    };
}

/// A connection behind the gate.
pub(crate) struct Gated {
    socket: Socket,
    way: Arc<Way>,
    has_spoken: bool,
    /// What is left of what may pass.
    passing: usize,
    waiting: Option<Waker>,
}

impl Gated {
    pub(crate) fn new(socket: Socket, way: Arc<Way>) -> Gated {
        Gated { socket, way, has_spoken: false, passing: PREFACE_LEN, waiting: None }
    }

    fn open(&mut self) {
        self.has_spoken = true;
        self.way.opened.fetch_add(1, Ordering::AcqRel);
        self.way.open.fetch_add(1, Ordering::AcqRel);
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }

    /// How much of this may pass now; 0 where it has to wait.
    fn may_pass(&mut self, bytes: &[u8]) -> usize {
        if self.passing == 0 && bytes.len() >= FRAME_HEAD_LEN {
            let len = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
            if matches!(bytes[3], SETTINGS | WINDOW_UPDATE) {
                self.passing = FRAME_HEAD_LEN + len;
            }
        }
        self.passing.min(bytes.len())
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        if self.has_spoken {
            self.way.open.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl AsyncRead for Gated {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let gated = self.get_mut();
        let before = into.filled().len();
        let read = with!(&mut gated.socket, socket => Pin::new(socket).poll_read(context, into));
        if !gated.has_spoken && into.filled().len() > before {
            gated.open();
        }
        read
    }
}

impl AsyncWrite for Gated {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let gated = self.get_mut();
        if gated.has_spoken || bytes.is_empty() {
            return with!(&mut gated.socket, socket => Pin::new(socket).poll_write(context, bytes));
        }
        let len = gated.may_pass(bytes);
        if len == 0 {
            gated.waiting = Some(context.waker().clone());
            return Poll::Pending;
        }
        let written = with!(&mut gated.socket, socket => {
            Pin::new(socket).poll_write(context, &bytes[..len])
        });
        let written = ready!(written)?;
        gated.passing -= written;
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.has_spoken {
            let first = pieces.iter().find(|piece| !piece.is_empty());
            return self.poll_write(context, first.map_or(&[], |piece| piece));
        }
        with!(&mut self.get_mut().socket, socket => {
            Pin::new(socket).poll_write_vectored(context, pieces)
        })
    }

    fn is_write_vectored(&self) -> bool {
        with!(&self.socket, socket => socket.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        with!(&mut self.get_mut().socket, socket => Pin::new(socket).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        with!(&mut self.get_mut().socket, socket => Pin::new(socket).poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn requests_wait_until_the_server_has_spoken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let way = Arc::new(Way::default());
        let mark = way.mark();
        let mut gated = Gated::new(Socket::Plain(socket), Arc::clone(&way));
        let settings = [0, 0, 0, SETTINGS, 0, 0, 0, 0, 0];
        let headers = [0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82];
        let text = [&[b'p'; PREFACE_LEN][..], &settings, &headers].concat();
        let passed = PREFACE_LEN + settings.len();
        let mut seen = vec![0; passed];
        let sending = async {
            gated.write_all(&text).await.unwrap();
        };
        let watching = async {
            server.read_exact(&mut seen).await.unwrap();
            let more = tokio::time::timeout(std::time::Duration::from_millis(50), server.read_u8());
            assert!(more.await.is_err(), "a request went out");
            assert!(way.was_shut_since(mark));
            server
        };
        // The other half of the connection is read, as hyper does.
        let mut server = tokio::select! {
            () = sending => panic!("a request went out"),
            server = watching => server,
        };
        server.write_all(&settings).await.unwrap();
        gated.read_exact(&mut [0; 9]).await.unwrap();
        gated.write_all(&headers).await.unwrap();
        let mut rest = vec![0; headers.len()];
        server.read_exact(&mut rest).await.unwrap();
        assert_eq!(rest, headers);
        assert!(!way.was_shut_since(mark) && !way.was_shut_since(way.mark()));
        drop(gated);
        assert!(way.was_shut_since(way.mark()));
    }
}
