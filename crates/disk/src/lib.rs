//! Every file operation behind one trait: the real one, and a simulated one that tears, loses and lies.
//!
//! `wal` and `bolt` see files only through [`Disk`] and [`File`], so that a test can crash them at
//! any operation and look at what a restart finds. The rules both disks keep:
//! - a write is visible at once and durable after [`File::sync_data`];
//! - a file's length is durable after [`File::sync_all`], or with `sync_data` where data needs it;
//! - a created, renamed or removed name is durable after [`Disk::sync_dir`] of its directory;
//! - after a failed sync nothing is known about what rests on the disk: stop.

mod mmap;
mod real;
pub mod sim;

pub use mmap::Mapping;
pub use real::RealDisk;

use std::io;
use std::path::Path;
use std::sync::Arc;

/// How a file is locked against other processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lock {
    /// Not at all.
    #[default]
    None,
    /// Readers may share it.
    Shared,
    /// Nobody else may have it.
    Exclusive,
}

/// How to open a file; always for reading.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    /// Also for writing.
    pub write: bool,
    /// Make it where it is missing.
    pub create: bool,
    /// Fail where it exists.
    pub create_new: bool,
    /// Empty it.
    pub truncate: bool,
    /// Permission bits of a new file.
    pub mode: u32,
    /// A lock held until the last handle goes. Where another process holds it, opening fails with
    /// [`io::ErrorKind::WouldBlock`].
    pub lock: Lock,
}

impl Open {
    /// An existing file, to read.
    pub const READ: Open = Open {
        write: false,
        create: false,
        create_new: false,
        truncate: false,
        mode: 0o600,
        lock: Lock::None,
    };
    /// An existing file, to read and write.
    pub const WRITE: Open = Open { write: true, ..Open::READ };
    /// A file to read and write, made where it is missing.
    pub const CREATE: Open = Open { create: true, ..Open::WRITE };
    /// A new file; fails where one exists.
    pub const CREATE_NEW: Open = Open { create: true, create_new: true, ..Open::WRITE };

    /// Asserts that the wishes fit each other; every disk does so when it is asked to open a file.
    pub fn check(self) {
        assert!(self.write || !self.create, "a file that is made is also written: {self:?}");
        assert!(self.create || !self.create_new, "a new file is made: {self:?}");
        assert!(self.write || !self.truncate, "a file that is emptied is also written: {self:?}");
    }

    /// The same with a lock.
    pub const fn locked(self, lock: Lock) -> Open {
        Open { lock, ..self }
    }
}

/// Directories and names.
pub trait Disk: Send + Sync + 'static {
    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;
    /// Makes a directory and its parents; nothing happens where it exists.
    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// The names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Whether a file or directory is there.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Renames a file or directory, replacing a file of the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all that is in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file. Its lock goes with the last handle.
#[allow(clippy::len_without_is_empty)] // a length in bytes that can fail, not a collection's
pub trait File: Send + Sync + 'static {
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Reads at an offset; may read less than asked, 0 at the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of it at an offset.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the data durable, and the length where reading the data needs it.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes data and all attributes durable.
    fn sync_all(&self) -> io::Result<()>;
    /// Cuts the file or extends it by zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves space and extends the file to at least `len` with zeros.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// A view of the file's bytes: at least the first `len`, with room for `reserve`.
    ///
    /// `old` is handed back where it still shows the file as it is: a real mapping shows later
    /// writes, so it serves until it is too small; a simulated one is a copy and is made anew.
    /// Callers never look past the end of the file.
    fn map(&self, len: u64, reserve: u64, old: Option<&Mapping>) -> io::Result<Mapping>;
}

/// Reads exactly `buf.len()` bytes.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`] where the file ends before that.
pub fn read_exact_at(file: &dyn File, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        let n = file.read_at(buf, offset)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let asked = buf.len();
        assert!(n <= asked, "a disk read {n} bytes and was asked for {asked}");
        buf = &mut buf[n..];
        offset += n as u64;
    }
    Ok(())
}

/// Reads a whole file.
pub fn read_all(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Open::READ)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    read_exact_at(&*file, &mut bytes, 0)?;
    Ok(bytes)
}
