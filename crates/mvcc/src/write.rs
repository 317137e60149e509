//! Writing: one revision, some changes.

use crate::history::Found;
use crate::index::KeyRange;
use crate::kv::{Fields, encode};
use crate::names::Key;
use crate::range::{self, RangeOptions, RangeResult, RangeSummary, Refusal, Source, Window};
use crate::shared::Shared;
use crate::{Kv, Revision};
use backend::{ApplyTxn, Savepoint, Table};
use bytes::Bytes;
use proto::mvccpb::KeyValue;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What one revision changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The revision.
    pub revision: i64,
    /// Its changes in their order.
    pub events: Vec<ChangeEvent>,
}

/// One change of a key.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeEvent {
    /// The key.
    pub key: Bytes,
    /// The stored `KeyValue`; for a tombstone it holds the key alone.
    pub kv: Bytes,
    /// The key was deleted.
    pub is_tombstone: bool,
    /// The put that began the key's generation: there is no value before it.
    pub is_create: bool,
}

/// How often each operation was asked for, whether it changed anything or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// Reads, those of comparisons among them.
    pub ranges: u64,
    /// Puts.
    pub puts: u64,
    /// Deletes of ranges.
    pub deletes: u64,
    /// Bytes of the keys and values put.
    pub put_bytes: u64,
}

/// What a put did.
#[derive(Clone, Debug)]
pub struct Put {
    /// The revision it belongs to.
    pub revision: i64,
    /// The key-value before, where it was asked for and there was one.
    pub prev: Option<Kv>,
}

/// What a delete did.
#[derive(Clone, Debug, Default)]
pub struct Deleted {
    /// The keys, in order.
    pub keys: Vec<Bytes>,
    /// Their key-values before, where they were asked for.
    pub prev: Vec<Kv>,
}

/// The next revision, being written. Dropped before [`WriteTxn::end`], it leaves no trace: the
/// entry is then applied without effect.
pub struct WriteTxn<'s, 'b> {
    shared: &'s Arc<Shared>,
    txn: &'s mut ApplyTxn<'b>,
    begun_with: Savepoint,
    begun_at: i64,
    events: Vec<ChangeEvent>,
    operations: Cell<Operations>,
}

impl<'s, 'b> WriteTxn<'s, 'b> {
    pub(crate) fn new(shared: &'s Arc<Shared>, txn: &'s mut ApplyTxn<'b>) -> WriteTxn<'s, 'b> {
        let begun_at = shared.current.load(Ordering::Acquire);
        let compacted = shared.compacted.load(Ordering::Acquire);
        assert!(compacted <= begun_at, "{compacted} is compacted, {begun_at} the last revision");
        let begun_with = txn.savepoint();
        let operations = Cell::default();
        WriteTxn { shared, txn, begun_with, begun_at, events: Vec::new(), operations }
    }

    /// What was asked for so far.
    pub fn operations(&self) -> Operations {
        self.operations.get()
    }

    fn note(&self, add: impl FnOnce(&mut Operations)) {
        let mut operations = self.operations.get();
        add(&mut operations);
        self.operations.set(operations);
    }

    /// The revision that responses show: the next one as soon as something has changed.
    pub fn revision(&self) -> i64 {
        self.begun_at + i64::from(!self.events.is_empty())
    }

    /// The lowest revision that can be read.
    pub fn compacted(&self) -> i64 {
        self.shared.compacted.load(Ordering::Acquire)
    }

    /// Reads keys, with what this transaction changed.
    ///
    /// # Errors
    /// As [`crate::ReadTxn::range`].
    pub fn range(&self, options: &RangeOptions) -> Result<RangeResult, Refusal> {
        self.note(|operations| operations.ranges += 1);
        let window = Window { current: self.revision(), compacted: self.compacted() };
        let mut kvs = Vec::new();
        let mut keep = |stored: &[u8]| kvs.push(Kv::new(Bytes::copy_from_slice(stored)));
        let RangeSummary { revision, more, count } =
            range::range(&self.shared.index, options, window, self, &mut keep)?;
        Ok(RangeResult { revision, kvs, more, count })
    }

    fn load(&self, revision: Revision) -> Option<Kv> {
        self.txn.get(Table::Key, &revision.encode()).map(Kv::new)
    }

    fn current(&self, key: &[u8]) -> Option<Kv> {
        let found = self.shared.index.get(key, self.begun_at + 1)?;
        self.load(found.modified)
    }

    /// A key as it is now.
    pub fn get(&self, key: &[u8]) -> Option<KeyValue> {
        self.current(key).map(|kv| kv.decode())
    }

    fn next(&self) -> Revision {
        Revision { main: self.begun_at + 1, sub: self.events.len() as i64 }
    }

    /// Sets a key.
    pub fn put(&mut self, key: &Bytes, value: &[u8], lease: i64, want_prev: bool) -> Put {
        let bytes = (key.len() + value.len()) as u64;
        self.note(|operations| {
            operations.puts += 1;
            operations.put_bytes += bytes;
        });
        let prev = if want_prev { self.current(key) } else { None };
        let revision = self.next();
        let (created, version) = self.shared.index.put(key, revision);
        assert!(version >= 1, "a put is counted: {version} of a generation");
        assert!(created <= revision.main, "{created} created what {} puts", revision.main);
        let kv = encode(&Fields {
            key,
            create_revision: created,
            mod_revision: revision.main,
            version,
            value,
            lease,
        });
        self.txn.put(Table::Key, &revision.encode(), kv.clone());
        self.events.push(ChangeEvent {
            key: key.clone(),
            kv,
            is_tombstone: false,
            is_create: version == 1,
        });
        Put { revision: revision.main, prev }
    }

    /// Deletes the keys of a range.
    pub fn delete_range(&mut self, key: &Bytes, range_end: &Bytes, want_prev: bool) -> Deleted {
        self.note(|operations| operations.deletes += 1);
        let mut deleted = Deleted::default();
        let range = KeyRange { key, end: range_end };
        let mut last_changes = Vec::new();
        self.shared.index.walk(range, self.begun_at + 1, &mut |key: Key<'_>, found: Found| {
            deleted.keys.push(key.to_vec().into());
            last_changes.push(found.modified);
            true
        });
        if want_prev {
            deleted.prev = last_changes.into_iter().filter_map(|at| self.load(at)).collect();
        }
        debug_assert!(
            !want_prev || deleted.prev.len() == deleted.keys.len(),
            "what exists can be read"
        );
        for key in &deleted.keys {
            let revision = self.next();
            self.shared.index.tombstone(key, revision);
            let kv = encode(&Fields { key, ..Fields::default() });
            self.txn.put(Table::Key, &revision.encode_tombstone(), kv.clone());
            let key = key.clone();
            self.events.push(ChangeEvent { key, kv, is_tombstone: true, is_create: false });
        }
        deleted
    }

    /// What changed; `None` where nothing did. It is visible after the `ApplyTxn` is finished and
    /// the change published; both must follow.
    pub fn end(mut self) -> Option<Change> {
        let revision = self.begun_at + 1;
        let current = self.shared.current.load(Ordering::Acquire);
        assert_eq!(current, self.begun_at, "one revision is written at a time");
        let events = std::mem::take(&mut self.events);
        (!events.is_empty()).then_some(Change { revision, events })
    }
}

impl Drop for WriteTxn<'_, '_> {
    fn drop(&mut self) {
        if self.events.is_empty() {
            return;
        }
        for event in self.events.drain(..).rev() {
            self.shared.index.undo(&event.key);
        }
        self.txn.undo_to(self.begun_with);
    }
}

impl Source for WriteTxn<'_, '_> {
    fn load(&self, revision: Revision, see: &mut dyn FnMut(&[u8])) -> bool {
        self.txn.with(Table::Key, &revision.encode(), see).is_some()
    }
}
