//! Write transactions.

use crate::bucket::BUCKET_HEADER_LEN;
use crate::db::{Inner, Writing};
use crate::meta::{Meta, NO_FREELIST};
use crate::node::{Entries, Node, Run, Tree};
use crate::page::{BUCKET_FLAG, Page, PageId, u64_at};
use crate::spill::Spill;
use crate::{Error, Freelist, KEY_MAX, VALUE_MAX};
use disk::Mapping;
use parking_lot::MutexGuard;
use std::collections::BTreeMap;

const DEFAULT_FILL_PERCENT: f32 = 0.5;
/// Neighbouring pages are written together up to this size.
const WRITE_MAX: usize = 1 << 20;

/// A bucket in a write transaction.
#[derive(Debug)]
pub(crate) struct BucketState {
    pub(crate) root: Tree,
    pub(crate) sequence: u64,
    pub(crate) fill_percent: f32,
    /// Buckets inside it that were opened.
    pub(crate) nested: BTreeMap<Vec<u8>, BucketState>,
}

impl BucketState {
    fn new(root: Tree, sequence: u64) -> BucketState {
        let nested = BTreeMap::new();
        BucketState { root, sequence, fill_percent: DEFAULT_FILL_PERCENT, nested }
    }
}

/// What a commit wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitStats {
    /// Pages written, the meta page not counted.
    pub pages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A write transaction: the only one at its time. Dropped, it leaves no trace.
pub struct WriteTxn<'d> {
    inner: &'d Inner,
    writing: MutexGuard<'d, Writing>,
    meta: Meta,
    mapping: Mapping,
    root: BucketState,
    freed: Vec<Run>,
}

impl<'d> WriteTxn<'d> {
    pub(crate) fn new(
        inner: &'d Inner,
        writing: MutexGuard<'d, Writing>,
        meta: Meta,
        mapping: Mapping,
    ) -> WriteTxn<'d> {
        let root = BucketState::new(Tree::Page(meta.root), meta.sequence);
        WriteTxn { inner, writing, meta, mapping, root, freed: Vec::new() }
    }

    fn outermost(&mut self) -> BucketMut<'_> {
        BucketMut {
            data: &self.mapping,
            page_size: self.inner.page_size,
            state: &mut self.root,
            freed: &mut self.freed,
        }
    }

    /// Makes a bucket.
    ///
    /// # Errors
    /// [`Error::BucketExists`], [`Error::KeyRequired`], [`Error::IncompatibleValue`].
    pub fn create_bucket(&mut self, name: &[u8]) -> Result<BucketMut<'_>, Error> {
        self.outermost().into_created(name, false)
    }

    /// Makes a bucket, or takes the one that is there.
    ///
    /// # Errors
    /// [`Error::KeyRequired`], [`Error::IncompatibleValue`].
    pub fn create_bucket_if_not_exists(&mut self, name: &[u8]) -> Result<BucketMut<'_>, Error> {
        self.outermost().into_created(name, true)
    }

    /// A bucket to change.
    pub fn bucket_mut(&mut self, name: &[u8]) -> Option<BucketMut<'_>> {
        self.outermost().into_nested(name)
    }

    /// Removes a bucket with all that is in it.
    ///
    /// # Errors
    /// [`Error::BucketNotFound`].
    pub fn delete_bucket(&mut self, name: &[u8]) -> Result<(), Error> {
        self.outermost().delete_bucket(name)
    }

    /// Makes the changes durable and visible.
    ///
    /// # Errors
    /// [`Error::Io`]; the database takes no writes after that.
    pub fn commit(mut self) -> Result<CommitStats, Error> {
        let result = self.try_commit();
        if let Err(error) = &result {
            self.writing.poisoned = Some(error.to_string());
        }
        result
    }

    fn try_commit(&mut self) -> Result<CommitStats, Error> {
        let page_size = self.inner.page_size;
        let io = |what| Error::io(&self.inner.path, what);
        let mut meta = Meta { txid: self.meta.txid + 1, ..self.meta };
        let mut spill = Spill {
            data: &self.mapping,
            page_size,
            free: &mut self.writing.free,
            high_water: meta.high_water,
            freed: std::mem::take(&mut self.freed),
            pages: BTreeMap::new(),
        };
        spill.bucket(&mut self.root);
        meta.root = spill.root(&mut self.root);
        meta.sequence = self.root.sequence;
        if meta.freelist != NO_FREELIST {
            let old = Page::at(&self.mapping, page_size, meta.freelist);
            spill.freed.push((meta.freelist, old.overflow() + 1));
            meta.freelist = NO_FREELIST;
        }
        for (start, len) in std::mem::take(&mut spill.freed) {
            spill.free.free(meta.txid, start, len);
        }
        if self.inner.options.freelist == Freelist::Stored {
            meta.freelist = store_freelist(&mut spill);
        }
        meta.high_water = spill.high_water;
        let pages = spill.pages;
        let needed = meta.high_water * page_size as u64;
        self.inner.grow(&mut self.writing, needed).map_err(io("cannot grow"))?;
        let bytes = self.write_pages(&pages).map_err(io("cannot write"))?;
        self.sync().map_err(io("cannot sync"))?;
        let page = meta.encode(page_size);
        let at = meta.slot() * page_size as u64;
        self.inner.file.write_at(&page, at).map_err(io("cannot write its meta page"))?;
        self.sync().map_err(io("cannot sync its meta page"))?;
        let mapping = self
            .inner
            .file
            .map(needed, self.inner.options.initial_map_bytes, Some(&self.mapping))
            .map_err(io("cannot map"))?;
        self.inner.publish(meta, mapping, &self.writing.free);
        Ok(CommitStats { pages: bytes / page_size as u64, bytes })
    }

    fn sync(&self) -> std::io::Result<()> {
        if self.inner.options.no_sync { Ok(()) } else { self.inner.file.sync_data() }
    }

    /// Writes pages in the order of their places, neighbours together.
    fn write_pages(&self, pages: &BTreeMap<PageId, Vec<u8>>) -> std::io::Result<u64> {
        let page_size = self.inner.page_size as u64;
        let mut run: Vec<u8> = Vec::new();
        let mut run_at = 0;
        let mut total = 0;
        for (&id, page) in pages {
            let at = id * page_size;
            if !run.is_empty() && (at != run_at + run.len() as u64 || run.len() >= WRITE_MAX) {
                self.inner.file.write_at(&run, run_at)?;
                run.clear();
            }
            if run.is_empty() {
                run_at = at;
            }
            run.extend_from_slice(page);
            total += page.len() as u64;
        }
        if !run.is_empty() {
            self.inner.file.write_at(&run, run_at)?;
        }
        Ok(total)
    }
}

/// Puts the list of free pages into pages of its own.
fn store_freelist(spill: &mut Spill<'_>) -> PageId {
    // Taking the pages can only shorten the list.
    let (id, pages) = spill.allocate(spill.free.stored_len(0));
    let list = spill.free.encode(id, pages, spill.page_size);
    spill.pages.insert(id, list);
    id
}

/// A bucket to read and change.
pub struct BucketMut<'t> {
    data: &'t [u8],
    page_size: usize,
    state: &'t mut BucketState,
    freed: &'t mut Vec<Run>,
}

impl<'t> BucketMut<'t> {
    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let (flags, value) = self.state.root.get(key, self.data, self.page_size)?;
        (flags & BUCKET_FLAG == 0).then_some(value)
    }

    /// Sets a key.
    ///
    /// # Errors
    /// A key or value of a length that bolt does not take; a key that is a bucket.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        if key.is_empty() {
            return Err(Error::KeyRequired);
        }
        if key.len() > KEY_MAX {
            return Err(Error::KeyTooLarge);
        }
        if value.len() > VALUE_MAX {
            return Err(Error::ValueTooLarge);
        }
        if self.is_bucket(key) {
            return Err(Error::IncompatibleValue);
        }
        self.state.root.put(0, key, value, self.data, self.page_size);
        Ok(())
    }

    /// Sets a key that is above all others or is known not to be a bucket, without looking.
    ///
    /// # Errors
    /// As [`BucketMut::put`], but for the bucket.
    pub fn put_new(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        if key.is_empty() {
            return Err(Error::KeyRequired);
        }
        if key.len() > KEY_MAX {
            return Err(Error::KeyTooLarge);
        }
        self.state.root.put(0, key, value, self.data, self.page_size);
        Ok(())
    }

    /// Removes a key; nothing happens where it is missing.
    ///
    /// # Errors
    /// [`Error::IncompatibleValue`] where it is a bucket.
    pub fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        match self.state.root.get(key, self.data, self.page_size) {
            None => {}
            Some((flags, _)) if flags & BUCKET_FLAG != 0 => return Err(Error::IncompatibleValue),
            Some(_) => self.state.root.delete(key, self.data, self.page_size),
        }
        Ok(())
    }

    /// How full pages are left when they are split, 0.1 to 1; 0.9 suits keys that only increase.
    pub fn set_fill_percent(&mut self, fill: f32) {
        self.state.fill_percent = fill;
    }

    /// Counts the bucket's sequence up.
    pub fn next_sequence(&mut self) -> u64 {
        // A changed sequence lies in the parent's leaf; taking the root makes the parent see it.
        self.state.sequence += 1;
        self.state.sequence
    }

    /// Sets the bucket's sequence.
    pub fn set_sequence(&mut self, sequence: u64) {
        self.state.sequence = sequence;
    }

    /// Makes a bucket inside this one.
    ///
    /// # Errors
    /// As [`WriteTxn::create_bucket`].
    pub fn create_bucket(&mut self, name: &[u8]) -> Result<BucketMut<'_>, Error> {
        self.reborrow().into_created(name, false)
    }

    /// A bucket inside this one.
    pub fn bucket_mut(&mut self, name: &[u8]) -> Option<BucketMut<'_>> {
        self.reborrow().into_nested(name)
    }

    /// Removes a bucket inside this one, with all that is in it.
    ///
    /// # Errors
    /// [`Error::BucketNotFound`].
    pub fn delete_bucket(&mut self, name: &[u8]) -> Result<(), Error> {
        let mut gone = self.reborrow().into_nested(name).ok_or(Error::BucketNotFound)?;
        gone.free_all();
        self.state.nested.remove(name);
        self.state.root.delete(name, self.data, self.page_size);
        Ok(())
    }

    fn reborrow(&mut self) -> BucketMut<'_> {
        BucketMut {
            data: self.data,
            page_size: self.page_size,
            state: self.state,
            freed: self.freed,
        }
    }

    fn is_bucket(&self, key: &[u8]) -> bool {
        let found = self.state.root.get(key, self.data, self.page_size);
        found.is_some_and(|(flags, _)| flags & BUCKET_FLAG != 0)
    }

    /// The bucket inside this one, made where it is missing.
    pub(crate) fn into_created_or_existing(self, name: &[u8]) -> Result<BucketMut<'t>, Error> {
        self.into_created(name, true)
    }

    fn into_created(self, name: &[u8], may_exist: bool) -> Result<BucketMut<'t>, Error> {
        if name.is_empty() {
            return Err(Error::KeyRequired);
        }
        match self.state.root.get(name, self.data, self.page_size) {
            Some((flags, _)) if flags & BUCKET_FLAG == 0 => return Err(Error::IncompatibleValue),
            Some(_) if !may_exist => return Err(Error::BucketExists),
            Some(_) => {}
            None => {
                // A place holder: the real value is written when the bucket is.
                let empty = [0; BUCKET_HEADER_LEN];
                self.state.root.put(BUCKET_FLAG, name, &empty, self.data, self.page_size);
                let root = Tree::Node(Box::new(Node::empty_leaf()));
                self.state.nested.insert(name.to_vec(), BucketState::new(root, 0));
            }
        }
        Ok(self.into_nested(name).expect("it is there now"))
    }

    fn into_nested(self, name: &[u8]) -> Option<BucketMut<'t>> {
        let BucketMut { data, page_size, state, freed } = self;
        if !state.nested.contains_key(name) {
            let (flags, value) = state.root.get(name, data, page_size)?;
            if flags & BUCKET_FLAG == 0 {
                return None;
            }
            let root = match u64_at(value, 0) {
                0 => Tree::Node(Box::new(read_inline(value, data))),
                root => Tree::Page(root),
            };
            let opened = BucketState::new(root, u64_at(value, 8));
            state.nested.insert(name.to_vec(), opened);
            // The parent's leaf will get a new value for it.
            let value = value_placeholder();
            state.root.put(BUCKET_FLAG, name, &value, data, page_size);
        }
        let state = state.nested.get_mut(name)?;
        Some(BucketMut { data, page_size, state, freed })
    }

    /// Gives up every page of the bucket and of those in it.
    fn free_all(&mut self) {
        let names = self.nested_names();
        for name in names {
            if let Some(mut nested) = self.bucket_mut(&name) {
                nested.free_all();
            }
        }
        free_tree(&self.state.root, self.data, self.page_size, self.freed);
    }

    fn nested_names(&self) -> Vec<Vec<u8>> {
        let mut names = Vec::new();
        let (data, page_size) = (self.data, self.page_size);
        for_each_leaf(&self.state.root, data, page_size, &mut |flags, key| {
            if flags & BUCKET_FLAG != 0 {
                names.push(key.to_vec());
            }
        });
        names
    }
}

fn value_placeholder() -> [u8; BUCKET_HEADER_LEN] {
    [0; BUCKET_HEADER_LEN]
}

/// An inline bucket's page, whose bytes lie in the mapping.
fn read_inline(value: &[u8], data: &[u8]) -> Node {
    let body = &value[BUCKET_HEADER_LEN..];
    let base = body.as_ptr() as usize - data.as_ptr() as usize;
    Node::read(Page::inline(body), base, None)
}

fn free_tree(tree: &Tree, data: &[u8], page_size: usize, freed: &mut Vec<Run>) {
    match tree {
        Tree::Page(id) => {
            let page = Page::at(data, page_size, *id);
            freed.push((*id, page.overflow() + 1));
            if !page.is_leaf() {
                for index in 0..page.count() {
                    free_tree(&Tree::Page(page.child(index)), data, page_size, freed);
                }
            }
        }
        Tree::Node(node) => {
            freed.extend(node.origin);
            if let Entries::Branch(entries) = &node.entries {
                entries.iter().for_each(|e| free_tree(&e.child, data, page_size, freed));
            }
        }
    }
}

fn for_each_leaf(tree: &Tree, data: &[u8], page_size: usize, see: &mut impl FnMut(u32, &[u8])) {
    match tree {
        Tree::Page(id) => {
            let page = Page::at(data, page_size, *id);
            for index in 0..page.count() {
                if page.is_leaf() {
                    see(page.leaf_flags(index), page.key(index));
                } else {
                    for_each_leaf(&Tree::Page(page.child(index)), data, page_size, see);
                }
            }
        }
        Tree::Node(node) => match &node.entries {
            Entries::Leaf(entries) => entries.iter().for_each(|e| see(e.flags, e.key.get(data))),
            Entries::Branch(entries) => {
                entries.iter().for_each(|e| for_each_leaf(&e.child, data, page_size, see));
            }
        },
    }
}
