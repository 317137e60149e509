//! The key index: every key's history, in key order, in memory.

use crate::Revision;
use crate::history::{Found, History};
use bytes::Bytes;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Keys taken at a time by long walks, so that the writer never waits for a whole one.
pub(crate) const PAGE_KEYS: usize = 512;

/// The index, read while one writer changes it.
#[derive(Default)]
pub(crate) struct Index {
    keys: RwLock<BTreeMap<Box<[u8]>, History>>,
}

/// A range of keys as requests give it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyRange<'r> {
    pub(crate) key: &'r [u8],
    /// Empty: only `key`. One zero byte: no end.
    pub(crate) end: &'r [u8],
}

impl<'r> KeyRange<'r> {
    fn upper(self) -> Bound<&'r [u8]> {
        if self.end == [0] { Bound::Unbounded } else { Bound::Excluded(self.end) }
    }

    fn is_empty(self) -> bool {
        self.end != [0] && self.end <= self.key
    }
}

impl Index {
    /// Adds a put; gives the creating revision and the version.
    pub(crate) fn put(&self, key: &[u8], revision: Revision) -> (i64, i64) {
        let mut keys = self.keys.write();
        match keys.get_mut(key) {
            Some(history) => history.put(revision),
            None => {
                keys.insert(key.into(), History::Once(revision));
                (revision.main, 1)
            }
        }
    }

    /// Marks a key that exists as deleted.
    pub(crate) fn tombstone(&self, key: &[u8], revision: Revision) {
        let mut keys = self.keys.write();
        keys.get_mut(key).expect("only a key that exists is deleted").tombstone(revision);
    }

    /// The key at a revision.
    pub(crate) fn get(&self, key: &[u8], at: i64) -> Option<Found> {
        self.keys.read().get(key)?.get(at)
    }

    /// Walks the keys of a range that exist at a revision, in order, until `see` says `false`.
    pub(crate) fn walk(
        &self,
        range: KeyRange<'_>,
        at: i64,
        mut see: impl FnMut(&[u8], Found) -> bool,
    ) {
        if range.end.is_empty() {
            if let Some(found) = self.get(range.key, at) {
                see(range.key, found);
            }
            return;
        }
        if range.is_empty() {
            return;
        }
        let mut resume: Option<Box<[u8]>> = None;
        loop {
            let keys = self.keys.read();
            let from = match &resume {
                None => Bound::Included(range.key),
                Some(last) => Bound::Excluded(&**last),
            };
            let mut taken = 0;
            let mut last = None;
            for (key, history) in keys.range::<[u8], _>((from, range.upper())) {
                if let Some(found) = history.get(at)
                    && !see(key, found)
                {
                    return;
                }
                taken += 1;
                if taken == PAGE_KEYS {
                    last = Some(key.clone());
                    break;
                }
            }
            match last {
                Some(_) => resume = last,
                None => return,
            }
        }
    }

    /// Whether a revision of a key is still known.
    pub(crate) fn contains(&self, key: &[u8], revision: Revision) -> bool {
        self.keys.read().get(key).is_some_and(|history| history.contains(revision))
    }

    /// Whether a hash at a revision counts this change.
    pub(crate) fn is_hashed(&self, key: &[u8], revision: Revision, at: i64) -> bool {
        self.keys.read().get(key).and_then(|history| history.hashed_at(at)) == Some(revision)
    }

    /// Whether any key has a change that a hash at a revision counts.
    pub(crate) fn hashes_any(&self, at: i64) -> bool {
        self.keys.read().values().any(|history| history.hashed_at(at).is_some())
    }

    /// Compacts at most [`PAGE_KEYS`] keys after `resume`; gives where to go on, `None` at the end.
    pub(crate) fn compact_page(&self, at: i64, resume: Option<&[u8]>) -> Option<Bytes> {
        let from = resume.map_or(Bound::Unbounded, Bound::Excluded);
        let mut gone: Vec<Box<[u8]>> = Vec::new();
        let mut taken = 0;
        let mut last = None;
        let mut keys = self.keys.write();
        for (key, history) in keys.range_mut::<[u8], _>((from, Bound::Unbounded)) {
            if !history.compact(at) {
                gone.push(key.clone());
            }
            taken += 1;
            if taken == PAGE_KEYS {
                last = Some(Bytes::copy_from_slice(key));
                break;
            }
        }
        for key in gone {
            keys.remove(&key);
        }
        last
    }

    /// Fills an empty index.
    pub(crate) fn restore(&self, restored: BTreeMap<Box<[u8]>, History>) {
        *self.keys.write() = restored;
    }

    /// How many keys have a history.
    pub(crate) fn len(&self) -> usize {
        self.keys.read().len()
    }
}
