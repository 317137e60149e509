//! The database: one file, its latest state, and who reads which.

use crate::Error;
use crate::check::{self, CheckError};
use crate::freelist::FreePages;
use crate::meta::Meta;
use crate::open::{self, Opened, reserve_bytes};
use crate::options::Options;
use crate::page::PageId;
use disk::{Disk, File, Mapping};
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Figures of the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes in a page.
    pub page_size: usize,
    /// Pages that the next transaction may use.
    pub free_pages: u64,
    /// Pages that wait for readers to go.
    pub pending_pages: u64,
    /// Read transactions now open.
    pub open_reads: usize,
}

/// What readers and the writer share.
///
/// Always true:
/// 1. The mapping shows every page in use.
/// 2. Nobody reads a state that is not committed yet, and who is counted reads.
pub(crate) struct Shared {
    pub(crate) meta: Meta,
    pub(crate) mapping: Mapping,
    /// Transaction id -> how many read it.
    pub(crate) readers: BTreeMap<u64, usize>,
    stats: Stats,
}

/// What only the writer touches.
pub(crate) struct Writing {
    pub(crate) free: FreePages,
    file_len: u64,
    /// The first failure. What rests on the disk is not known after it.
    poisoned: Option<String>,
}

pub(crate) struct Inner {
    pub(crate) file: Arc<dyn File>,
    pub(crate) path: String,
    pub(crate) page_size: usize,
    pub(crate) options: Options,
    pub(crate) shared: RwLock<Shared>,
    writing: Mutex<Writing>,
}

/// An open database; clones share it.
#[derive(Clone)]
pub struct Db {
    pub(crate) inner: Arc<Inner>,
}

impl Db {
    /// Opens or creates a database file and checks every page that can be reached.
    ///
    /// A file whose creation a crash interrupted is created anew.
    ///
    /// # Errors
    /// [`Error::Io`], with `WouldBlock` where another process has the file; [`Error::Corrupt`].
    pub fn open(disk: &dyn Disk, path: &Path, options: Options) -> Result<Db, Error> {
        let Opened { file, file_len, meta, mapping, free } = open::open(disk, path, &options)?;
        let page_size = meta.page_size as usize;
        let stats = Stats { page_size, free_pages: free.count(), ..Stats::default() };
        let inner = Inner {
            file,
            path: path.display().to_string(),
            page_size,
            options,
            shared: RwLock::new(Shared { meta, mapping, readers: BTreeMap::new(), stats }),
            writing: Mutex::new(Writing { free, file_len, poisoned: None }),
        };
        Ok(Db { inner: Arc::new(inner) })
    }

    /// Makes all commits durable that were made without syncing.
    ///
    /// # Errors
    /// As [`Db::begin_write`]; [`Error::Io`], after which the database takes no writes.
    pub fn sync(&self) -> Result<(), Error> {
        let mut writing = self.writing()?;
        self.inner.file.sync_all().map_err(|source| {
            let error = Error::io(&self.inner.path, "cannot sync")(source);
            writing.poison(&error);
            error
        })
    }

    pub(crate) fn writing(&self) -> Result<MutexGuard<'_, Writing>, Error> {
        if self.inner.options.read_only {
            return Err(Error::ReadOnly);
        }
        let writing = self.inner.writing.lock();
        match &writing.poisoned {
            None => Ok(writing),
            Some(first) => {
                Err(Error::Poisoned { path: self.inner.path.clone(), first: first.clone() })
            }
        }
    }

    /// Everything wrong with the latest state and with the free pages: each page below the
    /// highest used must be in use once, or free. Waits for the writer; nothing is found in a
    /// sound file.
    ///
    /// Asserts beside that what the writer and the readers share in memory is sound.
    pub fn check(&self) -> Vec<CheckError> {
        let writing = self.inner.writing.lock();
        self.inner.shared.read().check(self.inner.page_size);
        let high_water = self.inner.shared.read().meta.high_water;
        if writing.poisoned.is_none() {
            writing.free.check(high_water);
        }
        let read = self.begin_read();
        check::check_with(read.data(), read.meta(), writing.free.runs())
    }

    /// The file, as it was named when it was opened.
    pub fn path(&self) -> &Path {
        Path::new(&self.inner.path)
    }

    /// Bytes that the database spans: the first page never used, times the page size. This is what
    /// etcd calls the size of its database; the file may be longer.
    pub fn size(&self) -> u64 {
        self.inner.shared.read().meta.high_water * self.inner.page_size as u64
    }

    /// Figures as of the last commit; open reads as of now.
    pub fn stats(&self) -> Stats {
        let shared = self.inner.shared.read();
        Stats { open_reads: shared.readers.values().sum(), ..shared.stats }
    }
}

impl Shared {
    fn check(&self, page_size: usize) {
        self.meta.check();
        let (needed, shown) = (self.meta.high_water * page_size as u64, self.mapping.len() as u64);
        assert!(needed <= shown, "{needed} bytes are in use and {shown} are mapped");
        let newest = self.readers.last_key_value().map_or(0, |(txid, _)| *txid);
        let last = self.meta.txid;
        assert!(newest <= last, "somebody reads state {newest}, and {last} is the last");
        assert!(self.readers.values().all(|count| *count > 0), "who is counted reads");
    }
}

impl Writing {
    pub(crate) fn poison(&mut self, error: &Error) {
        self.poisoned.get_or_insert_with(|| error.to_string());
    }
}

impl Inner {
    pub(crate) fn end_read(&self, txid: u64) {
        let mut shared = self.shared.write();
        let count = shared.readers.get_mut(&txid).expect("every reader is registered");
        assert!(*count > 0, "a reader of state {txid} ends that never began");
        *count -= 1;
        if *count == 0 {
            shared.readers.remove(&txid);
        }
    }

    /// Makes a committed state the one that readers get.
    pub(crate) fn publish(&self, meta: Meta, mapping: Mapping, free: &FreePages) {
        let mut shared = self.shared.write();
        let (before, now) = (shared.meta, meta);
        assert_eq!(now.txid, before.txid + 1, "states follow each other one by one");
        assert!(now.high_water >= before.high_water, "pages that were used stay in the file");
        let needed = meta.high_water * self.page_size as u64;
        assert!(mapping.len() as u64 >= needed, "the mapping shows the {needed} bytes in use");
        shared.meta = meta;
        shared.mapping = mapping;
        shared.stats.free_pages = free.count();
        shared.stats.pending_pages = free.pending_count();
    }

    /// A view of the file's first `needed` bytes.
    pub(crate) fn map(&self, needed: u64, old: Option<&Mapping>) -> io::Result<Mapping> {
        self.file.map(needed, self.mapped_bytes(needed), old)
    }

    fn mapped_bytes(&self, needed: u64) -> u64 {
        self.options.initial_map_bytes.max(reserve_bytes(needed))
    }

    /// Extends the file to hold `needed` bytes and one page more, as bbolt does: to the size of
    /// the mapping while that is small, then in large steps.
    pub(crate) fn grow(&self, writing: &mut Writing, needed: u64, sync: bool) -> io::Result<()> {
        let needed = needed + self.page_size as u64;
        if needed <= writing.file_len {
            return Ok(());
        }
        let mapped = self.mapped_bytes(needed);
        let growth = self.options.growth_bytes;
        let len = if mapped <= growth { mapped } else { needed + growth };
        let before = writing.file_len;
        assert!(len >= needed && len > before, "a file of {before} grows to {needed}, not {len}");
        self.file.set_len(len)?;
        // Syncing data covers the length where data needs it; bbolt has met a kernel that did not.
        if sync {
            self.file.sync_all()?;
        }
        writing.file_len = len;
        Ok(())
    }
}

impl Error {
    pub(crate) fn io(path: &str, what: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { path: path.to_owned(), what, source }
    }

    pub(crate) fn corrupt(path: &str, page: PageId, page_size: usize, what: String) -> Error {
        let offset = page.saturating_mul(page_size as u64);
        Error::Corrupt { path: path.to_owned(), page, offset, what }
    }
}
