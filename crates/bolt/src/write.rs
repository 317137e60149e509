//! Write transactions.

use crate::bucket_mut::{BucketMut, BucketState};
use crate::db::{Db, Inner, Writing};
use crate::meta::{Meta, NO_FREELIST};
use crate::node::Tree;
use crate::output::Output;
use crate::page::{PageId, Run};
use crate::pending::PendingCursor;
use crate::spill::Spill;
use crate::store::Store;
use crate::{Error, Freelist};
use disk::Mapping;
use parking_lot::MutexGuard;

/// Added bytes become pages that are not full, beside pages that are written again: an estimate
/// of both together, in pages for the latter.
const OUTPUT_PAGES_EXTRA: usize = 16;

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
    store: Store,
    root: BucketState,
    freed: Vec<Run>,
}

impl Db {
    /// Begins to write; waits for the writer before.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], or [`Error::Poisoned`] after a failed commit.
    pub fn begin_write(&self) -> Result<WriteTxn<'_>, Error> {
        let mut writing = self.writing()?;
        let shared = self.inner.shared.read();
        let readers: Vec<u64> = shared.readers.keys().copied().collect();
        let (meta, mapping) = (shared.meta, shared.mapping.clone());
        drop(shared);
        writing.free.release(&readers, meta.txid);
        Ok(WriteTxn::new(&self.inner, writing, meta, mapping))
    }
}

impl<'d> WriteTxn<'d> {
    pub(crate) fn new(
        inner: &'d Inner,
        writing: MutexGuard<'d, Writing>,
        meta: Meta,
        mapping: Mapping,
    ) -> WriteTxn<'d> {
        let root = BucketState::new(Tree::Page(meta.root), meta.sequence);
        let store = Store::new(mapping, inner.page_size);
        WriteTxn { inner, writing, meta, store, root, freed: Vec::new() }
    }

    /// The id that the committed state will have.
    pub fn txid(&self) -> u64 {
        self.meta.txid + 1
    }

    fn outermost(&mut self) -> BucketMut<'_> {
        BucketMut::new(&mut self.store, &mut self.root, &mut self.freed)
    }

    /// Makes a bucket.
    ///
    /// # Errors
    /// [`Error::BucketExists`], [`Error::BucketNameRequired`], [`Error::IncompatibleValue`].
    pub fn create_bucket(&mut self, name: &[u8]) -> Result<BucketMut<'_>, Error> {
        self.outermost().into_created(name, false)
    }

    /// Makes a bucket, or takes the one that is there.
    ///
    /// # Errors
    /// [`Error::BucketNameRequired`], [`Error::IncompatibleValue`].
    pub fn create_bucket_if_not_exists(&mut self, name: &[u8]) -> Result<BucketMut<'_>, Error> {
        self.outermost().into_created(name, true)
    }

    /// A bucket to read and change.
    pub fn bucket_mut(&mut self, name: &[u8]) -> Option<BucketMut<'_>> {
        self.outermost().into_nested(name)
    }

    /// A cursor over the names of all buckets, those made here included.
    pub fn buckets(&self) -> PendingCursor<'_> {
        PendingCursor::new(&self.root.root, &self.store)
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
    pub fn commit(self) -> Result<CommitStats, Error> {
        let sync = !self.inner.options.no_sync;
        self.commit_with(sync)
    }

    /// As [`WriteTxn::commit`], durable only where `sync` is set or after [`crate::Db::sync`].
    pub(crate) fn commit_with(mut self, sync: bool) -> Result<CommitStats, Error> {
        let result = self.try_commit(sync);
        if let Err(error) = &result {
            self.writing.poison(error);
        }
        result
    }

    fn try_commit(&mut self, sync: bool) -> Result<CommitStats, Error> {
        let inner = self.inner;
        let page_size = inner.page_size as u64;
        let io = |what| Error::io(&inner.path, what);
        let (meta, mut output) = self.spill();
        let needed = meta.high_water * page_size;
        inner.grow(&mut self.writing, needed, sync).map_err(io("cannot grow"))?;
        let mut write_and_sync = || {
            output.write(&*inner.file, inner.page_size)?;
            if sync { inner.file.sync_data() } else { Ok(()) }
        };
        write_and_sync().map_err(io("cannot write pages"))?;
        // All that the new state consists of is on the disk: it may be named now.
        let write_meta_and_sync = || {
            let place = meta.slot() * page_size;
            inner.file.write_at(&meta.encode(inner.page_size), place)?;
            if sync { inner.file.sync_data() } else { Ok(()) }
        };
        write_meta_and_sync().map_err(io("cannot write the meta page"))?;
        let mapping = inner.map(needed, Some(&self.store.mapping)).map_err(io("cannot map"))?;
        inner.publish(meta, mapping, &self.writing.free);
        let bytes = output.len() as u64;
        Ok(CommitStats { pages: bytes / page_size, bytes })
    }

    /// Turns all changes into pages with places; gives the new state and these pages.
    fn spill(&mut self) -> (Meta, Output) {
        if cfg!(debug_assertions) {
            self.root.check(&self.store);
            self.store.check();
        }
        let mut meta = Meta { txid: self.meta.txid + 1, ..self.meta };
        let expected = self.store.added_bytes() * 5 / 4 + OUTPUT_PAGES_EXTRA * self.inner.page_size;
        let mut spill = Spill {
            store: &mut self.store,
            free: &mut self.writing.free,
            txid: meta.txid,
            high_water: meta.high_water,
            freed: std::mem::take(&mut self.freed),
            output: Output::with_capacity(expected),
        };
        spill.nested(&mut self.root);
        meta.root = spill.root(&mut self.root);
        meta.sequence = self.root.sequence;
        if meta.freelist != NO_FREELIST {
            spill.freed.push(spill.store.page(meta.freelist).run());
        }
        let freed = std::mem::take(&mut spill.freed);
        for run in &freed {
            spill.free.free(meta.txid, *run);
        }
        meta.freelist = match self.inner.options.freelist {
            Freelist::Stored => store_freelist(&mut spill),
            Freelist::Rebuilt => NO_FREELIST,
        };
        meta.high_water = spill.high_water;
        meta.check();
        if cfg!(debug_assertions) {
            spill.free.check(meta.high_water);
            check_copied(freed, spill.output.runs(self.inner.page_size));
        }
        (meta, spill.output)
    }
}

/// Asserts that nothing of the state before is written over, and nothing of it given up twice: what a
/// crash, or a reader, goes back to stays whole.
fn check_copied(freed: Vec<Run>, written: impl Iterator<Item = Run>) {
    let mut runs: Vec<Run> = freed;
    runs.extend(written);
    runs.sort_unstable();
    for pair in runs.windows(2) {
        let ((start, len), next) = (pair[0], pair[1].0);
        assert!(start + len <= next, "page {next} is given up and written, or given up twice");
    }
}

/// Puts the list of free pages into pages of its own.
fn store_freelist(spill: &mut Spill<'_>) -> PageId {
    // Taking the pages can only shorten the list.
    let (id, pages) = spill.allocate(spill.free.stored_len());
    let page_size = spill.store.page_size;
    let list = spill.free.encode(id, pages, page_size);
    spill.output.page(id, list.len(), |out| out.extend_from_slice(&list));
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "page 6 is given up and written")]
    fn a_page_of_the_state_before_is_not_written_over() {
        check_copied(vec![(9, 1), (5, 2)], [(7, 2)].into_iter());
        check_copied(vec![(9, 1), (5, 2)], [(6, 1)].into_iter());
    }
}
