//! Walking a bucket in key order.

use crate::bucket::Bucket;
use crate::walk::{Item, Way};

impl<'t> Bucket<'t> {
    /// A cursor, not yet placed.
    pub fn cursor(&self) -> Cursor<'t> {
        Cursor::new(*self)
    }
}

/// A place in a bucket.
///
/// Moving past either end gives `None` and leaves it on the element there. It is not on any
/// element before it is placed, nor after [`Cursor::seek`] found nothing; from there
/// [`Cursor::prev`] goes to the last one.
pub struct Cursor<'t> {
    bucket: Bucket<'t>,
    way: Way<crate::page::Page<'t>>,
}

impl<'t> Cursor<'t> {
    pub(crate) fn new(bucket: Bucket<'t>) -> Cursor<'t> {
        Cursor { bucket, way: Way::new() }
    }

    /// The first key.
    pub fn first(&mut self) -> Option<Item<'t>> {
        let (leaf, index) = self.way.first(&self.bucket)?;
        Some(self.bucket.item(leaf, index))
    }

    /// The last key.
    pub fn last(&mut self) -> Option<Item<'t>> {
        let (leaf, index) = self.way.last(&self.bucket)?;
        Some(self.bucket.item(leaf, index))
    }

    /// The first key that is not below `key`.
    pub fn seek(&mut self, key: &[u8]) -> Option<Item<'t>> {
        let (leaf, index) = self.way.seek(&self.bucket, key)?;
        Some(self.bucket.item(leaf, index))
    }

    /// The next key.
    #[allow(clippy::should_implement_trait)] // it borrows from the transaction, not from itself
    pub fn next(&mut self) -> Option<Item<'t>> {
        let (leaf, index) = self.way.next(&self.bucket)?;
        Some(self.bucket.item(leaf, index))
    }

    /// The key before.
    pub fn prev(&mut self) -> Option<Item<'t>> {
        let (leaf, index) = self.way.prev(&self.bucket)?;
        Some(self.bucket.item(leaf, index))
    }
}
