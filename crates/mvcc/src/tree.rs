//! The whole tree of names and histories.

use crate::history::History;
use crate::leaf::{Compacted, Leaf, Tally};
use crate::names::Key;
use crate::node::{Bounds, Branch, Flow, Node, Pages, WIDTH_PACKED};

/// The whole tree.
#[derive(Debug)]
pub(crate) struct Tree {
    root: Node,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree { root: Node::Leaf(Leaf::default()) }
    }
}

impl Tree {
    pub(crate) fn tally(&self) -> &Tally {
        self.root.tally()
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&History> {
        let leaf = self.root.leaf(name);
        leaf.find(name).ok().map(|index| leaf.history(index))
    }

    /// The leaf that holds a name, if it is there.
    pub(crate) fn leaf(&self, name: &[u8]) -> &Leaf {
        self.root.leaf(name)
    }

    /// Changes a name's history, or adds the name with one.
    pub(crate) fn upsert<T>(
        &mut self,
        name: &[u8],
        change: impl FnOnce(&mut History) -> T,
        new: impl FnOnce() -> (History, T),
    ) -> T {
        let (result, split) = self.root.upsert(name, change, new);
        if let Some(right) = split {
            let left = std::mem::take(self).root;
            self.root = Node::Branch(Branch::new(vec![(Vec::new(), left), right]));
        }
        result
    }

    /// Takes back a name's newest change.
    pub(crate) fn undo(&mut self, name: &[u8]) {
        self.root.undo(name);
    }

    /// Compacts the leaves from the one that holds `from`, [`PAGE_NAMES`] at least; gives where to
    /// go on, `None` at the end.
    pub(crate) fn compact(
        &mut self,
        at: i64,
        from: &[u8],
        done: &mut Compacted,
    ) -> Option<Vec<u8>> {
        let next = self.root.compact(at, from, done);
        while let Node::Branch(branch) = &mut self.root
            && let Some(only) = branch.take_only_child()
        {
            self.root = only;
        }
        next
    }

    /// Shows the leaves of a range, until [`PAGE_NAMES`] of cost are spent.
    pub(crate) fn visit(&self, range: Bounds<'_>, pages: &mut impl Pages) -> Flow {
        self.root.visit(range, None, pages, &mut 0)
    }

    /// Every name with its history, in order.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = (Vec<u8>, History)> {
        let mut leaves = Vec::new();
        self.root.into_leaves(&mut leaves);
        leaves.into_iter().flat_map(Leaf::into_entries)
    }

    /// A tree of names that come in order, packed.
    pub(crate) fn packed(entries: impl Iterator<Item = (Vec<u8>, History)>) -> Tree {
        let mut nodes: Vec<(Vec<u8>, Node)> = Vec::new();
        let mut leaf = Leaf::default();
        let mut close = |mut leaf: Leaf| {
            leaf.close();
            let bound = if nodes.is_empty() { Vec::new() } else { leaf.name(0).to_vec() };
            nodes.push((bound, Node::Leaf(leaf)));
        };
        for (name, history) in entries {
            if leaf.len() >= WIDTH_PACKED || leaf.is_full() {
                close(std::mem::take(&mut leaf));
            }
            leaf.insert(leaf.len(), &name, history);
        }
        if leaf.len() > 0 {
            close(leaf);
        }
        while nodes.len() > 1 {
            let mut above = Vec::with_capacity(nodes.len() / WIDTH_PACKED + 1);
            let mut rest = nodes.into_iter().peekable();
            while let Some((bound, _)) = rest.peek() {
                let bound = bound.clone();
                let children = rest.by_ref().take(WIDTH_PACKED).collect();
                above.push((bound, Node::Branch(Branch::new(children))));
            }
            nodes = above;
        }
        nodes.pop().map_or_else(Tree::default, |(_, root)| Tree { root })
    }

    /// Asserts what is always true of every node.
    pub(crate) fn check(&self) {
        self.root.check(&[], None);
    }

    /// Every name with its history, in order, to be looked at.
    pub(crate) fn for_each(&self, see: &mut impl FnMut(Key<'_>, &History)) {
        self.root.for_each(see);
    }
}
