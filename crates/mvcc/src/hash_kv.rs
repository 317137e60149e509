//! Hashing what the key table holds, for members to compare.

use crate::hash::{HashKv, Hasher};
use crate::kv::key_of;
use crate::revision::start_of;
use crate::shared::Shared;
use crate::store::{ReadTxn, Reader};
use crate::{Refusal, Revision};
use backend::Table;
use std::ops::ControlFlow;

/// Rows that are hashed before it is asked again whether anybody waits for the hash.
const ROWS_BETWEEN_LOOKS: u64 = 1024;

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
