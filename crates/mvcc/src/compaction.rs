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

use crate::hash::{HashKv, Hasher};
use crate::kv::key_of;
use crate::revision::start_of;
use crate::{Refusal, Revision, Store};
use backend::{ApplyTxn, MaintenanceTxn, Table, View};
use bytes::Bytes;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

/// Revisions looked at in one step.
const BATCH: usize = 1000;

const SCHEDULED: &[u8] = b"scheduledCompactRev";
const FINISHED: &[u8] = b"finishedCompactRev";

/// How far a compaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to do.
    More,
    /// Everything up to this revision is done, or there was nothing to do.
    Done,
}

/// The two marks in the meta table.
pub(crate) struct Marks {
    pub(crate) scheduled: Option<i64>,
    pub(crate) finished: Option<i64>,
}

impl Marks {
    pub(crate) fn read(view: &View) -> Marks {
        let mark = |key| {
            let bytes = view.get(Table::Meta, key)?;
            Revision::decode(&bytes).map(|(revision, _)| revision.main)
        };
        Marks { scheduled: mark(SCHEDULED), finished: mark(FINISHED) }
    }
}

/// A compaction under way.
pub(crate) struct Compacting {
    to: i64,
    place: Place,
    hasher: Hasher,
    /// Only a compaction that follows a finished one hashes every revision since.
    keep_hash: bool,
    /// Revisions removed so far.
    removed: u64,
}

enum Place {
    /// In the index, after this key.
    Index(Option<Bytes>),
    /// In the table, from this key on.
    Table(Vec<u8>),
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
        let finished_before = self.compacting.is_none();
        self.shared.compacted.store(revision, Ordering::Release);
        self.start(before, revision, finished_before);
        Ok(())
    }

    /// Takes up a compaction that a crash interrupted.
    pub fn resume_compaction(&mut self, revision: i64) {
        self.start(-1, revision, false);
    }

    fn start(&mut self, before: i64, revision: i64, keep_hash: bool) {
        self.compacting = Some(Compacting {
            to: revision,
            place: Place::Index(None),
            hasher: Hasher::new(before, revision),
            keep_hash,
            removed: 0,
        });
    }

    /// Whether a compaction is under way.
    pub fn is_compacting(&self) -> bool {
        self.compacting.is_some()
    }

    /// Does a bounded part of the compaction under way.
    pub fn compaction_step(&mut self, txn: &mut MaintenanceTxn<'_>) -> Progress {
        let Some(compacting) = &mut self.compacting else {
            return Progress::Done;
        };
        match &compacting.place {
            Place::Index(after) => {
                let next = self.shared.index.compact_page(compacting.to, after.as_deref());
                compacting.place = match next {
                    Some(last) => Place::Index(Some(last)),
                    None => Place::Table(Vec::new()),
                };
                Progress::More
            }
            Place::Table(from) => {
                let from = from.clone();
                let end = start_of(compacting.to + 1);
                let mut seen = 0;
                let mut last = None;
                let index = &self.shared.index;
                let view = self.shared.backend.view();
                view.range(Table::Key, &from, &end, BATCH, |key, value| {
                    seen += 1;
                    last = Some(key.to_vec());
                    if let Some((revision, is_tombstone)) = Revision::decode(key) {
                        let kept = index.contains(key_of(value), revision);
                        compacting.hasher.write(revision, is_tombstone, key, value, || kept);
                        if !kept {
                            txn.delete(Table::Key, key);
                            compacting.removed += 1;
                        }
                    }
                    ControlFlow::Continue(())
                });
                if seen == BATCH
                    && let Some(mut next) = last
                {
                    next.push(0);
                    compacting.place = Place::Table(next);
                    return Progress::More;
                }
                self.finish(txn);
                Progress::Done
            }
        }
    }

    fn finish(&mut self, txn: &mut MaintenanceTxn<'_>) {
        let done = self.compacting.take().expect("a compaction is under way");
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
