//! Which ranges hold a key: a search tree of intervals.
//!
//! A treap in the order of (start, end). Every node knows the last end in its subtree, so a search
//! leaves out what ends before the key and what begins after it: it costs the logarithm of the
//! number of different ranges for each range found.

use crate::ids::WatcherId;
use bytes::Bytes;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

type Link = Option<usize>;

#[derive(Debug)]
struct Node {
    start: Bytes,
    /// Empty: no end.
    end: Bytes,
    /// The last of the ends in this subtree; empty where one of them is no end.
    last_end: Bytes,
    ids: BTreeSet<WatcherId>,
    /// Never below a child's.
    priority: u64,
    left: Link,
    right: Link,
}

/// Watchers by the range they watch.
///
/// Always true, and asserted by [`Intervals::check`]:
/// 1. Ranges ascend from left to right, and no range has two nodes.
/// 2. No node's priority is below a child's.
/// 3. A node's last end is the last of its own and its children's.
/// 4. Every node that is not free is in the tree and has a watcher.
#[derive(Debug, Default)]
pub(crate) struct Intervals {
    nodes: Vec<Node>,
    free: Vec<usize>,
    root: Link,
    inserted: u64,
    /// Where priorities come from. They shape the tree and nothing that can be seen; a client that
    /// could foresee them could have all ranges in one long branch.
    chance: RandomState,
}

impl Intervals {
    /// Adds a watcher of a range; an empty `end` is no end.
    pub(crate) fn insert(&mut self, id: WatcherId, start: &Bytes, end: &Bytes) {
        if let Some(at) = self.find(start, end) {
            let is_new = self.nodes[at].ids.insert(id);
            assert!(is_new, "watcher {id:?} has its range already");
            return;
        }
        let new = self.allocate(id, start, end);
        self.root = Some(self.insert_below(self.root, new));
    }

    /// Removes a watcher of a range.
    pub(crate) fn remove(&mut self, id: WatcherId, start: &Bytes, end: &Bytes) {
        let at = self.find(start, end);
        let was_there = at.is_some_and(|at| self.nodes[at].ids.remove(&id));
        assert!(was_there, "watcher {id:?} has not the range {start:?} to {end:?}");
        let Some(at) = at else { return };
        if self.nodes[at].ids.is_empty() {
            self.root = self.remove_below(self.root, at);
            self.free.push(at);
        }
    }

    /// Whether a watcher of a range is there.
    pub(crate) fn holds(&self, id: WatcherId, start: &Bytes, end: &Bytes) -> bool {
        self.find(start, end).is_some_and(|at| self.nodes[at].ids.contains(&id))
    }

    /// Asserts what is always true of the tree; gives the number of watchers in it.
    pub(crate) fn check(&self) -> usize {
        let mut in_order = Vec::new();
        self.check_below(self.root, &mut in_order);
        let (used, all, free) = (in_order.len(), self.nodes.len(), self.free.len());
        assert_eq!(used + free, all, "{used} nodes are in the tree and {free} are free");
        for two in in_order.windows(2) {
            let is_left = self.is_left_of(two[0], two[1]);
            assert!(is_left, "{:?} stands before {:?}", self.nodes[two[0]], self.nodes[two[1]]);
        }
        in_order.into_iter().map(|at| self.nodes[at].ids.len()).sum()
    }

    fn check_below(&self, tree: Link, in_order: &mut Vec<usize>) {
        let Some(at) = tree else { return };
        let node = &self.nodes[at];
        assert!(!node.ids.is_empty(), "nobody watches {:?} to {:?}", node.start, node.end);
        for child in [node.left, node.right].into_iter().flatten() {
            let below = self.nodes[child].priority;
            assert!(node.priority >= below, "priority {} stands above {below}", node.priority);
        }
        assert_eq!(node.last_end, self.last_end(at), "the last end below {:?}", node.start);
        self.check_below(node.left, in_order);
        in_order.push(at);
        self.check_below(node.right, in_order);
    }

    /// Hands on every watcher whose range holds the key.
    pub(crate) fn holding(&self, key: &[u8], see: &mut impl FnMut(WatcherId)) {
        self.holding_below(self.root, key, see);
    }

    fn holding_below(&self, tree: Link, key: &[u8], see: &mut impl FnMut(WatcherId)) {
        let Some(at) = tree else { return };
        let node = &self.nodes[at];
        if !is_before_end(key, &node.last_end) {
            return;
        }
        self.holding_below(node.left, key, see);
        if node.start.as_ref() > key {
            return;
        }
        if is_before_end(key, &node.end) {
            node.ids.iter().for_each(|id| see(*id));
        }
        self.holding_below(node.right, key, see);
    }

    fn find(&self, start: &Bytes, end: &Bytes) -> Link {
        let mut tree = self.root;
        while let Some(at) = tree {
            let node = &self.nodes[at];
            tree = match (start, end).cmp(&(&node.start, &node.end)) {
                Ordering::Less => node.left,
                Ordering::Equal => return tree,
                Ordering::Greater => node.right,
            };
        }
        None
    }

    fn allocate(&mut self, id: WatcherId, start: &Bytes, end: &Bytes) -> usize {
        self.inserted += 1;
        let node = Node {
            start: start.clone(),
            end: end.clone(),
            last_end: end.clone(),
            ids: BTreeSet::from([id]),
            priority: self.chance.hash_one(self.inserted),
            left: None,
            right: None,
        };
        match self.free.pop() {
            Some(at) => {
                self.nodes[at] = node;
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        }
    }

    fn is_left_of(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.nodes[a], &self.nodes[b]);
        (&a.start, &a.end) < (&b.start, &b.end)
    }

    /// The tree with a node that it does not have yet; gives its root.
    fn insert_below(&mut self, tree: Link, new: usize) -> usize {
        let Some(at) = tree else { return new };
        if self.nodes[new].priority > self.nodes[at].priority {
            let (left, right) = self.split(tree, new);
            self.nodes[new].left = left;
            self.nodes[new].right = right;
            return self.updated(new);
        }
        if self.is_left_of(new, at) {
            self.nodes[at].left = Some(self.insert_below(self.nodes[at].left, new));
        } else {
            self.nodes[at].right = Some(self.insert_below(self.nodes[at].right, new));
        }
        self.updated(at)
    }

    /// What of a tree is left and right of a node.
    fn split(&mut self, tree: Link, by: usize) -> (Link, Link) {
        let Some(at) = tree else { return (None, None) };
        if self.is_left_of(at, by) {
            let (left, right) = self.split(self.nodes[at].right, by);
            self.nodes[at].right = left;
            (Some(self.updated(at)), right)
        } else {
            let (left, right) = self.split(self.nodes[at].left, by);
            self.nodes[at].left = right;
            (left, Some(self.updated(at)))
        }
    }

    /// The tree without a node that it has.
    fn remove_below(&mut self, tree: Link, gone: usize) -> Link {
        let at = tree.expect("the node is in the tree");
        if at == gone {
            return self.merge(self.nodes[at].left, self.nodes[at].right);
        }
        if self.is_left_of(gone, at) {
            self.nodes[at].left = self.remove_below(self.nodes[at].left, gone);
        } else {
            self.nodes[at].right = self.remove_below(self.nodes[at].right, gone);
        }
        Some(self.updated(at))
    }

    /// One tree of two, all of `left` before all of `right`.
    fn merge(&mut self, left: Link, right: Link) -> Link {
        let (Some(l), Some(r)) = (left, right) else { return left.or(right) };
        if self.nodes[l].priority > self.nodes[r].priority {
            self.nodes[l].right = self.merge(self.nodes[l].right, right);
            Some(self.updated(l))
        } else {
            self.nodes[r].left = self.merge(left, self.nodes[r].left);
            Some(self.updated(r))
        }
    }

    /// Notes a node's last end anew, for its children have changed.
    fn updated(&mut self, at: usize) -> usize {
        self.nodes[at].last_end = self.last_end(at);
        at
    }

    /// A node's last end, from its own and its children's.
    fn last_end(&self, at: usize) -> Bytes {
        let node = &self.nodes[at];
        let below = [node.left, node.right].into_iter().flatten();
        let mut last = &node.end;
        for child in below {
            let end = &self.nodes[child].last_end;
            if !last.is_empty() && (end.is_empty() || end > last) {
                last = end;
            }
        }
        last.clone()
    }
}

fn is_before_end(key: &[u8], end: &Bytes) -> bool {
    end.is_empty() || key < end.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spreads a count over all numbers (the finisher of splitmix64).
    fn scatter(count: u64) -> u64 {
        let mut mixed = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn bytes(n: u64) -> Bytes {
        Bytes::copy_from_slice(&[n as u8 + 1])
    }

    #[test]
    fn finds_what_a_walk_finds() {
        let mut tree = Intervals::default();
        let mut plain: Vec<(WatcherId, Bytes, Bytes)> = Vec::new();
        for n in 0..4000u64 {
            let dice = scatter(n);
            if dice.is_multiple_of(3) && !plain.is_empty() {
                let (id, start, end) = plain.swap_remove(dice as usize % plain.len());
                tree.remove(id, &start, &end);
            } else {
                let start = dice % 60;
                let end = match dice >> 40 & 63 {
                    0 => Bytes::new(),
                    len => bytes(start + 1 + len),
                };
                tree.insert((n, 0), &bytes(start), &end);
                plain.push(((n, 0), bytes(start), end));
            }
            assert_eq!(tree.check(), plain.len());
            let key = bytes(scatter(n + 77) % 128);
            let mut found = Vec::new();
            tree.holding(&key, &mut |id| found.push(id));
            found.sort_unstable();
            let holds = |(_, start, end): &&(WatcherId, Bytes, Bytes)| {
                *start <= key && is_before_end(&key, end)
            };
            let mut expected: Vec<_> = plain.iter().filter(holds).map(|(id, ..)| *id).collect();
            expected.sort_unstable();
            assert_eq!(found, expected);
        }
        for (id, start, end) in plain {
            tree.remove(id, &start, &end);
        }
        assert!(tree.root.is_none() && tree.free.len() == tree.nodes.len());
    }

    #[test]
    fn the_tree_stays_low() {
        fn height(tree: &Intervals, link: Link) -> usize {
            link.map_or(0, |at| {
                let node = &tree.nodes[at];
                1 + height(tree, node.left).max(height(tree, node.right))
            })
        }
        let mut tree = Intervals::default();
        for n in 0..10_000u32 {
            let start = Bytes::copy_from_slice(&n.to_be_bytes());
            let end = Bytes::copy_from_slice(&(n + 1).to_be_bytes());
            tree.insert((u64::from(n), 0), &start, &end);
        }
        assert!(height(&tree, tree.root) < 50, "in order of insertion it would be 10,000");
    }
}
