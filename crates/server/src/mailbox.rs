//! A queue between threads, or a thread and a task, that is emptied in batches and wakes its reader once per batch.
//!
//! Whom a message wakes is decided in [`Queue`], which the simulation drives as well; here are its lock and
//! the sleeping thread or task.

use parking_lot::{Condvar, Mutex};
use replica::turn::{Queue, Urgency, WakePolicy};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
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
    queue: Queue<T>,
    closed: bool,
    /// Several readers share the work: any message wakes one.
    is_shared: bool,
    /// The reader, if it is a task and waits.
    task: Option<Waker>,
}

struct Inner<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
}

/// The sending side, and by [`Mailbox::drain`] the reading side; clones share one queue.
///
/// The length of a mailbox is bounded by what fills it: requests hold a waiter each (bounded), commands are
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
        let queue = Queue::default();
        let state = State { queue, closed: false, is_shared: false, task: None };
        Mailbox { inner: Arc::new(Inner { state: Mutex::new(state), ready: Condvar::new() }) }
    }

    /// Adds a message; `false` where the mailbox is closed and the message is lost.
    pub(crate) fn send(&self, message: T) -> bool {
        self.send_with(message, Urgency::Urgent)
    }

    /// As [`Mailbox::send`], for a message that may be able to wait.
    pub(crate) fn send_with(&self, message: T, urgency: Urgency) -> bool {
        self.add(|queue| queue.push(message), urgency)
    }

    /// Changes what waits, and may add to it; not where the mailbox is closed.
    pub(crate) fn edit(&self, act: impl FnOnce(&mut Vec<T>)) {
        self.add(act, Urgency::Urgent);
    }

    fn add(&self, act: impl FnOnce(&mut Vec<T>), urgency: Urgency) -> bool {
        let mut state = self.inner.state.lock();
        if state.closed {
            return false;
        }
        let wakes = state.queue.edit(act, urgency) || state.is_shared;
        if !wakes {
            return true;
        }
        let task = state.task.take();
        drop(state);
        match task {
            Some(task) => task.wake(),
            None => drop(self.inner.ready.notify_one()),
        }
        true
    }

    /// As [`Mailbox::drain`], for a reader that is a task; it sees to deadlines itself.
    pub(crate) fn poll_drain(
        &self,
        context: &Context<'_>,
        into: &mut Vec<T>,
        policy: WakePolicy,
    ) -> Poll<Woken> {
        let mut state = self.inner.state.lock();
        if state.queue.is_empty() {
            if state.closed {
                return Poll::Ready(Woken::Closed);
            }
            state.queue.wait(policy);
            state.task = Some(context.waker().clone());
            return Poll::Pending;
        }
        state.task = None;
        state.queue.take(into);
        Poll::Ready(Woken::Messages)
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.inner.state.lock().queue.is_empty()
    }

    /// Takes everything, waiting until `deadline` (or for ever) for the first message that `policy` heeds.
    /// `into` must be empty; its storage is reused.
    pub(crate) fn drain(
        &self,
        into: &mut Vec<T>,
        deadline: Option<Instant>,
        policy: WakePolicy,
    ) -> Woken {
        let mut state = self.inner.state.lock();
        while state.queue.is_empty() {
            if state.closed {
                return Woken::Closed;
            }
            state.queue.wait(policy);
            let timed_out = match deadline {
                Some(at) => self.inner.ready.wait_until(&mut state, at).timed_out(),
                None => {
                    self.inner.ready.wait(&mut state);
                    false
                }
            };
            if timed_out && state.queue.is_empty() {
                state.queue.stop_waiting();
                return Woken::Deadline;
            }
        }
        state.queue.take(into);
        Woken::Messages
    }

    /// Takes the first message, for readers that share the work; waits for ever.
    pub(crate) fn take_one(&self, into: &mut Vec<T>) -> Woken {
        let mut state = self.inner.state.lock();
        state.is_shared = true;
        loop {
            if let Some(first) = state.queue.take_first() {
                into.push(first);
                // Of several messages only the first may have woken a reader.
                if !state.queue.is_empty() {
                    self.inner.ready.notify_one();
                }
                return Woken::Messages;
            }
            if state.closed {
                return Woken::Closed;
            }
            self.inner.ready.wait(&mut state);
        }
    }

    /// Refuses further messages; the reader still gets those that are there.
    pub(crate) fn close(&self) {
        let mut state = self.inner.state.lock();
        state.closed = true;
        let task = state.task.take();
        drop(state);
        self.inner.ready.notify_all();
        if let Some(task) = task {
            task.wake();
        }
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
        assert_eq!(mailbox.drain(&mut got, None, WakePolicy::Every), Woken::Messages);
        assert_eq!(got, [0, 1, 2]);
    }

    #[test]
    fn lazy_messages_come_with_urgent_ones() {
        let mailbox = Mailbox::new();
        assert!(mailbox.send_with(1, Urgency::Lazy) && mailbox.send(2));
        let mut got = Vec::new();
        assert_eq!(mailbox.drain(&mut got, None, WakePolicy::Urgent), Woken::Messages);
        assert_eq!(got, [1, 2]);
    }

    #[test]
    fn readers_that_share_the_work_all_get_some() {
        let jobs = Mailbox::new();
        let (took, taken) = std::sync::mpsc::channel();
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (jobs, took) = (jobs.clone(), took.clone());
                std::thread::spawn(move || {
                    let mut into: Vec<std::sync::mpsc::Receiver<()>> = Vec::new();
                    while jobs.take_one(&mut into) == Woken::Messages {
                        took.send(()).expect("the test listens");
                        for until in into.drain(..) {
                            let _ = until.recv();
                        }
                    }
                })
            })
            .collect();
        for _ in 0..200 {
            let (ends, untils): (Vec<_>, Vec<_>) =
                (0..2).map(|_| std::sync::mpsc::channel()).unzip();
            // Both at once: whoever takes the first keeps busy until the second is taken.
            jobs.edit(|queue| queue.extend(untils));
            for _ in 0..2 {
                taken.recv_timeout(Duration::from_secs(60)).expect("a reader is idle");
            }
            drop(ends);
        }
        jobs.close();
        readers.into_iter().for_each(|reader| reader.join().expect("the reader does not panic"));
    }

    #[test]
    fn deadlines_and_closing_wake_the_reader() {
        let mailbox = Mailbox::<u8>::new();
        let soon = Instant::now() + Duration::from_millis(1);
        assert_eq!(mailbox.drain(&mut Vec::new(), Some(soon), WakePolicy::Every), Woken::Deadline);
        let reader = mailbox.clone();
        let thread =
            std::thread::spawn(move || reader.drain(&mut Vec::new(), None, WakePolicy::Every));
        mailbox.close();
        assert_eq!(thread.join().expect("the reader does not panic"), Woken::Closed);
        assert!(!mailbox.send(1));
    }
}
