//! The database: one file, its latest state, and who reads which.

use crate::Error;
use crate::check;
use crate::freelist::{self, FreePages};
use crate::meta::{Meta, NO_FREELIST};
use crate::page::{FREELIST, LEAF, Page, PageId, u64_at};
use crate::read::ReadTxn;
use crate::write::WriteTxn;
use disk::{Disk, File, Lock, Mapping, Open};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What bbolt grows its files by.
const GROWTH_BYTES: u64 = 16 * 1024 * 1024;
const DEFAULT_PAGE_SIZE: usize = 4096;

/// Whether the list of free pages is kept in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freelist {
    /// Written at every commit (bbolt's default; array and map types look the same in the file).
    Stored,
    /// Left out, and rebuilt when the file is opened. What etcd uses.
    #[default]
    Rebuilt,
}

/// How to open a database.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The page size of a new file; an existing one keeps its own.
    pub page_size: usize,
    /// Address space to reserve for the mapping, so that it seldom has to move.
    pub initial_map_bytes: u64,
    /// Open without write access, beside other readers.
    pub read_only: bool,
    /// The file grows by this much more than it must, so that few commits change its length.
    pub growth_bytes: u64,
    /// Never sync. Only for files that may be lost.
    pub no_sync: bool,
    /// Where the list of free pages is.
    pub freelist: Freelist,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            page_size: DEFAULT_PAGE_SIZE,
            initial_map_bytes: 0,
            growth_bytes: GROWTH_BYTES,
            read_only: false,
            no_sync: false,
            freelist: Freelist::default(),
        }
    }
}

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
pub(crate) struct Shared {
    pub(crate) meta: Meta,
    pub(crate) mapping: Mapping,
    /// Transaction id -> how many read it.
    readers: BTreeMap<u64, usize>,
    stats: Stats,
}

/// What only the writer touches.
pub(crate) struct Writing {
    pub(crate) free: FreePages,
    pub(crate) file_len: u64,
    pub(crate) poisoned: Option<String>,
}

pub(crate) struct Inner {
    pub(crate) file: Arc<dyn File>,
    pub(crate) path: String,
    pub(crate) page_size: usize,
    pub(crate) options: Options,
    pub(crate) shared: RwLock<Shared>,
    pub(crate) writing: Mutex<Writing>,
}

/// An open database; clones share it.
#[derive(Clone)]
pub struct Db {
    pub(crate) inner: Arc<Inner>,
}

impl Db {
    /// Opens or creates a database file and checks every page that can be reached.
    ///
    /// # Errors
    /// [`Error::Io`], with `WouldBlock` where another process has the file; [`Error::Corrupt`].
    pub fn open(disk: &dyn Disk, path: &Path, options: Options) -> Result<Db, Error> {
        let name = path.display().to_string();
        let io = |what| Error::io(&name, what);
        let how = if options.read_only {
            Open::READ.locked(Lock::Shared)
        } else {
            Open::WRITE.locked(Lock::Exclusive)
        };
        if !options.read_only && !disk.exists(path).map_err(io("cannot look for"))? {
            create(disk, path, options.page_size).map_err(io("cannot make"))?;
        }
        let file = disk.open(path, how).map_err(io("cannot open"))?;
        let file_len = file.len().map_err(io("cannot read its length"))?;
        let meta = read_meta(&*file, &name, file_len, options.page_size)?;
        let page_size = meta.page_size as usize;
        let high_bytes = meta.high_water.saturating_mul(page_size as u64);
        if high_bytes > file_len {
            let what = format!("{high_bytes} bytes are in use but the file has {file_len}");
            return Err(Error::corrupt(&name, meta.slot(), page_size, what));
        }
        let mapping =
            file.map(high_bytes, options.initial_map_bytes, None).map_err(io("cannot map"))?;
        let free = load_free_pages(&mapping[..high_bytes as usize], &meta, &name)?;
        let stats = Stats { page_size, free_pages: free.count(), ..Stats::default() };
        let inner = Inner {
            file,
            path: name,
            page_size,
            options,
            shared: RwLock::new(Shared { meta, mapping, readers: BTreeMap::new(), stats }),
            writing: Mutex::new(Writing { free, file_len, poisoned: None }),
        };
        Ok(Db { inner: Arc::new(inner) })
    }

    /// Begins to read the latest committed state.
    pub fn begin_read(&self) -> ReadTxn {
        let mut shared = self.inner.shared.write();
        let txid = shared.meta.txid;
        *shared.readers.entry(txid).or_insert(0) += 1;
        ReadTxn::new(self.clone(), shared.meta, shared.mapping.clone())
    }

    /// Begins to write; waits for the writer before.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], or [`Error::Poisoned`] after a failed commit.
    pub fn begin_write(&self) -> Result<WriteTxn<'_>, Error> {
        if self.inner.options.read_only {
            return Err(Error::ReadOnly);
        }
        let mut writing = self.inner.writing.lock();
        if let Some(first) = &writing.poisoned {
            return Err(Error::Poisoned { path: self.inner.path.clone(), first: first.clone() });
        }
        let shared = self.inner.shared.read();
        let oldest = shared.readers.keys().next().copied().unwrap_or(u64::MAX);
        writing.free.release(oldest);
        let (meta, mapping) = (shared.meta, shared.mapping.clone());
        drop(shared);
        Ok(WriteTxn::new(&self.inner, writing, meta, mapping))
    }

    /// Bytes that the database spans: the first page never used, times the page size.
    pub fn size(&self) -> u64 {
        self.inner.shared.read().meta.high_water * self.inner.page_size as u64
    }

    /// Figures as of the last commit; open reads as of now.
    pub fn stats(&self) -> Stats {
        let shared = self.inner.shared.read();
        Stats { open_reads: shared.readers.values().sum(), ..shared.stats }
    }
}

impl Inner {
    pub(crate) fn end_read(&self, txid: u64) {
        let mut shared = self.shared.write();
        let count = shared.readers.get_mut(&txid).expect("every reader is registered");
        *count -= 1;
        if *count == 0 {
            shared.readers.remove(&txid);
        }
    }

    /// Makes a committed state the one that readers get.
    pub(crate) fn publish(&self, meta: Meta, mapping: Mapping, free: &FreePages) {
        let mut shared = self.shared.write();
        shared.meta = meta;
        shared.mapping = mapping;
        shared.stats.free_pages = free.count();
        shared.stats.pending_pages = free.pending_count();
    }

    /// Extends the file to hold `needed` bytes.
    pub(crate) fn grow(&self, writing: &mut Writing, needed: u64) -> std::io::Result<()> {
        if needed <= writing.file_len {
            return Ok(());
        }
        let len = needed + self.options.growth_bytes;
        self.file.set_len(len)?;
        if !self.options.no_sync {
            self.file.sync_all()?;
        }
        writing.file_len = len;
        Ok(())
    }
}

/// Makes the file of an empty database: under another name first, so that a crash leaves the whole
/// file or none.
fn create(disk: &dyn Disk, path: &Path, page_size: usize) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp.new");
    let temporary = Path::new(&name);
    let file = disk.open(temporary, Open { truncate: true, ..Open::CREATE })?;
    file.write_at(&empty(page_size), 0)?;
    file.sync_all()?;
    disk.rename(temporary, path)?;
    match path.parent() {
        Some(dir) if dir != Path::new("") => disk.sync_dir(dir),
        _ => disk.sync_dir(Path::new(".")),
    }
}

/// The four pages of an empty database.
fn empty(page_size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 * page_size);
    for txid in 0..2 {
        let meta = Meta {
            page_size: page_size as u32,
            root: 3,
            sequence: 0,
            freelist: 2,
            high_water: 4,
            txid,
        };
        bytes.extend(meta.encode(page_size));
    }
    for (id, flags) in [(2u64, FREELIST), (3, LEAF)] {
        let start = bytes.len();
        bytes.extend(id.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.resize(start + page_size, 0);
    }
    bytes
}

/// The newer of the two meta pages that is sound.
fn read_meta(file: &dyn File, path: &str, len: u64, page_size: usize) -> Result<Meta, Error> {
    let mut found: Vec<Meta> = Vec::new();
    let mut defect = "";
    // The second page's place depends on the page size, which a damaged first one cannot tell.
    let sizes = (10..=16).map(|shift| 1u64 << shift);
    for offset in [0, page_size as u64].into_iter().chain(sizes) {
        let take = len.saturating_sub(offset).min(96) as usize;
        let mut head = vec![0; take];
        disk::read_exact_at(file, &mut head, offset).map_err(Error::io(path, "cannot read"))?;
        match Meta::decode(&head) {
            Ok(meta) if u64_at(&head, 0) * u64::from(meta.page_size) == offset => found.push(meta),
            Ok(_) => {}
            Err(what) if offset == 0 => defect = what,
            Err(_) => {}
        }
        if found.len() == 2 {
            break;
        }
    }
    let usable = |meta: &Meta| meta.page_size.is_power_of_two() && meta.page_size >= 512;
    let newest = found.into_iter().filter(usable).max_by_key(|meta| meta.txid);
    newest.ok_or_else(|| {
        Error::corrupt(path, 0, page_size, format!("neither meta page is sound: {defect}"))
    })
}

/// Checks all reachable pages; every other page is free.
fn load_free_pages(data: &[u8], meta: &Meta, path: &str) -> Result<FreePages, Error> {
    let mut used = check::reachable(data, meta).map_err(|defect| {
        Error::corrupt(path, defect.page, meta.page_size as usize, defect.what)
    })?;
    if meta.freelist != NO_FREELIST {
        let corrupt = |what: &str| {
            Error::corrupt(path, meta.freelist, meta.page_size as usize, what.to_owned())
        };
        let page = Page::try_at(data, meta.page_size as usize, meta.freelist)
            .filter(|page| page.flags() & FREELIST != 0)
            .ok_or_else(|| corrupt("it is no freelist"))?;
        freelist::decode(page).ok_or_else(|| corrupt("the list does not fit it"))?;
        used.mark(meta.freelist, page.overflow() + 1);
    }
    let mut free = FreePages::default();
    for (start, len) in used.gaps(meta.high_water) {
        free.add(start, len);
    }
    Ok(free)
}

/// Which pages are in use, one bit each.
pub(crate) struct UsedPages {
    bits: Vec<u64>,
}

impl UsedPages {
    pub(crate) fn new(pages: u64) -> UsedPages {
        UsedPages { bits: vec![0; pages.div_ceil(64) as usize] }
    }

    pub(crate) fn is_used(&self, id: PageId) -> bool {
        self.bits.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    pub(crate) fn mark(&mut self, start: PageId, len: u64) {
        for id in start..start + len {
            if let Some(word) = self.bits.get_mut(id as usize / 64) {
                *word |= 1 << (id % 64);
            }
        }
    }

    /// Runs of unused pages below `end`.
    pub(crate) fn gaps(&self, end: PageId) -> Vec<(PageId, u64)> {
        let mut gaps: Vec<(PageId, u64)> = Vec::new();
        for id in (0..end).filter(|&id| !self.is_used(id)) {
            match gaps.last_mut() {
                Some((start, len)) if *start + *len == id => *len += 1,
                _ => gaps.push((id, 1)),
            }
        }
        gaps
    }
}

impl Error {
    pub(crate) fn io(path: &str, what: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Io { path: path.to_owned(), what, source }
    }

    pub(crate) fn corrupt(path: &str, page: PageId, page_size: usize, what: String) -> Error {
        let offset = page.saturating_mul(page_size as u64);
        Error::Corrupt { path: path.to_owned(), page, offset, what }
    }
}
