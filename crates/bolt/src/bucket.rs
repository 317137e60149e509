//! A bucket as readers see it.

use crate::cursor::Cursor;
use crate::page::{BUCKET_FLAG, HEADER_LEN, Page, PageId, u64_at};

/// A bucket's header in its parent's leaf: root page id (0 for an inline one) and sequence.
pub(crate) const BUCKET_HEADER_LEN: usize = 16;

/// A named set of keys; its tree has pages of its own, or lies inline in its parent's leaf.
#[derive(Clone, Copy)]
pub struct Bucket<'t> {
    data: &'t [u8],
    page_size: usize,
    root: Page<'t>,
    sequence: u64,
}

impl<'t> Bucket<'t> {
    pub(crate) fn at(data: &'t [u8], page_size: usize, root: PageId, sequence: u64) -> Bucket<'t> {
        Bucket { data, page_size, root: Page::at(data, page_size, root), sequence }
    }

    /// From the value of a leaf element with the bucket flag.
    pub(crate) fn from_value(data: &'t [u8], page_size: usize, value: &'t [u8]) -> Bucket<'t> {
        let sequence = u64_at(value, 8);
        match u64_at(value, 0) {
            0 => {
                let root = Page::inline(&value[BUCKET_HEADER_LEN..]);
                Bucket { data, page_size, root, sequence }
            }
            root => Bucket::at(data, page_size, root, sequence),
        }
    }

    pub(crate) fn root(&self) -> Page<'t> {
        self.root
    }

    pub(crate) fn page(&self, id: PageId) -> Page<'t> {
        Page::at(self.data, self.page_size, id)
    }

    fn find(&self, key: &[u8]) -> Option<(u32, &'t [u8])> {
        let mut page = self.root;
        while !page.is_leaf() {
            page = self.page(page.child(page.child_index(key)));
        }
        let (index, exact) = page.search(key);
        exact.then(|| (page.leaf_flags(index), page.leaf(index).1))
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&'t [u8]> {
        self.find(key).filter(|(flags, _)| flags & BUCKET_FLAG == 0).map(|(_, value)| value)
    }

    /// A bucket inside this one.
    pub fn bucket(&self, name: &[u8]) -> Option<Bucket<'t>> {
        let (flags, value) = self.find(name)?;
        (flags & BUCKET_FLAG != 0).then(|| Bucket::from_value(self.data, self.page_size, value))
    }

    /// A cursor, not yet placed.
    pub fn cursor(&self) -> Cursor<'t> {
        Cursor::new(*self)
    }

    /// The number that callers count up to make keys.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether it lies in its parent's leaf.
    pub fn is_inline(&self) -> bool {
        self.root.bytes().len() < HEADER_LEN || self.root.id() == 0
    }
}
