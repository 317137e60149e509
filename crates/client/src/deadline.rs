//! Until when an answer is of use.

use crate::error::Error;
use std::future::Future;
use std::time::{Duration, Instant};

/// Until when an answer is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// Wait however long the server takes.
    pub const NONE: Deadline = Deadline(None);

    /// So long from now.
    pub fn after(time: Duration) -> Deadline {
        Deadline(Instant::now().checked_add(time))
    }

    /// So many seconds from now.
    pub fn in_seconds(seconds: u64) -> Deadline {
        Deadline::after(Duration::from_secs(seconds))
    }

    pub(crate) fn at(instant: Instant) -> Deadline {
        Deadline(Some(instant))
    }

    /// When that is, if there is a limit.
    pub(crate) fn instant(self) -> Option<Instant> {
        self.0
    }

    pub(crate) fn remaining(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Waits for something no longer than this.
    pub(crate) async fn limit<F: Future>(self, future: F) -> Result<F::Output, Error> {
        match self.0 {
            None => Ok(future.await),
            Some(at) => {
                let limited = tokio::time::timeout_at(at.into(), future).await;
                limited.map_err(|_| Error::DeadlineExceeded)
            }
        }
    }
}
