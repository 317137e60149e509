//! From the key table back to the index.
//!
//! The table is cut into spans of revisions. Each is read by a job of its own, on whichever thread
//! the caller likes, into an index of its own; the indexes are joined in key order, and packed.

use crate::Revision;
use crate::compacting::{BATCH_ROWS, Compacting, Marks};
use crate::hash::HashCache;
use crate::history::History;
use crate::index::{self, Index};
use crate::kv::Stored;
use crate::revision::start_of;
use crate::shared::Shared;
use crate::store::Store;
use crate::tree::Tree;
use backend::{Backend, Fault, Table, View};
use bytes::Bytes;
use parking_lot::RwLock;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

/// What was found beside the keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restored {
    /// Keys that are attached to a lease, with its id.
    pub attachments: Vec<(Bytes, i64)>,
    /// A compaction that was promised but not finished. It is under way again.
    pub unfinished_compaction: Option<i64>,
}

/// A span of the key table, to be read on any thread.
pub struct RestoreJob {
    view: View,
    from: Vec<u8>,
    /// Excluded; empty where there is no end.
    to: Vec<u8>,
}

/// What a span held.
pub struct RestoredPart {
    from: Vec<u8>,
    tree: Tree,
    last: i64,
    /// Puts with a lease.
    leased: Vec<(Bytes, Revision, i64)>,
    defect: Option<String>,
}

impl Store {
    /// Rebuilds the index from the key table. A compaction that a crash interrupted is under way
    /// again.
    ///
    /// # Errors
    /// Rows of the table that are no revisions or no key-values.
    pub fn open(backend: &Backend) -> Result<(Store, Restored), Fault> {
        Store::open_in_parts(backend, 1, |jobs| jobs.into_iter().map(RestoreJob::run).collect())
    }

    /// As [`Store::open`], for a database that is only looked at.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_read_only(backend: backend::Reader) -> Result<(Store, Restored), Fault> {
        let run = |jobs: Vec<RestoreJob>| jobs.into_iter().map(RestoreJob::run).collect();
        restore(backend, 1, run)
    }

    /// As [`Store::open`], the table divided among `parts` jobs that `run` may put on as many
    /// threads; it gives back their results in any order.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_in_parts(
        backend: &Backend,
        parts: usize,
        run: impl FnOnce(Vec<RestoreJob>) -> Vec<RestoredPart>,
    ) -> Result<(Store, Restored), Fault> {
        restore(backend.reader(), parts, run)
    }
}

fn restore(
    backend: backend::Reader,
    parts: usize,
    run: impl FnOnce(Vec<RestoreJob>) -> Vec<RestoredPart>,
) -> Result<(Store, Restored), Fault> {
    let view = backend.view();
    let marks = Marks::read(&view);
    let jobs = cut(&view, parts);
    let count = jobs.len();
    let mut parts = run(jobs);
    assert_eq!(parts.len(), count, "every job is run and its result handed back");
    parts.sort_by(|a, b| a.from.cmp(&b.from));
    if let Some(what) = parts.iter_mut().find_map(|part| part.defect.take()) {
        return Err(Fault::Corrupt { table: Table::Key.name(), what });
    }
    let last = parts.iter().map(|part| part.last).max().unwrap_or(0);
    let leased: Vec<_> = parts.iter_mut().flat_map(|part| part.leased.drain(..)).collect();
    let index = Index::new(index::join(parts.into_iter().map(|part| part.tree).collect()));
    let attachments = attachments(&index, leased);

    // A crash within a compaction may have removed the last revisions; they stay used.
    let current = last.max(marks.scheduled.unwrap_or(0)).max(marks.finished.unwrap_or(0)).max(1);
    if current == i64::MAX {
        let what = "no revision can follow the last one".into();
        return Err(Fault::Corrupt { table: Table::Key.name(), what });
    }
    let finished = marks.finished.unwrap_or(-1);
    let unfinished_compaction = marks.scheduled.filter(|scheduled| *scheduled > finished);
    let shared = Shared {
        index,
        current: AtomicI64::new(current),
        compacted: AtomicI64::new(unfinished_compaction.unwrap_or(finished)),
        backend,
        hashes: HashCache::default(),
    };
    let shared = Arc::new(shared);
    let store = Store {
        slot: Arc::new(RwLock::new(Arc::clone(&shared))),
        shared,
        compacting: unfinished_compaction.map(|to| Compacting::new(finished, to, false)),
        compacting_next: None,
        compaction_batch_rows: BATCH_ROWS,
        rows_removed: 0,
    };
    Ok((store, Restored { attachments, unfinished_compaction }))
}

/// Spans of about as many main revisions each.
fn cut(view: &View, parts: usize) -> Vec<RestoreJob> {
    let first = first_revision(view);
    let last = view.last_revision_key().as_deref().and_then(main_of).unwrap_or(first);
    let parts = i64::try_from(parts.max(1)).unwrap_or(1);
    let step = last.saturating_sub(first) / parts + 1;
    let bound = |part: i64| start_of(first.saturating_add(step.saturating_mul(part))).to_vec();
    let jobs: Vec<RestoreJob> = (0..parts)
        .map(|part| RestoreJob {
            view: view.clone(),
            from: if part == 0 { Vec::new() } else { bound(part) },
            to: if part + 1 == parts { Vec::new() } else { bound(part + 1) },
        })
        .collect();
    for pair in jobs.windows(2) {
        assert_eq!(pair[0].to, pair[1].from, "each span begins where the one before ends");
    }
    jobs
}

fn first_revision(view: &View) -> i64 {
    let mut first = None;
    view.range(Table::Key, &[], &[], 1, |key, _| {
        first = main_of(key);
        ControlFlow::Break(())
    });
    first.unwrap_or(0)
}

fn main_of(key: &[u8]) -> Option<i64> {
    Revision::decode(key).map(|(revision, _)| revision.main).filter(|main| *main >= 0)
}

/// Those of the puts that are still the newest of their keys.
fn attachments(index: &Index, leased: Vec<(Bytes, Revision, i64)>) -> Vec<(Bytes, i64)> {
    let is_newest = |key: &[u8], put: Revision| {
        index.get(key, i64::MAX).is_some_and(|found| found.modified == put)
    };
    let newest = leased.into_iter().filter(|(key, put, _)| is_newest(key, *put));
    newest.map(|(key, _, lease)| (key, lease)).collect()
}

impl RestoreJob {
    /// Reads the span.
    pub fn run(self) -> RestoredPart {
        let mut part = RestoredPart {
            from: self.from,
            tree: Tree::default(),
            last: 0,
            leased: Vec::new(),
            defect: None,
        };
        let from = part.from.clone();
        self.view.range(Table::Key, &from, &self.to, usize::MAX, |key, value| {
            match part.add(key, value) {
                Ok(()) => ControlFlow::Continue(()),
                Err(what) => {
                    part.defect = Some(what);
                    ControlFlow::Break(())
                }
            }
        });
        part
    }
}

impl RestoredPart {
    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let Some((revision, is_tombstone)) = Revision::decode(key) else {
            return Err(format!("{} is no revision", key.escape_ascii()));
        };
        let Some(stored) = Stored::read(value) else {
            return Err(format!("revision {revision:?} holds no key-value"));
        };
        let (created, version) = (stored.create_revision, stored.version);
        if !(0..=revision.main).contains(&created) || !(0..i64::MAX).contains(&version) {
            return Err(format!("revision {revision:?} is version {version} of {created}"));
        }
        debug_assert!(self.last <= revision.main, "the table is in order of revisions");
        self.last = revision.main;
        // A row that raised the revision (see `bump_revision`) is the empty key's, which nobody can
        // ask for: it must be kept and hashed like any other.
        if is_tombstone {
            self.tree.upsert(
                stored.key,
                |history| history.join(History::restored_tombstone(revision)),
                || (History::restored_tombstone(revision), ()),
            );
            return Ok(());
        }
        let put = || History::restored(revision, stored.create_revision, stored.version);
        let again = |history: &mut History| {
            history.put(revision);
        };
        self.tree.upsert(stored.key, again, || (put(), ()));
        if stored.lease != 0 {
            self.leased.push((Bytes::copy_from_slice(stored.key), revision, stored.lease));
        }
        Ok(())
    }
}
