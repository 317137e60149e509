//! Reading: the committed state with what has been written since.

use crate::Table;
use crate::layer::SharedLayer;
use crate::table::{CONSISTENT_INDEX, STORAGE_VERSION, TERM};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Everything written when it was opened, and perhaps some of what was written after: callers that
/// need a sharp cut (mvcc) ask only for what they know to be there.
#[derive(Clone)]
pub struct View {
    committed: Arc<bolt::ReadTxn>,
    frozen: Option<Arc<SharedLayer>>,
    active: Arc<SharedLayer>,
}

impl View {
    pub(crate) fn new(
        committed: Arc<bolt::ReadTxn>,
        frozen: Option<Arc<SharedLayer>>,
        active: Arc<SharedLayer>,
    ) -> View {
        View { committed, frozen, active }
    }

    /// Layers, the newest first.
    fn layers(&self) -> impl Iterator<Item = &Arc<SharedLayer>> {
        std::iter::once(&self.active).chain(&self.frozen)
    }

    /// A key's value.
    pub fn get(&self, table: Table, key: &[u8]) -> Option<Bytes> {
        self.with(table, key, Bytes::copy_from_slice)
    }

    /// Hands a key's value to `see` where it lies, without copying it.
    pub fn with<T>(&self, table: Table, key: &[u8], see: impl FnOnce(&[u8]) -> T) -> Option<T> {
        for layer in self.layers() {
            let layer = layer.read();
            if table == Table::Key {
                if let Some(value) = layer.get_key(key) {
                    return Some(see(value));
                }
            } else if !layer.others.is_empty()
                && let Some(value) = layer.others.get(&(table, key.to_vec()))
            {
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
        let within = |key: &[u8]| to.is_empty() || key < to;
        if let Some(bucket) = self.committed.bucket(Table::Key.name().as_bytes()) {
            let mut cursor = bucket.cursor();
            let mut next = cursor.seek(from);
            while let Some((key, Some(value))) = next.filter(|(key, _)| within(key)) {
                if limit == 0 || see(key, value).is_break() {
                    return;
                }
                limit -= 1;
                next = cursor.next();
            }
        }
        for layer in self.frozen.iter().chain([&self.active]) {
            // Taken in pieces, so that the writer never waits for a long walk.
            let mut at = from.to_vec();
            let mut skip_equal = false;
            loop {
                let piece: Vec<_> = {
                    let layer = layer.read();
                    let start = layer.keys.partition_point(|(key, _)| {
                        key.as_slice() < &at[..] || (skip_equal && key.as_slice() == at)
                    });
                    layer.keys[start..].iter().take(PIECE).cloned().collect()
                };
                let Some((last, _)) = piece.last() else { break };
                at = last.as_slice().to_vec();
                skip_equal = true;
                for (key, value) in &piece {
                    let key = key.as_slice();
                    if limit == 0 || !within(key) || see(key, value).is_break() {
                        return;
                    }
                    limit -= 1;
                }
            }
        }
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
        for layer in self.frozen.iter().chain([&self.active]) {
            let layer = layer.read();
            for ((_, key), value) in layer.others.range((table, from.to_vec())..) {
                if !within(key) {
                    continue;
                }
                match value {
                    Some(value) => merged.insert(key.clone(), value.clone()),
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

/// Keys taken from a layer at a time.
const PIECE: usize = 256;

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
        let mut crc = 0;
        let mut names = self.committed.buckets();
        let mut next = names.first();
        while let Some((name, _)) = next {
            crc = crc32c::crc32c_append(crc, name);
            if let Some(bucket) = self.committed.bucket(name) {
                let mut cursor = bucket.cursor();
                let mut item = cursor.first();
                while let Some((key, value)) = item {
                    if !is_local(name, key) {
                        crc = crc32c::crc32c_append(crc, key);
                        crc = crc32c::crc32c_append(crc, value.unwrap_or_default());
                    }
                    item = cursor.next();
                }
            }
            next = names.next();
        }
        crc
    }
}

fn is_local(bucket: &[u8], key: &[u8]) -> bool {
    bucket == Table::Meta.name().as_bytes()
        && [CONSISTENT_INDEX, TERM, STORAGE_VERSION].contains(&key)
}
