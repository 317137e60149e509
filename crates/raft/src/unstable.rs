//! The end of the log: entries and a snapshot that storage does not hold yet.
//!
//! ```text
//! storage             | unstable
//! ... 4  5  6         | 7  8  9  10  11
//!                       ^        ^
//!                       offset   in_progress: from here on nobody was asked to persist
//! ```

use crate::storage::snapshot_index;
use crate::wire::take_limited;
use proto::raftpb::{Entry, Snapshot, SnapshotMetadata};
use std::collections::VecDeque;

/// Entries from `offset` on, and a snapshot from a leader that replaces everything before them.
///
/// Always true, and asserted by [`Unstable::check`]:
/// 1. `offset <= in_progress <= offset + entries.len()`.
/// 2. Entries are consecutive from `offset` on, as their ends show.
/// 3. A snapshot lies before them, and only one that is here is being persisted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unstable {
    snapshot: Option<Snapshot>,
    /// Whether the owner was asked to persist the snapshot.
    snapshot_in_progress: bool,
    entries: VecDeque<Entry>,
    offset: u64,
    in_progress: u64,
}

impl Unstable {
    /// Nothing, behind a storage whose log ends before this index.
    pub(crate) fn new(offset: u64) -> Unstable {
        Unstable { offset, in_progress: offset, ..Unstable::default() }
    }

    /// Asserts what is always true of [`Unstable`].
    pub(crate) fn check(&self) {
        let (offset, handed_out) = (self.offset, self.in_progress);
        let end = offset + self.entries.len() as u64;
        assert!(
            (offset..=end).contains(&handed_out),
            "{handed_out} was handed out of {offset} to {end}"
        );
        let ends = [(self.entries.front(), offset), (self.entries.back(), end - 1)];
        for (entry, index) in ends.into_iter().filter_map(|(entry, at)| Some((entry?, at))) {
            assert_eq!(entry.index(), index, "an entry stands in another's place");
        }
        let covered = self.snapshot.as_ref().map_or(0, snapshot_index);
        assert!(covered < offset, "a snapshot of {covered} covers entries from {offset} on");
        let is_here = self.snapshot.is_some() || !self.snapshot_in_progress;
        assert!(is_here, "a snapshot is being persisted that is gone");
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    pub(crate) fn has_entries(&self) -> bool {
        !self.entries.is_empty()
    }

    /// The first entry of the log, where a snapshot decides it.
    pub(crate) fn first_index(&self) -> Option<u64> {
        self.snapshot.as_ref().map(|snapshot| snapshot_index(snapshot) + 1)
    }

    /// The last entry of the log, where storage does not decide it.
    pub(crate) fn last_index(&self) -> Option<u64> {
        match self.entries.len() as u64 {
            0 => self.snapshot.as_ref().map(snapshot_index),
            count => Some(self.offset + count - 1),
        }
    }

    /// An entry's term, where storage does not decide it.
    pub(crate) fn term(&self, index: u64) -> Option<u64> {
        if let Some(place) = index.checked_sub(self.offset) {
            return self.entries.get(usize::try_from(place).ok()?).map(Entry::term);
        }
        let metadata = self.snapshot.as_ref()?.metadata.as_ref()?;
        (metadata.index() == index).then(|| metadata.term())
    }

    /// Entries that nobody was asked to persist.
    pub(crate) fn next_entries(&self) -> Vec<Entry> {
        self.entries.range((self.in_progress - self.offset) as usize..).cloned().collect()
    }

    pub(crate) fn has_next_entries(&self) -> bool {
        self.entries.len() as u64 > self.in_progress - self.offset
    }

    /// The snapshot, where nobody was asked to persist it.
    pub(crate) fn next_snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref().filter(|_| !self.snapshot_in_progress)
    }

    /// Everything here has been handed out to be persisted.
    pub(crate) fn accept_in_progress(&mut self) {
        self.in_progress = self.offset + self.entries.len() as u64;
        self.snapshot_in_progress = self.snapshot.is_some();
    }

    /// Storage holds everything up to this entry, unless it has been replaced since.
    pub(crate) fn stable_to(&mut self, index: u64, term: u64) {
        if index < self.offset || self.term(index) != Some(term) {
            return;
        }
        self.entries.drain(..=(index - self.offset) as usize);
        self.offset = index + 1;
        self.in_progress = self.in_progress.max(self.offset);
        if self.entries.capacity() > 4 * self.entries.len().max(SPARE_ENTRIES) {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// Storage holds the snapshot of this index.
    pub(crate) fn stable_snapshot_to(&mut self, index: u64) {
        if self.snapshot.as_ref().is_some_and(|snapshot| snapshot_index(snapshot) == index) {
            self.snapshot = None;
            self.snapshot_in_progress = false;
        }
    }

    /// Replaces everything by a snapshot.
    pub(crate) fn restore(&mut self, snapshot: Snapshot) {
        *self = Unstable::new(snapshot.metadata.as_ref().map_or(0, SnapshotMetadata::index) + 1);
        self.snapshot = Some(snapshot);
    }

    /// Appends entries, in place of what is here from the first of them on.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) {
        let from = entries[0].index();
        debug_assert!(
            entries.iter().zip(from..).all(|(entry, index)| entry.index() == index),
            "entries from {from} on are not consecutive"
        );
        if from <= self.offset {
            self.entries = entries.into();
            (self.offset, self.in_progress) = (from, from);
            return;
        }
        let keep = (from - self.offset) as usize;
        assert!(keep <= self.entries.len(), "entries before {from} are missing");
        self.entries.truncate(keep);
        self.in_progress = self.in_progress.min(from);
        self.entries.extend(entries);
    }

    /// Entries from `from` up to but without `to`, as many as fit.
    pub(crate) fn slice(&self, from: u64, to: u64, bytes_max: u64) -> Vec<Entry> {
        let (offset, end) = (self.offset, self.offset + self.entries.len() as u64);
        assert!(offset <= from && from <= to && to <= end, "{from} to {to} of {offset} to {end}");
        let range = (from - offset) as usize..(to - offset) as usize;
        take_limited(self.entries.range(range), bytes_max)
    }
}

/// Room that is kept although nothing fills it.
const SPARE_ENTRIES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(terms: &[(u64, u64)]) -> Vec<Entry> {
        let entry = |(index, term): &(u64, u64)| Entry {
            r#type: None,
            term: Some(*term),
            index: Some(*index),
            data: None,
        };
        terms.iter().map(entry).collect()
    }

    fn unstable() -> Unstable {
        let mut unstable = Unstable::new(5);
        unstable.append(entries(&[(5, 1), (6, 1), (7, 1)]));
        unstable.accept_in_progress();
        unstable
    }

    #[test]
    fn an_append_replaces_what_follows_and_what_was_handed_out_of_it() {
        let mut unstable = unstable();
        unstable.append(entries(&[(6, 2), (7, 2)]));
        unstable.check();
        assert_eq!(unstable.next_entries(), entries(&[(6, 2), (7, 2)]));
        unstable.append(entries(&[(4, 3)]));
        assert_eq!((unstable.offset(), unstable.next_entries()), (4, entries(&[(4, 3)])));
    }

    #[test]
    fn an_answer_for_a_replaced_entry_counts_for_nothing() {
        let mut unstable = unstable();
        unstable.stable_to(6, 9);
        unstable.stable_to(8, 1);
        unstable.stable_to(4, 1);
        assert_eq!(unstable.offset(), 5);
        unstable.stable_to(6, 1);
        unstable.check();
        assert_eq!((unstable.offset(), unstable.last_index()), (7, Some(7)));
    }

    #[test]
    fn a_snapshot_stands_until_storage_holds_it() {
        let mut unstable = unstable();
        let metadata = SnapshotMetadata { index: Some(9), term: Some(3), conf_state: None };
        unstable.restore(Snapshot { data: None, metadata: Some(metadata) });
        assert_eq!((unstable.first_index(), unstable.last_index()), (Some(10), Some(9)));
        assert_eq!((unstable.term(9), unstable.term(8)), (Some(3), None));
        unstable.accept_in_progress();
        assert!(unstable.next_snapshot().is_none());
        unstable.stable_snapshot_to(8);
        assert!(unstable.snapshot().is_some());
        unstable.stable_snapshot_to(9);
        assert!(unstable.snapshot().is_none());
    }
}
