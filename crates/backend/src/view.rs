//! Reading: the committed state with what has been written since.

use crate::Table;
use crate::layer::{RevisionKey, SharedLayer};
use crate::table::{CONSISTENT_INDEX, STORAGE_VERSION, TERM};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Everything written when it was opened, and perhaps some of what was written after: callers that
/// need a sharp cut (mvcc) ask only for what they know to be there.
#[derive(Clone)]
pub struct View {
    committed: Arc<bolt::ReadTxn>,
    frozen: Option<Upper>,
    active: Upper,
}

/// A layer above the file, and the last revision below it.
///
/// Always true: revisions in the layer are above `after`, and those up to `after` are below it.
#[derive(Clone)]
pub(crate) struct Upper {
    pub(crate) after: RevisionKey,
    pub(crate) layer: Arc<SharedLayer>,
}

impl Upper {
    fn may_hold(&self, key: &[u8]) -> bool {
        key > self.after.as_slice()
    }
}

impl View {
    pub(crate) fn new(committed: Arc<bolt::ReadTxn>, active: Upper) -> View {
        View { committed, frozen: None, active }
    }

    /// Asserts what is always true: revisions ascend from the file through the layers, and the newest
    /// layer is the one that is written to.
    pub(crate) fn check(&self, active: &Arc<SharedLayer>, job_is_out: bool) {
        assert!(
            Arc::ptr_eq(&self.active.layer, active),
            "readers see the layer that is written to"
        );
        assert!(self.frozen.is_none() || job_is_out, "a frozen layer is on its way into the file");
        for upper in self.layers() {
            upper.layer.read().check(&upper.after);
        }
        if let Some(frozen) = &self.frozen {
            let last = frozen.layer.read().keys.last().map_or(frozen.after, |(key, _)| *key);
            assert!(self.active.after == last, "the active layer begins where the frozen one ends");
        }
        let keys = self.committed.bucket(Table::Key.name().as_bytes());
        let last = keys.and_then(|keys| keys.cursor().last()).map(|(key, _)| key.to_vec());
        let lowest = self.frozen.as_ref().unwrap_or(&self.active);
        let after = lowest.after.as_slice();
        assert!(last.is_none_or(|last| last.as_slice() <= after), "the file ends below the layers");
    }

    pub(crate) fn committed(&self) -> Arc<bolt::ReadTxn> {
        Arc::clone(&self.committed)
    }

    /// The active layer is taken away to be committed; a fresh one follows it.
    pub(crate) fn freeze(&mut self, fresh: Arc<SharedLayer>) {
        assert!(self.frozen.is_none(), "one layer at a time is on its way into the file");
        let last = self.active.layer.read().keys.last().map(|(key, _)| *key);
        let after = last.unwrap_or(self.active.after);
        assert!(after >= self.active.after, "a layer ends above what is below it");
        let frozen = std::mem::replace(&mut self.active, Upper { after, layer: fresh });
        self.frozen = Some(frozen);
    }

    /// The frozen layer is in the file.
    pub(crate) fn complete(&mut self, committed: Arc<bolt::ReadTxn>) {
        let (before, now) = (self.committed.txid(), committed.txid());
        debug_assert!(
            before != now || self.frozen.is_none(),
            "a layer that is in made a new state"
        );
        self.committed = committed;
        self.frozen = None;
    }

    /// Layers, the newest first.
    fn layers(&self) -> impl Iterator<Item = &Upper> {
        std::iter::once(&self.active).chain(&self.frozen)
    }

    /// The highest key of the key table, or what was the highest before a compaction removed it.
    pub fn last_revision_key(&self) -> Option<Vec<u8>> {
        let last = self.active.layer.read().keys.last().map(|(key, _)| *key);
        let last = last.unwrap_or(self.active.after);
        Some(last.as_slice().to_vec()).filter(|key| !key.is_empty())
    }

    /// The key table, for many look-ups.
    pub fn keys(&self) -> Keys<'_> {
        Keys { view: self, bucket: self.committed.bucket(Table::Key.name().as_bytes()) }
    }

    /// A key's value.
    pub fn get(&self, table: Table, key: &[u8]) -> Option<Bytes> {
        self.with(table, key, Bytes::copy_from_slice)
    }

    /// Hands a key's value to `see` where it lies, without copying it.
    pub fn with<T>(&self, table: Table, key: &[u8], see: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if table == Table::Key {
            return self.keys().with(key, see);
        }
        for upper in self.layers() {
            let change = upper.layer.read().get_other(table, key).cloned();
            if let Some(value) = change {
                return value.as_deref().map(see);
            }
        }
        self.committed.bucket(table.name().as_bytes())?.get(key).map(see)
    }

    /// Walks the keys from `from` up to but without `to` (no end where it is empty), at most
    /// `limit` of them, in order.
    pub fn range(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
        see: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) {
        if table == Table::Key {
            self.range_keys(from, to, limit, see);
        } else {
            self.range_others(table, from, to, limit, see);
        }
    }

    /// The file's keys are all below those of the frozen layer, and these below the active ones.
    fn range_keys(
        &self,
        from: &[u8],
        to: &[u8],
        mut limit: usize,
        mut see: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) {
        let removed = self.removed_keys(from);
        let mut see = |key: &[u8], value: &[u8]| {
            if limit == 0 || !(to.is_empty() || key < to) {
                return ControlFlow::Break(());
            }
            if !removed.is_empty() && removed.contains(&RevisionKey::new(key)) {
                return ControlFlow::Continue(());
            }
            limit -= 1;
            see(key, value)
        };
        if self.range_committed_keys(from, &mut see).is_break() {
            return;
        }
        for upper in self.frozen.iter().chain([&self.active]) {
            if upper.range_keys(from, &mut see).is_break() {
                return;
            }
        }
    }

    fn range_committed_keys(
        &self,
        from: &[u8],
        mut see: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if let Some(bucket) = self.committed.bucket(Table::Key.name().as_bytes()) {
            let mut cursor = bucket.cursor();
            let mut next = cursor.seek(from);
            while let Some((key, Some(value))) = next {
                see(key, value)?;
                next = cursor.next();
            }
        }
        ControlFlow::Continue(())
    }

    /// Revisions from `from` on that the layers remove from the file.
    fn removed_keys(&self, from: &[u8]) -> BTreeSet<RevisionKey> {
        let from = RevisionKey::read(from).unwrap_or_default();
        let mut removed = BTreeSet::new();
        for upper in self.layers() {
            removed.extend(upper.layer.read().removed_keys.range(from..));
        }
        removed
    }

    fn range_others(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        limit: usize,
        mut see: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) {
        let within = |key: &[u8]| key >= from && (to.is_empty() || key < to);
        let mut merged: BTreeMap<Vec<u8>, Bytes> = BTreeMap::new();
        if let Some(bucket) = self.committed.bucket(table.name().as_bytes()) {
            let mut cursor = bucket.cursor();
            let mut next = cursor.seek(from);
            while let Some((key, Some(value))) = next.filter(|(key, _)| within(key)) {
                merged.insert(key.to_vec(), Bytes::copy_from_slice(value));
                next = cursor.next();
            }
        }
        for upper in self.frozen.iter().chain([&self.active]) {
            let layer = upper.layer.read();
            for (key, value) in layer.changes(table).filter(|(key, _)| within(key)) {
                match value {
                    Some(value) => merged.insert(key.to_vec(), value.clone()),
                    None => merged.remove(key),
                };
            }
        }
        for (key, value) in merged.iter().take(limit) {
            if see(key, value).is_break() {
                return;
            }
        }
    }
}

/// The key table of a view, for many look-ups.
pub struct Keys<'v> {
    view: &'v View,
    bucket: Option<bolt::Bucket<'v>>,
}

impl Keys<'_> {
    /// Hands a revision's value to `see` where it lies. A revision that a compaction has removed
    /// may still be found.
    pub fn with<T>(&self, key: &[u8], see: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if let Some(upper) = self.view.layers().find(|upper| upper.may_hold(key)) {
            // The lock is gone before anyone looks at the value.
            let value = upper.layer.read().get_key(key).cloned();
            return value.map(|value| see(&value));
        }
        self.bucket?.get(key).map(see)
    }
}

/// Keys taken from a layer at a time.
const PIECE_KEYS: usize = 256;

impl Upper {
    /// Taken in pieces, so that the writer never waits for a long walk.
    fn range_keys(
        &self,
        from: &[u8],
        mut see: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut done = self.layer.read().keys.partition_point(|(key, _)| key.as_slice() < from);
        loop {
            // Keys are only ever added behind the last one, so places stay.
            let piece: Vec<(RevisionKey, Bytes)> = {
                let layer = self.layer.read();
                layer.keys[done..].iter().take(PIECE_KEYS).cloned().collect()
            };
            if piece.is_empty() {
                return ControlFlow::Continue(());
            }
            for (key, value) in &piece {
                see(key.as_slice(), value)?;
            }
            done += piece.len();
            debug_assert!(done <= self.layer.read().keys.len(), "keys are only ever added");
        }
    }
}

/// A committed state, to be copied or hashed as a whole.
pub struct Snapshot {
    committed: Arc<bolt::ReadTxn>,
}

impl Snapshot {
    pub(crate) fn new(committed: Arc<bolt::ReadTxn>) -> Snapshot {
        Snapshot { committed }
    }

    /// Bytes that a copy has.
    pub fn size(&self) -> u64 {
        self.committed.size()
    }

    /// Reads a piece of the copy.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> usize {
        self.committed.copy_at(offset, buf)
    }

    /// The CRC-32C over all names, keys and values but those that differ between members.
    pub fn hash(&self) -> u32 {
        self.hash_while(&|| true).expect("it goes on to the end")
    }

    /// The same while `goes_on`, which is asked again and again; `None` once it says no.
    pub fn hash_while(&self, goes_on: &dyn Fn() -> bool) -> Option<u32> {
        let mut rows = 0_u64;
        let mut crc = 0;
        let mut names = self.committed.buckets();
        let mut next = names.first();
        while let Some((name, _)) = next {
            crc = crc32c::crc32c_append(crc, name);
            if let Some(bucket) = self.committed.bucket(name) {
                let mut cursor = bucket.cursor();
                let mut item = cursor.first();
                while let Some((key, value)) = item {
                    if rows.is_multiple_of(ROWS_BETWEEN_LOOKS) && !goes_on() {
                        return None;
                    }
                    rows += 1;
                    if !is_local(name, key) {
                        crc = crc32c::crc32c_append(crc, key);
                        crc = crc32c::crc32c_append(crc, value.unwrap_or_default());
                    }
                    item = cursor.next();
                }
            }
            next = names.next();
        }
        Some(crc)
    }
}

/// Rows that are hashed before it is asked again whether anybody waits for the hash.
const ROWS_BETWEEN_LOOKS: u64 = 1024;

fn is_local(bucket: &[u8], key: &[u8]) -> bool {
    bucket == Table::Meta.name().as_bytes()
        && [CONSISTENT_INDEX, TERM, STORAGE_VERSION].contains(&key)
}
