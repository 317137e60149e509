//! The index's tree: names with their histories in leaves, leaves under branches.
//!
//! ```text
//!            branch  "" .. "/registry/m" .. "/registry/pods/x"     bounds, with what is below
//!           /              |                 \                     them counted up
//!        leaf            leaf               leaf                   names with histories
//! ```
//! A child holds the names from its own bound up to the next one's. The first bound of a branch is
//! its own bound in the branch above; the first of all is empty.

use crate::history::History;
use crate::leaf::{Compacted, Leaf, PAGE_NAMES, Tally, WIDTH_MAX};
use crate::names::{Key, Names};
use std::ops::Range;

/// Those that a node gets where all are known beforehand; the rest is room to grow.
pub(crate) const WIDTH_PACKED: usize = WIDTH_MAX * 7 / 8;
/// Neighbours that together have no more become one.
const WIDTH_JOINED_MAX: usize = WIDTH_MAX / 2;

/// Nodes with their bounds.
///
/// Always true:
/// 1. There is one bound for every child, and one child at least; the first bound is the branch's own.
/// 2. `tally` adds up what the children have.
/// 3. All leaves are equally deep.
#[derive(Debug)]
pub(crate) struct Branch {
    bounds: Names,
    children: Vec<Node>,
    tally: Tally,
}

#[derive(Debug)]
pub(crate) enum Node {
    Leaf(Leaf),
    Branch(Branch),
}

/// Half of a node that has become too wide, and its bound.
pub(crate) type Split = Option<(Vec<u8>, Node)>;

/// A range of names.
#[derive(Clone, Copy)]
pub(crate) struct Bounds<'r> {
    pub(crate) from: &'r [u8],
    /// Excluded; `None`: no end.
    pub(crate) end: Option<&'r [u8]>,
}

/// Sees the leaves of a range.
pub(crate) trait Pages {
    /// A leaf with the places in it that belong to the range. Gives what looking at it cost;
    /// `None` ends the walk.
    fn leaf(&mut self, leaf: &Leaf, places: Range<usize>) -> Option<usize>;

    /// A node that belongs to the range as a whole; `true` means that its leaves need no look.
    fn whole(&mut self, _tally: &Tally) -> bool {
        false
    }
}

/// How a walk goes on.
pub(crate) enum Flow {
    Next,
    Stop,
    /// From this name, when the lock has been let go for a moment.
    Resume(Vec<u8>),
}

impl Branch {
    /// A branch over nodes with their bounds.
    pub(crate) fn new(children: Vec<(Vec<u8>, Node)>) -> Branch {
        let mut branch =
            Branch { bounds: Names::default(), children: Vec::new(), tally: Tally::default() };
        for (bound, child) in children {
            branch.bounds.insert(branch.bounds.len(), &bound);
            branch.children.push(child);
        }
        assert!(!branch.children.is_empty(), "a branch has a child");
        branch.bounds.shrink();
        branch.count();
        branch
    }

    fn count(&mut self) {
        self.tally = Tally::default();
        self.children.iter().for_each(|child| self.tally.join(child.tally()));
    }

    /// The child, where there is but one: it does as well without the branch.
    pub(crate) fn take_only_child(&mut self) -> Option<Node> {
        if self.children.len() == 1 { self.children.pop() } else { None }
    }

    /// The child that holds a name; the first one for a walk that begins before this branch.
    fn place_of(&self, name: &[u8]) -> usize {
        match self.bounds.find(name) {
            Ok(index) => index,
            Err(behind) => behind.saturating_sub(1),
        }
    }

    fn upsert<T>(
        &mut self,
        name: &[u8],
        change: impl FnOnce(&mut History) -> T,
        new: impl FnOnce() -> (History, T),
    ) -> (T, Split) {
        let index = self.place_of(name);
        let before = *self.children[index].tally();
        let (result, split) = self.children[index].upsert(name, change, new);
        let Some((bound, right)) = split else {
            let after = self.children[index].tally();
            self.tally.alive = self.tally.alive + after.alive - before.alive;
            self.tally.names = self.tally.names + after.names - before.names;
            self.tally.newest = self.tally.newest.max(after.newest);
            return (result, None);
        };
        self.bounds.insert(index + 1, &bound);
        self.children.insert(index + 1, right);
        if self.children.len() <= WIDTH_MAX {
            self.count();
            return (result, None);
        }
        let is_last = index + 2 == self.children.len();
        let at = if is_last { index + 1 } else { self.children.len() / 2 };
        let bounds = self.bounds.split_off(at);
        let children = self.children.split_off(at);
        assert_eq!(bounds.len(), children.len(), "a split leaves each child its bound");
        let bound = bounds.key(0).to_vec();
        let mut right = Branch { bounds, children, tally: Tally::default() };
        right.count();
        self.count();
        (result, Some((bound, Node::Branch(right))))
    }

    fn undo(&mut self, name: &[u8]) {
        let index = self.place_of(name);
        self.children[index].undo(name);
        self.count();
    }

    fn compact(&mut self, at: i64, from: &[u8], done: &mut Compacted) -> Option<Vec<u8>> {
        let mut index = self.place_of(from);
        let mut from = from;
        loop {
            let mut next = self.children[index].compact(at, from, done);
            from = &[];
            if next.is_none() && done.is_enough() && index + 1 < self.children.len() {
                next = Some(self.bounds.key(index + 1).to_vec());
            }
            if !self.join_with_previous(index) {
                index += 1;
            }
            if next.is_some() || index == self.children.len() {
                self.count();
                return next;
            }
        }
    }

    /// Small neighbours become one. `true` where the child is no more.
    fn join_with_previous(&mut self, index: usize) -> bool {
        let is_empty = self.children[index].tally().names == 0;
        if is_empty && self.children.len() > 1 {
            // Names of its span go to the child before it, those of the first one to the second.
            self.bounds.remove(index.max(1));
            self.children.remove(index);
            if index == 0 {
                self.children[0].begin_at(&self.bounds.key(0).to_vec());
            }
            return true;
        }
        let Some(previous) = index.checked_sub(1) else { return false };
        if self.children[previous].width() + self.children[index].width() > WIDTH_JOINED_MAX {
            return false;
        }
        self.bounds.remove(index);
        let right = self.children.remove(index);
        self.children[previous].append(right);
        true
    }

    fn append(&mut self, right: Branch) {
        self.bounds.append(&right.bounds);
        self.children.extend(right.children);
        assert_eq!(self.bounds.len(), self.children.len(), "each child keeps its bound");
        self.tally.join(&right.tally);
    }

    /// `upper` is where the names below this branch end, `None` at the very end.
    fn visit(
        &self,
        range: Bounds<'_>,
        upper: Option<Key<'_>>,
        pages: &mut impl Pages,
        spent: &mut usize,
    ) -> Flow {
        let first = self.place_of(range.from);
        for (index, child) in self.children.iter().enumerate().skip(first) {
            let is_first = index == first;
            let bound = self.bounds.key(index);
            if !is_first && range.end.is_some_and(|end| bound.cmp(end).is_ge()) {
                return Flow::Stop;
            }
            if *spent >= PAGE_NAMES {
                return Flow::Resume(bound.to_vec());
            }
            let is_last = index + 1 == self.children.len();
            let upper = if is_last { upper } else { Some(self.bounds.key(index + 1)) };
            let ends_within = range.end.is_none_or(|end| upper.is_some_and(|u| u.cmp(end).is_le()));
            if !is_first && ends_within && pages.whole(child.tally()) {
                *spent += 1;
                continue;
            }
            let from = if is_first { range.from } else { &[] };
            match child.visit(Bounds { from, ..range }, upper, pages, spent) {
                Flow::Next => {}
                flow => return flow,
            }
        }
        Flow::Next
    }
}

impl Node {
    pub(crate) fn tally(&self) -> &Tally {
        match self {
            Node::Leaf(leaf) => leaf.tally(),
            Node::Branch(branch) => &branch.tally,
        }
    }

    fn width(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.len(),
            Node::Branch(branch) => branch.children.len(),
        }
    }

    /// The leaf that holds a name, if it is there.
    pub(crate) fn leaf(&self, name: &[u8]) -> &Leaf {
        let mut node = self;
        loop {
            match node {
                Node::Leaf(leaf) => return leaf,
                Node::Branch(branch) => node = &branch.children[branch.place_of(name)],
            }
        }
    }

    pub(crate) fn upsert<T>(
        &mut self,
        name: &[u8],
        change: impl FnOnce(&mut History) -> T,
        new: impl FnOnce() -> (History, T),
    ) -> (T, Split) {
        match self {
            Node::Leaf(leaf) => {
                let (result, split) = leaf.upsert(name, change, new);
                (result, split.map(|(bound, right)| (bound, Node::Leaf(right))))
            }
            Node::Branch(branch) => branch.upsert(name, change, new),
        }
    }

    pub(crate) fn undo(&mut self, name: &[u8]) {
        match self {
            Node::Leaf(leaf) => leaf.undo(name),
            Node::Branch(branch) => branch.undo(name),
        }
    }

    /// Takes an earlier bound.
    fn begin_at(&mut self, bound: &[u8]) {
        if let Node::Branch(branch) = self {
            branch.bounds.remove(0);
            branch.bounds.insert(0, bound);
            branch.children[0].begin_at(bound);
        }
    }

    fn append(&mut self, right: Node) {
        match (self, right) {
            (Node::Leaf(left), Node::Leaf(right)) => left.append(right),
            (Node::Branch(left), Node::Branch(right)) => left.append(right),
            _ => unreachable!("all leaves are equally deep"),
        }
    }

    pub(crate) fn compact(
        &mut self,
        at: i64,
        from: &[u8],
        done: &mut Compacted,
    ) -> Option<Vec<u8>> {
        match self {
            Node::Leaf(leaf) => {
                leaf.compact(at, done);
                None
            }
            Node::Branch(branch) => branch.compact(at, from, done),
        }
    }

    pub(crate) fn visit(
        &self,
        range: Bounds<'_>,
        upper: Option<Key<'_>>,
        pages: &mut impl Pages,
        spent: &mut usize,
    ) -> Flow {
        let leaf = match self {
            Node::Branch(branch) => return branch.visit(range, upper, pages, spent),
            Node::Leaf(leaf) => leaf,
        };
        let start = leaf.lower_bound(range.from);
        let stop = range.end.map_or(leaf.len(), |end| leaf.lower_bound(end));
        match pages.leaf(leaf, start..stop.max(start)) {
            Some(cost) => *spent += cost.max(1),
            None => return Flow::Stop,
        }
        Flow::Next
    }

    pub(crate) fn into_leaves(self, leaves: &mut Vec<Leaf>) {
        match self {
            Node::Leaf(leaf) => leaves.push(leaf),
            Node::Branch(branch) => {
                branch.children.into_iter().for_each(|child| child.into_leaves(leaves));
            }
        }
    }

    pub(crate) fn for_each(&self, see: &mut impl FnMut(Key<'_>, &History)) {
        match self {
            Node::Leaf(leaf) => {
                (0..leaf.len()).for_each(|index| see(leaf.name(index), leaf.history(index)));
            }
            Node::Branch(branch) => branch.children.iter().for_each(|child| child.for_each(see)),
        }
    }

    /// Asserts what is always true; gives the depth.
    pub(crate) fn check(&self, from: &[u8], end: Option<&[u8]>) -> usize {
        match self {
            Node::Leaf(leaf) => {
                leaf.check(from, end);
                1
            }
            Node::Branch(branch) => {
                branch.bounds.check();
                let (bounds, children) = (branch.bounds.len(), branch.children.len());
                assert_eq!(bounds, children, "there is one bound for every child");
                assert!(children <= WIDTH_MAX, "{children} children are too many");
                let bounds: Vec<_> =
                    (0..branch.children.len()).map(|i| branch.bounds.key(i).to_vec()).collect();
                assert_eq!(bounds[0], from, "the first bound is the branch's own");
                let mut depths = branch.children.iter().enumerate().map(|(index, child)| {
                    let end = bounds.get(index + 1).map_or(end, |next| Some(next));
                    child.check(&bounds[index], end)
                });
                let depth = depths.next().expect("a branch has children");
                assert!(depths.all(|other| other == depth), "all leaves are equally deep");
                let mut tally = Tally::default();
                branch.children.iter().for_each(|child| tally.join(child.tally()));
                tally.check(&branch.tally);
                depth + 1
            }
        }
    }
}
