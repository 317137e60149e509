//! The store: one writer, and readers that each see one revision.

use crate::Revision;
use crate::compacting::Compacting;
use crate::index::KeyRange;
use crate::kv::{Kv, key_of};
use crate::range::{self, RangeOptions, RangeResult, RangeSummary, Refusal, Source, Window};
use crate::revision::start_of;
use crate::shared::{Shared, Slot};
use crate::write::{Change, WriteTxn};
use backend::{ApplyTxn, Keys, Table, View};
use bytes::Bytes;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The writing side.
///
/// Always true between transactions:
/// 1. Nothing is compacted beyond the current revision.
/// 2. Every revision that the index knows is in the key table, of the same key, and not beyond the
///    current one.
/// 3. What the table holds beyond the compacted revision, the index knows.
/// 4. A compaction that waits follows one that is under way and goes further; neither goes beyond
///    what was promised.
/// 5. The index is sound: see `Leaf`, `Branch`, `History`.
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    pub(crate) slot: Slot,
    pub(crate) compacting: Option<Compacting>,
    /// Promised while another one was under way.
    pub(crate) compacting_next: Option<Compacting>,
    pub(crate) compaction_batch_rows: usize,
    pub(crate) rows_removed: u64,
}

/// The reading side; clones share it.
#[derive(Clone)]
pub struct Reader {
    slot: Slot,
}

/// The store at one revision.
pub struct ReadTxn {
    pub(crate) shared: Arc<Shared>,
    pub(crate) view: View,
    revision: i64,
}

impl Store {
    /// Asserts what is always true, between transactions. Looks at every key and row.
    pub fn check(&self) {
        let (current, compacted) = (self.revision(), self.compacted());
        assert!(
            compacted <= current,
            "{compacted} is compacted and {current} the current revision"
        );
        self.check_compactions();
        let index = &self.shared.index;
        index.check();
        let view = self.shared.backend.view();
        let keys = view.keys();
        index.for_each(|key, revision, is_tombstone| {
            assert!(revision.main <= current, "{revision:?} of {key:?} is beyond {current}");
            let row = match is_tombstone {
                true => keys.with(&revision.encode_tombstone(), |row| key_of(row) == key),
                false => keys.with(&revision.encode(), |row| key_of(row) == key),
            };
            assert_eq!(row, Some(true), "the table has {revision:?} of {key:?}");
        });
        view.range(Table::Key, &start_of(compacted.max(0) + 1), &[], usize::MAX, |row, value| {
            let read = Revision::decode(row);
            let is_known = read.is_some_and(|(at, _)| index.contains(key_of(value), at));
            assert!(is_known, "the index knows {read:?} of {:?}", key_of(value));
            ControlFlow::Continue(())
        });
    }

    /// The reading side.
    pub fn reader(&self) -> Reader {
        Reader { slot: Arc::clone(&self.slot) }
    }

    /// Takes the place of another store, as after the installation of a snapshot: its readers read
    /// this one from now on, and what they had begun to read stays as it is.
    pub fn succeed(&mut self, predecessor: &Store) {
        self.slot = Arc::clone(&predecessor.slot);
        *self.slot.write() = Arc::clone(&self.shared);
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
        assert!(!change.events.is_empty(), "a revision changes something");
        let before = self.shared.current.swap(change.revision, Ordering::AcqRel);
        assert_eq!(before + 1, change.revision, "revisions count up by one");
    }
}

impl Reader {
    fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.slot.read())
    }

    /// The current revision.
    pub fn revision(&self) -> i64 {
        self.slot.read().current.load(Ordering::Acquire)
    }

    /// The revision up to which history was given up, -1 where none was.
    pub fn compacted(&self) -> i64 {
        self.slot.read().compacted.load(Ordering::Acquire)
    }

    /// How many keys have a history.
    pub fn keys(&self) -> usize {
        self.slot.read().index.len()
    }

    /// How many keys there are.
    pub fn live_keys(&self) -> usize {
        self.shared().index.count(KeyRange { key: &[], end: &[0] }, i64::MAX)
    }

    /// The store at its current revision.
    pub fn read(&self) -> ReadTxn {
        let shared = self.shared();
        // First the revision, then the view: the view then holds all of it.
        let revision = shared.current.load(Ordering::Acquire);
        let view = shared.backend.view();
        ReadTxn { shared, view, revision }
    }

    /// Lets `act` read at the current revision, and again where a compaction has overtaken that
    /// revision meanwhile: who asks for what is current is never told that it is compacted.
    ///
    /// # Errors
    /// What `act` is refused.
    pub fn read_with<T>(
        &self,
        mut act: impl FnMut(&ReadTxn) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        loop {
            let read = self.read();
            match act(&read) {
                Err(Refusal::Compacted) if read.revision() < read.compacted() => {}
                result => return result,
            }
        }
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

    fn window(&self) -> Window {
        Window { current: self.revision, compacted: self.compacted() }
    }

    /// Reads keys.
    ///
    /// # Errors
    /// A revision that is compacted or does not exist, unknown sort options. Even this
    /// transaction's own revision may be compacted by now; see [`Reader::read_with`].
    pub fn range(&self, options: &RangeOptions) -> Result<RangeResult, Refusal> {
        let mut kvs = Vec::new();
        let mut keep = |stored: &[u8]| kvs.push(Kv::new(Bytes::copy_from_slice(stored)));
        let RangeSummary { revision, more, count } = self.range_with(options, &mut keep)?;
        Ok(RangeResult { revision, kvs, more, count })
    }

    /// Reads keys, and hands every key-value's bytes to `see` where they lie: no copy is made, and
    /// in key order no more than a page is held. Where it fails, what has been handed on means
    /// nothing.
    ///
    /// # Errors
    /// As [`ReadTxn::range`].
    pub fn range_with(
        &self,
        options: &RangeOptions,
        see: &mut dyn FnMut(&[u8]),
    ) -> Result<RangeSummary, Refusal> {
        let keys = self.view.keys();
        let result = range::range(&self.shared.index, options, self.window(), &keys, see);
        if !matches!(result, Ok(_) | Err(Refusal::Compacted)) {
            return result;
        }
        // A compaction may have run meanwhile.
        self.window().revision(options.revision)?;
        if let Ok(summary) = &result {
            let (read, current) = (summary.revision, self.revision);
            debug_assert_eq!(read, current, "a transaction reads one revision");
        }
        assert_ne!(result, Err(Refusal::Compacted), "what the index knows is in the table");
        result
    }

    /// The key as it was at a revision; `None` too where that has been compacted.
    pub fn get_at(&self, key: &[u8], revision: i64) -> Option<Kv> {
        if revision < self.compacted() {
            return None;
        }
        let found = self.shared.index.get(key, revision)?;
        self.view.get(Table::Key, &found.modified.encode()).map(Kv::new)
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

impl Source for Keys<'_> {
    fn load(&self, revision: Revision, see: &mut dyn FnMut(&[u8])) -> bool {
        self.with(&revision.encode(), see).is_some()
    }
}
