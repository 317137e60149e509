//! Memory of large memory: those that wait to be sent are counted, and while they are many no
//! further ones are made.
//!
//! A client may ask for all keys on a hundred connections and read nothing; without a limit the
//! member would hold a hundred copies. Who comes late waits for others to be sent, at most as long
//! as a request may take; small memory are not held up.

use crate::Error;
use crate::member::Job;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// No further large answer is begun while this many bytes wait to be sent.
pub(crate) const HELD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Smaller memory are neither counted nor held up.
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
pub(crate) struct ResponseMemory {
    held_bytes_max: usize,
    wait_max: Duration,
    /// Has those that waited go on elsewhere.
    run: Box<dyn Fn(Job) + Send + Sync>,
    /// What the state says, for those who only look.
    held_bytes: AtomicUsize,
    state: Mutex<State>,
}

impl ResponseMemory {
    /// Nothing is held yet.
    pub(crate) fn new(
        held_bytes_max: usize,
        wait_max: Duration,
        run: impl Fn(Job) + Send + Sync + 'static,
    ) -> Arc<ResponseMemory> {
        let run = Box::new(run);
        let state = State { held_bytes: 0, waiting: VecDeque::new() };
        let held_bytes = AtomicUsize::new(0);
        Arc::new(ResponseMemory {
            held_bytes_max,
            wait_max,
            run,
            held_bytes,
            state: Mutex::new(state),
        })
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
        Bytes::from_owner(Held { answer, memory: Arc::clone(self) })
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
            let memory = Arc::clone(self);
            let again = move || memory.enter_again(deadline, turn);
            (self.run)(Box::new(again));
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
    memory: Arc<ResponseMemory>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.release(self.answer.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(count: &Arc<AtomicUsize>) -> Turn {
        let count = Arc::clone(count);
        Box::new(move |result| {
            count.fetch_add(if result.is_ok() { 1 } else { 100 }, Ordering::Relaxed);
        })
    }

    /// A memory, and where what goes on elsewhere waits to be run.
    fn memory(max: usize) -> (Arc<ResponseMemory>, Arc<Mutex<Vec<Job>>>) {
        let jobs = Arc::new(Mutex::new(Vec::new()));
        let pool = Arc::clone(&jobs);
        let memory =
            ResponseMemory::new(max, Duration::from_secs(7), move |job| pool.lock().push(job));
        (memory, jobs)
    }

    fn run(pool: &Mutex<Vec<Job>>) {
        let jobs = std::mem::take(&mut *pool.lock());
        jobs.into_iter().for_each(|job| job());
    }

    #[test]
    fn large_memory_wait_for_others_to_be_sent() {
        let (memory, pool) = memory(2 * LARGE_BYTES);
        let (count, now) = (Arc::new(AtomicUsize::new(0)), Instant::now());
        let small = memory.hold(Bytes::from(vec![0; LARGE_BYTES - 1]));
        let first = memory.hold(Bytes::from(vec![1; LARGE_BYTES]));
        memory.enter(now, counting(&count));
        assert_eq!(count.load(Ordering::Relaxed), 1, "there is room");
        assert!(!memory.are_full() && !memory.are_overfull());
        let second = memory.hold(Bytes::from(vec![2; LARGE_BYTES]));
        assert!(memory.are_full() && !memory.are_overfull());
        memory.enter(now, counting(&count));
        memory.enter(now, counting(&count));
        assert_eq!(count.load(Ordering::Relaxed), 1, "these wait");
        // A part of an answer keeps all of it.
        let part = second.slice(10..20);
        drop((second, small));
        assert!(memory.are_full() && part[0] == 2);
        drop(part);
        run(&pool);
        assert_eq!(count.load(Ordering::Relaxed), 3);
        drop(first);
        assert!(!memory.are_full());
    }

    #[test]
    fn nobody_waits_longer_than_a_request_may_take() {
        let (memory, _) = memory(LARGE_BYTES);
        let (count, now) = (Arc::new(AtomicUsize::new(0)), Instant::now());
        let held = memory.hold(Bytes::from(vec![1; LARGE_BYTES]));
        memory.enter(now, counting(&count));
        memory.enter(now + Duration::from_secs(1), counting(&count));
        memory.expire(now + Duration::from_secs(6));
        assert_eq!(count.load(Ordering::Relaxed), 0);
        memory.expire(now + Duration::from_secs(7));
        assert_eq!(count.load(Ordering::Relaxed), 100, "only the first is late");
        drop(held);
    }
}
