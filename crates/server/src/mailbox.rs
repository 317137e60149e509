//! A queue between threads, or a thread and a task, that is emptied in batches and wakes its reader once per batch.
//!
//! A wake-up costs more than most messages, so what nobody waits for may be sent lazily: a reader that
//! heeds only what is urgent finds it with what comes next, or at its deadline.

use parking_lot::{Condvar, Mutex};
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

/// What a waiting reader is woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heed {
    /// Every message.
    All,
    /// All but those that were sent lazily.
    Urgent,
}

struct State<T> {
    queue: Vec<T>,
    closed: bool,
    /// A reader waits, and for this.
    waits: Option<Heed>,
    /// The reader, if it is a task and waits.
    task: Option<Waker>,
}

impl<T> State<T> {
    /// Whether the reader must be woken; it is then taken to be awake.
    fn wakes(&mut self, heeds: impl FnOnce(Heed) -> bool) -> bool {
        let wakes = !self.queue.is_empty() && self.waits.is_some_and(heeds);
        if wakes {
            self.waits = None;
        }
        wakes
    }
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
        let state = State { queue: Vec::new(), closed: false, waits: None, task: None };
        Mailbox { inner: Arc::new(Inner { state: Mutex::new(state), ready: Condvar::new() }) }
    }

    /// Adds a message; `false` where the mailbox is closed and the message is lost.
    pub(crate) fn send(&self, message: T) -> bool {
        self.add(|queue| queue.push(message), |_| true)
    }

    /// Adds a message that can wait, as [`Mailbox::send`].
    pub(crate) fn send_lazily(&self, message: T) -> bool {
        self.add(|queue| queue.push(message), |heed| heed == Heed::All)
    }

    /// Changes what waits, and may add to it; not where the mailbox is closed.
    pub(crate) fn edit(&self, act: impl FnOnce(&mut Vec<T>)) {
        self.add(act, |_| true);
    }

    fn add(&self, act: impl FnOnce(&mut Vec<T>), heeds: impl FnOnce(Heed) -> bool) -> bool {
        let mut state = self.inner.state.lock();
        if state.closed {
            return false;
        }
        act(&mut state.queue);
        if !state.wakes(heeds) {
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
        heed: Heed,
    ) -> Poll<Woken> {
        let mut state = self.inner.state.lock();
        if state.queue.is_empty() {
            if state.closed {
                return Poll::Ready(Woken::Closed);
            }
            state.waits = Some(heed);
            state.task = Some(context.waker().clone());
            return Poll::Pending;
        }
        (state.waits, state.task) = (None, None);
        std::mem::swap(&mut state.queue, into);
        Poll::Ready(Woken::Messages)
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.inner.state.lock().queue.is_empty()
    }

    /// Takes everything, waiting until `deadline` (or for ever) for the first message that is heeded.
    /// `into` must be empty; its storage is reused.
    pub(crate) fn drain(&self, into: &mut Vec<T>, deadline: Option<Instant>, heed: Heed) -> Woken {
        let mut state = self.inner.state.lock();
        while state.queue.is_empty() {
            if state.closed {
                return Woken::Closed;
            }
            state.waits = Some(heed);
            let timed_out = match deadline {
                Some(at) => self.inner.ready.wait_until(&mut state, at).timed_out(),
                None => {
                    self.inner.ready.wait(&mut state);
                    false
                }
            };
            if timed_out && state.queue.is_empty() {
                state.waits = None;
                return Woken::Deadline;
            }
        }
        state.waits = None;
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
            state.waits = Some(Heed::All);
            self.inner.ready.wait(&mut state);
        }
        into.push(state.queue.remove(0));
        // Others may wait as well, and of several messages only the first has woken a reader.
        state.waits = Some(Heed::All);
        if !state.queue.is_empty() {
            self.inner.ready.notify_one();
        }
        Woken::Messages
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
        assert_eq!(mailbox.drain(&mut got, None, Heed::All), Woken::Messages);
        assert_eq!(got, [0, 1, 2]);
    }

    #[test]
    fn what_is_lazy_waits_for_what_is_urgent() {
        let mailbox = Mailbox::new();
        let reader_waits = |heed| mailbox.inner.state.lock().waits = Some(heed);
        let is_woken = || mailbox.inner.state.lock().waits.is_none();
        let try_both = |act: fn(&Mailbox<u8>), wakes_urgent: bool| {
            for (heed, expected) in [(Heed::All, true), (Heed::Urgent, wakes_urgent)] {
                reader_waits(heed);
                act(&mailbox);
                assert_eq!(is_woken(), expected, "{heed:?}");
            }
        };
        try_both(|mailbox| assert!(mailbox.send_lazily(1)), false);
        try_both(|mailbox| assert!(mailbox.send(2)), true);
        let mut got = Vec::new();
        assert_eq!(mailbox.drain(&mut got, None, Heed::Urgent), Woken::Messages);
        assert_eq!(got, [1, 1, 2, 2]);
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
        assert_eq!(mailbox.drain(&mut Vec::new(), Some(soon), Heed::All), Woken::Deadline);
        let reader = mailbox.clone();
        let thread = std::thread::spawn(move || reader.drain(&mut Vec::new(), None, Heed::All));
        mailbox.close();
        assert_eq!(thread.join().expect("the reader does not panic"), Woken::Closed);
        assert!(!mailbox.send(1));
    }
}
