//! The operating system's files.

use crate::{Disk, File, Lock, Mapping, Open};
use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// The real disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl RealDisk {
    /// The real disk, ready to hand around.
    #[allow(clippy::new_ret_no_self)] // callers only ever need it behind the trait
    pub fn new() -> Arc<dyn Disk> {
        Arc::new(RealDisk)
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        how.check();
        #[allow(clippy::suspicious_open_options)] // emptied below, once it is locked
        let file = fs::OpenOptions::new()
            .read(true)
            .write(how.write)
            .create(how.create)
            .create_new(how.create_new)
            .mode(how.mode)
            .open(path)?;
        match how.lock {
            Lock::None => {}
            Lock::Shared => flock(&file, FlockOperation::NonBlockingLockShared)?,
            Lock::Exclusive => flock(&file, FlockOperation::NonBlockingLockExclusive)?,
        }
        // Not before it is ours: whoever holds the lock needs what is in it.
        if how.truncate {
            file.set_len(0)?;
        }
        Ok(Arc::new(RealFile { file }))
    }

    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(mode).create(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }
}

struct RealFile {
    file: fs::File,
}

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let now = self.len()?;
        if len <= now {
            return Ok(());
        }
        match fallocate(&self.file, FallocateFlags::empty(), now, len - now) {
            // Some file systems cannot reserve; a sparse extension reads the same.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => self.set_len(len)?,
            done => done?,
        }
        if let (true, Ok(now)) = (cfg!(debug_assertions), self.len()) {
            assert!(now >= len, "{len} bytes were reserved, and the file has {now}");
        }
        Ok(())
    }

    fn map(&self, len: u64, reserve: u64, old: Option<&Mapping>) -> io::Result<Mapping> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        if let Some(old) = old.filter(|old| old.is_live() && old.len() >= len) {
            return Ok(old.clone());
        }
        let reserve = usize::try_from(reserve).map_err(io::Error::other)?;
        let mapping = Mapping::map(&self.file, len.max(reserve))?;
        assert!(mapping.len() >= len, "a view of {len} bytes shows {}", mapping.len());
        assert!(mapping.is_live(), "a view of a file shows what is written later");
        Ok(mapping)
    }
}
