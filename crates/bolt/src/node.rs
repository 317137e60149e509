//! A page taken into memory to be changed.
//!
//! Only the way from the root to what changes is taken; everything else stays a page number. A
//! node's keys and values are slices of the mapping until they are replaced.

use crate::page::{BRANCH, ELEMENT_LEN, HEADER_LEN, LEAF, Page, PageId};

/// Bytes in the mapping, or new ones.
#[derive(Debug)]
pub(crate) enum Slice {
    Mapped { start: usize, len: usize },
    Owned(Box<[u8]>),
}

impl Slice {
    pub(crate) fn get<'s>(&'s self, data: &'s [u8]) -> &'s [u8] {
        match self {
            Slice::Mapped { start, len } => &data[*start..start + len],
            Slice::Owned(bytes) => bytes,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Slice::Mapped { len, .. } => *len,
            Slice::Owned(bytes) => bytes.len(),
        }
    }

    fn mapped(base: usize, range: std::ops::Range<usize>) -> Slice {
        Slice::Mapped { start: base + range.start, len: range.len() }
    }
}

impl Clone for Slice {
    fn clone(&self) -> Slice {
        match self {
            Slice::Mapped { start, len } => Slice::Mapped { start: *start, len: *len },
            Slice::Owned(bytes) => Slice::Owned(bytes.clone()),
        }
    }
}

/// A key and value in a leaf.
#[derive(Debug)]
pub(crate) struct LeafEntry {
    pub(crate) flags: u32,
    pub(crate) key: Slice,
    pub(crate) value: Slice,
}

/// A child of a branch. `key` is not above any key in it.
#[derive(Debug)]
pub(crate) struct BranchEntry {
    pub(crate) key: Slice,
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

/// A page run: first page and number of pages.
pub(crate) type Run = (PageId, u64);

/// A changed page.
#[derive(Debug)]
pub(crate) struct Node {
    /// Where it was read from; free once it is written elsewhere.
    pub(crate) origin: Option<Run>,
    pub(crate) entries: Entries,
    /// Something was removed, so it may have become too small.
    pub(crate) shrunk: bool,
}

impl Node {
    pub(crate) fn empty_leaf() -> Node {
        Node { origin: None, entries: Entries::Leaf(Vec::new()), shrunk: false }
    }

    /// Takes a page into memory. `base` is its place in the data.
    pub(crate) fn read(page: Page<'_>, base: usize, origin: Option<Run>) -> Node {
        let entries = if page.is_leaf() {
            let leaf = |index| {
                let (key, value) = page.leaf_ranges(index);
                LeafEntry {
                    flags: page.leaf_flags(index),
                    key: Slice::mapped(base, key),
                    value: Slice::mapped(base, value),
                }
            };
            Entries::Leaf((0..page.count()).map(leaf).collect())
        } else {
            let branch = |index| BranchEntry {
                key: Slice::mapped(base, page.branch_range(index)),
                child: Tree::Page(page.child(index)),
            };
            Entries::Branch((0..page.count()).map(branch).collect())
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
        HEADER_LEN
            + match &self.entries {
                Entries::Leaf(entries) => entries.iter().map(LeafEntry::size).sum::<usize>(),
                Entries::Branch(entries) => entries.iter().map(BranchEntry::size).sum(),
            }
    }
}

impl LeafEntry {
    pub(crate) fn size(&self) -> usize {
        ELEMENT_LEN + self.key.len() + self.value.len()
    }
}

impl BranchEntry {
    pub(crate) fn size(&self) -> usize {
        ELEMENT_LEN + self.key.len()
    }
}

impl Tree {
    /// The subtree as a node, taken into memory where it is not yet.
    pub(crate) fn node(&mut self, data: &[u8], page_size: usize) -> &mut Node {
        if let Tree::Page(id) = *self {
            let page = Page::at(data, page_size, id);
            let origin = Some((id, page.overflow() + 1));
            *self = Tree::Node(Box::new(Node::read(page, id as usize * page_size, origin)));
        }
        match self {
            Tree::Node(node) => node,
            Tree::Page(_) => unreachable!("it was just taken into memory"),
        }
    }

    /// The value and flags of a key.
    pub(crate) fn get<'t>(
        &'t self,
        key: &[u8],
        data: &'t [u8],
        page_size: usize,
    ) -> Option<(u32, &'t [u8])> {
        match self {
            Tree::Page(id) => {
                let mut page = Page::at(data, page_size, *id);
                while !page.is_leaf() {
                    page = Page::at(data, page_size, page.child(page.child_index(key)));
                }
                let (index, exact) = page.search(key);
                exact.then(|| (page.leaf_flags(index), page.leaf(index).1))
            }
            Tree::Node(node) => match &node.entries {
                Entries::Branch(entries) => {
                    let index = child_index(entries, key, data);
                    entries.get(index)?.child.get(key, data, page_size)
                }
                Entries::Leaf(entries) => {
                    let found = entries.binary_search_by(|entry| entry.key.get(data).cmp(key));
                    let entry = &entries[found.ok()?];
                    Some((entry.flags, entry.value.get(data)))
                }
            },
        }
    }

    /// Sets a key.
    pub(crate) fn put(&mut self, flags: u32, key: &[u8], value: &[u8], data: &[u8], page: usize) {
        let node = self.node(data, page);
        match &mut node.entries {
            Entries::Branch(entries) => {
                let index = child_index(entries, key, data);
                let entry = &mut entries[index];
                if key < entry.key.get(data) {
                    entry.key = Slice::Owned(key.into());
                }
                entry.child.put(flags, key, value, data, page);
            }
            Entries::Leaf(entries) => {
                let value = Slice::Owned(value.into());
                // Keys mostly come in order.
                let at_end = entries.last().is_none_or(|last| last.key.get(data) < key);
                let found = if at_end {
                    Err(entries.len())
                } else {
                    entries.binary_search_by(|entry| entry.key.get(data).cmp(key))
                };
                match found {
                    Ok(index) => {
                        entries[index].flags = flags;
                        entries[index].value = value;
                    }
                    Err(index) => {
                        let key = Slice::Owned(key.into());
                        entries.insert(index, LeafEntry { flags, key, value });
                    }
                }
            }
        }
    }

    /// Removes a key that is there.
    pub(crate) fn delete(&mut self, key: &[u8], data: &[u8], page_size: usize) {
        let node = self.node(data, page_size);
        node.shrunk = true;
        match &mut node.entries {
            Entries::Branch(entries) => {
                let index = child_index(entries, key, data);
                entries[index].child.delete(key, data, page_size);
            }
            Entries::Leaf(entries) => {
                let found = entries.binary_search_by(|entry| entry.key.get(data).cmp(key));
                if let Ok(index) = found {
                    entries.remove(index);
                }
            }
        }
    }
}

/// The child under which a key belongs.
fn child_index(entries: &[BranchEntry], key: &[u8], data: &[u8]) -> usize {
    if entries.last().is_some_and(|last| last.key.get(data) <= key) {
        return entries.len() - 1;
    }
    entries.partition_point(|entry| entry.key.get(data) <= key).saturating_sub(1)
}

/// Writes a leaf page of these entries into `out`, which is as long as its pages.
pub(crate) fn write_leaf(entries: &[LeafEntry], id: PageId, data: &[u8], out: &mut [u8]) {
    write_header(id, LEAF, entries.len(), out);
    let mut at = HEADER_LEN + entries.len() * ELEMENT_LEN;
    for (index, entry) in entries.iter().enumerate() {
        let element = HEADER_LEN + index * ELEMENT_LEN;
        let (key, value) = (entry.key.get(data), entry.value.get(data));
        put_u32(out, element, entry.flags);
        put_u32(out, element + 4, (at - element) as u32);
        put_u32(out, element + 8, key.len() as u32);
        put_u32(out, element + 12, value.len() as u32);
        out[at..at + key.len()].copy_from_slice(key);
        at += key.len();
        out[at..at + value.len()].copy_from_slice(value);
        at += value.len();
    }
}

/// Writes a branch page of keys and page numbers into `out`.
pub(crate) fn write_branch(entries: &[(Slice, PageId)], id: PageId, data: &[u8], out: &mut [u8]) {
    write_header(id, BRANCH, entries.len(), out);
    let mut at = HEADER_LEN + entries.len() * ELEMENT_LEN;
    for (index, (key, child)) in entries.iter().enumerate() {
        let element = HEADER_LEN + index * ELEMENT_LEN;
        let key = key.get(data);
        put_u32(out, element, (at - element) as u32);
        put_u32(out, element + 4, key.len() as u32);
        out[element + 8..element + 16].copy_from_slice(&child.to_le_bytes());
        out[at..at + key.len()].copy_from_slice(key);
        at += key.len();
    }
}

/// `out` longer than a page means overflow; its length is a multiple of the page size only for
/// pages of the file, an inline page is as long as it needs.
fn write_header(id: PageId, flags: u16, count: usize, out: &mut [u8]) {
    out[0..8].copy_from_slice(&id.to_le_bytes());
    out[8..10].copy_from_slice(&flags.to_le_bytes());
    let count = u16::try_from(count).expect("a split leaves fewer elements than a page can count");
    out[10..12].copy_from_slice(&count.to_le_bytes());
}

pub(crate) fn put_u32(out: &mut [u8], at: usize, value: u32) {
    out[at..at + 4].copy_from_slice(&value.to_le_bytes());
}
