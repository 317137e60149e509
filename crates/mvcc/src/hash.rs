//! HashKV: the checksum that members compare (reference: `server/storage/mvcc/hash.go`).
//!
//! CRC-32C over the bucket's name, then over key and value of every change up to a revision. Of
//! the changes that the last compaction covered only those count that a key still has, and a
//! tombstone exactly at the compacted revision does not, since older versions removed it.

use crate::Revision;
use backend::Table;
use parking_lot::Mutex;

/// Hashes of finished compactions that are kept.
const CACHE_MAX: usize = 10;
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

    pub(crate) fn get(&self, revision: i64) -> Option<HashKv> {
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
