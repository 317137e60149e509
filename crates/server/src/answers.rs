//! Memory of large answers: those that wait to be sent are counted, and while they are many no
//! further ones are made.
//!
//! A client may ask for all keys on a hundred connections and read nothing; without a limit the
//! member would hold a hundred copies. Who comes late waits for others to be sent, at most as long
//! as a request may take; small answers are not held up.

use crate::drive::Job;
use crate::mailbox::Mailbox;
use crate::rpc::Error;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// No further large answer is begun while this many bytes wait to be sent.
pub(crate) const HELD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Smaller answers are neither counted nor held up.
const LARGE_BYTES: usize = 64 * 1024;
/// At most this many requests wait for their turn.
const WAITING_MAX: usize = 10_000;

/// Makes an answer, or hears why it may not.
pub(crate) type Turn = Box<dyn FnOnce(Result<(), Error>) + Send>;

struct State {
    held_bytes: usize,
    /// In the order of their deadlines.
    waiting: VecDeque<(Instant, Turn)>,
}

/// The count of what is held.
pub(crate) struct Answers {
    held_bytes_max: usize,
    wait_max: Duration,
    /// Where those that waited go on.
    pool: Mailbox<Job>,
    /// What the state says, for those who only look.
    held_bytes: AtomicUsize,
    state: Mutex<State>,
}

impl Answers {
    /// Nothing is held yet.
    pub(crate) fn new(
        held_bytes_max: usize,
        wait_max: Duration,
        pool: Mailbox<Job>,
    ) -> Arc<Answers> {
        let state = State { held_bytes: 0, waiting: VecDeque::new() };
        let held_bytes = AtomicUsize::new(0);
        Arc::new(Answers { held_bytes_max, wait_max, pool, held_bytes, state: Mutex::new(state) })
    }

    /// Whether an answer with many keys has to wait now.
    pub(crate) fn are_full(&self) -> bool {
        self.held_bytes.load(Ordering::Relaxed) >= self.held_bytes_max
    }

    /// Whether even an answer with one key has to wait now: single values may fill as much again.
    pub(crate) fn are_overfull(&self) -> bool {
        self.held_bytes.load(Ordering::Relaxed) / 2 >= self.held_bytes_max
    }

    /// Gives `turn` its turn: at once, here, or later, in the pool.
    pub(crate) fn enter(&self, now: Instant, turn: Turn) {
        let mut state = self.state.lock();
        if state.held_bytes < self.held_bytes_max {
            drop(state);
            return turn(Ok(()));
        }
        if state.waiting.len() >= WAITING_MAX {
            drop(state);
            return turn(Err(Error::TooManyRequests));
        }
        state.waiting.push_back((now + self.wait_max, turn));
    }

    /// Counts an answer until its last byte is sent, or given up.
    pub(crate) fn hold(self: &Arc<Self>, answer: Bytes) -> Bytes {
        if answer.len() < LARGE_BYTES {
            return answer;
        }
        let mut state = self.state.lock();
        state.held_bytes += answer.len();
        self.held_bytes.store(state.held_bytes, Ordering::Relaxed);
        drop(state);
        Bytes::from_owner(Held { answer, answers: Arc::clone(self) })
    }

    /// Counts the pieces of an answer, each until it is sent.
    pub(crate) fn hold_pieces(
        self: &Arc<Self>,
        (first, rest): (Bytes, Vec<Bytes>),
    ) -> (Bytes, Vec<Bytes>) {
        (self.hold(first), rest.into_iter().map(|piece| self.hold(piece)).collect())
    }

    /// Refuses those who have waited too long.
    pub(crate) fn expire(&self, now: Instant) {
        let mut late = Vec::new();
        let mut state = self.state.lock();
        while state.waiting.front().is_some_and(|(deadline, _)| *deadline <= now) {
            late.extend(state.waiting.pop_front());
        }
        drop(state);
        for (_, turn) in late {
            turn(Err(Error::Timeout));
        }
    }

    fn release(self: &Arc<Self>, bytes: usize) {
        let mut state = self.state.lock();
        state.held_bytes -= bytes;
        self.held_bytes.store(state.held_bytes, Ordering::Relaxed);
        if state.held_bytes >= self.held_bytes_max {
            return;
        }
        // All of them look again, in their order, when the pool comes to them; whoever finds no
        // room still keeps waiting, until the time that it had.
        let ready = std::mem::take(&mut state.waiting);
        drop(state);
        for (deadline, turn) in ready {
            let answers = Arc::clone(self);
            self.pool.send(Box::new(move || answers.enter_again(deadline, turn)));
        }
    }

    fn enter_again(&self, deadline: Instant, turn: Turn) {
        let mut state = self.state.lock();
        if state.held_bytes < self.held_bytes_max {
            drop(state);
            return turn(Ok(()));
        }
        let place = state.waiting.partition_point(|(other, _)| *other <= deadline);
        state.waiting.insert(place, (deadline, turn));
    }
}

/// An answer on its way.
struct Held {
    answer: Bytes,
    answers: Arc<Answers>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.answers.release(self.answer.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use replica::turn::WakePolicy;

    fn counting(count: &Arc<AtomicUsize>) -> Turn {
        let count = Arc::clone(count);
        Box::new(move |result| {
            count.fetch_add(if result.is_ok() { 1 } else { 100 }, Ordering::Relaxed);
        })
    }

    fn run_pool(pool: &Mailbox<Job>) {
        let mut jobs: Vec<Job> = Vec::new();
        pool.drain(&mut jobs, Some(Instant::now()), WakePolicy::Every);
        for job in jobs {
            job();
        }
    }

    #[test]
    fn large_answers_wait_for_others_to_be_sent() {
        let pool = Mailbox::new();
        let answers = Answers::new(2 * LARGE_BYTES, Duration::from_secs(7), pool.clone());
        let (count, now) = (Arc::new(AtomicUsize::new(0)), Instant::now());
        let small = answers.hold(Bytes::from(vec![0; LARGE_BYTES - 1]));
        let first = answers.hold(Bytes::from(vec![1; LARGE_BYTES]));
        answers.enter(now, counting(&count));
        assert_eq!(count.load(Ordering::Relaxed), 1, "there is room");
        assert!(!answers.are_full() && !answers.are_overfull());
        let second = answers.hold(Bytes::from(vec![2; LARGE_BYTES]));
        assert!(answers.are_full() && !answers.are_overfull());
        answers.enter(now, counting(&count));
        answers.enter(now, counting(&count));
        assert_eq!(count.load(Ordering::Relaxed), 1, "these wait");
        // A part of an answer keeps all of it.
        let part = second.slice(10..20);
        drop((second, small));
        assert!(answers.are_full() && part[0] == 2);
        drop(part);
        run_pool(&pool);
        assert_eq!(count.load(Ordering::Relaxed), 3);
        drop(first);
        assert!(!answers.are_full());
    }

    #[test]
    fn nobody_waits_longer_than_a_request_may_take() {
        let pool = Mailbox::new();
        let answers = Answers::new(LARGE_BYTES, Duration::from_secs(7), pool);
        let (count, now) = (Arc::new(AtomicUsize::new(0)), Instant::now());
        let held = answers.hold(Bytes::from(vec![1; LARGE_BYTES]));
        answers.enter(now, counting(&count));
        answers.enter(now + Duration::from_secs(1), counting(&count));
        answers.expire(now + Duration::from_secs(6));
        assert_eq!(count.load(Ordering::Relaxed), 0);
        answers.expire(now + Duration::from_secs(7));
        assert_eq!(count.load(Ordering::Relaxed), 100, "only the first is late");
        drop(held);
    }
}
