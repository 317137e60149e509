//! A bucket in a write transaction.

use crate::bucket::BUCKET_HEADER_LEN;
use crate::node::{Node, Tree};
use crate::page::{BUCKET_FLAG, Page, Run, u64_at};
use crate::pending::PendingCursor;
use crate::store::{Span, Store};
use crate::{Error, KEY_MAX, VALUE_MAX};
use std::collections::BTreeMap;

/// bbolt's, where a transaction does not say otherwise.
const FILL_PERCENT_DEFAULT: f32 = 0.5;

/// A bucket as a transaction has it.
#[derive(Debug)]
pub(crate) struct BucketState {
    pub(crate) root: Tree,
    pub(crate) sequence: u64,
    pub(crate) fill_percent: f32,
    /// Its value in its parent, or its page, must be written.
    pub(crate) is_changed: bool,
    /// Buckets inside it that were opened. What its own tree says about them is out of date.
    pub(crate) nested: BTreeMap<Vec<u8>, BucketState>,
}

impl BucketState {
    pub(crate) fn new(root: Tree, sequence: u64) -> BucketState {
        BucketState {
            root,
            sequence,
            fill_percent: FILL_PERCENT_DEFAULT,
            is_changed: false,
            nested: BTreeMap::new(),
        }
    }

    /// Asserts what is always true: the nodes of its tree are in order, and so are those of the buckets
    /// in it that were opened, which its tree has by their names.
    pub(crate) fn check(&self, store: &Store) {
        self.root.check(None, None, store);
        for (name, nested) in &self.nested {
            let flags = self.root.find(name, store).map_or(0, |(flags, _)| flags);
            assert!(flags & BUCKET_FLAG != 0, "{name:?} was opened and is no bucket");
            nested.check(store);
        }
    }

    /// From its value in its parent's leaf.
    fn read(span: Span, store: &Store) -> BucketState {
        let value = store.value(span);
        let root = match (u64_at(value, 0), store.mapped_at(span)) {
            (0, Some(at)) => {
                let base = at + span.key_len as usize + BUCKET_HEADER_LEN;
                let page = Page::inline(&value[BUCKET_HEADER_LEN..]);
                Tree::Node(Box::new(Node::read(page, base, None)))
            }
            // Only what this transaction opened has been written anew, and that is at hand.
            (0, None) => unreachable!("an inline bucket that is not open lies in the file"),
            (root, _) => Tree::Page(root),
        };
        BucketState::new(root, u64_at(value, 8))
    }
}

/// A bucket to read and change.
pub struct BucketMut<'t> {
    store: &'t mut Store,
    state: &'t mut BucketState,
    freed: &'t mut Vec<Run>,
}

impl<'t> BucketMut<'t> {
    pub(crate) fn new(
        store: &'t mut Store,
        state: &'t mut BucketState,
        freed: &'t mut Vec<Run>,
    ) -> BucketMut<'t> {
        BucketMut { store, state, freed }
    }

    /// The value of a key; `None` where it is missing or a bucket.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let (flags, span) = self.find(key)?;
        (flags & BUCKET_FLAG == 0).then(|| self.store.value(span))
    }

    /// A cursor over the keys as this transaction has them, not yet placed.
    pub fn cursor(&self) -> PendingCursor<'_> {
        PendingCursor::new(&self.state.root, self.store)
    }

    /// Sets a key.
    ///
    /// # Errors
    /// A key or value of a length that bolt does not take; a key that is a bucket.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        if self.is_bucket(key) {
            return Err(Error::IncompatibleValue);
        }
        self.put_new(key, value)
    }

    /// Sets a key that is above all others or is known not to be a bucket, without looking.
    ///
    /// # Errors
    /// A key or value of a length that bolt does not take.
    pub fn put_new(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        if key.is_empty() {
            return Err(Error::KeyRequired);
        }
        if key.len() > KEY_MAX {
            return Err(Error::KeyTooLarge);
        }
        if value.len() > VALUE_MAX {
            return Err(Error::ValueTooLarge);
        }
        self.state.root.put(0, key, value, self.store);
        self.state.is_changed = true;
        Ok(())
    }

    /// Removes a key; nothing happens where it is missing.
    ///
    /// # Errors
    /// [`Error::IncompatibleValue`] where it is a bucket.
    pub fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        match self.find(key) {
            None => Ok(()),
            Some((flags, _)) if flags & BUCKET_FLAG != 0 => Err(Error::IncompatibleValue),
            Some(_) => {
                self.remove(key);
                Ok(())
            }
        }
    }

    fn remove(&mut self, key: &[u8]) {
        self.state.root.delete(key, self.store);
        self.state.is_changed = true;
    }

    /// How full pages are left when they are split, 0.1 to 1; 0.9 suits keys that only increase.
    /// Holds for this transaction.
    pub fn set_fill_percent(&mut self, fill: f32) {
        self.state.fill_percent = fill;
    }

    /// The number that callers count up to make keys.
    pub fn sequence(&self) -> u64 {
        self.state.sequence
    }

    /// Counts the bucket's sequence up.
    pub fn next_sequence(&mut self) -> u64 {
        self.set_sequence(self.state.sequence.wrapping_add(1));
        self.state.sequence
    }

    /// Sets the bucket's sequence.
    pub fn set_sequence(&mut self, sequence: u64) {
        self.state.sequence = sequence;
        self.state.is_changed = true;
    }

    /// Makes a bucket inside this one.
    ///
    /// # Errors
    /// As [`crate::WriteTxn::create_bucket`].
    pub fn create_bucket(&mut self, name: &[u8]) -> Result<BucketMut<'_>, Error> {
        self.reborrow().into_created(name, false)
    }

    /// Makes a bucket inside this one, or takes the one that is there.
    ///
    /// # Errors
    /// As [`crate::WriteTxn::create_bucket_if_not_exists`].
    pub fn create_bucket_if_not_exists(&mut self, name: &[u8]) -> Result<BucketMut<'_>, Error> {
        self.reborrow().into_created(name, true)
    }

    /// A bucket inside this one.
    pub fn bucket_mut(&mut self, name: &[u8]) -> Option<BucketMut<'_>> {
        self.reborrow().into_nested(name)
    }

    /// The bucket inside this one, to walk down a path.
    pub fn into_bucket(self, name: &[u8]) -> Option<BucketMut<'t>> {
        self.into_nested(name)
    }

    /// The bucket inside this one, made where it is missing, to walk down a path.
    ///
    /// # Errors
    /// As [`crate::WriteTxn::create_bucket_if_not_exists`].
    pub fn into_bucket_if_not_exists(self, name: &[u8]) -> Result<BucketMut<'t>, Error> {
        self.into_created(name, true)
    }

    /// Removes a bucket inside this one, with all that is in it.
    ///
    /// # Errors
    /// [`Error::BucketNotFound`]; [`Error::IncompatibleValue`] where it is a key.
    pub fn delete_bucket(&mut self, name: &[u8]) -> Result<(), Error> {
        match self.find(name) {
            None => return Err(Error::BucketNotFound),
            Some((flags, _)) if flags & BUCKET_FLAG == 0 => return Err(Error::IncompatibleValue),
            Some(_) => {}
        }
        self.reborrow().into_nested(name).expect("it was just found").free_all();
        self.state.nested.remove(name);
        self.remove(name);
        Ok(())
    }

    fn reborrow(&mut self) -> BucketMut<'_> {
        BucketMut { store: self.store, state: self.state, freed: self.freed }
    }

    fn find(&self, key: &[u8]) -> Option<(u32, Span)> {
        self.state.root.find(key, self.store)
    }

    fn is_bucket(&self, key: &[u8]) -> bool {
        self.find(key).is_some_and(|(flags, _)| flags & BUCKET_FLAG != 0)
    }

    pub(crate) fn into_created(self, name: &[u8], may_exist: bool) -> Result<BucketMut<'t>, Error> {
        if name.is_empty() {
            return Err(Error::BucketNameRequired);
        }
        if name.len() > KEY_MAX {
            return Err(Error::KeyTooLarge);
        }
        match self.find(name) {
            Some((flags, _)) if flags & BUCKET_FLAG == 0 => return Err(Error::IncompatibleValue),
            Some(_) if !may_exist => return Err(Error::BucketExists),
            Some(_) => {}
            None => {
                // A place holder: the value is put there when the bucket is written.
                self.state.root.put(BUCKET_FLAG, name, &[0; BUCKET_HEADER_LEN], self.store);
                let new = BucketState { is_changed: true, ..BucketState::new(Tree::empty(), 0) };
                self.state.nested.insert(name.to_vec(), new);
                self.state.is_changed = true;
            }
        }
        Ok(self.into_nested(name).expect("it is there now"))
    }

    pub(crate) fn into_nested(self, name: &[u8]) -> Option<BucketMut<'t>> {
        let BucketMut { store, state, freed } = self;
        if !state.nested.contains_key(name) {
            let (flags, span) = state.root.find(name, store)?;
            if flags & BUCKET_FLAG == 0 {
                return None;
            }
            state.nested.insert(name.to_vec(), BucketState::read(span, store));
        }
        let state = state.nested.get_mut(name)?;
        Some(BucketMut { store, state, freed })
    }

    /// Gives up every page of the bucket and of those in it.
    fn free_all(&mut self) {
        for name in self.nested_names() {
            self.bucket_mut(&name).expect("its name was just read").free_all();
        }
        self.state.root.for_each_run(self.store, &mut |run| self.freed.push(run));
    }

    fn nested_names(&self) -> Vec<Vec<u8>> {
        let mut names = Vec::new();
        let mut cursor = self.cursor();
        let mut next = cursor.first();
        while let Some((name, value)) = next {
            if value.is_none() {
                names.push(name.to_vec());
            }
            next = cursor.next();
        }
        names
    }
}
