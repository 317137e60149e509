//! Bodies of requests and answers: read with a limit on bytes and on silence.

use crate::failure::Failure;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// Answers to our requests are a line of text.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The next piece of `body`; `None` after the last one.
pub(crate) async fn piece(
    body: &mut Incoming,
    silence_max: Duration,
) -> Result<Option<Bytes>, Failure> {
    loop {
        let frame = timeout(silence_max, body.frame()).await;
        match frame.map_err(|_| Failure::TimedOut("waiting for bytes"))? {
            None => return Ok(None),
            Some(frame) => match frame?.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                // Trailers, or nothing.
                _ => continue,
            },
        }
    }
}

/// All of a short answer.
pub(crate) async fn answer(mut body: Incoming, silence_max: Duration) -> Result<Bytes, Failure> {
    let mut all = BytesMut::new();
    while let Some(piece) = piece(&mut body, silence_max).await? {
        if all.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(Failure::TooLong);
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.freeze())
}

/// Why a request's body was not read to its end.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It is longer than it may be.
    TooLong,
    /// Others hold all the memory there is for bodies.
    Busy,
    /// It broke off.
    Broken,
}

impl Unread {
    pub(crate) fn why(&self) -> &'static str {
        match self {
            Unread::TooLong => "it is too long",
            Unread::Busy => "too many bodies are being read",
            Unread::Broken => "unexpected EOF",
        }
    }
}

/// All of a request's body, of up to `max` bytes, for as long as the [`Hold`] lives.
pub(crate) async fn request(
    mut body: Incoming,
    max: usize,
    silence_max: Duration,
    budget: &Arc<Budget>,
) -> Result<(Bytes, Hold), Unread> {
    let mut hold = Hold { budget: Arc::clone(budget), held: 0 };
    let mut all = BytesMut::new();
    while let Some(piece) = piece(&mut body, silence_max).await.map_err(|_| Unread::Broken)? {
        if all.len() + piece.len() > max {
            return Err(Unread::TooLong);
        }
        hold.grow(piece.len())?;
        all.extend_from_slice(&piece);
    }
    Ok((all.freeze(), hold))
}

/// How many bytes of bodies may be in memory at once.
#[derive(Debug)]
pub(crate) struct Budget {
    max: usize,
    held: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Budget {
        Budget { max, held: AtomicUsize::new(0) }
    }
}

/// A part of the budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    budget: Arc<Budget>,
    held: usize,
}

impl Hold {
    fn grow(&mut self, bytes: usize) -> Result<(), Unread> {
        self.held += bytes;
        let before = self.budget.held.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > self.budget.max { Err(Unread::Busy) } else { Ok(()) }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_shared_and_given_back() {
        let budget = Arc::new(Budget::new(10));
        let mut first = Hold { budget: Arc::clone(&budget), held: 0 };
        let mut second = Hold { budget: Arc::clone(&budget), held: 0 };
        assert!(first.grow(8).is_ok());
        assert!(matches!(second.grow(8), Err(Unread::Busy)));
        drop(second);
        assert!(first.grow(2).is_ok());
        drop(first);
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }
}
