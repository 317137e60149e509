//! From changed nodes back to pages: split what became too large, find places, encode.

use crate::bucket::BUCKET_HEADER_LEN;
use crate::bucket_mut::BucketState;
use crate::freelist::FreePages;
use crate::node::{Entries, LeafEntry, Node, Tree};
use crate::output::{Output, encode_branch, encode_leaf};
use crate::page::{BUCKET_FLAG, ELEMENT_LEN, ELEMENTS_MAX, HEADER_LEN, PageId, Run};
use crate::rebalance::Rebalance;
use crate::store::{Span, Store};

/// A page keeps at least this many elements when it is split.
const MIN_KEYS: usize = 2;
const FILL_PERCENT_MIN: f32 = 0.1;
const FILL_PERCENT_MAX: f32 = 1.0;

/// Where the pages of a commit go.
pub(crate) struct Spill<'c> {
    pub(crate) store: &'c mut Store,
    pub(crate) free: &'c mut FreePages,
    pub(crate) txid: u64,
    pub(crate) high_water: PageId,
    /// Pages that the new state does not use.
    pub(crate) freed: Vec<Run>,
    pub(crate) output: Output,
}

impl Spill<'_> {
    /// A place for `len` bytes.
    pub(crate) fn allocate(&mut self, len: usize) -> Run {
        let pages = len.div_ceil(self.store.page_size) as u64;
        let start = self.free.allocate(self.txid, pages).unwrap_or_else(|| {
            let start = self.high_water;
            self.high_water += pages;
            self.free.note_taken(self.txid, start);
            start
        });
        let (end, high) = (start + pages, self.high_water);
        assert!(start >= 2 && end <= high, "{pages} pages at {start} of {high} in use");
        (start, pages)
    }

    /// Writes what has changed in the buckets inside this one, and puts their values into it.
    pub(crate) fn nested(&mut self, bucket: &mut BucketState) {
        for (name, mut nested) in std::mem::take(&mut bucket.nested) {
            self.nested(&mut nested);
            if nested.is_changed {
                let value = self.bucket_value(&mut nested);
                bucket.root.put(BUCKET_FLAG, &name, &value, self.store);
                bucket.is_changed = true;
            }
        }
        let threshold = (self.store.page_size as f32 * bucket.fill_percent) as usize / 2;
        let freed = &mut self.freed;
        Rebalance { store: self.store, threshold, freed }.root(&mut bucket.root);
    }

    /// The value of a finished bucket: inline where it is small and flat, else its root's page.
    fn bucket_value(&mut self, bucket: &mut BucketState) -> Vec<u8> {
        assert!(bucket.nested.is_empty(), "the buckets in a bucket are written before it");
        let mut value = vec![0; BUCKET_HEADER_LEN];
        value[8..16].copy_from_slice(&bucket.sequence.to_le_bytes());
        if let Tree::Node(node) = &mut bucket.root
            && let Entries::Leaf(entries) = &node.entries
            && entries.iter().all(|entry| entry.flags & BUCKET_FLAG == 0)
            && node.size() <= self.store.page_size / 4
        {
            encode_leaf(entries, 0, 0, self.store, &mut value);
            self.freed.extend(node.origin.take());
        } else {
            let root = self.root(bucket);
            value[0..8].copy_from_slice(&root.to_le_bytes());
        }
        value
    }

    /// Writes a bucket's tree and gives the page of its root.
    pub(crate) fn root(&mut self, bucket: &mut BucketState) -> PageId {
        let fill = bucket.fill_percent.clamp(FILL_PERCENT_MIN, FILL_PERCENT_MAX);
        let root = std::mem::replace(&mut bucket.root, Tree::Page(0));
        let id = match root {
            Tree::Page(id) => id,
            Tree::Node(node) => {
                let mut level = Vec::new();
                self.node(*node, fill, &mut level);
                while level.len() > 1 {
                    let below = std::mem::take(&mut level);
                    self.branches(&below, fill, &mut level);
                }
                assert_eq!(level.len(), 1, "a tree has one root");
                level[0].1
            }
        };
        bucket.root = Tree::Page(id);
        id
    }

    /// Writes a node and all below it; appends first keys and pages to `written`.
    fn node(&mut self, node: Node, fill: f32, written: &mut Vec<(Span, PageId)>) {
        self.freed.extend(node.origin);
        match node.entries {
            Entries::Leaf(entries) => self.leaves(&entries, fill, written),
            Entries::Branch(entries) => {
                let mut children = Vec::with_capacity(entries.len());
                for entry in entries {
                    match entry.child {
                        Tree::Page(id) => children.push((entry.key, id)),
                        Tree::Node(child) => self.node(*child, fill, &mut children),
                    }
                }
                self.branches(&children, fill, written);
            }
        }
    }

    fn leaves(&mut self, entries: &[LeafEntry], fill: f32, written: &mut Vec<(Span, PageId)>) {
        let chunks = Chunks::new(entries, LeafEntry::size, self.store.page_size, fill);
        for (chunk, bytes) in chunks {
            let (id, pages) = self.allocate(bytes);
            let len = pages as usize * self.store.page_size;
            let store = &*self.store;
            self.output.page(id, len, |out| encode_leaf(chunk, id, pages as u32 - 1, store, out));
            let first = chunk.first().map_or(Span::EMPTY, |entry| entry.span);
            written.push((first.only_key(), id));
        }
    }

    fn branches(
        &mut self,
        entries: &[(Span, PageId)],
        fill: f32,
        written: &mut Vec<(Span, PageId)>,
    ) {
        let size = |(key, _): &(Span, PageId)| ELEMENT_LEN + key.len();
        for (chunk, bytes) in Chunks::new(entries, size, self.store.page_size, fill) {
            let (id, pages) = self.allocate(bytes);
            let len = pages as usize * self.store.page_size;
            let store = &*self.store;
            self.output.page(id, len, |out| encode_branch(chunk, id, pages as u32 - 1, store, out));
            written.push((chunk[0].0, id));
        }
    }
}

/// Cuts elements into pages: each with its bytes, header included.
///
/// As long as the rest is larger than a page and has more than four elements, a page is filled to
/// the threshold but with two elements at least, and two at least are left. There is always one
/// page, of no elements if there are none.
struct Chunks<'e, T, F> {
    rest: Option<&'e [T]>,
    rest_bytes: usize,
    size: F,
    page_size: usize,
    threshold: usize,
}

impl<'e, T, F: Fn(&T) -> usize> Chunks<'e, T, F> {
    fn new(elements: &'e [T], size: F, page_size: usize, fill: f32) -> Chunks<'e, T, F> {
        let rest_bytes = elements.iter().map(&size).sum();
        let threshold = (page_size as f32 * fill) as usize;
        Chunks { rest: Some(elements), rest_bytes, size, page_size, threshold }
    }
}

impl<'e, T, F: Fn(&T) -> usize> Iterator for Chunks<'e, T, F> {
    type Item = (&'e [T], usize);

    fn next(&mut self) -> Option<(&'e [T], usize)> {
        let rest = self.rest.take()?;
        let fits = HEADER_LEN + self.rest_bytes <= self.page_size && rest.len() <= ELEMENTS_MAX;
        if fits || rest.len() <= MIN_KEYS * 2 {
            return Some((rest, HEADER_LEN + self.rest_bytes));
        }
        let (mut len, mut bytes) = (0, HEADER_LEN);
        for element in &rest[..ELEMENTS_MAX.min(rest.len() - MIN_KEYS)] {
            let size = (self.size)(element);
            if len >= MIN_KEYS && bytes + size > self.threshold {
                break;
            }
            len += 1;
            bytes += size;
        }
        let left = rest.len() - len;
        debug_assert!(len >= MIN_KEYS && left >= MIN_KEYS, "{len} elements are cut off {left}");
        self.rest = Some(&rest[len..]);
        self.rest_bytes -= bytes - HEADER_LEN;
        Some((&rest[..len], bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(sizes: &[usize], page_size: usize, fill: f32) -> Vec<usize> {
        let chunks = Chunks::new(sizes, |size| *size, page_size, fill);
        chunks
            .map(|(chunk, bytes)| {
                assert_eq!(bytes, HEADER_LEN + chunk.iter().sum::<usize>());
                chunk.len()
            })
            .collect()
    }

    #[test]
    fn pages_are_filled_to_the_threshold() {
        assert_eq!(chunks(&[], 4096, 0.5), [0]);
        assert_eq!(chunks(&[5000], 4096, 0.5), [1]);
        assert_eq!(chunks(&[100; 40], 4096, 0.5), [40]);
        let halves = chunks(&[100; 200], 4096, 0.5);
        assert_eq!(halves.iter().sum::<usize>(), 200);
        assert!(halves[..halves.len() - 1].iter().all(|&len| len == 20), "{halves:?}");
        assert_eq!(chunks(&[3000; 6], 4096, 0.5), [2, 4]);
        let full = chunks(&[100; 200], 4096, 1.0);
        assert_eq!(full, [40, 40, 40, 40, 40]);
    }

    #[test]
    fn no_page_gets_more_elements_than_it_can_count() {
        let many = chunks(&[33; 200_000], 16 << 20, 1.0);
        assert_eq!(many, [ELEMENTS_MAX, ELEMENTS_MAX, ELEMENTS_MAX, 200_000 - 3 * ELEMENTS_MAX]);
    }
}
