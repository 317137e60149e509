//! Watchers by what they watch.

use crate::ids::WatcherId;
use crate::intervals::Intervals;
use crate::watcher::Watcher;
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap};

/// Finds the watchers of a key: those of single keys by hash, those of ranges by interval.
///
/// Always true: `len` is the number of watchers in both, and no key has an empty set.
#[derive(Debug, Default)]
pub(crate) struct Index {
    keys: HashMap<Bytes, BTreeSet<WatcherId>>,
    ranges: Intervals,
    len: usize,
}

impl Index {
    /// How many watchers there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a watcher that is not there.
    pub(crate) fn insert(&mut self, id: WatcherId, watcher: &Watcher) {
        match &watcher.end {
            Some(end) => self.ranges.insert(id, &watcher.key, end),
            None => {
                let is_new = self.keys.entry(watcher.key.clone()).or_default().insert(id);
                assert!(is_new, "watcher {id:?} is in the index already");
            }
        }
        self.len += 1;
    }

    /// Removes a watcher that is there.
    pub(crate) fn remove(&mut self, id: WatcherId, watcher: &Watcher) {
        assert!(self.len > 0, "watcher {id:?} leaves an empty index");
        self.len -= 1;
        if let Some(end) = &watcher.end {
            return self.ranges.remove(id, &watcher.key, end);
        }
        let ids = self.keys.get_mut(&watcher.key);
        let (was_there, is_last) = ids.map_or((false, false), |ids| {
            let was_there = ids.remove(&id);
            (was_there, ids.is_empty())
        });
        assert!(was_there, "watcher {id:?} is not in the index");
        if is_last {
            self.keys.remove(&watcher.key);
        }
    }

    /// Whether a watcher is found by what it watches.
    pub(crate) fn holds(&self, id: WatcherId, watcher: &Watcher) -> bool {
        match &watcher.end {
            Some(end) => self.ranges.holds(id, &watcher.key, end),
            None => self.keys.get(&watcher.key).is_some_and(|ids| ids.contains(&id)),
        }
    }

    /// Asserts what is always true.
    pub(crate) fn check(&self) {
        assert!(self.keys.values().all(|ids| !ids.is_empty()), "a key that nobody watches is kept");
        let of_keys: usize = self.keys.values().map(BTreeSet::len).sum();
        let of_ranges = self.ranges.check();
        assert_eq!(of_keys + of_ranges, self.len, "{of_keys} watch keys, {of_ranges} ranges");
    }

    /// Hands on every watcher of the key, each once.
    pub(crate) fn watching(&self, key: &[u8], see: &mut impl FnMut(WatcherId)) {
        if let Some(ids) = self.keys.get(key) {
            ids.iter().for_each(|id| see(*id));
        }
        self.ranges.holding(key, see);
    }
}
