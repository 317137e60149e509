//! The store: one writer, and readers that each see one revision.

use crate::compaction::Compacting;
use crate::hash::HashCache;
use crate::index::Index;
use crate::range::{self, RangeOptions, RangeResult, Refusal};
use crate::restore::{self, Restored};
use crate::revision::start_of;
use crate::write::{Change, WriteTxn};
use crate::{Kv, Revision};
use backend::{ApplyTxn, Backend, Fault, Table, View};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// What the writer and the readers share.
pub(crate) struct Shared {
    pub(crate) index: Index,
    pub(crate) current: AtomicI64,
    pub(crate) compacted: AtomicI64,
    pub(crate) backend: backend::Reader,
    pub(crate) hashes: HashCache,
}

/// The writing side.
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    pub(crate) compacting: Option<Compacting>,
}

/// The reading side; clones share it.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

/// The store at one revision.
pub struct ReadTxn {
    pub(crate) shared: Arc<Shared>,
    pub(crate) view: View,
    revision: i64,
}

impl Store {
    /// Rebuilds the index from the key table.
    ///
    /// # Errors
    /// Keys of the table that are no revisions.
    pub fn open(backend: &Backend) -> Result<(Store, Restored), Fault> {
        restore::restore(backend.reader())
    }

    /// The reading side.
    pub fn reader(&self) -> Reader {
        Reader { shared: Arc::clone(&self.shared) }
    }

    /// The current revision.
    pub fn revision(&self) -> i64 {
        self.shared.current.load(Ordering::Acquire)
    }

    /// The revision up to which history was given up, -1 where none was.
    pub fn compacted(&self) -> i64 {
        self.shared.compacted.load(Ordering::Acquire)
    }

    /// Begins to write the next revision.
    pub fn begin<'s, 'b>(&'s mut self, txn: &'s mut ApplyTxn<'b>) -> WriteTxn<'s, 'b> {
        WriteTxn::new(&self.shared, txn)
    }

    /// Makes a revision visible, after its transaction was finished.
    pub fn publish(&mut self, change: &Change) {
        let before = self.shared.current.swap(change.revision, Ordering::AcqRel);
        assert_eq!(before + 1, change.revision, "revisions count up by one");
    }
}

impl Reader {
    /// The current revision.
    pub fn revision(&self) -> i64 {
        self.shared.current.load(Ordering::Acquire)
    }

    /// The revision up to which history was given up, -1 where none was.
    pub fn compacted(&self) -> i64 {
        self.shared.compacted.load(Ordering::Acquire)
    }

    /// How many keys have a history.
    pub fn keys(&self) -> usize {
        self.shared.index.len()
    }

    /// The store at its current revision.
    pub fn read(&self) -> ReadTxn {
        // First the revision, then the view: the view then holds all of it.
        let revision = self.revision();
        let view = self.shared.backend.view();
        ReadTxn { shared: Arc::clone(&self.shared), view, revision }
    }
}

impl ReadTxn {
    /// The revision that this reads.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The lowest revision that can be read now.
    pub fn compacted(&self) -> i64 {
        self.shared.compacted.load(Ordering::Acquire)
    }

    /// Reads keys.
    ///
    /// # Errors
    /// A revision that is compacted or does not exist, unknown sort options.
    pub fn range(&self, options: &RangeOptions) -> Result<RangeResult, Refusal> {
        let shared = &self.shared;
        let result =
            range::range(&shared.index, options, self.revision, self.compacted(), |revision| {
                self.load(revision)
            })?;
        // A compaction may have run while the index was walked.
        range::revision_to_read(options.revision, self.revision, self.compacted())?;
        Ok(result)
    }

    fn load(&self, revision: Revision) -> Option<Kv> {
        self.view.get(Table::Key, &revision.encode()).map(Kv::new)
    }

    /// The key as it was at a revision; `None` too where that has been compacted.
    pub fn get_at(&self, key: &[u8], revision: i64) -> Option<Kv> {
        let found = self.shared.index.get(key, revision)?;
        self.load(found.modified)
    }

    /// Walks all changes from a main revision on, in order, up to this one's revision, until `see`
    /// breaks: the revision, whether it is a tombstone, and the stored bytes.
    ///
    /// # Errors
    /// [`Refusal::Compacted`] where some of them are gone: `from` is below the compacted revision.
    pub fn history(
        &self,
        from: i64,
        mut see: impl FnMut(Revision, bool, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Refusal> {
        let end = start_of(self.revision + 1);
        if from < self.compacted() {
            return Err(Refusal::Compacted);
        }
        self.view.range(Table::Key, &start_of(from), &end, usize::MAX, |key, value| {
            match Revision::decode(key) {
                Some((revision, is_tombstone)) => see(revision, is_tombstone, value),
                None => ControlFlow::Continue(()),
            }
        });
        if from < self.compacted() { Err(Refusal::Compacted) } else { Ok(()) }
    }
}
