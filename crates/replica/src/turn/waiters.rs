//! Who waits for which applied entry.

use super::Time;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::collections::VecDeque;

/// At most this many requests may be on their way through the log at once.
pub const WAITERS_MAX: usize = 100_000;

struct Table<W> {
    waiting: HashMap<u64, W>,
    /// Every timeout is the same, so the queue is in the order of the deadlines.
    deadlines: VecDeque<(Time, u64)>,
}

/// The table of waiters, by request id. `W` is what waits.
pub struct Waiters<W> {
    table: Mutex<Table<W>>,
}

/// Nobody waits.
impl<W> Default for Waiters<W> {
    fn default() -> Waiters<W> {
        let table = Table { waiting: HashMap::new(), deadlines: VecDeque::new() };
        Waiters { table: Mutex::new(table) }
    }
}

impl<W> Waiters<W> {
    /// Registers a waiter; hands it back where too many wait already.
    pub fn insert(&self, id: u64, deadline: Time, waiter: W) -> Result<(), W> {
        let mut table = self.table.lock();
        if table.waiting.len() >= WAITERS_MAX {
            return Err(waiter);
        }
        table.waiting.insert(id, waiter);
        table.deadlines.push_back((deadline, id));
        Ok(())
    }

    /// Whether somebody waits for this id.
    pub fn contains(&self, id: u64) -> bool {
        id != 0 && self.table.lock().waiting.contains_key(&id)
    }

    /// What `look` sees of the waiter of an id; `None` where nobody waits.
    pub fn look<A>(&self, id: u64, look: impl FnOnce(&W) -> A) -> Option<A> {
        self.table.lock().waiting.get(&id).map(look)
    }

    /// Takes the waiter of an id.
    pub fn take(&self, id: u64) -> Option<W> {
        let mut table = self.table.lock();
        let waiter = table.waiting.remove(&id);
        // Deadlines of those answered are dropped as they reach the front.
        while table.deadlines.front().is_some_and(|(_, id)| !table.waiting.contains_key(id)) {
            table.deadlines.pop_front();
        }
        waiter
    }

    /// Takes everyone whose time is over, with their ids.
    pub fn expired(&self, now: Time) -> Vec<(u64, W)> {
        let mut table = self.table.lock();
        let mut expired = Vec::new();
        while table.deadlines.front().is_some_and(|(deadline, _)| *deadline <= now) {
            let (_, id) = table.deadlines.pop_front().expect("there is a front");
            expired.extend(table.waiting.remove_entry(&id));
        }
        expired
    }

    /// Takes those of whom `answer` makes something, with what it makes, in the order of their ids.
    pub fn take_those<A>(&self, mut answer: impl FnMut(&W) -> Option<A>) -> Vec<(W, A)> {
        let mut table = self.table.lock();
        let found = table.waiting.iter().filter_map(|(id, waiter)| Some((*id, answer(waiter)?)));
        let mut found: Vec<(u64, A)> = found.collect();
        found.sort_unstable_by_key(|(id, _)| *id);
        let mut take = |(id, answer)| Some((table.waiting.remove(&id)?, answer));
        found.into_iter().filter_map(&mut take).collect()
    }

    /// Takes everyone.
    pub fn take_all(&self) -> Vec<W> {
        let mut table = self.table.lock();
        table.deadlines.clear();
        table.waiting.drain().map(|(_, waiter)| waiter).collect()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.table.lock().waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiters_are_taken_once_or_expire() {
        let waiters = Waiters::default();
        let now = Time::from_secs(7);
        let later = now + Time::from_secs(1);
        waiters.insert(1, now, "one").unwrap();
        waiters.insert(2, later, "two").unwrap();
        assert!(waiters.contains(1) && !waiters.contains(3) && !waiters.contains(0));
        assert_eq!(waiters.expired(now), [(1, "one")]);
        assert_eq!(waiters.take(1), None);
        assert_eq!(waiters.take_those(|waiter| (*waiter == "one").then_some(1)), []);
        waiters.insert(4, later, "four").unwrap();
        assert_eq!(waiters.take_those(|waiter| (*waiter == "four").then_some(4)), [("four", 4)]);
        assert_eq!(waiters.take(4), None);
        assert_eq!(waiters.take(2), Some("two"));
        assert_eq!(waiters.len(), 0);
        assert!(waiters.expired(later).is_empty());
    }
}
