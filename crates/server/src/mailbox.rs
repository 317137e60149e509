//! A queue between two threads that is emptied in batches and wakes its reader once per batch.

use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::time::Instant;

/// What a reader found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Messages were taken.
    Messages,
    /// The deadline passed first.
    Deadline,
    /// Every sender said goodbye and nothing is left.
    Closed,
}

struct State<T> {
    queue: Vec<T>,
    closed: bool,
    reader_waits: bool,
}

struct Inner<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
}

/// The sending side, and by [`Mailbox::drain`] the reading side; clones share one queue.
///
/// Its length is bounded by what fills it: requests hold a waiter each (bounded), commands are
/// answered before the next are made, a stream is ended that asks too much at once, and changes that
/// wait for the watch thread are cut (`drive::HubQueue`).
pub(crate) struct Mailbox<T> {
    inner: Arc<Inner<T>>,
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Mailbox { inner: Arc::clone(&self.inner) }
    }
}

impl<T> Mailbox<T> {
    /// An empty, open mailbox.
    pub(crate) fn new() -> Mailbox<T> {
        let state = State { queue: Vec::new(), closed: false, reader_waits: false };
        Mailbox { inner: Arc::new(Inner { state: Mutex::new(state), ready: Condvar::new() }) }
    }

    /// Adds a message; `false` where the mailbox is closed and the message is lost.
    pub(crate) fn send(&self, message: T) -> bool {
        let mut state = self.inner.state.lock();
        if state.closed {
            return false;
        }
        state.queue.push(message);
        let wake = std::mem::take(&mut state.reader_waits);
        drop(state);
        if wake {
            self.inner.ready.notify_one();
        }
        true
    }

    /// Changes what waits, and may add to it; not where the mailbox is closed.
    pub(crate) fn edit(&self, act: impl FnOnce(&mut Vec<T>)) {
        let mut state = self.inner.state.lock();
        if state.closed {
            return;
        }
        act(&mut state.queue);
        let wake = !state.queue.is_empty() && std::mem::take(&mut state.reader_waits);
        drop(state);
        if wake {
            self.inner.ready.notify_one();
        }
    }

    /// Takes everything, waiting until `deadline` (or for ever) for the first message.
    /// `into` must be empty; its storage is reused.
    pub(crate) fn drain(&self, into: &mut Vec<T>, deadline: Option<Instant>) -> Woken {
        let mut state = self.inner.state.lock();
        while state.queue.is_empty() {
            if state.closed {
                return Woken::Closed;
            }
            state.reader_waits = true;
            let timed_out = match deadline {
                Some(at) => self.inner.ready.wait_until(&mut state, at).timed_out(),
                None => {
                    self.inner.ready.wait(&mut state);
                    false
                }
            };
            if timed_out && state.queue.is_empty() {
                state.reader_waits = false;
                return Woken::Deadline;
            }
        }
        std::mem::swap(&mut state.queue, into);
        Woken::Messages
    }

    /// Takes the first message, for readers that share the work; waits for ever.
    pub(crate) fn take_one(&self, into: &mut Vec<T>) -> Woken {
        let mut state = self.inner.state.lock();
        while state.queue.is_empty() {
            if state.closed {
                return Woken::Closed;
            }
            state.reader_waits = true;
            self.inner.ready.wait(&mut state);
        }
        into.push(state.queue.remove(0));
        // Others may wait as well.
        state.reader_waits = true;
        Woken::Messages
    }

    /// Refuses further messages; the reader still gets those that are there.
    pub(crate) fn close(&self) {
        self.inner.state.lock().closed = true;
        self.inner.ready.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_batch_comes_at_once_and_in_order() {
        let mailbox = Mailbox::new();
        for n in 0..3 {
            assert!(mailbox.send(n));
        }
        let mut got = Vec::new();
        assert_eq!(mailbox.drain(&mut got, None), Woken::Messages);
        assert_eq!(got, [0, 1, 2]);
    }

    #[test]
    fn deadlines_and_closing_wake_the_reader() {
        let mailbox = Mailbox::<u8>::new();
        let soon = Instant::now() + Duration::from_millis(1);
        assert_eq!(mailbox.drain(&mut Vec::new(), Some(soon)), Woken::Deadline);
        let reader = mailbox.clone();
        let thread = std::thread::spawn(move || reader.drain(&mut Vec::new(), None));
        mailbox.close();
        assert_eq!(thread.join().expect("the reader does not panic"), Woken::Closed);
        assert!(!mailbox.send(1));
    }
}
