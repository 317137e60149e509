//! A compaction on its way, and the marks that tell of it in the meta table.

use crate::Revision;
use crate::hash::Hasher;
use backend::{Table, View};

/// Rows looked at in one step, unless [`crate::Store::set_compaction_batch_limit`] says otherwise.
pub(crate) const BATCH_ROWS: usize = 1000;

pub(crate) const SCHEDULED: &[u8] = b"scheduledCompactRev";
pub(crate) const FINISHED: &[u8] = b"finishedCompactRev";

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

/// A compaction under way, or about to be.
pub(crate) struct Compacting {
    pub(crate) to: i64,
    pub(crate) place: Place,
    pub(crate) hasher: Hasher,
    /// Only a compaction that follows a finished one hashes every revision since.
    pub(crate) keep_hash: bool,
    /// Some key keeps a revision up to `to`.
    pub(crate) keeps_any: bool,
    pub(crate) rows_removed: u64,
}

pub(crate) enum Place {
    /// In the index, from this key on.
    Index(Vec<u8>),
    /// In the table, from this key on.
    Table(Vec<u8>),
}

impl Compacting {
    pub(crate) fn new(before: i64, to: i64, keep_hash: bool) -> Compacting {
        assert!(before < to, "a compaction leads from {before} forward, not to {to}");
        Compacting {
            to,
            place: Place::Index(Vec::new()),
            hasher: Hasher::new(before, to),
            keep_hash,
            keeps_any: false,
            rows_removed: 0,
        }
    }
}
