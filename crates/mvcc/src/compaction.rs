//! Giving up history: promised at once, done in bounded steps.
//!
//! ```text
//! schedule   meta/scheduledCompactRev, in the same transaction as the entry; older reads refused
//! step       index, a page at a time; then the key table, a batch at a time
//! done       meta/finishedCompactRev
//! ```
//! A revision is removed from the table when the index, already compacted, does not know it. The
//! newest revision of every key stays, and a tombstone exactly at the compacted revision, so that
//! watchers may begin there. After a crash the compaction is begun anew.

use crate::compacting::{Compacting, FINISHED, Place, SCHEDULED};
use crate::hash::HashKv;
use crate::kv::key_of;
use crate::revision::start_of;
use crate::{Refusal, Revision, Store};
use backend::{ApplyTxn, MaintenanceTxn, Table};
use bytes::Bytes;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

/// How far a compaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to do.
    More,
    /// Everything up to this revision is done, or there was nothing to do.
    Done,
}

impl Store {
    /// Promises a compaction. Reads below it are refused from now on.
    ///
    /// # Errors
    /// [`Refusal::Compacted`] where that much is gone already, [`Refusal::FutureRevision`].
    pub fn schedule_compaction(
        &mut self,
        txn: &mut ApplyTxn<'_>,
        revision: i64,
    ) -> Result<(), Refusal> {
        let before = self.compacted();
        if revision <= before {
            return Err(Refusal::Compacted);
        }
        if revision > self.revision() {
            return Err(Refusal::FutureRevision);
        }
        txn.put(Table::Meta, SCHEDULED, Bytes::copy_from_slice(&start_of(revision)));
        self.shared.compacted.store(revision, Ordering::Release);
        let is_idle = self.compacting.is_none();
        let compacting = Compacting::new(before, revision, is_idle);
        if is_idle {
            self.compacting = Some(compacting);
        } else {
            // One that has to wait does the work of those that waited before it.
            self.compacting_next = Some(compacting);
        }
        Ok(())
    }

    /// Asserts what is always true of the compactions under way.
    pub(crate) fn check_compactions(&self) {
        let compacted = self.compacted();
        let Some(now) = &self.compacting else {
            assert!(self.compacting_next.is_none(), "what waits, waits for another compaction");
            return;
        };
        assert!(now.to <= compacted, "{} is being compacted, and {compacted} promised", now.to);
        let Some(next) = &self.compacting_next else {
            assert_eq!(now.to, compacted, "what was promised last is being done");
            return;
        };
        assert!(now.to < next.to, "a compaction to {} waits for one to {}", next.to, now.to);
        assert_eq!(next.to, compacted, "what was promised last waits");
    }

    /// Takes up a compaction that a crash interrupted; [`Store::open`] has done so already.
    pub fn resume_compaction(&mut self, revision: i64) {
        if self.compacting.is_none() {
            self.compacting = Some(Compacting::new(-1, revision, false));
        }
    }

    /// Whether a compaction is under way.
    pub fn is_compacting(&self) -> bool {
        self.compacting.is_some()
    }

    /// Whether the next step of the compaction under way looks at the index.
    pub fn compacts_index(&self) -> bool {
        self.compacting.as_ref().is_some_and(|now| matches!(now.place, Place::Index(_)))
    }

    /// Rows removed by all compactions that were finished since the store was opened.
    pub fn rows_removed(&self) -> u64 {
        self.rows_removed
    }

    /// Sets how many rows of the table a step looks at.
    pub fn set_compaction_batch_limit(&mut self, rows: usize) {
        self.compaction_batch_rows = rows.max(1);
    }

    /// Does a bounded part of the compaction under way: some hundred keys of the index, or a batch
    /// of rows of the table.
    pub fn compaction_step(&mut self, txn: &mut MaintenanceTxn<'_>) -> Progress {
        let Some(mut compacting) = self.compacting.take() else {
            return Progress::Done;
        };
        let next = match &compacting.place {
            Place::Index(from) => {
                let page = self.shared.index.compact_page(compacting.to, from);
                compacting.keeps_any |= page.keeps_any;
                Some(page.next.map_or(Place::Table(Vec::new()), Place::Index))
            }
            Place::Table(from) => {
                let from = from.clone();
                self.remove_batch(&mut compacting, &from, txn)
            }
        };
        match next {
            Some(place) => self.compacting = Some(Compacting { place, ..compacting }),
            None => {
                self.rows_removed += compacting.rows_removed;
                self.finish(compacting, txn);
                self.compacting = self.compacting_next.take();
            }
        }
        if self.is_compacting() { Progress::More } else { Progress::Done }
    }

    /// Removes what the index does not know from a batch of rows; gives where to go on.
    fn remove_batch(
        &self,
        compacting: &mut Compacting,
        from: &[u8],
        txn: &mut MaintenanceTxn<'_>,
    ) -> Option<Place> {
        let Compacting { to, ref mut hasher, keeps_any, ref mut rows_removed, .. } = *compacting;
        let (index, view) = (&self.shared.index, self.shared.backend.view());
        let (batch_rows, mut seen, mut last) = (self.compaction_batch_rows, 0, None);
        view.range(Table::Key, from, &start_of(to + 1), batch_rows, |key, value| {
            seen += 1;
            if seen == batch_rows {
                last = Some(key.to_vec());
            }
            if let Some((revision, is_tombstone)) = Revision::decode(key) {
                let kept = index.contains(key_of(value), revision);
                // With nothing to keep, everything counts that earlier compactions have left.
                hasher.write(revision, is_tombstone, key, value, || kept || !keeps_any);
                if !kept {
                    *rows_removed += 1;
                    txn.delete(Table::Key, key);
                }
            }
            ControlFlow::Continue(())
        });
        assert!(seen <= batch_rows, "{seen} rows were looked at in a batch of {batch_rows}");
        let mut next = last?;
        next.push(0);
        assert!(next.as_slice() > from, "a compaction goes on behind what it has looked at");
        Some(Place::Table(next))
    }

    fn finish(&self, done: Compacting, txn: &mut MaintenanceTxn<'_>) {
        let compacted = self.compacted();
        assert!(done.to <= compacted, "{} is done and {compacted} was promised", done.to);
        txn.put(Table::Meta, FINISHED, Bytes::copy_from_slice(&start_of(done.to)));
        if done.keep_hash {
            let (hash, compact_revision) = done.hasher.finish();
            self.shared.hashes.store(HashKv {
                hash,
                compact_revision,
                hash_revision: done.to,
                revision: 0,
            });
        }
    }
}
