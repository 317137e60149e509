//! Merging what deletions left too small.
//!
//! A node is too small below half of what a split would fill, or with too few elements. It is
//! joined to the neighbour on its left, the first one to that on its right; if the result is too
//! large it is split again when it is written.
//!
//! Reference: `node.go` (rebalance).

use crate::node::{BranchEntry, Entries, Node, Tree};
use crate::page::Run;
use crate::store::Store;

const MIN_KEYS_LEAF: usize = 1;
const MIN_KEYS_BRANCH: usize = 2;

/// Merges the small nodes of one bucket.
pub(crate) struct Rebalance<'c> {
    pub(crate) store: &'c Store,
    /// A node of no more bytes is too small.
    pub(crate) threshold: usize,
    /// Pages that are no longer needed.
    pub(crate) freed: &'c mut Vec<Run>,
}

impl Rebalance<'_> {
    /// Merges below the root, then takes away roots with a single child.
    pub(crate) fn root(&mut self, root: &mut Tree) {
        let Tree::Node(node) = root else { return };
        self.children(node);
        while let Tree::Node(node) = root
            && let Entries::Branch(entries) = &mut node.entries
            && entries.len() <= 1
        {
            self.freed.extend(node.origin.take());
            *root = entries.pop().map_or_else(Tree::empty, |only| only.child);
        }
    }

    fn children(&mut self, node: &mut Node) {
        if !node.shrunk {
            return;
        }
        let Entries::Branch(entries) = &mut node.entries else {
            return;
        };
        for entry in entries.iter_mut() {
            if let Tree::Node(child) = &mut entry.child {
                self.children(child);
            }
        }
        self.join(entries);
    }

    /// Joins the small ones of these children to their neighbours.
    fn join(&mut self, entries: &mut Vec<BranchEntry>) {
        let mut index = 0;
        while index < entries.len() {
            let Tree::Node(child) = &mut entries[index].child else {
                index += 1;
                continue;
            };
            if !child.shrunk || !self.is_too_small(child) {
                index += 1;
            } else if child.len() == 0 {
                self.freed.extend(child.origin.take());
                entries.remove(index);
            } else if entries.len() > 1 && self.merge(entries, index.saturating_sub(1)) {
                index = index.saturating_sub(1);
            } else {
                // An only child: its parent is too small as well, and joins it when it is merged.
                index += 1;
            }
        }
    }

    fn is_too_small(&self, node: &Node) -> bool {
        let min_keys = match node.entries {
            Entries::Leaf(_) => MIN_KEYS_LEAF,
            Entries::Branch(_) => MIN_KEYS_BRANCH,
        };
        node.len() < min_keys || node.size() <= self.threshold
    }

    /// Appends the child at `left + 1` to the one at `left`; not where one is a leaf and the other
    /// a branch, as only in a tree that nobody should have written.
    fn merge(&mut self, entries: &mut Vec<BranchEntry>, left: usize) -> bool {
        let count = entries.len();
        assert!(left + 1 < count, "child {left} of {count} has no neighbour on its right");
        let [into, from] = &mut entries[left..left + 2] else {
            unreachable!("the slice has two elements")
        };
        let (into, from) = (into.child.node(self.store), from.child.node(self.store));
        match (&mut into.entries, &mut from.entries) {
            (Entries::Leaf(into), Entries::Leaf(from)) => into.append(from),
            (Entries::Branch(into), Entries::Branch(from)) => {
                into.append(from);
                self.join(into);
            }
            _ => return false,
        }
        self.freed.extend(from.origin.take());
        // Where it is still too small it is looked at again.
        into.shrunk = true;
        entries.remove(left + 1);
        true
    }
}
