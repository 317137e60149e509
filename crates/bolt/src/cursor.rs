//! Walking a bucket in key order.

use crate::bucket::Bucket;
use crate::page::{BUCKET_FLAG, Page};

/// A key with its value; `None` for a bucket.
pub type Item<'t> = (&'t [u8], Option<&'t [u8]>);

/// A place in a bucket. Moving past either end leaves it there and gives `None`.
pub struct Cursor<'t> {
    bucket: Bucket<'t>,
    /// From the root to a leaf: a page and the element taken in it.
    stack: Vec<(Page<'t>, usize)>,
}

impl<'t> Cursor<'t> {
    pub(crate) fn new(bucket: Bucket<'t>) -> Cursor<'t> {
        Cursor { bucket, stack: Vec::new() }
    }

    /// The first key.
    pub fn first(&mut self) -> Option<Item<'t>> {
        self.stack.clear();
        self.descend_first(self.bucket.root());
        self.skip_empty_forward()
    }

    /// The last key.
    pub fn last(&mut self) -> Option<Item<'t>> {
        self.stack.clear();
        self.descend_last(self.bucket.root());
        self.skip_empty_backward()
    }

    /// The first key that is not below `key`.
    pub fn seek(&mut self, key: &[u8]) -> Option<Item<'t>> {
        self.stack.clear();
        let mut page = self.bucket.root();
        while !page.is_leaf() {
            let index = page.child_index(key);
            self.stack.push((page, index));
            page = self.bucket.page(page.child(index));
        }
        self.stack.push((page, page.search(key).0));
        self.skip_empty_forward()
    }

    /// The next key.
    #[allow(clippy::should_implement_trait)] // it borrows from the transaction, not from itself
    pub fn next(&mut self) -> Option<Item<'t>> {
        let (page, index) = self.stack.last_mut()?;
        if *index < page.count() {
            *index += 1;
        }
        self.skip_empty_forward()
    }

    /// The key before.
    pub fn prev(&mut self) -> Option<Item<'t>> {
        let (_, index) = self.stack.last_mut()?;
        if *index == 0 {
            return if self.step_back() { self.skip_empty_backward() } else { None };
        }
        *index -= 1;
        self.item()
    }

    fn item(&self) -> Option<Item<'t>> {
        let &(page, index) = self.stack.last()?;
        if index >= page.count() {
            return None;
        }
        let (key, value) = page.leaf(index);
        let is_bucket = page.leaf_flags(index) & BUCKET_FLAG != 0;
        Some((key, (!is_bucket).then_some(value)))
    }

    fn descend_first(&mut self, mut page: Page<'t>) {
        while !page.is_leaf() {
            self.stack.push((page, 0));
            page = self.bucket.page(page.child(0));
        }
        self.stack.push((page, 0));
    }

    fn descend_last(&mut self, mut page: Page<'t>) {
        while !page.is_leaf() {
            let last = page.count() - 1;
            self.stack.push((page, last));
            page = self.bucket.page(page.child(last));
        }
        self.stack.push((page, page.count().saturating_sub(1)));
    }

    /// From behind a leaf's last element to the next leaf that has one.
    fn skip_empty_forward(&mut self) -> Option<Item<'t>> {
        while let Some(&(page, index)) = self.stack.last() {
            if index < page.count() {
                return self.item();
            }
            if !self.step_forward() {
                return None;
            }
        }
        None
    }

    fn skip_empty_backward(&mut self) -> Option<Item<'t>> {
        while self.item().is_none() {
            if !self.step_back() {
                return None;
            }
        }
        self.item()
    }

    /// To the first element of the next leaf; stays where there is none.
    fn step_forward(&mut self) -> bool {
        let branches = self.stack.len() - 1;
        let Some(level) = (0..branches)
            .rev()
            .find(|&level| self.stack[level].1 + 1 < self.stack[level].0.count())
        else {
            return false;
        };
        self.stack.truncate(level + 1);
        let (page, index) = &mut self.stack[level];
        *index += 1;
        let child = page.child(*index);
        self.descend_first(self.bucket.page(child));
        true
    }

    /// To the last element of the leaf before; stays where there is none.
    fn step_back(&mut self) -> bool {
        let branches = self.stack.len() - 1;
        let Some(level) = (0..branches).rev().find(|&level| self.stack[level].1 > 0) else {
            return false;
        };
        self.stack.truncate(level + 1);
        let (page, index) = &mut self.stack[level];
        *index -= 1;
        let child = page.child(*index);
        self.descend_last(self.bucket.page(child));
        true
    }
}
