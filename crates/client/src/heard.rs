//! Connections that note when their server was heard.
//!
//! A server that refuses a client's certificate says so after the client's handshake is done; one that
//! speaks another protocol closes when it has seen a little; one that is stopped says nothing. So a
//! connection serves calls only when its server has opened with HTTP/2's settings, and a call that
//! hears nothing makes the connection suspect until its server says anything at all.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// The place of a frame's type, and the type of the first frame.
const TYPE_AT: usize = 3;
const SETTINGS: u8 = 4;

/// What was heard on a connection.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    /// Reads that brought something.
    reads: AtomicU64,
    /// One more than the number of reads at which it became suspect.
    suspect_at: AtomicU64,
    settings: Notify,
}

/// A moment of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl Ear {
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.reads.load(Ordering::Acquire))
    }

    pub(crate) fn is_silent_since(&self, mark: Mark) -> bool {
        self.mark() == mark
    }

    /// Nothing was heard since; until something is, other connections are better.
    pub(crate) fn suspect(&self, mark: Mark) {
        self.suspect_at.store(mark.0 + 1, Ordering::Release);
    }

    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect_at.load(Ordering::Acquire) == self.mark().0 + 1
    }

    /// Waits until the server has opened the protocol. For one waiter.
    pub(crate) async fn settings(&self) {
        self.settings.notified().await;
    }
}

/// TCP, TLS over it, or a socket in the file system.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// A socket with an ear at it.
pub(crate) struct Heard {
    socket: Box<dyn Socket>,
    ear: Arc<Ear>,
    /// Bytes of the first frame's head that were seen.
    seen: usize,
}

impl Heard {
    pub(crate) fn new(socket: Box<dyn Socket>, ear: Arc<Ear>) -> Heard {
        Heard { socket, ear, seen: 0 }
    }

    fn hear(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.seen <= TYPE_AT {
            if bytes.get(TYPE_AT - self.seen) == Some(&SETTINGS) {
                self.ear.settings.notify_one();
            }
            self.seen = self.seen.saturating_add(bytes.len());
        }
        self.ear.reads.fetch_add(1, Ordering::AcqRel);
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let heard = self.get_mut();
        let before = into.filled().len();
        let read = Pin::new(&mut heard.socket).poll_read(context, into);
        heard.hear(&into.filled()[before..]);
        read
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn only_settings_open_a_connection_and_any_byte_clears_it() {
        let (near, mut far) = duplex(64);
        let ear = Arc::new(Ear::default());
        let mut heard = Heard::new(Box::new(near), Arc::clone(&ear));
        let mark = ear.mark();
        assert!(!ear.is_suspect());
        ear.suspect(mark);
        assert!(ear.is_suspect() && ear.is_silent_since(mark));
        far.write_all(&[0, 0, 0]).await.unwrap();
        heard.read_exact(&mut [0; 3]).await.unwrap();
        assert!(!ear.is_suspect() && !ear.is_silent_since(mark));
        let early = tokio::time::timeout(Duration::from_millis(10), ear.settings()).await;
        assert!(early.is_err());
        far.write_all(&[SETTINGS, 0, 0, 0, 0, 0]).await.unwrap();
        heard.read_exact(&mut [0; 6]).await.unwrap();
        ear.settings().await;
    }

    #[tokio::test]
    async fn another_protocol_does_not_open_a_connection() {
        let (near, mut far) = duplex(64);
        let ear = Arc::new(Ear::default());
        let mut heard = Heard::new(Box::new(near), Arc::clone(&ear));
        far.write_all(b"HTTP/1.1 400").await.unwrap();
        heard.read_exact(&mut [0; 12]).await.unwrap();
        far.write_all(&[SETTINGS; 4]).await.unwrap();
        heard.read_exact(&mut [0; 4]).await.unwrap();
        let opened = tokio::time::timeout(Duration::from_millis(10), ear.settings()).await;
        assert!(opened.is_err());
    }
}
