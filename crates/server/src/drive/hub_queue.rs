//! What waits for the watch thread: bounded, though writers never wait for watchers.
//!
//! Changes come as fast as they are applied. Where more of them wait than may, they are dropped and
//! the hub is told to which revision: its watchers then read them from history.

use crate::mailbox::{Heed, Mailbox, Woken};
use ::apply::mvcc::Change;
use replica::watch::Hub;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Bytes of changes that may wait, those included that the watch thread works on.
const CHANGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a change and what an event in it take, beside keys and values.
const CHANGE_BYTES: usize = 64;
const EVENT_BYTES: usize = 128;

/// For the watch thread.
pub(crate) enum HubEvent {
    /// Changes to be published.
    Changes(Changes),
    /// Changes up to a revision were dropped.
    Overrun { revision: i64, term: u64 },
    /// A request of a stream; its own business to bound.
    Do(Box<dyn FnOnce(&mut Hub) + Send>),
}

/// What one batch of entries changed.
pub(crate) struct Changes {
    pub(crate) changes: Vec<Change>,
    pub(crate) term: u64,
    bytes: usize,
}

/// The queue. Always true: `bytes` is what the changes in it take, and those that were taken out
/// and not [`HubQueue::done`] with.
pub(crate) struct HubQueue {
    mailbox: Mailbox<HubEvent>,
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl HubQueue {
    /// An empty queue.
    pub(crate) fn new() -> HubQueue {
        HubQueue::with_limit(CHANGE_BYTES_MAX)
    }

    fn with_limit(bytes_max: usize) -> HubQueue {
        HubQueue { mailbox: Mailbox::new(), bytes: AtomicUsize::new(0), bytes_max }
    }

    /// Has changes published, or passed over where too many wait.
    pub(crate) fn publish(&self, changes: Vec<Change>, term: u64) {
        let Some(revision) = changes.last().map(|change| change.revision) else { return };
        let bytes = changes.iter().map(size).sum();
        let waiting = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if waiting <= self.bytes_max {
            // Without watchers the hub only notes how far the store is.
            self.mailbox.send_lazily(HubEvent::Changes(Changes { changes, term, bytes }));
            return;
        }
        let mut dropped = bytes;
        self.mailbox.edit(|queue| dropped += cut(queue, revision, term));
        self.bytes.fetch_sub(dropped, Ordering::Relaxed);
    }

    /// Runs on the watch thread, in order with the changes.
    pub(crate) fn on_hub(&self, act: impl FnOnce(&mut Hub) + Send + 'static) {
        self.mailbox.send(HubEvent::Do(Box::new(act)));
    }

    /// As [`Mailbox::drain`]; changes are lazy.
    pub(crate) fn drain(
        &self,
        into: &mut Vec<HubEvent>,
        deadline: Option<Instant>,
        heed: Heed,
    ) -> Woken {
        self.mailbox.drain(into, deadline, heed)
    }

    /// Changes that were taken out are published.
    pub(crate) fn done(&self, changes: &Changes) {
        self.bytes.fetch_sub(changes.bytes, Ordering::Relaxed);
    }

    /// As [`Mailbox::close`].
    pub(crate) fn close(&self) {
        self.mailbox.close();
    }
}

fn size(change: &Change) -> usize {
    let events = change.events.iter();
    CHANGE_BYTES + events.map(|e| EVENT_BYTES + e.key.len() + e.kv.len()).sum::<usize>()
}

/// Replaces all changes by one overrun, where the first of them was: a request is never answered
/// at a revision before one that its client may have seen. Gives the bytes that are gone.
fn cut(queue: &mut Vec<HubEvent>, revision: i64, term: u64) -> usize {
    let mut bytes = 0;
    let mut overrun = Some(HubEvent::Overrun { revision, term });
    let before = std::mem::take(queue);
    for event in before {
        match event {
            HubEvent::Changes(changes) => {
                bytes += changes.bytes;
                queue.extend(overrun.take());
            }
            HubEvent::Overrun { .. } => queue.extend(overrun.take()),
            HubEvent::Do(_) => queue.push(event),
        }
    }
    queue.extend(overrun);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::apply::mvcc::ChangeEvent;

    fn change(revision: i64) -> Vec<Change> {
        let kv = vec![0; 1000].into();
        let event = ChangeEvent { key: "k".into(), kv, is_tombstone: false, is_create: false };
        vec![Change { revision, events: vec![event] }]
    }

    fn names(events: &[HubEvent]) -> Vec<String> {
        let name = |event: &HubEvent| match event {
            HubEvent::Changes(changes) => format!("changes {}", changes.changes[0].revision),
            HubEvent::Overrun { revision, term } => format!("overrun {revision} {term}"),
            HubEvent::Do(_) => "do".into(),
        };
        events.iter().map(name).collect()
    }

    #[test]
    fn what_waits_has_a_limit() {
        let queue = HubQueue::with_limit(100_000);
        for revision in 2..100_000 {
            queue.publish(change(revision), 1);
            assert!(queue.bytes.load(Ordering::Relaxed) <= 100_000);
        }
        let mut events = Vec::new();
        queue.drain(&mut events, None, Heed::All);
        assert!(events.len() <= 100);
        let last = names(&events).pop().unwrap();
        assert!(last.starts_with("changes 99999") || last.starts_with("overrun 99999"), "{last}");
    }

    #[test]
    fn an_overrun_stands_before_the_requests_that_came_after_what_it_replaces() {
        let queue = HubQueue::with_limit(2_500);
        queue.on_hub(|_| {});
        queue.publish(change(2), 1);
        queue.on_hub(|_| {});
        queue.publish(change(3), 1);
        queue.publish(change(4), 2);
        queue.on_hub(|_| {});
        queue.publish(change(5), 2);
        let mut events = Vec::new();
        queue.drain(&mut events, None, Heed::All);
        assert_eq!(names(&events), ["do", "overrun 4 2", "do", "do", "changes 5"]);
    }

    #[test]
    fn what_the_hub_works_on_counts_until_it_is_done() {
        let queue = HubQueue::with_limit(2_500);
        let mut events = Vec::new();
        queue.publish(change(2), 1);
        queue.publish(change(3), 1);
        queue.drain(&mut events, None, Heed::All);
        queue.publish(change(4), 1);
        queue.publish(change(5), 1);
        for event in events.drain(..) {
            if let HubEvent::Changes(changes) = event {
                queue.done(&changes);
            }
        }
        queue.publish(change(6), 1);
        queue.drain(&mut events, None, Heed::All);
        assert_eq!(names(&events), ["overrun 5 1", "changes 6"]);
    }
}
