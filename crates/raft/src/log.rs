//! The log: what storage holds, what it does not hold yet, and the marks that move over both.
//!
//! ```text
//! first        applied   applying   committed          last
//! |--------------|----------|----------|-----------------|
//! [ storage .........................][ unstable ........]
//! ```

use crate::storage::{Storage, StorageError, snapshot_index};
use crate::unstable::Unstable;
use crate::wire::encoded_bytes;
use proto::raftpb::{Entry, Snapshot};

/// An entry's place: index and term. Two logs that agree on one agree on everything before it
/// (thesis, section 3.5, the log matching property).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryId {
    /// Its index.
    pub index: u64,
    /// Its term.
    pub term: u64,
}

impl EntryId {
    /// The place of an entry.
    pub fn of(entry: &Entry) -> EntryId {
        EntryId { index: entry.index(), term: entry.term() }
    }
}

/// A log.
///
/// Always true, and asserted by [`Log::check`]:
/// 1. `applied <= applying <= committed <= last`.
/// 2. Entries that are not applied are here, unless a snapshot is on its way to the state machine.
/// 3. Between storage and [`Unstable`] no entry is missing, unless a snapshot replaces storage.
/// 4. The truths of [`Unstable`].
#[derive(Debug)]
pub(crate) struct Log<S> {
    pub(crate) storage: S,
    pub(crate) unstable: Unstable,
    pub(crate) committed: u64,
    /// The last entry handed out to be applied.
    applying: u64,
    pub(crate) applied: u64,
    /// Bytes that may be handed out before they are reported as applied.
    applying_bytes_max: u64,
    applying_bytes: u64,
    /// Nothing more is handed out until something is reported as applied.
    applying_paused: bool,
}

impl<S: Storage> Log<S> {
    /// The log that storage holds; what it has let go of counts as applied.
    pub(crate) fn new(storage: S, applying_bytes_max: u64) -> Log<S> {
        assert!(applying_bytes_max > 0, "something must be allowed to be applied");
        let (before, last) = (storage.first_index() - 1, storage.last_index());
        Log {
            storage,
            unstable: Unstable::new(last + 1),
            committed: before,
            applying: before,
            applied: before,
            applying_bytes_max,
            applying_bytes: 0,
            applying_paused: false,
        }
    }

    /// Asserts what is always true of [`Log`]. Cheap: a node does it whenever it hands out work.
    pub(crate) fn check(&self) {
        let (applied, applying, committed) = (self.applied, self.applying, self.committed);
        let (first, last) = (self.first_index(), self.last_index());
        assert!(applied <= applying, "applied {applied}, and only {applying} was handed out");
        assert!(applying <= committed, "{applying} was handed out, and {committed} is committed");
        assert!(committed <= last, "committed {committed}, and the log ends at {last}");
        if self.unstable.snapshot().is_none() {
            assert!(
                first <= applied + 1,
                "the log begins at {first}, and only {applied} is applied"
            );
            let (stored, offset) = (self.storage.last_index(), self.unstable.offset());
            assert!(offset <= stored + 1, "storage ends at {stored}, the rest begins at {offset}");
        }
        self.unstable.check();
    }

    pub(crate) fn first_index(&self) -> u64 {
        self.unstable.first_index().unwrap_or_else(|| self.storage.first_index())
    }

    pub(crate) fn last_index(&self) -> u64 {
        self.unstable.last_index().unwrap_or_else(|| self.storage.last_index())
    }

    pub(crate) fn last_id(&self) -> EntryId {
        let index = self.last_index();
        let term = self.term(index).expect("the term of the last entry is known");
        EntryId { index, term }
    }

    /// An entry's term; known from the entry before the first to the last.
    pub(crate) fn term(&self, index: u64) -> Result<u64, StorageError> {
        if let Some(term) = self.unstable.term(index) {
            return Ok(term);
        }
        if index + 1 < self.first_index() {
            return Err(StorageError::Compacted);
        }
        if index > self.last_index() {
            return Err(StorageError::Unavailable);
        }
        self.storage.term(index)
    }

    pub(crate) fn matches(&self, id: EntryId) -> bool {
        self.term(id.index) == Ok(id.term)
    }

    /// Whether a log that ends so holds at least what this one does (thesis, section 3.6.1).
    pub(crate) fn is_up_to_date(&self, theirs: EntryId) -> bool {
        let ours = self.last_id();
        (theirs.term, theirs.index) >= (ours.term, ours.index)
    }

    /// Appends entries behind one that must be here, in place of those that contradict them. The
    /// index of the last of them; `None` where the one before is not here.
    pub(crate) fn maybe_append(
        &mut self,
        before: EntryId,
        mut entries: Vec<Entry>,
        committed: u64,
    ) -> Option<u64> {
        if !self.matches(before) {
            return None;
        }
        let last = before.index + entries.len() as u64;
        if let Some(place) = entries.iter().position(|entry| !self.matches(EntryId::of(entry))) {
            entries.drain(..place);
            self.append(entries);
        }
        self.commit_to(committed.min(last));
        Some(last)
    }

    /// Appends entries, in place of what is here from the first of them on.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first().map(Entry::index) else { return };
        assert!(first > self.committed, "entry {first} is committed and cannot be replaced");
        self.unstable.append(entries);
    }

    /// The highest entry not above `index` whose term is not above `term`. Where its term is not
    /// known it is 0, and the entry may or may not be such a one.
    pub(crate) fn find_conflict(&self, mut index: u64, term: u64) -> EntryId {
        while index > 0 {
            match self.term(index) {
                Err(_) => return EntryId { index, term: 0 },
                Ok(ours) if ours <= term => return EntryId { index, term: ours },
                Ok(_) => index -= 1,
            }
        }
        EntryId::default()
    }

    /// Everything up to this entry is committed.
    pub(crate) fn commit_to(&mut self, index: u64) {
        if self.committed < index {
            let last = self.last_index();
            assert!(index <= last, "entry {index} is committed, but the log was cut at {last}");
            self.committed = index;
        }
    }

    /// Commits up to an entry, if it is there; whether that is news.
    pub(crate) fn maybe_commit(&mut self, id: EntryId) -> bool {
        let news = id.term != 0 && id.index > self.committed && self.matches(id);
        if news {
            self.commit_to(id.index);
        }
        news
    }

    /// The last entry that may be handed out to be applied. With `unstable`, a committed entry may
    /// be applied before this node's own storage holds it.
    fn max_appliable(&self, unstable: bool) -> u64 {
        if unstable { self.committed } else { self.committed.min(self.unstable.offset() - 1) }
    }

    /// Whether there are entries to apply. A snapshot goes before any of them.
    pub(crate) fn has_next_committed(&self, unstable: bool) -> bool {
        let held_up = self.applying_paused || self.unstable.snapshot().is_some();
        !held_up && self.applying < self.max_appliable(unstable)
    }

    /// Whether entries wait until more of those handed out are applied.
    pub(crate) fn is_applying_held_up(&self) -> bool {
        self.applying_paused && self.applying < self.committed
    }

    /// Hands out entries to apply, as many as fit.
    pub(crate) fn take_committed(&mut self, unstable: bool) -> Vec<Entry> {
        if !self.has_next_committed(unstable) {
            return Vec::new();
        }
        let last = self.max_appliable(unstable);
        let room = self.applying_bytes_max - self.applying_bytes;
        let entries = self.slice(self.applying + 1, last + 1, room);
        let entries = entries.expect("entries that are not applied are kept");
        let (first, due) = (entries.first().map(Entry::index), self.applying + 1);
        assert_eq!(first, Some(due), "what is applied next");
        self.applying = entries.last().map_or(self.applying, Entry::index);
        assert!(self.applying <= last, "{} is handed out of {last}", self.applying);
        self.applying_bytes = self.applying_bytes.saturating_add(encoded_bytes(&entries));
        // Fewer than there are: the next one does not fit.
        self.applying_paused =
            self.applying_bytes >= self.applying_bytes_max || self.applying < last;
        entries
    }

    /// Everything up to this entry is applied; so many bytes of what was handed out.
    pub(crate) fn applied_to(&mut self, index: u64, bytes: u64) {
        assert!(
            self.applied <= index && index <= self.committed,
            "entry {index} cannot be applied between {} and {}",
            self.applied,
            self.committed
        );
        self.applied = index;
        self.applying = self.applying.max(index);
        self.applying_bytes = self.applying_bytes.saturating_sub(bytes);
        self.applying_paused = self.applying_bytes >= self.applying_bytes_max;
    }

    /// Entries from this one to the end, as many as fit.
    pub(crate) fn entries(&self, from: u64, bytes_max: u64) -> Result<Vec<Entry>, StorageError> {
        let last = self.last_index();
        if from > last { Ok(Vec::new()) } else { self.slice(from, last + 1, bytes_max) }
    }

    /// Entries from `from` up to but without `to`, as many as fit, at least one.
    pub(crate) fn slice(
        &self,
        from: u64,
        to: u64,
        bytes_max: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        if from < self.first_index() {
            return Err(StorageError::Compacted);
        }
        let offset = self.unstable.offset();
        if from >= offset {
            return Ok(self.unstable.slice(from, to, bytes_max));
        }
        let cut = to.min(offset);
        let mut entries = match self.storage.entries(from, cut, bytes_max) {
            Err(StorageError::Unavailable) => panic!("storage lost entries from {from} to {cut}"),
            entries => entries?,
        };
        let first = entries.first().map(Entry::index);
        assert_eq!(first, Some(from), "what storage gave for the entries from {from} to {cut}");
        assert!(entries.len() as u64 <= cut - from, "storage gave more than {from} to {cut}");
        if to <= offset || (entries.len() as u64) < cut - from {
            return Ok(entries);
        }
        let bytes = encoded_bytes(&entries);
        if bytes >= bytes_max {
            return Ok(entries);
        }
        let rest = self.unstable.slice(offset, to, bytes_max - bytes);
        // A slice holds at least one entry, which need not fit behind these.
        if rest.len() > 1 || bytes.saturating_add(encoded_bytes(&rest)) <= bytes_max {
            entries.extend(rest);
        }
        Ok(entries)
    }

    /// The newest snapshot.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, StorageError> {
        self.unstable.snapshot().map_or_else(|| self.storage.snapshot(), |known| Ok(known.clone()))
    }

    /// Replaces the log by a snapshot.
    pub(crate) fn restore(&mut self, snapshot: Snapshot) {
        let (index, committed) = (snapshot_index(&snapshot), self.committed);
        assert!(index > committed, "a snapshot of {index} would take back {committed}");
        self.committed = index;
        self.unstable.restore(snapshot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;
    use crate::wire::NO_LIMIT;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { r#type: None, term: Some(term), index: Some(index), data: None }
    }

    /// The first `stable` entries are in storage.
    fn log(terms: &[u64], stable: usize, applying_bytes_max: u64) -> Log<MemoryStorage> {
        let numbered = terms.iter().zip(1..).map(|(term, index)| entry(index, *term));
        let mut entries: Vec<Entry> = numbered.collect();
        let rest = entries.split_off(stable);
        let mut storage = MemoryStorage::new();
        storage.append(entries);
        let mut log = Log::new(storage, applying_bytes_max);
        log.append(rest);
        log
    }

    #[test]
    fn conflicts_are_found_by_term() {
        let log = log(&[0, 2, 2, 5, 5, 5], 6, NO_LIMIT);
        for (index, term, expected) in [(6, 4, 3), (6, 5, 6), (3, 1, 1), (9, 4, 9), (4, 2, 3)] {
            assert_eq!(log.find_conflict(index, term).index, expected, "{index} {term}");
        }
    }

    #[test]
    fn an_append_keeps_what_agrees_and_replaces_what_does_not() {
        let mut log = log(&[1, 2, 3], 2, NO_LIMIT);
        let before = EntryId { index: 1, term: 1 };
        assert_eq!(log.maybe_append(before, vec![entry(2, 2)], 9), Some(2));
        assert_eq!((log.last_index(), log.committed), (3, 2));
        let before = EntryId { index: 2, term: 2 };
        assert_eq!(log.maybe_append(before, vec![entry(3, 4), entry(4, 4)], 2), Some(4));
        assert_eq!(log.last_id(), EntryId { index: 4, term: 4 });
        assert_eq!(log.maybe_append(EntryId { index: 4, term: 3 }, vec![], 4), None);
        log.check();
    }

    #[test]
    #[should_panic(expected = "entry 1 is committed")]
    fn committed_entries_are_never_replaced() {
        let mut log = log(&[1, 2, 3], 2, NO_LIMIT);
        log.commit_to(2);
        log.maybe_append(EntryId::default(), vec![entry(1, 9)], 0);
    }

    #[test]
    fn what_is_being_applied_is_bounded() {
        let mut log = log(&[1, 1, 1, 1], 2, 9);
        log.commit_to(4);
        let taken = log.take_committed(true);
        assert_eq!(taken.len(), 2, "two entries of four bytes fit");
        assert!(!log.has_next_committed(true));
        log.applied_to(1, 4);
        assert_eq!(log.take_committed(true).len(), 1);
        log.check();
    }

    #[test]
    fn unstable_entries_are_applied_only_where_that_is_wanted() {
        let mut log = log(&[1, 1, 1, 1], 2, NO_LIMIT);
        log.commit_to(4);
        assert_eq!(log.take_committed(false).len(), 2);
        assert!(!log.has_next_committed(false) && log.has_next_committed(true));
    }
}
