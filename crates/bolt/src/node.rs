//! A page taken into memory to be changed.
//!
//! Only the way from the root to what changes is taken; everything else stays a page number. A
//! node's keys and values are spans of the mapping until they are replaced.

use crate::order::compare;
use crate::page::{ELEMENT_LEN, HEADER_LEN, Page, PageId, Run};
use crate::search::Guess;
use crate::store::{Span, Store};

/// A node of more entries is split in memory before something is put into its middle, so that
/// many puts in one transaction do not move ever longer arrays.
const ENTRIES_MAX: usize = if cfg!(test) { 8 } else { 512 };

/// A key and value in a leaf.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeafEntry {
    pub(crate) flags: u32,
    pub(crate) span: Span,
}

/// A child of a branch. The key is not above any key in it, but for the first child, under which
/// lower keys may have been put.
#[derive(Debug)]
pub(crate) struct BranchEntry {
    pub(crate) key: Span,
    pub(crate) child: Tree,
}

/// What a node holds.
#[derive(Debug)]
pub(crate) enum Entries {
    Leaf(Vec<LeafEntry>),
    Branch(Vec<BranchEntry>),
}

/// A subtree: still in the file, or taken into memory.
#[derive(Debug)]
pub(crate) enum Tree {
    Page(PageId),
    Node(Box<Node>),
}

/// A changed page.
///
/// Always true:
/// 1. The keys ascend.
/// 2. They lie between the key of its parent's entry and that of the next; in a branch's first child the
///    lower bound is the branch's own.
#[derive(Debug)]
pub(crate) struct Node {
    /// Where it was read from; free once it is written elsewhere.
    pub(crate) origin: Option<Run>,
    pub(crate) entries: Entries,
    /// Something was removed here or below, so it may have become too small.
    pub(crate) shrunk: bool,
}

impl LeafEntry {
    /// Bytes it takes in a page.
    pub(crate) fn size(&self) -> usize {
        ELEMENT_LEN + self.span.len()
    }
}

impl Node {
    pub(crate) fn empty_leaf() -> Node {
        Node { origin: None, entries: Entries::Leaf(Vec::new()), shrunk: false }
    }

    /// Takes a page into memory. `base` is its place in the mapping.
    pub(crate) fn read(page: Page<'_>, base: usize, origin: Option<Run>) -> Node {
        let count = page.count();
        let entries = if page.is_leaf() {
            let leaf = |index| LeafEntry {
                flags: page.leaf_flags(index),
                span: Span::mapped(base, page.leaf_place(index)),
            };
            // Most nodes are taken to put a little into them.
            let mut entries = Vec::with_capacity(count + 4);
            entries.extend((0..count).map(leaf));
            Entries::Leaf(entries)
        } else {
            let branch = |index| BranchEntry {
                key: Span::mapped(base, page.branch_place(index)),
                child: Tree::Page(page.child(index)),
            };
            Entries::Branch((0..count).map(branch).collect())
        };
        Node { origin, entries, shrunk: false }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.entries {
            Entries::Leaf(entries) => entries.len(),
            Entries::Branch(entries) => entries.len(),
        }
    }

    /// Bytes it takes as a page.
    pub(crate) fn size(&self) -> usize {
        let elements: usize = match &self.entries {
            Entries::Leaf(entries) => entries.iter().map(LeafEntry::size).sum(),
            Entries::Branch(entries) => entries.iter().map(|e| ELEMENT_LEN + e.key.len()).sum(),
        };
        HEADER_LEN + elements
    }

    /// Takes the upper half of a long node out of it, with its first key.
    fn split(&mut self) -> BranchEntry {
        let middle = self.len() / 2;
        assert!(middle > 0, "a node of {} entries cannot be split", self.len());
        let (key, entries) = match &mut self.entries {
            Entries::Leaf(entries) => {
                let upper = entries.split_off(middle);
                (upper[0].span.only_key(), Entries::Leaf(upper))
            }
            Entries::Branch(entries) => {
                let upper = entries.split_off(middle);
                (upper[0].key, Entries::Branch(upper))
            }
        };
        let node = Node { origin: None, entries, shrunk: self.shrunk };
        BranchEntry { key, child: Tree::Node(Box::new(node)) }
    }

    /// Asserts what is always true of it and all below it that is in memory.
    fn check(&self, low: Option<&[u8]>, high: Option<&[u8]>, store: &Store) {
        let entries = match &self.entries {
            Entries::Leaf(entries) => {
                let mut before = None;
                for key in entries.iter().map(|entry| store.key(entry.span)) {
                    assert!(before < Some(key), "keys of a leaf ascend: {before:?}, {key:?}");
                    assert!(low <= Some(key), "{key:?} lies below its leaf's bound {low:?}");
                    before = Some(key);
                }
                let is_below = high.is_none() || before < high;
                assert!(is_below, "{before:?} is not below the next leaf's bound {high:?}");
                return;
            }
            Entries::Branch(entries) => entries,
        };
        for (index, entry) in entries.iter().enumerate() {
            let next = entries.get(index + 1).map(|next| store.key(next.key));
            let key = Some(store.key(entry.key));
            assert!(next.is_none() || key < next, "keys of a branch ascend: {key:?}, {next:?}");
            let low = if index == 0 { low } else { key };
            entry.child.check(low, next.or(high), store);
        }
    }

    /// Whether putting `key` into it would move much.
    fn is_long_for(&self, key: &[u8], store: &Store) -> bool {
        self.len() > ENTRIES_MAX
            && match &self.entries {
                Entries::Leaf(entries) => {
                    entries.last().is_some_and(|last| key < store.key(last.span))
                }
                Entries::Branch(_) => true,
            }
    }
}

impl Tree {
    /// Asserts what is always true of every node in memory. Keys are between these.
    pub(crate) fn check(&self, low: Option<&[u8]>, high: Option<&[u8]>, store: &Store) {
        if let Tree::Node(node) = self {
            node.check(low, high, store);
        }
    }

    /// A tree without a key.
    pub(crate) fn empty() -> Tree {
        Tree::Node(Box::new(Node::empty_leaf()))
    }

    /// The subtree as a node, taken into memory where it is not yet.
    pub(crate) fn node(&mut self, store: &Store) -> &mut Node {
        if let Tree::Page(id) = *self {
            let page = store.page(id);
            let base = id as usize * store.page_size;
            *self = Tree::Node(Box::new(Node::read(page, base, Some(page.run()))));
        }
        match self {
            Tree::Node(node) => node,
            Tree::Page(_) => unreachable!("it was just taken into memory"),
        }
    }

    /// The flags of a key, and where it lies with its value.
    pub(crate) fn find(&self, key: &[u8], store: &Store) -> Option<(u32, Span)> {
        let mut tree = self;
        loop {
            match tree {
                Tree::Page(id) => return find_in_page(*id, key, store),
                Tree::Node(node) => match &node.entries {
                    Entries::Branch(entries) => {
                        tree = &entries.get(child_index(entries, key, store))?.child;
                    }
                    Entries::Leaf(entries) => {
                        let entry = &entries[search(entries, key, store).ok()?];
                        return Some((entry.flags, entry.span));
                    }
                },
            }
        }
    }

    /// Sets a key.
    pub(crate) fn put(&mut self, flags: u32, key: &[u8], value: &[u8], store: &mut Store) {
        debug_assert!(!key.is_empty(), "no key is empty");
        if self.node(store).is_long_for(key, store) {
            let mut lower = std::mem::replace(self, Tree::empty());
            let node = lower.node(store);
            let (upper, shrunk) = (node.split(), node.shrunk);
            let entries = vec![BranchEntry { key: Span::EMPTY, child: lower }, upper];
            let entries = Entries::Branch(entries);
            *self = Tree::Node(Box::new(Node { origin: None, entries, shrunk }));
        }
        let mut node = self.node(store);
        loop {
            match &mut node.entries {
                Entries::Branch(entries) => {
                    let mut index = child_index(entries, key, store);
                    let child = entries[index].child.node(store);
                    if child.is_long_for(key, store) {
                        let upper = child.split();
                        let is_above = store.key(upper.key) <= key;
                        entries.insert(index + 1, upper);
                        index += usize::from(is_above);
                    }
                    node = entries[index].child.node(store);
                }
                Entries::Leaf(entries) => return put_in_leaf(entries, flags, key, value, store),
            }
        }
    }

    /// Removes a key that is there.
    pub(crate) fn delete(&mut self, key: &[u8], store: &Store) {
        let mut node = self.node(store);
        loop {
            node.shrunk = true;
            match &mut node.entries {
                Entries::Branch(entries) => {
                    let index = child_index(entries, key, store);
                    node = entries[index].child.node(store);
                }
                Entries::Leaf(entries) => {
                    let found = search(entries, key, store);
                    assert!(found.is_ok(), "what is removed is there: {key:?}");
                    entries.remove(found.unwrap_or_else(|place| place));
                    return;
                }
            }
        }
    }

    /// Hands every page of the tree to `see`.
    pub(crate) fn for_each_run(&self, store: &Store, see: &mut impl FnMut(Run)) {
        match self {
            Tree::Page(id) => {
                let page = store.page(*id);
                see(page.run());
                if !page.is_leaf() {
                    for index in 0..page.count() {
                        Tree::Page(page.child(index)).for_each_run(store, see);
                    }
                }
            }
            Tree::Node(node) => {
                node.origin.into_iter().for_each(&mut *see);
                if let Entries::Branch(entries) = &node.entries {
                    entries.iter().for_each(|entry| entry.child.for_each_run(store, see));
                }
            }
        }
    }
}

fn find_in_page(root: PageId, key: &[u8], store: &Store) -> Option<(u32, Span)> {
    let mut id = root;
    let mut page = store.page(id);
    let mut guess = Guess::NONE;
    while !page.is_leaf() {
        let (index, below) = page.child_index(key, guess);
        id = page.child(index);
        page = store.page(id);
        guess = below;
    }
    let (index, exact) = page.search(key, guess);
    let base = id as usize * store.page_size;
    exact.then(|| (page.leaf_flags(index), Span::mapped(base, page.leaf_place(index))))
}

fn put_in_leaf(
    entries: &mut Vec<LeafEntry>,
    flags: u32,
    key: &[u8],
    value: &[u8],
    store: &mut Store,
) {
    // Keys mostly come in order.
    let is_last = entries
        .last()
        .is_none_or(|last| compare(store.key(last.span), key) == std::cmp::Ordering::Less);
    let found = if is_last { Err(entries.len()) } else { search(entries, key, store) };
    match found {
        Ok(index) => {
            let span = store.overwrite(entries[index].span, key, value);
            entries[index] = LeafEntry { flags, span };
        }
        Err(index) => {
            entries.insert(index, LeafEntry { flags, span: store.add(key, value) });
            let before = index.checked_sub(1).map(|before| store.key(entries[before].span));
            debug_assert!(before < Some(key), "keys of a leaf ascend: {before:?}, {key:?}");
            let after = entries.get(index + 1).map(|after| store.key(after.span));
            debug_assert!(after.is_none_or(|after| key < after), "they ascend: {key:?}, {after:?}");
        }
    }
}

pub(crate) fn search(entries: &[LeafEntry], key: &[u8], store: &Store) -> Result<usize, usize> {
    entries.binary_search_by(|entry| compare(store.key(entry.span), key))
}

/// The child under which a key belongs.
pub(crate) fn child_index(entries: &[BranchEntry], key: &[u8], store: &Store) -> usize {
    debug_assert!(!entries.is_empty(), "a branch that is searched has a child");
    let not_above = |entry: &BranchEntry| compare(store.key(entry.key), key).is_le();
    if entries.last().is_some_and(not_above) {
        return entries.len() - 1;
    }
    entries.partition_point(not_above).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use disk::Mapping;

    #[test]
    fn many_keys_in_any_order_split_the_tree_in_memory() {
        let mut store = Store::new(Mapping::copied([0; 0]), 1024);
        let mut tree = Tree::empty();
        let key = |n: u32| n.wrapping_mul(2_654_435_761).to_be_bytes();
        for n in 0..20_000 {
            tree.put(0, &key(n), &n.to_le_bytes(), &mut store);
        }
        for n in 0..20_000 {
            let (flags, span) = tree.find(&key(n), &store).unwrap();
            assert_eq!((flags, store.value(span)), (0, &n.to_le_bytes()[..]));
        }
        assert!(tree.find(&key(20_000), &store).is_none());
        // Putting at the end of a node costs nothing, so some grow beyond the limit for a while.
        assert!(longest(&tree) <= 4 * ENTRIES_MAX, "{}", longest(&tree));
    }

    #[test]
    fn a_split_does_not_forget_what_was_removed() {
        let mut store = Store::new(Mapping::copied([0; 0]), 1024);
        let mut tree = Tree::empty();
        (0..9_u8).for_each(|n| tree.put(0, &[2 * n], b"", &mut store));
        tree.delete(&[0], &store);
        tree.put(0, &[20], b"", &mut store);
        tree.put(0, &[3], b"", &mut store);
        let Tree::Node(root) = &tree else { panic!("it was never in a file") };
        assert!(root.shrunk && matches!(root.entries, Entries::Branch(_)));
    }

    fn longest(tree: &Tree) -> usize {
        let Tree::Node(node) = tree else { panic!("it was never in a file") };
        let below = match &node.entries {
            Entries::Leaf(_) => None,
            Entries::Branch(entries) => entries.iter().map(|entry| longest(&entry.child)).max(),
        };
        node.len().max(below.unwrap_or(0))
    }

    #[test]
    #[should_panic(expected = "is not below the next leaf's bound")]
    fn a_key_in_the_wrong_leaf_is_found() {
        let mut store = Store::new(Mapping::copied([0; 0]), 1024);
        let mut tree = Tree::empty();
        (0..40_u8).for_each(|n| tree.put(0, &[n.wrapping_mul(37), n], b"", &mut store));
        tree.check(None, None, &store);
        let Tree::Node(root) = &mut tree else { panic!("it was never in a file") };
        let Entries::Branch(entries) = &mut root.entries else { panic!("it has many keys") };
        let Entries::Leaf(first) = &mut entries[0].child.node(&store).entries else {
            panic!("it is two levels high")
        };
        let span = store.add(&[255, 255], b"");
        first.push(LeafEntry { flags: 0, span });
        tree.check(None, None, &store);
    }
}
