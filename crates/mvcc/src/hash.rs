//! HashKV: the checksum that members compare (reference: `server/storage/mvcc/hash.go`).
//!
//! CRC-32C over the bucket's name, then over key and value of every change up to a revision. Of
//! the changes that the last compaction covered only those count that a key still has, and a
//! tombstone exactly at the compacted revision does not, since older versions removed it.

use crate::kv::key_of;
use crate::revision::start_of;
use crate::store::{ReadTxn, Reader, Shared};
use crate::{Refusal, Revision};
use backend::Table;
use parking_lot::Mutex;
use std::ops::ControlFlow;

/// Hashes of finished compactions that are kept.
const CACHE_MAX: usize = 10;
/// Rows that are hashed before it is asked again whether anybody waits for the hash.
const ROWS_BETWEEN_LOOKS: u64 = 1024;

/// A hash and what it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    /// The CRC-32C.
    pub hash: u32,
    /// The compacted revision it was computed with.
    pub compact_revision: i64,
    /// The last revision it covers.
    pub hash_revision: i64,
    /// The store's revision when it was asked for.
    pub revision: i64,
}

/// Hashes of finished compactions, by their revision.
#[derive(Default)]
pub(crate) struct HashCache {
    newest: Mutex<Vec<HashKv>>,
}

impl HashCache {
    pub(crate) fn store(&self, hash: HashKv) {
        let mut newest = self.newest.lock();
        newest.push(hash);
        newest.sort_by_key(|hash| hash.hash_revision);
        let surplus = newest.len().saturating_sub(CACHE_MAX);
        newest.drain(..surplus);
        assert!(newest.len() <= CACHE_MAX, "no more than {CACHE_MAX} hashes are kept");
    }

    fn get(&self, revision: i64) -> Option<HashKv> {
        self.newest.lock().iter().find(|hash| hash.hash_revision == revision).copied()
    }
}

/// A hash being computed.
pub(crate) struct Hasher {
    crc: u32,
    compacted: i64,
    to: i64,
}

impl Hasher {
    pub(crate) fn new(compacted: i64, to: i64) -> Hasher {
        Hasher { crc: crc32c::crc32c(Table::Key.name().as_bytes()), compacted, to }
    }

    /// Counts a change in where it belongs. `kept` is asked for changes that a compaction has
    /// covered.
    pub(crate) fn write(
        &mut self,
        revision: Revision,
        is_tombstone: bool,
        key: &[u8],
        value: &[u8],
        kept: impl FnOnce() -> bool,
    ) {
        if revision.main > self.to
            || (revision.main <= self.compacted && !kept())
            || (revision.main == self.compacted && is_tombstone)
        {
            return;
        }
        self.crc = crc32c::crc32c_append(crc32c::crc32c_append(self.crc, key), value);
    }

    /// The hash, and the compacted revision it was computed with.
    pub(crate) fn finish(self) -> (u32, i64) {
        (self.crc, self.compacted)
    }
}

impl Reader {
    /// The hash of everything up to a revision, 0 for the current one. That of a finished
    /// compaction's revision is the one computed with the compaction.
    ///
    /// # Errors
    /// [`Refusal::Compacted`], [`Refusal::FutureRevision`].
    pub fn hash_kv(&self, revision: i64) -> Result<HashKv, Refusal> {
        self.read_with(|read| read.hash_kv(revision))
    }

    /// The same while `goes_on`, which is asked again and again; `None` once it says no.
    ///
    /// # Errors
    /// As [`Reader::hash_kv`].
    pub fn hash_kv_while(
        &self,
        revision: i64,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Option<HashKv>, Refusal> {
        self.read_with(|read| read.hash_kv_while(revision, goes_on))
    }
}

impl ReadTxn {
    /// The hash of everything up to a revision, 0 for the current one. That of a finished
    /// compaction's revision is the one computed with the compaction.
    ///
    /// # Errors
    /// [`Refusal::Compacted`], [`Refusal::FutureRevision`].
    pub fn hash_kv(&self, revision: i64) -> Result<HashKv, Refusal> {
        let hashed = self.hash_kv_while(revision, &|| true)?;
        Ok(hashed.expect("it goes on to the end"))
    }

    fn hash_kv_while(
        &self,
        revision: i64,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Option<HashKv>, Refusal> {
        let current = self.revision();
        if let Some(cached) = self.shared.hashes.get(revision) {
            return Ok(Some(HashKv { revision: current, ..cached }));
        }
        let compacted = self.compacted();
        if revision > 0 && revision < compacted {
            return Err(Refusal::Compacted);
        }
        if revision > current {
            return Err(Refusal::FutureRevision);
        }
        let to = if revision == 0 { current } else { revision };
        let mut hasher = Hasher::new(compacted, to);
        let shared: &Shared = &self.shared;
        // With nothing to keep, everything counts that the compaction leaves, whether it is done
        // here or was interrupted.
        let kept_at = if shared.index.hashes_any(to) { to } else { compacted };
        let (mut rows, mut is_given_up) = (0_u64, !goes_on());
        self.view.range(Table::Key, &[], &start_of(to + 1), usize::MAX, |key, value| {
            rows += 1;
            is_given_up |= rows.is_multiple_of(ROWS_BETWEEN_LOOKS) && !goes_on();
            if is_given_up {
                return ControlFlow::Break(());
            }
            if let Some((revision, is_tombstone)) = Revision::decode(key) {
                hasher.write(revision, is_tombstone, key, value, || {
                    shared.index.is_hashed(key_of(value), revision, kept_at)
                });
            }
            ControlFlow::Continue(())
        });
        if is_given_up {
            return Ok(None);
        }
        if revision >= 0 && to < self.compacted() {
            return Err(Refusal::Compacted);
        }
        let (hash, compact_revision) = hasher.finish();
        Ok(Some(HashKv { hash, compact_revision, hash_revision: to, revision: current }))
    }
}
