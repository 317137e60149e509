//! The part of the log that is in memory.

use proto::raftpb::Entry;
use std::collections::VecDeque;

/// Entries with the four marks that move over them.
///
/// Always true: `applied <= committed <= last`, `persisted <= last`, and entries are consecutive
/// from `first` on. What lies below `first` is only on disk.
#[derive(Debug)]
pub struct Log {
    entries: VecDeque<Entry>,
    /// The index of the first entry held.
    first: u64,
    /// The term of the entry before it.
    term_before: u64,
    persisted: u64,
    /// Handed out to be persisted.
    persisting: u64,
    pub(crate) committed: u64,
    /// Handed out to be applied.
    applying: u64,
    applied: u64,
}

impl Log {
    /// A log whose entries are persisted and begin after a snapshot.
    pub(crate) fn new(
        snapshot: (u64, u64),
        entries: Vec<Entry>,
        committed: u64,
        applied: u64,
    ) -> Log {
        let last = snapshot.0 + entries.len() as u64;
        let committed = committed.max(applied).min(last);
        let applied = applied.min(committed).max(snapshot.0);
        let log = Log {
            first: snapshot.0 + 1,
            term_before: snapshot.1,
            entries: entries.into(),
            persisted: last,
            persisting: last,
            committed: committed.max(snapshot.0),
            applying: applied,
            applied,
        };
        log.check();
        log
    }

    /// Asserts what is always true.
    pub fn check(&self) {
        assert!(self.applied <= self.applying && self.applying <= self.committed);
        assert!(self.committed <= self.last() && self.persisted <= self.persisting);
        assert!(self.persisting <= self.last());
        if let Some(entry) = self.entries.front() {
            assert_eq!(entry.index(), self.first);
        }
    }

    /// The last entry's index.
    pub fn last(&self) -> u64 {
        self.first + self.entries.len() as u64 - 1
    }

    /// The last entry's term.
    pub fn last_term(&self) -> u64 {
        self.entries.back().map_or(self.term_before, Entry::term)
    }

    /// The last entry known to be on this disk.
    pub fn persisted(&self) -> u64 {
        self.persisted
    }

    /// The last entry known to be committed.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// The last entry applied.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// An entry's term, where it is known.
    pub fn term(&self, index: u64) -> Option<u64> {
        if index + 1 == self.first {
            return Some(self.term_before);
        }
        let place = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.entries.get(place).map(Entry::term)
    }

    pub(crate) fn append(&mut self, entry: Entry) {
        assert_eq!(entry.index(), self.last() + 1, "entries are consecutive");
        self.entries.push_back(entry);
    }

    /// Entries that nobody was asked to persist yet.
    pub(crate) fn take_unpersisted(&mut self) -> Vec<Entry> {
        let from = (self.persisting + 1 - self.first) as usize;
        self.persisting = self.last();
        self.entries.range(from..).cloned().collect()
    }

    /// Notes that the disk has everything up to an index; `false` where the entry there is of
    /// another term, so the answer is for one that was replaced.
    pub(crate) fn persisted_to(&mut self, index: u64, term: u64) -> bool {
        if self.term(index) != Some(term) {
            return false;
        }
        self.persisted = self.persisted.max(index);
        true
    }

    /// Committed entries on this disk that nobody was asked to apply yet.
    pub(crate) fn take_unapplied(&mut self) -> Vec<Entry> {
        let to = self.committed.min(self.persisted);
        if to <= self.applying {
            return Vec::new();
        }
        let from = (self.applying + 1 - self.first) as usize;
        let end = (to + 1 - self.first) as usize;
        self.applying = to;
        self.entries.range(from..end).cloned().collect()
    }

    pub(crate) fn applied_to(&mut self, index: u64) {
        assert!(index <= self.applying, "only what was handed out is applied");
        self.applied = self.applied.max(index);
    }

    /// Lets go of entries up to an index that is applied and persisted.
    pub(crate) fn forget_to(&mut self, index: u64) {
        let to = index.min(self.applied).min(self.persisted);
        while self.first <= to {
            let gone = self.entries.pop_front().expect("the log reaches beyond what is applied");
            self.term_before = gone.term();
            self.first += 1;
        }
    }
}
