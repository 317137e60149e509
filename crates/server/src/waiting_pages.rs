//! How many pages may wait at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Pages of the client port that wait for the cluster, or for another thread.
pub(crate) const PAGES_MAX: usize = 256;
/// Pages of the peer port that wait, where other members forward whole bursts of renewals.
const PEER_PAGES_MAX: usize = 10_000;

/// Counts the pages that wait; what is not waited for is always answered.
pub(crate) struct WaitingPages {
    max: usize,
    count: AtomicUsize,
}

impl WaitingPages {
    fn new(max: usize) -> Arc<WaitingPages> {
        Arc::new(WaitingPages { max, count: AtomicUsize::new(0) })
    }

    /// For the client port.
    pub(crate) fn for_clients() -> Arc<WaitingPages> {
        WaitingPages::new(PAGES_MAX)
    }

    /// For the peer port.
    pub(crate) fn for_peers() -> Arc<WaitingPages> {
        WaitingPages::new(PEER_PAGES_MAX)
    }

    /// One more page that waits, unless as many wait as may.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<WaitingPage> {
        let page = WaitingPage(Arc::clone(self));
        (self.count.fetch_add(1, Ordering::Relaxed) < self.max).then_some(page)
    }
}

/// A page waits as long as this is kept.
pub(crate) struct WaitingPage(Arc<WaitingPages>);

impl Drop for WaitingPage {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_wait_are_limited() {
        let pages = WaitingPages::new(2);
        let (first, second) = (pages.enter(), pages.enter());
        assert!(first.is_some() && second.is_some() && pages.enter().is_none());
        drop(first);
        let third = pages.enter();
        assert!(third.is_some() && pages.enter().is_none());
        drop((second, third));
        assert_eq!(pages.count.load(Ordering::Relaxed), 0);
    }
}
