//! Watchers by what they watch.

use crate::hub::WatcherId;
use crate::intervals::Intervals;
use crate::watcher::Watcher;
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap};

/// Finds the watchers of a key: those of single keys by hash, those of ranges by interval.
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
                self.keys.entry(watcher.key.clone()).or_default().insert(id);
            }
        }
        self.len += 1;
    }

    /// Removes a watcher that is there.
    pub(crate) fn remove(&mut self, id: WatcherId, watcher: &Watcher) {
        self.len -= 1;
        if let Some(end) = &watcher.end {
            self.ranges.remove(id, &watcher.key, end);
        } else if let Some(ids) = self.keys.get_mut(&watcher.key) {
            ids.remove(&id);
            if ids.is_empty() {
                self.keys.remove(&watcher.key);
            }
        }
    }

    /// Hands on every watcher of the key, each once.
    pub(crate) fn watching(&self, key: &[u8], see: &mut impl FnMut(WatcherId)) {
        if let Some(ids) = self.keys.get(key) {
            ids.iter().for_each(|id| see(*id));
        }
        self.ranges.holding(key, see);
    }
}
