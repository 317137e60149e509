//! From changed nodes back to pages: merge what became too small, split what became too large,
//! find places, write.

use crate::bucket::BUCKET_HEADER_LEN;
use crate::freelist::FreePages;
use crate::node::{
    BranchEntry, Entries, LeafEntry, Node, Run, Slice, Tree, put_u32, write_branch, write_leaf,
};
use crate::page::{BUCKET_FLAG, ELEMENT_LEN, HEADER_LEN, PageId};
use crate::write::BucketState;
use std::collections::BTreeMap;

/// A page keeps at least this many elements when it is split.
const MIN_KEYS: usize = 2;

/// Where the pages of a commit go.
pub(crate) struct Spill<'c> {
    pub(crate) data: &'c [u8],
    pub(crate) page_size: usize,
    pub(crate) free: &'c mut FreePages,
    pub(crate) high_water: PageId,
    /// Pages that the new state does not use.
    pub(crate) freed: Vec<Run>,
    /// First page -> bytes of a page with its overflow.
    pub(crate) pages: BTreeMap<PageId, Vec<u8>>,
}

impl Spill<'_> {
    /// A place for `len` bytes.
    pub(crate) fn allocate(&mut self, len: usize) -> Run {
        let pages = len.div_ceil(self.page_size) as u64;
        let start = self.free.allocate(pages).unwrap_or_else(|| {
            self.high_water += pages;
            self.high_water - pages
        });
        (start, pages)
    }

    /// Writes a bucket and those in it; gives the value that stands for it in its parent, or the
    /// root's page for the outermost bucket.
    pub(crate) fn bucket(&mut self, bucket: &mut BucketState) {
        for (name, nested) in std::mem::take(&mut bucket.nested) {
            let mut nested = nested;
            self.bucket(&mut nested);
            let value = self.bucket_value(&mut nested);
            bucket.root.put(BUCKET_FLAG, &name, &value, self.data, self.page_size);
        }
        self.rebalance_root(&mut bucket.root);
    }

    /// The value of a finished bucket: inline where it is small and flat, else its root's page.
    fn bucket_value(&mut self, bucket: &mut BucketState) -> Vec<u8> {
        if let Tree::Node(node) = &mut bucket.root
            && let Entries::Leaf(entries) = &node.entries
            && entries.iter().all(|entry| entry.flags & BUCKET_FLAG == 0)
            && node.size() <= self.page_size / 4
        {
            let mut value = vec![0; BUCKET_HEADER_LEN + node.size()];
            value[8..16].copy_from_slice(&bucket.sequence.to_le_bytes());
            write_leaf(entries, 0, self.data, &mut value[BUCKET_HEADER_LEN..]);
            self.freed.extend(node.origin.take());
            return value;
        }
        let root = self.root(bucket);
        let mut value = vec![0; BUCKET_HEADER_LEN];
        value[0..8].copy_from_slice(&root.to_le_bytes());
        value[8..16].copy_from_slice(&bucket.sequence.to_le_bytes());
        value
    }

    /// Writes a bucket's tree and gives the page of its root.
    pub(crate) fn root(&mut self, bucket: &mut BucketState) -> PageId {
        let root = std::mem::replace(&mut bucket.root, Tree::Page(0));
        let node = match root {
            Tree::Page(id) => {
                bucket.root = Tree::Page(id);
                return id;
            }
            Tree::Node(node) => *node,
        };
        let mut level = self.node(node, bucket.fill_percent);
        while level.len() > 1 {
            level = self.branches(level, bucket.fill_percent);
        }
        let (_, id) = level.pop().expect("a node becomes at least one page");
        bucket.root = Tree::Page(id);
        id
    }

    /// Writes a node and all below it; gives first keys and pages.
    fn node(&mut self, node: Node, fill: f32) -> Vec<(Slice, PageId)> {
        self.freed.extend(node.origin);
        match node.entries {
            Entries::Leaf(entries) => self.leaves(entries, fill),
            Entries::Branch(entries) => {
                let mut children = Vec::with_capacity(entries.len());
                for entry in entries {
                    match entry.child {
                        Tree::Page(id) => children.push((entry.key, id)),
                        Tree::Node(child) => children.extend(self.node(*child, fill)),
                    }
                }
                self.branches(children, fill)
            }
        }
    }

    fn leaves(&mut self, entries: Vec<LeafEntry>, fill: f32) -> Vec<(Slice, PageId)> {
        let sizes: Vec<usize> = entries.iter().map(LeafEntry::size).collect();
        let mut done = Vec::new();
        let mut from = 0;
        for len in chunks(&sizes, self.page_size, fill) {
            let chunk = &entries[from..from + len];
            let bytes = HEADER_LEN + sizes[from..from + len].iter().sum::<usize>();
            from += len;
            let (id, mut page) = self.page(bytes);
            write_leaf(chunk, id, self.data, &mut page);
            self.pages.insert(id, page);
            let key = chunk.first().map_or(Slice::Owned([].into()), |entry| entry.key.clone());
            done.push((key, id));
        }
        done
    }

    fn branches(&mut self, entries: Vec<(Slice, PageId)>, fill: f32) -> Vec<(Slice, PageId)> {
        let sizes: Vec<usize> = entries.iter().map(|(key, _)| ELEMENT_LEN + key.len()).collect();
        let mut done = Vec::new();
        let mut from = 0;
        for len in chunks(&sizes, self.page_size, fill) {
            let chunk = &entries[from..from + len];
            let bytes = HEADER_LEN + sizes[from..from + len].iter().sum::<usize>();
            from += len;
            let (id, mut page) = self.page(bytes);
            write_branch(chunk, id, self.data, &mut page);
            self.pages.insert(id, page);
            done.push((chunk[0].0.clone(), id));
        }
        done
    }

    /// A place and an empty page for `bytes`, its overflow noted.
    fn page(&mut self, bytes: usize) -> (PageId, Vec<u8>) {
        let (id, pages) = self.allocate(bytes);
        let mut page = vec![0; pages as usize * self.page_size];
        put_u32(&mut page, 12, pages as u32 - 1);
        (id, page)
    }

    fn rebalance_root(&mut self, root: &mut Tree) {
        let Tree::Node(node) = root else { return };
        self.rebalance_children(node);
        while let Tree::Node(node) = root
            && let Entries::Branch(entries) = &mut node.entries
            && entries.len() <= 1
        {
            self.freed.extend(node.origin.take());
            *root = match entries.pop() {
                Some(only) => only.child,
                None => Tree::Node(Box::new(Node::empty_leaf())),
            };
        }
    }

    /// Joins children that deletions left too small to their neighbours.
    fn rebalance_children(&mut self, node: &mut Node) {
        let Entries::Branch(entries) = &mut node.entries else {
            return;
        };
        for entry in entries.iter_mut() {
            if let Tree::Node(child) = &mut entry.child {
                self.rebalance_children(child);
            }
        }
        let mut index = 0;
        while index < entries.len() {
            if !self.is_too_small(&entries[index].child) {
                index += 1;
            } else if is_empty(&entries[index].child) {
                let Tree::Node(gone) = entries.remove(index).child else {
                    unreachable!("only nodes in memory are found empty")
                };
                self.freed.extend(gone.origin);
                node.shrunk = true;
            } else if entries.len() == 1 {
                break;
            } else {
                let left = index.saturating_sub(1);
                self.merge(entries, left);
                node.shrunk = true;
                index = left;
            }
        }
    }

    fn is_too_small(&self, child: &Tree) -> bool {
        let Tree::Node(node) = child else {
            return false;
        };
        let min_keys = if matches!(node.entries, Entries::Leaf(_)) { 1 } else { MIN_KEYS };
        node.shrunk && (node.size() <= self.page_size / 4 || node.len() < min_keys)
    }

    /// Appends the child at `left + 1` to the one at `left`.
    fn merge(&mut self, entries: &mut Vec<BranchEntry>, left: usize) {
        let mut right = entries.remove(left + 1).child;
        let right = right.node(self.data, self.page_size);
        self.freed.extend(right.origin.take());
        let into = entries[left].child.node(self.data, self.page_size);
        match (&mut into.entries, &mut right.entries) {
            (Entries::Leaf(into), Entries::Leaf(from)) => into.append(from),
            (Entries::Branch(into), Entries::Branch(from)) => into.append(from),
            _ => unreachable!("children of one branch are of one kind"),
        }
        // It has just grown; looking at it again would only repeat the work.
        into.shrunk = into.size() <= self.page_size / 4;
    }
}

fn is_empty(child: &Tree) -> bool {
    matches!(child, Tree::Node(node) if node.len() == 0)
}

/// How many elements go on each page. No page gets fewer than two, but for a lone one.
fn chunks(sizes: &[usize], page_size: usize, fill: f32) -> Vec<usize> {
    let threshold = (page_size as f32 * fill.clamp(0.1, 1.0)) as usize;
    let mut total: usize = HEADER_LEN + sizes.iter().sum::<usize>();
    let mut rest = sizes;
    let mut lens = Vec::new();
    while rest.len() > MIN_KEYS * 2 && total > page_size {
        let mut len = 0;
        let mut size = HEADER_LEN;
        while len < rest.len() - MIN_KEYS && (len < MIN_KEYS || size + rest[len] <= threshold) {
            size += rest[len];
            len += 1;
        }
        lens.push(len);
        total -= size - HEADER_LEN;
        rest = &rest[len..];
    }
    lens.push(rest.len());
    lens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_filled_to_the_threshold() {
        assert_eq!(chunks(&[], 4096, 0.5), [0]);
        assert_eq!(chunks(&[5000], 4096, 0.5), [1]);
        assert_eq!(chunks(&[100; 40], 4096, 0.5), [40]);
        let halves = chunks(&[100; 200], 4096, 0.5);
        assert_eq!(halves.iter().sum::<usize>(), 200);
        assert!(halves[..halves.len() - 1].iter().all(|&len| len == 20), "{halves:?}");
        assert_eq!(chunks(&[3000; 6], 4096, 0.5), [2, 4]);
    }
}
