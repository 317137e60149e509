//! A value that one thread gives and another waits for.

use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::time::Duration;

/// A value that another thread will give. Only a thread that nobody else needs may wait for one: no
/// thread of a pool, of the transport, or of those that drive the member.
pub(crate) struct Promise<T> {
    slot: Mutex<Option<T>>,
    given: Condvar,
}

impl<T> Promise<T> {
    /// Nothing given yet.
    pub(crate) fn new() -> Arc<Promise<T>> {
        Arc::new(Promise { slot: Mutex::new(None), given: Condvar::new() })
    }

    /// Gives the value.
    pub(crate) fn give(&self, value: T) {
        *self.slot.lock() = Some(value);
        self.given.notify_all();
    }

    /// Whether a value was given and not taken, and fits.
    pub(crate) fn is_given_and(&self, is_such: impl FnOnce(&T) -> bool) -> bool {
        self.slot.lock().as_ref().is_some_and(is_such)
    }

    /// Whether a value was given and not taken.
    pub(crate) fn is_given(&self) -> bool {
        self.slot.lock().is_some()
    }

    /// Waits for the value and takes it.
    pub(crate) fn wait(&self, limit: Duration) -> Option<T> {
        let mut slot = self.slot.lock();
        if slot.is_none() {
            self.given.wait_for(&mut slot, limit);
        }
        slot.take()
    }
}
