//! The key index: every key's history, in key order, in memory.
//!
//! ```text
//! leaves    "" -> leaf   "/registry/m" -> leaf   "/registry/pods/x" -> leaf
//! ```
//! A leaf holds the keys from its own bound up to the next one's. Long walks take a bounded number
//! of keys at a time under the lock, so that the writer never waits for a whole one; what is
//! written meanwhile belongs to revisions that they do not look at.

use crate::Revision;
use crate::history::{Found, History};
use crate::leaf::{Key, Leaf};
use parking_lot::RwLock;
use std::collections::{BTreeMap, btree_map};
use std::iter::Peekable;
use std::ops::{Bound, Range};

/// Keys looked at under one lock.
pub(crate) const PAGE_KEYS: usize = 512;
/// Keys put into a leaf where all of them are known beforehand; the rest is room to grow.
const PACKED_KEYS: usize = crate::leaf::KEYS_MAX * 7 / 8;
/// A compacted leaf joins the one before it where both together have no more than this.
const JOINED_KEYS_MAX: usize = crate::leaf::KEYS_MAX / 2;

/// The index, read while one writer changes it.
#[derive(Default)]
pub(crate) struct Index {
    tree: RwLock<Tree>,
}

/// The leaves by their lower bounds. Always true: there is one for the empty bound.
#[derive(Debug)]
pub(crate) struct Tree {
    leaves: BTreeMap<Box<[u8]>, Leaf>,
}

/// A range of keys as requests give it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyRange<'r> {
    pub(crate) key: &'r [u8],
    /// Empty: only `key`. One zero byte: no end.
    pub(crate) end: &'r [u8],
}

impl<'r> KeyRange<'r> {
    fn is_one(self) -> bool {
        self.end.is_empty()
    }

    fn end(self) -> Option<&'r [u8]> {
        (self.end != [0]).then_some(self.end)
    }

    fn is_empty(self) -> bool {
        self.end().is_some_and(|end| end <= self.key)
    }
}

/// Sees the keys of a walk.
pub(crate) trait Visitor {
    /// A key that exists; `false` ends the walk. The index is locked.
    fn key(&mut self, key: Key<'_>, found: Found) -> bool;

    /// Some keys have been seen; `false` ends the walk. The index is not locked.
    fn page_end(&mut self) -> bool {
        true
    }
}

impl<F: FnMut(Key<'_>, Found) -> bool> Visitor for F {
    fn key(&mut self, key: Key<'_>, found: Found) -> bool {
        self(key, found)
    }
}

/// Sees the leaves of a range, with the places in them that belong to it.
trait Pages {
    /// What looking at it cost; `None` ends the walk. The index is locked.
    fn leaf(&mut self, leaf: &Leaf, places: Range<usize>) -> Option<usize>;

    /// [`PAGE_KEYS`] of cost have been spent, or the walk ends. The index is not locked.
    fn page_end(&mut self) -> bool {
        true
    }
}

impl<F: FnMut(&Leaf, Range<usize>) -> Option<usize>> Pages for F {
    fn leaf(&mut self, leaf: &Leaf, places: Range<usize>) -> Option<usize> {
        self(leaf, places)
    }
}

/// A walk at a revision.
struct Walk<'v, V> {
    at: i64,
    visitor: &'v mut V,
}

impl<V: Visitor> Pages for Walk<'_, V> {
    fn leaf(&mut self, leaf: &Leaf, places: Range<usize>) -> Option<usize> {
        for index in places.clone() {
            if let Some(found) = leaf.history(index).get(self.at)
                && !self.visitor.key(leaf.key(index), found)
            {
                return None;
            }
        }
        Some(places.len())
    }

    fn page_end(&mut self) -> bool {
        self.visitor.page_end()
    }
}

/// What compacting a page of keys led to.
pub(crate) struct CompactedPage {
    /// Where to go on; `None` at the end.
    pub(crate) next: Option<Box<[u8]>>,
    /// Some key keeps a revision up to the compacted one.
    pub(crate) keeps_any: bool,
}

impl Index {
    pub(crate) fn new(tree: Tree) -> Index {
        Index { tree: RwLock::new(tree) }
    }

    /// Adds a put; gives the creating revision and the version.
    pub(crate) fn put(&self, key: &[u8], revision: Revision) -> (i64, i64) {
        self.tree.write().upsert(
            key,
            |history| history.put(revision),
            || (History::once(revision), (revision.main, 1)),
        )
    }

    /// Marks a key that exists as deleted.
    pub(crate) fn tombstone(&self, key: &[u8], revision: Revision) {
        let mut tree = self.tree.write();
        let leaf = tree.leaf_mut(key);
        let index = leaf.find(key).expect("only a key that exists is deleted");
        leaf.change(index, |history| history.tombstone(revision));
    }

    /// Takes back a key's newest change.
    pub(crate) fn undo(&self, key: &[u8]) {
        let mut tree = self.tree.write();
        let leaf = tree.leaf_mut(key);
        leaf.undo(leaf.find(key).expect("only what was changed is taken back"));
    }

    /// The key at a revision.
    pub(crate) fn get(&self, key: &[u8], at: i64) -> Option<Found> {
        self.tree.read().leaf(key).get(key)?.get(at)
    }

    /// Whether a revision of a key is still known.
    pub(crate) fn contains(&self, key: &[u8], revision: Revision) -> bool {
        self.tree.read().leaf(key).get(key).is_some_and(|history| history.contains(revision))
    }

    /// Whether a hash at a revision counts this change.
    pub(crate) fn is_hashed(&self, key: &[u8], revision: Revision, at: i64) -> bool {
        let tree = self.tree.read();
        tree.leaf(key).get(key).and_then(|history| history.hashed_at(at)) == Some(revision)
    }

    /// Whether any key has a change that a hash at a revision counts.
    pub(crate) fn hashes_any(&self, at: i64) -> bool {
        let mut found = false;
        self.pages(&[], None, &mut |leaf: &Leaf, places: Range<usize>| {
            found = places.clone().any(|index| leaf.history(index).hashed_at(at).is_some());
            (!found).then_some(places.len())
        });
        found
    }

    /// Walks the keys of a range that exist at a revision, in order.
    pub(crate) fn walk(&self, range: KeyRange<'_>, at: i64, visitor: &mut impl Visitor) {
        if range.is_one() {
            let tree = self.tree.read();
            let leaf = tree.leaf(range.key);
            if let Ok(index) = leaf.find(range.key)
                && let Some(found) = leaf.history(index).get(at)
            {
                visitor.key(leaf.key(index), found);
            }
            drop(tree);
            visitor.page_end();
            return;
        }
        if range.is_empty() {
            return;
        }
        self.pages(range.key, range.end(), &mut Walk { at, visitor });
    }

    /// How many keys of a range exist at a revision. A leaf that has not changed since needs only
    /// a look at its own count.
    pub(crate) fn count(&self, range: KeyRange<'_>, at: i64) -> usize {
        if range.is_one() {
            return usize::from(self.get(range.key, at).is_some());
        }
        if range.is_empty() {
            return 0;
        }
        let mut count = 0;
        self.pages(range.key, range.end(), &mut |leaf: &Leaf, places: Range<usize>| {
            if places.len() == leaf.len() && leaf.newest() <= at {
                count += leaf.alive();
                return Some(1);
            }
            count += places.clone().filter(|&i| leaf.history(i).get(at).is_some()).count();
            Some(places.len())
        });
        count
    }

    fn pages(&self, from: &[u8], end: Option<&[u8]>, pages: &mut impl Pages) {
        let mut from: Box<[u8]> = from.into();
        loop {
            let next = self.tree.read().page(&from, end, pages);
            let goes_on = pages.page_end();
            match next {
                Some(next) if goes_on => from = next,
                _ => return,
            }
        }
    }

    /// Compacts at least [`PAGE_KEYS`] keys of the leaves from the one that holds `from`.
    pub(crate) fn compact_page(&self, at: i64, from: &[u8]) -> CompactedPage {
        let mut tree = self.tree.write();
        let mut bound = tree.bound_of(from);
        let (mut seen, mut keeps_any) = (0, false);
        loop {
            let leaf = tree.leaves.get_mut(&bound).expect("it was just found");
            seen += leaf.len();
            keeps_any |= leaf.compact(at);
            let behind = (Bound::Excluded(&bound), Bound::Unbounded);
            let next = tree.leaves.range::<Box<[u8]>, _>(behind).next().map(|(b, _)| b.clone());
            tree.join_with_previous(&bound);
            match next {
                Some(next) if seen < PAGE_KEYS => bound = next,
                next => return CompactedPage { next, keeps_any },
            }
        }
    }

    /// How many keys have a history.
    pub(crate) fn len(&self) -> usize {
        self.tree.read().leaves.values().map(Leaf::len).sum()
    }

    /// Asserts what is always true.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        self.tree.read().check();
    }
}

impl Default for Tree {
    fn default() -> Tree {
        Tree { leaves: BTreeMap::from([(Box::default(), Leaf::default())]) }
    }
}

impl Tree {
    fn leaf(&self, key: &[u8]) -> &Leaf {
        let up_to = (Bound::Unbounded, Bound::Included(key));
        self.leaves.range::<[u8], _>(up_to).next_back().expect("some leaf begins at nothing").1
    }

    fn leaf_mut(&mut self, key: &[u8]) -> &mut Leaf {
        let up_to = (Bound::Unbounded, Bound::Included(key));
        self.leaves.range_mut::<[u8], _>(up_to).next_back().expect("some leaf begins at nothing").1
    }

    fn bound_of(&self, key: &[u8]) -> Box<[u8]> {
        let up_to = (Bound::Unbounded, Bound::Included(key));
        let found = self.leaves.range::<[u8], _>(up_to).next_back();
        found.expect("some leaf begins at nothing").0.clone()
    }

    /// Changes a key's history, or adds the key with one.
    pub(crate) fn upsert<T>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut History) -> T,
        new: impl FnOnce() -> (History, T),
    ) -> T {
        let leaf = self.leaf_mut(key);
        let index = match leaf.find(key) {
            Ok(index) => return leaf.change(index, change),
            Err(index) => index,
        };
        let (history, result) = new();
        if !leaf.is_full() {
            leaf.insert(index, key, history);
            return result;
        }
        let mut right = if index == leaf.len() {
            // Keys often come in order: leave the full leaf full.
            Leaf::default()
        } else {
            leaf.split_off(leaf.len() / 2)
        };
        let kept = leaf.len();
        if index <= kept && right.len() > 0 {
            leaf.insert(index, key, history);
        } else {
            right.insert(index - kept, key, history);
        }
        self.leaves.insert(right.key(0).to_vec().into(), right);
        result
    }

    /// Shows leaves from the one that holds `from`; gives the bound to go on from, if any.
    fn page(&self, from: &[u8], end: Option<&[u8]>, pages: &mut impl Pages) -> Option<Box<[u8]>> {
        let first = self.bound_of(from);
        let mut spent = 0;
        for (bound, leaf) in self.leaves.range(first..) {
            let is_behind = end.is_some_and(|end| &**bound >= end);
            if is_behind {
                return None;
            }
            if spent >= PAGE_KEYS {
                return Some(bound.clone());
            }
            let start = if **bound < *from { leaf.lower_bound(from) } else { 0 };
            let stop = end.map_or(leaf.len(), |end| leaf.lower_bound(end));
            spent += pages.leaf(leaf, start..stop.max(start))?.max(1);
        }
        None
    }

    /// Small neighbours become one.
    fn join_with_previous(&mut self, bound: &[u8]) {
        let len = self.leaves[bound].len();
        let below = (Bound::Unbounded, Bound::Excluded(bound));
        let Some((_, previous)) = self.leaves.range::<[u8], _>(below).next_back() else {
            return;
        };
        if len > 0 && previous.len() + len > JOINED_KEYS_MAX {
            return;
        }
        let leaf = self.leaves.remove(bound).expect("it was just looked at");
        self.leaf_mut(bound).append(leaf);
    }

    /// One tree of several: each holds later revisions than the one before. Leaves are packed.
    pub(crate) fn join(trees: Vec<Tree>) -> Tree {
        let mut sources: Vec<_> = trees.into_iter().map(Entries::new).collect();
        let mut joined = Packer::default();
        while let Some(key) = sources.iter_mut().filter_map(Entries::peek).min() {
            let key = key.to_vec();
            let mut history: Option<History> = None;
            for source in &mut sources {
                if source.peek() == Some(&key) {
                    let (_, later) = source.entries.next().expect("it was just looked at");
                    match &mut history {
                        None => history = Some(later),
                        Some(history) => history.join(later),
                    }
                }
            }
            joined.push(&key, history.expect("some source had the key"));
        }
        joined.finish()
    }

    #[cfg(test)]
    fn check(&self) {
        assert!(self.leaves.contains_key(&[][..]), "some leaf begins at nothing");
        let bounds: Vec<_> = self.leaves.keys().map(|bound| &**bound).collect();
        for (place, (bound, leaf)) in self.leaves.iter().enumerate() {
            leaf.check();
            if leaf.len() == 0 {
                continue;
            }
            assert!(leaf.key(0).to_vec() >= bound.to_vec(), "a leaf begins at its bound");
            let last = leaf.key(leaf.len() - 1).to_vec();
            assert!(bounds.get(place + 1).is_none_or(|next| &last[..] < *next), "and ends there");
        }
    }
}

/// A tree taken apart, key by key.
struct Entries {
    entries: Peekable<Box<dyn Iterator<Item = (Vec<u8>, History)>>>,
}

impl Entries {
    fn new(tree: Tree) -> Entries {
        let leaves: btree_map::IntoValues<_, Leaf> = tree.leaves.into_values();
        let entries: Box<dyn Iterator<Item = _>> = Box::new(leaves.flat_map(Leaf::into_entries));
        Entries { entries: entries.peekable() }
    }

    fn peek(&mut self) -> Option<&[u8]> {
        self.entries.peek().map(|(key, _)| &key[..])
    }
}

/// Builds a tree of keys that come in order.
#[derive(Default)]
struct Packer {
    tree: Tree,
    leaf: Leaf,
}

impl Packer {
    fn push(&mut self, key: &[u8], history: History) {
        if self.leaf.len() >= PACKED_KEYS || self.leaf.is_full() {
            self.close();
        }
        self.leaf.insert(self.leaf.len(), key, history);
    }

    fn close(&mut self) {
        let mut leaf = std::mem::take(&mut self.leaf);
        if leaf.len() == 0 {
            return;
        }
        leaf.shrink_to_fit();
        let is_first = self.tree.leaves.len() == 1 && self.tree.leaves[&[][..]].len() == 0;
        let bound = if is_first { Box::default() } else { leaf.key(0).to_vec().into() };
        self.tree.leaves.insert(bound, leaf);
    }

    fn finish(mut self) -> Tree {
        self.close();
        self.tree
    }
}

#[cfg(test)]
mod tests;
