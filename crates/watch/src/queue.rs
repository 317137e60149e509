//! Who waits, in turn.

use crate::ids::WatcherId;
use std::collections::BTreeMap;

/// A watcher's place in the queue.
pub(crate) type Ticket = u64;

/// Watchers that wait for something, the next one in front; left from anywhere at the same low cost.
///
/// Always true: no ticket is higher than the last one given, so who joins comes after everyone.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: BTreeMap<Ticket, WatcherId>,
    next: Ticket,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Joins at the end.
    pub(crate) fn join(&mut self, id: WatcherId) -> Ticket {
        self.next += 1;
        let before = self.waiting.insert(self.next, id);
        assert!(before.is_none(), "ticket {} was given to {before:?} before", self.next);
        self.next
    }

    pub(crate) fn leave(&mut self, ticket: Ticket) {
        let holder = self.waiting.remove(&ticket);
        assert!(holder.is_some(), "nobody holds ticket {ticket}");
    }

    pub(crate) fn front(&self) -> Option<WatcherId> {
        self.waiting.first_key_value().map(|(_, id)| *id)
    }

    /// Everyone from the front on.
    pub(crate) fn iter(&self) -> impl Iterator<Item = WatcherId> {
        self.waiting.values().copied()
    }

    /// Asserts what is always true.
    pub(crate) fn check(&self) {
        let last = self.waiting.last_key_value().map_or(0, |(ticket, _)| *ticket);
        assert!(last <= self.next, "ticket {last} was never given: {} is the last", self.next);
    }

    /// Who holds a ticket.
    pub(crate) fn holder(&self, ticket: Ticket) -> Option<WatcherId> {
        self.waiting.get(&ticket).copied()
    }
}
