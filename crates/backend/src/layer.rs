//! Writes that are not in the file yet.

use crate::Table;
use crate::entry_id::EntryId;
use bytes::Bytes;
use parking_lot::RwLock;
use std::collections::{BTreeMap, BTreeSet};

/// A key of [`Table::Key`]: a revision in 17 bytes, 18 for a tombstone. Ordered as its bytes: what
/// is behind the length is zero.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RevisionKey {
    bytes: [u8; RevisionKey::MAX],
    len: u8,
}

impl RevisionKey {
    const MAX: usize = 18;

    /// `None` where the key is too long to be a revision.
    pub(crate) fn read(key: &[u8]) -> Option<RevisionKey> {
        let mut bytes = [0; Self::MAX];
        bytes.get_mut(..key.len())?.copy_from_slice(key);
        let read = RevisionKey { len: key.len() as u8, bytes };
        debug_assert_eq!(read.as_slice(), key, "a key reads back");
        Some(read)
    }

    pub(crate) fn new(key: &[u8]) -> RevisionKey {
        Self::read(key).expect("keys of the key table are encoded revisions")
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// What one batch of entries wrote.
///
/// Always true:
/// 1. `keys` is in ascending order, for revisions only increase.
/// 2. At least so many operations are counted as there are changes, and as many bytes as they have.
#[derive(Default)]
pub(crate) struct Layer {
    pub(crate) keys: Vec<(RevisionKey, Bytes)>,
    /// Revisions that compaction removes. Walks leave them out; asking for one of them is no use.
    pub(crate) removed_keys: BTreeSet<RevisionKey>,
    /// The other tables; `None` means removed.
    pub(crate) others: BTreeMap<(Table, Vec<u8>), Option<Bytes>>,
    pub(crate) applied: EntryId,
    pub(crate) ops: usize,
    pub(crate) bytes: usize,
}

/// A layer that readers share with the writer.
pub(crate) type SharedLayer = RwLock<Layer>;

impl Layer {
    pub(crate) fn new(applied: EntryId) -> Layer {
        Layer { applied, ..Layer::default() }
    }

    /// Asserts what is always true; every key is above `after`.
    pub(crate) fn check(&self, after: &RevisionKey) {
        let mut before = after;
        for (key, _) in &self.keys {
            assert!(before < key, "revisions of a layer ascend from those below it");
            before = key;
        }
        let changes = self.keys.len() + self.removed_keys.len() + self.others.len();
        assert!(self.ops >= changes, "{} operations made {changes} changes", self.ops);
        let bytes: usize = self.keys.iter().map(|(key, kv)| usize::from(key.len) + kv.len()).sum();
        assert!(self.bytes >= bytes, "{} bytes are counted of {bytes}", self.bytes);
    }

    pub(crate) fn get_key(&self, key: &[u8]) -> Option<&Bytes> {
        let found = self.keys.binary_search_by(|(k, _)| k.as_slice().cmp(key));
        found.ok().map(|at| &self.keys[at].1)
    }

    /// What it says about a key of one of the small tables: nothing, removed, or a value.
    pub(crate) fn get_other(&self, table: Table, key: &[u8]) -> Option<&Option<Bytes>> {
        if self.others.is_empty() { None } else { self.others.get(&(table, key.to_vec())) }
    }

    /// What it says about one of the small tables, in key order.
    pub(crate) fn changes(&self, table: Table) -> impl Iterator<Item = (&[u8], Option<&Bytes>)> {
        self.others
            .range((table, Vec::new())..)
            .take_while(move |((of, _), _)| *of == table)
            .map(|((_, key), value)| (&key[..], value.as_ref()))
    }

    /// Moves a transaction's writes in.
    pub(crate) fn absorb(&mut self, writes: &mut Writes) {
        self.ops += writes.keys.len() + writes.removed_keys.len() + writes.others.len();
        self.bytes += writes.bytes;
        let in_order = match (self.keys.last(), writes.keys.first()) {
            (Some((last, _)), Some((first, _))) => last.as_slice() < first.as_slice(),
            _ => true,
        };
        assert!(in_order, "revisions only increase");
        self.keys.append(&mut writes.keys);
        self.removed_keys.extend(writes.removed_keys.drain(..));
        for (table, key, value) in writes.others.drain(..) {
            self.others.insert((table, key), value);
        }
        writes.bytes = 0;
        assert!(writes.is_empty(), "a transaction's writes go into the layer whole");
    }
}

/// A place within a transaction that it can go back to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Savepoint {
    keys: usize,
    removed_keys: usize,
    others: usize,
    bytes: usize,
}

/// What one transaction wrote so far; nothing between transactions.
#[derive(Default)]
pub(crate) struct Writes {
    pub(crate) keys: Vec<(RevisionKey, Bytes)>,
    pub(crate) removed_keys: Vec<RevisionKey>,
    pub(crate) others: Vec<(Table, Vec<u8>, Option<Bytes>)>,
    bytes: usize,
}

impl Writes {
    pub(crate) fn put(&mut self, table: Table, key: &[u8], value: Bytes) {
        self.bytes += key.len() + value.len();
        if table == Table::Key {
            let key = RevisionKey::new(key);
            let in_order =
                self.keys.last().is_none_or(|(last, _)| last.as_slice() < key.as_slice());
            assert!(in_order, "revisions only increase");
            self.keys.push((key, value));
        } else {
            self.others.push((table, key.to_vec(), Some(value)));
        }
    }

    pub(crate) fn delete(&mut self, table: Table, key: &[u8]) {
        self.bytes += key.len();
        if table == Table::Key {
            self.removed_keys.push(RevisionKey::new(key));
        } else {
            self.others.push((table, key.to_vec(), None));
        }
    }

    /// What this transaction says about a key: nothing, removed, or a value.
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Option<Option<Bytes>> {
        if table == Table::Key {
            let found = self.keys.binary_search_by(|(k, _)| k.as_slice().cmp(key));
            return found.ok().map(|at| Some(self.keys[at].1.clone()));
        }
        let mut latest = self.others.iter().rev();
        let found = latest.find(|(t, k, _)| *t == table && k == key);
        found.map(|(_, _, value)| value.clone())
    }

    pub(crate) fn clear(&mut self) {
        self.undo_to(Savepoint::default());
    }

    pub(crate) fn is_empty(&self) -> bool {
        let changes = self.keys.len() + self.removed_keys.len() + self.others.len();
        changes == 0 && self.bytes == 0
    }

    /// A place to come back to.
    pub(crate) fn savepoint(&self) -> Savepoint {
        Savepoint {
            keys: self.keys.len(),
            removed_keys: self.removed_keys.len(),
            others: self.others.len(),
            bytes: self.bytes,
        }
    }

    /// Forgets what was written since.
    pub(crate) fn undo_to(&mut self, savepoint: Savepoint) {
        let was_here = savepoint.keys <= self.keys.len()
            && savepoint.removed_keys <= self.removed_keys.len()
            && savepoint.others <= self.others.len()
            && savepoint.bytes <= self.bytes;
        assert!(was_here, "one goes back to {savepoint:?}, which lies ahead");
        self.keys.truncate(savepoint.keys);
        self.removed_keys.truncate(savepoint.removed_keys);
        self.others.truncate(savepoint.others);
        self.bytes = savepoint.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(keys: &[&[u8]]) -> Layer {
        let keys = keys.iter().map(|key| (RevisionKey::new(key), Bytes::new())).collect();
        Layer { keys, ops: 9, bytes: 99, ..Layer::default() }
    }

    #[test]
    #[should_panic(expected = "revisions of a layer ascend from those below it")]
    fn a_revision_that_is_below_the_file_is_found() {
        layer(&[b"b", b"c"]).check(&RevisionKey::new(b"a"));
        layer(&[b"b", b"c"]).check(&RevisionKey::new(b"b"));
    }

    #[test]
    #[should_panic(expected = "which lies ahead")]
    fn nobody_goes_back_to_what_lies_ahead() {
        let mut writes = Writes::default();
        writes.put(Table::Meta, b"k", Bytes::new());
        let ahead = writes.savepoint();
        writes.clear();
        writes.undo_to(ahead);
    }
}
