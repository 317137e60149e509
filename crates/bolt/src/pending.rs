//! Walking a bucket as a write transaction has it.

use crate::node::{Entries, Node, Tree, child_index, search};
use crate::page::{BUCKET_FLAG, Page};
use crate::search::Guess;
use crate::store::Store;
use crate::walk::{Item, Walk, Way};

/// A page of the file, or one that the transaction has taken into memory.
#[derive(Clone, Copy)]
enum Level<'t> {
    Page(Page<'t>),
    Node(&'t Node),
}

#[derive(Clone, Copy)]
struct Pending<'t> {
    root: &'t Tree,
    store: &'t Store,
}

impl<'t> Pending<'t> {
    fn level(&self, tree: &'t Tree) -> Level<'t> {
        match tree {
            Tree::Page(id) => Level::Page(self.store.page(*id)),
            Tree::Node(node) => Level::Node(node),
        }
    }

    fn item(&self, (leaf, index): (Level<'t>, usize)) -> Item<'t> {
        let (flags, key, value) = match leaf {
            Level::Page(page) => page.leaf(index),
            Level::Node(node) => {
                let Entries::Leaf(entries) = &node.entries else {
                    unreachable!("a cursor stands on a leaf")
                };
                let entry = &entries[index];
                (entry.flags, self.store.key(entry.span), self.store.value(entry.span))
            }
        };
        (key, (flags & BUCKET_FLAG == 0).then_some(value))
    }
}

impl<'t> Walk for Pending<'t> {
    type Level = Level<'t>;

    fn root(&self) -> Level<'t> {
        self.level(self.root)
    }

    fn is_leaf(&self, level: Level<'t>) -> bool {
        match level {
            Level::Page(page) => page.is_leaf(),
            Level::Node(node) => matches!(node.entries, Entries::Leaf(_)),
        }
    }

    fn count(&self, level: Level<'t>) -> usize {
        match level {
            Level::Page(page) => page.count(),
            Level::Node(node) => node.len(),
        }
    }

    fn child(&self, level: Level<'t>, index: usize) -> Level<'t> {
        match level {
            Level::Page(page) => Level::Page(self.store.page(page.child(index))),
            Level::Node(node) => match &node.entries {
                Entries::Branch(entries) => self.level(&entries[index].child),
                Entries::Leaf(_) => unreachable!("a leaf has no children"),
            },
        }
    }

    fn child_index(&self, level: Level<'t>, key: &[u8], guess: Guess) -> (usize, Guess) {
        match level {
            Level::Page(page) => page.child_index(key, guess),
            Level::Node(node) => match &node.entries {
                Entries::Branch(entries) => (child_index(entries, key, self.store), Guess::NONE),
                Entries::Leaf(_) => unreachable!("a leaf has no children"),
            },
        }
    }

    fn search(&self, level: Level<'t>, key: &[u8], guess: Guess) -> usize {
        match level {
            Level::Page(page) => page.search(key, guess).0,
            Level::Node(node) => match &node.entries {
                Entries::Leaf(entries) => {
                    search(entries, key, self.store).unwrap_or_else(|index| index)
                }
                Entries::Branch(_) => unreachable!("only leaves are searched for elements"),
            },
        }
    }
}

/// A place in a bucket of a write transaction, its own changes included. It moves as
/// [`crate::Cursor`] does.
pub struct PendingCursor<'t> {
    tree: Pending<'t>,
    way: Way<Level<'t>>,
}

impl<'t> PendingCursor<'t> {
    pub(crate) fn new(root: &'t Tree, store: &'t Store) -> PendingCursor<'t> {
        PendingCursor { tree: Pending { root, store }, way: Way::new() }
    }

    /// The first key.
    pub fn first(&mut self) -> Option<Item<'t>> {
        self.way.first(&self.tree).map(|here| self.tree.item(here))
    }

    /// The last key.
    pub fn last(&mut self) -> Option<Item<'t>> {
        self.way.last(&self.tree).map(|here| self.tree.item(here))
    }

    /// The first key that is not below `key`.
    pub fn seek(&mut self, key: &[u8]) -> Option<Item<'t>> {
        self.way.seek(&self.tree, key).map(|here| self.tree.item(here))
    }

    /// The next key.
    #[allow(clippy::should_implement_trait)] // it borrows from the transaction, not from itself
    pub fn next(&mut self) -> Option<Item<'t>> {
        self.way.next(&self.tree).map(|here| self.tree.item(here))
    }

    /// The key before.
    pub fn prev(&mut self) -> Option<Item<'t>> {
        self.way.prev(&self.tree).map(|here| self.tree.item(here))
    }
}
