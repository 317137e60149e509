//! What waits for the watch turn: bounded, though writers never wait for watchers.
//!
//! Changes come as fast as they are applied. Where more of them wait than may, they are dropped and
//! the hub is told to which revision: its watchers then read them from history.

use super::watch_turn::WatchEvent;
use mvcc::Change;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of changes that may wait, those included that the watch turn works on.
const CHANGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a change and what an event in it take, beside keys and values.
const CHANGE_BYTES: usize = 64;
const EVENT_BYTES: usize = 128;

/// What one batch of entries changed.
#[derive(Debug)]
pub struct Changes {
    pub(crate) changes: Vec<Change>,
    pub(crate) term: u64,
    bytes: usize,
}

impl Changes {
    /// Changes, in the order of their revisions, made by entries up to one of this term.
    pub fn new(changes: Vec<Change>, term: u64) -> Changes {
        let ascend = |pair: &[Change]| pair[0].revision < pair[1].revision;
        assert!(changes.windows(2).all(ascend), "changes are in the order of their revisions");
        let bytes = changes.iter().map(size).sum();
        Changes { changes, term, bytes }
    }

    /// The last revision, 0 where nothing changed.
    pub fn revision(&self) -> i64 {
        self.changes.last().map_or(0, |change| change.revision)
    }
}

/// How much of what waits for the watch turn is changes.
///
/// Invariant: `bytes` is what the changes take that wait in the queue or were taken out and are not
/// [`WatchBudget::done`] with.
#[derive(Debug)]
pub struct WatchBudget {
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl Default for WatchBudget {
    fn default() -> WatchBudget {
        WatchBudget::new(CHANGE_BYTES_MAX)
    }
}

impl WatchBudget {
    /// Room for so many bytes.
    pub fn new(bytes_max: usize) -> WatchBudget {
        WatchBudget { bytes: AtomicUsize::new(0), bytes_max }
    }

    /// Counts changes that are about to wait.
    ///
    /// # Errors
    /// There is no room: the queue must be [`WatchBudget::cut`].
    pub fn admit(&self, changes: Changes) -> Result<WatchEvent, Overrun> {
        let (bytes, revision, term) = (changes.bytes, changes.revision(), changes.term);
        let waiting = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if waiting <= self.bytes_max {
            Ok(WatchEvent::Changes(changes))
        } else {
            Err(Overrun { bytes, revision, term })
        }
    }

    /// Replaces all changes that wait by one overrun, where the first of them was: a request is never
    /// answered at a revision before one that its client may have seen.
    pub fn cut(&self, queue: &mut Vec<WatchEvent>, overrun: &Overrun) {
        let Overrun { bytes: mut dropped, revision, term } = *overrun;
        let mut replacement = Some(WatchEvent::Overrun { revision, term });
        let before = std::mem::take(queue);
        for event in before {
            match event {
                WatchEvent::Changes(changes) => {
                    dropped += changes.bytes;
                    queue.extend(replacement.take());
                }
                WatchEvent::Overrun { .. } => queue.extend(replacement.take()),
                // What comes before a restore is of another store.
                event => queue.push(event),
            }
        }
        queue.extend(replacement);
        let before = self.bytes.fetch_sub(dropped, Ordering::Relaxed);
        assert!(before >= dropped, "{dropped} bytes of changes are dropped, {before} were counted");
    }

    /// Changes that were taken out are published.
    pub fn done(&self, changes: &Changes) {
        let before = self.bytes.fetch_sub(changes.bytes, Ordering::Relaxed);
        assert!(before >= changes.bytes, "{} bytes are done, {before} were counted", changes.bytes);
    }

    /// Bytes of changes that wait or are worked on.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Changes that found no room.
#[derive(Debug)]
pub struct Overrun {
    bytes: usize,
    revision: i64,
    term: u64,
}

fn size(change: &Change) -> usize {
    let events = change.events.iter();
    CHANGE_BYTES + events.map(|e| EVENT_BYTES + e.key.len() + e.kv.len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mvcc::ChangeEvent;

    fn change(revision: i64) -> Vec<Change> {
        let kv = vec![0; 1000].into();
        let event = ChangeEvent { key: "k".into(), kv, is_tombstone: false, is_create: false };
        vec![Change { revision, events: vec![event] }]
    }

    fn publish(budget: &WatchBudget, queue: &mut Vec<WatchEvent>, revision: i64, term: u64) {
        match budget.admit(Changes::new(change(revision), term)) {
            Ok(event) => queue.push(event),
            Err(overrun) => budget.cut(queue, &overrun),
        }
    }

    fn names(events: &[WatchEvent]) -> Vec<String> {
        let name = |event: &WatchEvent| match event {
            WatchEvent::Changes(changes) => format!("changes {}", changes.revision()),
            WatchEvent::Overrun { revision, term } => format!("overrun {revision} {term}"),
            _ => "request".into(),
        };
        events.iter().map(name).collect()
    }

    #[test]
    fn what_waits_has_a_limit() {
        let (budget, mut queue) = (WatchBudget::new(100_000), Vec::new());
        for revision in 2..100_000 {
            publish(&budget, &mut queue, revision, 1);
            assert!(budget.bytes() <= 100_000);
        }
        assert!(queue.len() <= 100);
        let last = names(&queue).pop().unwrap();
        assert!(last.starts_with("changes 99999") || last.starts_with("overrun 99999"), "{last}");
    }

    #[test]
    fn an_overrun_stands_before_the_requests_that_came_after_what_it_replaces() {
        let (budget, mut queue) = (WatchBudget::new(2_500), vec![WatchEvent::Close(1)]);
        publish(&budget, &mut queue, 2, 1);
        queue.push(WatchEvent::Close(2));
        publish(&budget, &mut queue, 3, 1);
        publish(&budget, &mut queue, 4, 2);
        queue.push(WatchEvent::Close(3));
        publish(&budget, &mut queue, 5, 2);
        assert_eq!(names(&queue), ["request", "overrun 4 2", "request", "request", "changes 5"]);
    }

    #[test]
    fn what_the_hub_works_on_counts_until_it_is_done() {
        let (budget, mut queue) = (WatchBudget::new(2_500), Vec::new());
        publish(&budget, &mut queue, 2, 1);
        publish(&budget, &mut queue, 3, 1);
        let taken = std::mem::take(&mut queue);
        publish(&budget, &mut queue, 4, 1);
        publish(&budget, &mut queue, 5, 1);
        for event in taken {
            if let WatchEvent::Changes(changes) = event {
                budget.done(&changes);
            }
        }
        publish(&budget, &mut queue, 6, 1);
        assert_eq!(names(&queue), ["overrun 5 1", "changes 6"]);
    }
}
