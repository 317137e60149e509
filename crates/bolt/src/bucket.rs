//! A bucket as readers see it.
//!
//! ```text
//! a bucket is a leaf element with the bucket flag; its value is
//! 0                 8              16
//! | root id u64     | sequence u64 |                 its tree has pages of its own
//! | 0               | sequence u64 | leaf page ...   it is small and lies here ("inline")
//! ```

use crate::page::{BUCKET_FLAG, Page, PageId, u64_at};
use crate::search::Guess;
use crate::walk::{Item, Walk};

/// Bytes of a bucket's value, but for an inline page.
pub(crate) const BUCKET_HEADER_LEN: usize = 16;

/// A named set of keys; its tree has pages of its own, or lies inline in its parent's leaf.
#[derive(Clone, Copy)]
pub struct Bucket<'t> {
    data: &'t [u8],
    page_size: usize,
    root: Page<'t>,
    sequence: u64,
    is_inline: bool,
}

impl<'t> Bucket<'t> {
    pub(crate) fn at(data: &'t [u8], page_size: usize, root: PageId, sequence: u64) -> Bucket<'t> {
        let root = Page::at(data, page_size, root);
        Bucket { data, page_size, root, sequence, is_inline: false }
    }

    /// From the value of a leaf element with the bucket flag.
    fn from_value(data: &'t [u8], page_size: usize, value: &'t [u8]) -> Bucket<'t> {
        let sequence = u64_at(value, 8);
        match u64_at(value, 0) {
            0 => {
                let root = Page::inline(&value[BUCKET_HEADER_LEN..]);
                Bucket { data, page_size, root, sequence, is_inline: true }
            }
            root => Bucket::at(data, page_size, root, sequence),
        }
    }

    fn page(&self, id: PageId) -> Page<'t> {
        Page::at(self.data, self.page_size, id)
    }

    fn find(&self, key: &[u8]) -> Option<(u32, &'t [u8])> {
        let mut page = self.root;
        let mut guess = Guess::NONE;
        while !page.is_leaf() {
            let (index, below) = page.child_index(key, guess);
            page = self.page(page.child(index));
            guess = below;
        }
        let (index, exact) = page.search(key, guess);
        exact.then(|| {
            let (flags, _, value) = page.leaf(index);
            (flags, value)
        })
    }

    /// The value of a key; `None` where it is missing or a bucket.
    pub fn get(&self, key: &[u8]) -> Option<&'t [u8]> {
        self.find(key).filter(|(flags, _)| flags & BUCKET_FLAG == 0).map(|(_, value)| value)
    }

    /// A bucket inside this one.
    pub fn bucket(&self, name: &[u8]) -> Option<Bucket<'t>> {
        let (flags, value) = self.find(name)?;
        (flags & BUCKET_FLAG != 0).then(|| Bucket::from_value(self.data, self.page_size, value))
    }

    /// The number that callers count up to make keys.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether it lies in its parent's leaf.
    pub fn is_inline(&self) -> bool {
        self.is_inline
    }
}

impl<'t> Walk for Bucket<'t> {
    type Level = Page<'t>;

    fn root(&self) -> Page<'t> {
        self.root
    }

    fn is_leaf(&self, level: Page<'t>) -> bool {
        level.is_leaf()
    }

    fn count(&self, level: Page<'t>) -> usize {
        level.count()
    }

    fn child(&self, level: Page<'t>, index: usize) -> Page<'t> {
        self.page(level.child(index))
    }

    fn child_index(&self, level: Page<'t>, key: &[u8], guess: Guess) -> (usize, Guess) {
        level.child_index(key, guess)
    }

    fn search(&self, level: Page<'t>, key: &[u8], guess: Guess) -> usize {
        level.search(key, guess).0
    }
}

impl<'t> Bucket<'t> {
    pub(crate) fn item(&self, leaf: Page<'t>, index: usize) -> Item<'t> {
        let (flags, key, value) = leaf.leaf(index);
        (key, (flags & BUCKET_FLAG == 0).then_some(value))
    }
}
