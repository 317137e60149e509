//! The key index: every key's history, in key order, in memory; read while one writer changes it.
//!
//! Long walks take a bounded number of keys at a time under the lock, so that the writer never
//! waits for a whole one; what is written meanwhile belongs to revisions that they do not look at.

use crate::Revision;
use crate::history::{Found, History};
use crate::leaf::{Compacted, Leaf, Tally};
use crate::names::Key;
use crate::node::{Bounds, Flow, Pages};
use crate::tree::Tree;
use parking_lot::RwLock;
use std::iter::Peekable;
use std::ops::Range;

/// The index.
#[derive(Default)]
pub(crate) struct Index {
    tree: RwLock<Tree>,
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

    /// Some keys have been seen, or the walk ends; `false` ends it. The index is not locked.
    fn page_end(&mut self) -> bool {
        true
    }
}

impl<F: FnMut(Key<'_>, Found) -> bool> Visitor for F {
    fn key(&mut self, key: Key<'_>, found: Found) -> bool {
        self(key, found)
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
                && !self.visitor.key(leaf.name(index), found)
            {
                return None;
            }
        }
        Some(places.len())
    }
}

/// A count at a revision. What has not changed since then needs no look.
struct Count {
    at: i64,
    count: usize,
}

impl Pages for Count {
    fn leaf(&mut self, leaf: &Leaf, places: Range<usize>) -> Option<usize> {
        if places.len() == leaf.len() && self.whole(leaf.tally()) {
            return Some(1);
        }
        self.count += places.clone().filter(|&i| leaf.history(i).get(self.at).is_some()).count();
        Some(places.len())
    }

    fn whole(&mut self, tally: &Tally) -> bool {
        let is_unchanged = tally.newest <= self.at;
        if is_unchanged {
            self.count += tally.alive;
        }
        is_unchanged
    }
}

/// Whether any key has a change that a hash at a revision counts.
struct HashesAny {
    at: i64,
    found: bool,
}

impl Pages for HashesAny {
    fn leaf(&mut self, leaf: &Leaf, mut places: Range<usize>) -> Option<usize> {
        let len = places.len();
        self.found = places.any(|index| leaf.history(index).hashed_at(self.at).is_some());
        (!self.found).then_some(len)
    }
}

/// What compacting a page of keys led to.
pub(crate) struct CompactedPage {
    /// Where to go on; `None` at the end.
    pub(crate) next: Option<Vec<u8>>,
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
        self.tree.write().upsert(
            key,
            |history| history.tombstone(revision),
            || unreachable!("only a key that exists is deleted"),
        );
    }

    /// Asserts what is always true of every node and history.
    pub(crate) fn check(&self) {
        self.tree.read().check();
    }

    /// Hands every revision of every key to `see`, with whether it is a tombstone, under one lock.
    pub(crate) fn for_each(&self, mut see: impl FnMut(&[u8], Revision, bool)) {
        self.tree.read().for_each(&mut |key: Key<'_>, history: &History| {
            let key = key.to_vec();
            history.for_each(|revision, is_tombstone| see(&key, revision, is_tombstone));
        });
    }

    /// Takes back a key's newest change.
    pub(crate) fn undo(&self, key: &[u8]) {
        self.tree.write().undo(key);
    }

    /// The key at a revision.
    pub(crate) fn get(&self, key: &[u8], at: i64) -> Option<Found> {
        self.tree.read().get(key)?.get(at)
    }

    /// Whether a revision of a key is still known.
    pub(crate) fn contains(&self, key: &[u8], revision: Revision) -> bool {
        self.tree.read().get(key).is_some_and(|history| history.contains(revision))
    }

    /// Whether a hash at a revision counts this change.
    pub(crate) fn is_hashed(&self, key: &[u8], revision: Revision, at: i64) -> bool {
        self.tree.read().get(key).and_then(|history| history.hashed_at(at)) == Some(revision)
    }

    /// Whether any key has a change that a hash at a revision counts.
    pub(crate) fn hashes_any(&self, at: i64) -> bool {
        let mut pages = HashesAny { at, found: false };
        self.visit(&[], None, &mut pages, |_| true);
        pages.found
    }

    /// Walks the keys of a range that exist at a revision, in order.
    pub(crate) fn walk(&self, range: KeyRange<'_>, at: i64, visitor: &mut impl Visitor) {
        if range.is_one() {
            let tree = self.tree.read();
            let leaf = tree.leaf(range.key);
            if let Ok(index) = leaf.find(range.key)
                && let Some(found) = leaf.history(index).get(at)
            {
                visitor.key(leaf.name(index), found);
            }
            drop(tree);
            visitor.page_end();
        } else if !range.is_empty() {
            let mut walk = Walk { at, visitor };
            self.visit(range.key, range.end(), &mut walk, |walk| walk.visitor.page_end());
        }
    }

    /// How many keys of a range exist at a revision.
    pub(crate) fn count(&self, range: KeyRange<'_>, at: i64) -> usize {
        if range.is_one() {
            return usize::from(self.get(range.key, at).is_some());
        }
        let mut count = Count { at, count: 0 };
        if !range.is_empty() {
            self.visit(range.key, range.end(), &mut count, |_| true);
        }
        count.count
    }

    /// Shows the leaves of a range. Without the lock, after every piece and at the end, `between`
    /// says whether to go on.
    fn visit<P: Pages>(
        &self,
        from: &[u8],
        end: Option<&[u8]>,
        pages: &mut P,
        mut between: impl FnMut(&mut P) -> bool,
    ) {
        let mut from = from.to_vec();
        loop {
            let flow = self.tree.read().visit(Bounds { from: &from, end }, pages);
            let goes_on = between(pages);
            match flow {
                Flow::Resume(next) if goes_on => {
                    assert!(next > from, "a walk goes on behind where it was");
                    from = next;
                }
                _ => return,
            }
        }
    }

    /// Compacts some hundred keys from `from` on.
    pub(crate) fn compact_page(&self, at: i64, from: &[u8]) -> CompactedPage {
        let mut done = Compacted::default();
        let next = self.tree.write().compact(at, from, &mut done);
        CompactedPage { next, keeps_any: done.keeps_any }
    }

    /// How many keys have a history.
    pub(crate) fn len(&self) -> usize {
        self.tree.read().tally().names
    }
}

/// One tree of several: each holds later revisions than the one before. Nodes are packed.
pub(crate) fn join(trees: Vec<Tree>) -> Tree {
    let sources = trees.into_iter().map(|tree| tree.into_entries().peekable()).collect();
    Tree::packed(Joined { sources })
}

/// The entries of several trees, in one order.
struct Joined<I: Iterator> {
    sources: Vec<Peekable<I>>,
}

impl<I: Iterator<Item = (Vec<u8>, History)>> Iterator for Joined<I> {
    type Item = (Vec<u8>, History);

    fn next(&mut self) -> Option<Self::Item> {
        let heads = self.sources.iter_mut().enumerate();
        let least = heads.filter_map(|(at, source)| Some((&source.peek()?.0, at))).min()?.1;
        let (name, mut history) = self.sources[least].next()?;
        for source in &mut self.sources[least + 1..] {
            if let Some((_, later)) = source.next_if(|(other, _)| *other == name) {
                history.join(later);
            }
        }
        Some((name, history))
    }
}

#[cfg(test)]
mod tests;
