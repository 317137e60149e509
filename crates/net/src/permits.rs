//! How many connections may be open at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Permits for connections: at most `max` are given at once.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionPermits {
    given: Arc<AtomicUsize>,
    max: usize,
}

/// The permit of one connection; given back when this is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    given: Arc<AtomicUsize>,
}

impl ConnectionPermits {
    pub(crate) fn new(max: usize) -> ConnectionPermits {
        ConnectionPermits { given: Arc::default(), max }
    }

    /// A permit, unless all are given.
    pub(crate) fn take(&self) -> Option<ConnectionPermit> {
        let add = |given: usize| (given < self.max).then_some(given + 1);
        self.given.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).ok()?;
        Some(ConnectionPermit { given: Arc::clone(&self.given) })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.given.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_can_be_given_again_once_it_is_dropped() {
        let permits = ConnectionPermits::new(1);
        let permit = permits.take();
        assert!(permit.is_some() && permits.take().is_none());
        drop(permit);
        assert!(permits.take().is_some());
    }
}
