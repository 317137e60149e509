//! Where a node reads what has been persisted.

use crate::wire::take_limited;
use bytes::Bytes;
use proto::raftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata};
use std::collections::VecDeque;
use thiserror::Error;

/// Why storage has not what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StorageError {
    /// The entry is covered by a snapshot and gone.
    #[error("requested index is unavailable due to compaction")]
    Compacted,
    /// The entry is not there yet.
    #[error("requested entry at index is unavailable")]
    Unavailable,
    /// There is a newer snapshot already.
    #[error("requested index is older than the existing snapshot")]
    SnapshotOutOfDate,
    /// The snapshot is being made; the node asks again later.
    #[error("snapshot is temporarily unavailable")]
    SnapshotTemporarilyUnavailable,
}

/// What a node reads. It never writes: its owner does, as each [`crate::Ready`] says.
///
/// Faults of a disk are not for a node to know: storage that can fail must stop its owner instead
/// of answering.
pub trait Storage {
    /// The hard state and configuration that were persisted, for the start.
    fn initial_state(&self) -> (HardState, ConfState);

    /// Entries from `from` up to but without `to`, as many as fit in `bytes_max`, at least one.
    ///
    /// # Errors
    /// [`StorageError::Compacted`], [`StorageError::Unavailable`].
    fn entries(&self, from: u64, to: u64, bytes_max: u64) -> Result<Vec<Entry>, StorageError>;

    /// An entry's term; known also of the entry before the first.
    ///
    /// # Errors
    /// [`StorageError::Compacted`], [`StorageError::Unavailable`].
    fn term(&self, index: u64) -> Result<u64, StorageError>;

    /// The first entry that is there.
    fn first_index(&self) -> u64;

    /// The last entry.
    fn last_index(&self) -> u64;

    /// The newest snapshot, for a follower whose entries are gone.
    ///
    /// # Errors
    /// [`StorageError::SnapshotTemporarilyUnavailable`].
    fn snapshot(&self) -> Result<Snapshot, StorageError>;
}

/// Storage in memory: the newest snapshot and the entries behind some index at or before it.
///
/// Always true, and asserted by [`MemoryStorage::check`]: entries are consecutive behind `before`,
/// their terms never fall, and `bytes` is what they carry.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    hard_state: HardState,
    conf_state: ConfState,
    snapshot: Snapshot,
    /// Index and term of the entry before the first.
    before: (u64, u64),
    entries: VecDeque<Entry>,
    /// What the entries carry.
    bytes: usize,
}

impl MemoryStorage {
    /// Storage with nothing in it.
    pub fn new() -> MemoryStorage {
        MemoryStorage::default()
    }

    /// Storage as a log on a disk describes it: a hard state, the configuration as of what is
    /// applied, the index and term of a snapshot, and the entries behind that.
    pub fn restored(
        hard_state: HardState,
        conf_state: ConfState,
        before: (u64, u64),
        entries: Vec<Entry>,
    ) -> MemoryStorage {
        let metadata = SnapshotMetadata {
            conf_state: Some(conf_state.clone()),
            index: Some(before.0),
            term: Some(before.1),
        };
        let snapshot = Snapshot { data: None, metadata: Some(metadata) };
        let bytes = entries.iter().map(data_len).sum();
        MemoryStorage { hard_state, conf_state, snapshot, before, entries: entries.into(), bytes }
    }

    /// Asserts what is always true of [`MemoryStorage`]. Costs a walk over all entries.
    pub fn check(&self) {
        let (before, term) = self.before;
        let numbered = self.entries.iter().zip(before + 1..);
        let misplaced = numbered.clone().find(|(entry, index)| entry.index() != *index);
        assert!(misplaced.is_none(), "behind {before} an entry is misplaced: {misplaced:?}");
        let terms = std::iter::once(term).chain(self.entries.iter().map(Entry::term));
        assert!(terms.is_sorted(), "terms fall behind {before}");
        let bytes: usize = self.entries.iter().map(data_len).sum();
        assert_eq!(self.bytes, bytes, "bytes counted, and bytes in the entries");
    }

    fn place(&self, index: u64) -> usize {
        (index - self.before.0 - 1) as usize
    }

    /// The hard state from now on.
    pub fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// Replaces everything by a snapshot that came from a leader.
    ///
    /// # Errors
    /// [`StorageError::SnapshotOutOfDate`].
    pub fn apply_snapshot(&mut self, snapshot: Snapshot) -> Result<(), StorageError> {
        let metadata = snapshot.metadata.clone().unwrap_or_default();
        let newest = snapshot_index(&self.snapshot);
        if newest != 0 && newest >= metadata.index() {
            return Err(StorageError::SnapshotOutOfDate);
        }
        self.before = (metadata.index(), metadata.term());
        self.conf_state = metadata.conf_state.unwrap_or_default();
        self.snapshot = snapshot;
        self.entries.clear();
        self.bytes = 0;
        Ok(())
    }

    /// Notes a snapshot made here. The entries that it covers stay until [`MemoryStorage::compact`].
    ///
    /// # Errors
    /// [`StorageError::SnapshotOutOfDate`].
    pub fn create_snapshot(
        &mut self,
        index: u64,
        conf_state: ConfState,
        data: Option<Bytes>,
    ) -> Result<(), StorageError> {
        if index <= snapshot_index(&self.snapshot) {
            return Err(StorageError::SnapshotOutOfDate);
        }
        let term = self.term(index).expect("a snapshot covers entries that are here");
        self.conf_state = conf_state.clone();
        let metadata =
            SnapshotMetadata { conf_state: Some(conf_state), index: Some(index), term: Some(term) };
        self.snapshot = Snapshot { data, metadata: Some(metadata) };
        Ok(())
    }

    /// Lets go of entries up to this one.
    ///
    /// # Errors
    /// [`StorageError::Compacted`] where they are gone already.
    pub fn compact(&mut self, index: u64) -> Result<(), StorageError> {
        if index <= self.before.0 {
            return Err(StorageError::Compacted);
        }
        let term = self.term(index).expect("only what is here can be let go");
        let place = self.place(index);
        self.bytes -= self.entries.drain(..=place).map(|entry| data_len(&entry)).sum::<usize>();
        self.before = (index, term);
        Ok(())
    }

    /// The last entry to let go of, so that at most so many entries with so many bytes stay.
    pub fn excess(&self, entries_max: usize, bytes_max: usize) -> u64 {
        if self.entries.len() <= entries_max && self.bytes <= bytes_max {
            return self.before.0;
        }
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            bytes += data_len(entry);
            bytes <= bytes_max
        };
        let kept = self.entries.iter().rev().take(entries_max).take_while(fits).count();
        let (excess, before) = (self.last_index() - kept as u64, self.before.0);
        assert!(excess >= before, "{excess} is let go of, and {before} is gone already");
        excess
    }

    /// Appends entries; what is here from the first of them on is replaced.
    pub fn append(&mut self, mut entries: Vec<Entry>) {
        let Some(first) = entries.first().map(Entry::index) else { return };
        let known = (self.before.0 + 1).saturating_sub(first) as usize;
        if known >= entries.len() {
            return;
        }
        let first = first + known as u64;
        assert!(first <= self.last_index() + 1, "entries before {first} are missing");
        let place = self.place(first);
        self.bytes -= self.entries.drain(place..).map(|entry| data_len(&entry)).sum::<usize>();
        self.bytes += entries[known..].iter().map(data_len).sum::<usize>();
        self.entries.extend(entries.drain(known..));
    }
}

fn data_len(entry: &Entry) -> usize {
    entry.data.as_ref().map_or(0, Bytes::len)
}

impl Storage for MemoryStorage {
    fn initial_state(&self) -> (HardState, ConfState) {
        (self.hard_state, self.conf_state.clone())
    }

    fn entries(&self, from: u64, to: u64, bytes_max: u64) -> Result<Vec<Entry>, StorageError> {
        if from <= self.before.0 {
            return Err(StorageError::Compacted);
        }
        if to > self.last_index() + 1 || self.entries.is_empty() {
            return Err(StorageError::Unavailable);
        }
        Ok(take_limited(self.entries.range(self.place(from)..self.place(to)), bytes_max))
    }

    fn term(&self, index: u64) -> Result<u64, StorageError> {
        if index == self.before.0 {
            return Ok(self.before.1);
        }
        if index < self.before.0 {
            return Err(StorageError::Compacted);
        }
        self.entries.get(self.place(index)).map(Entry::term).ok_or(StorageError::Unavailable)
    }

    fn first_index(&self) -> u64 {
        self.before.0 + 1
    }

    fn last_index(&self) -> u64 {
        self.before.0 + self.entries.len() as u64
    }

    fn snapshot(&self) -> Result<Snapshot, StorageError> {
        Ok(self.snapshot.clone())
    }
}

/// The last entry that a snapshot covers, 0 for none.
pub(crate) fn snapshot_index(snapshot: &Snapshot) -> u64 {
    snapshot.metadata.as_ref().map_or(0, SnapshotMetadata::index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { r#type: None, term: Some(term), index: Some(index), data: None }
    }

    fn storage() -> MemoryStorage {
        let entries = vec![entry(4, 4), entry(5, 5), entry(6, 6)];
        MemoryStorage::restored(HardState::default(), ConfState::default(), (3, 3), entries)
    }

    #[test]
    fn entries_are_given_within_bounds_and_bytes() {
        let storage = storage();
        assert_eq!(storage.entries(3, 5, u64::MAX), Err(StorageError::Compacted));
        assert_eq!(storage.entries(5, 8, u64::MAX), Err(StorageError::Unavailable));
        for (bytes_max, count) in [(0, 1), (8, 2), (11, 2), (12, 3)] {
            assert_eq!(storage.entries(4, 7, bytes_max).unwrap().len(), count, "{bytes_max}");
        }
        assert_eq!((storage.term(2), storage.term(3)), (Err(StorageError::Compacted), Ok(3)));
        assert_eq!(storage.term(7), Err(StorageError::Unavailable));
    }

    #[test]
    fn an_append_replaces_what_follows_and_ignores_what_is_compacted() {
        let mut storage = storage();
        storage.append(vec![entry(1, 1), entry(2, 2)]);
        assert_eq!(storage.last_index(), 6);
        storage.append(vec![entry(3, 3), entry(4, 7)]);
        assert_eq!((storage.last_index(), storage.term(4)), (4, Ok(7)));
        storage.append(vec![entry(5, 7)]);
        assert_eq!(storage.last_index(), 5);
    }

    #[test]
    fn the_excess_is_what_lies_before_the_last_that_fit() {
        let with = |index, len: usize| Entry { data: Some(vec![0; len].into()), ..entry(index, 6) };
        let mut storage = storage();
        storage.append(vec![with(6, 10), with(7, 20), with(8, 30)]);
        for (entries_max, bytes_max, excess) in
            [(5, 60, 3), (5, 59, 6), (4, 60, 4), (2, 60, 6), (5, 29, 8)]
        {
            assert_eq!(storage.excess(entries_max, bytes_max), excess, "{entries_max} {bytes_max}");
        }
        storage.append(vec![with(8, 1)]);
        storage.compact(6).unwrap();
        assert_eq!((storage.excess(5, 21), storage.excess(5, 20)), (6, 7));
        assert_eq!(storage.bytes, 21);
    }

    #[test]
    fn snapshots_and_compaction_only_go_forward() {
        let mut storage = storage();
        storage.create_snapshot(5, ConfState::default(), None).unwrap();
        let again = storage.create_snapshot(5, ConfState::default(), None);
        assert_eq!(again, Err(StorageError::SnapshotOutOfDate));
        storage.compact(5).unwrap();
        assert_eq!((storage.first_index(), storage.term(5)), (6, Ok(5)));
        assert_eq!(storage.compact(5), Err(StorageError::Compacted));
        let older = storage.snapshot().unwrap();
        assert_eq!(storage.apply_snapshot(older), Err(StorageError::SnapshotOutOfDate));
    }
}
