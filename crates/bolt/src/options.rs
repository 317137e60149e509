//! How a database is opened.

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
    /// The page size of a new file, a power of two from 1 KiB to 16 MiB; an existing file keeps
    /// its own.
    pub page_size: usize,
    /// Address space to reserve for the mapping, so that it seldom has to move.
    pub initial_map_bytes: u64,
    /// Open without write access, beside other readers.
    pub read_only: bool,
    /// A file that has reached this size grows by this much more than it must, so that few
    /// commits change its length.
    pub growth_bytes: u64,
    /// Never sync but in [`crate::Db::sync`]. Only for files that may be lost.
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
