//! Copying the committed state into a file without free space, and putting that in its place.

use crate::Fault;
use crate::entry_id::applied;
use bolt::Db;
use disk::Disk;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Keys and values copied in one transaction, in bytes.
const TXN_BYTES: u64 = 4 * 1024 * 1024;

/// A defragmentation, to be run on any thread.
pub struct DefragJob {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) path: PathBuf,
    pub(crate) options: bolt::Options,
    pub(crate) db: Db,
}

/// How a defragmentation ended, to be handed to [`crate::Backend::complete_defragment`].
pub enum Defragmented {
    /// The new file is in its place.
    Exchanged(Db),
    /// It could not be made; the old file is untouched.
    Kept(Fault),
    /// It is not known which of the two is in place, or whether that is durable.
    Unknown(Fault),
}

/// How a defragmentation ended, where the database goes on.
#[derive(Debug)]
pub enum DefragResult {
    /// The small file is in use.
    Done,
    /// The old file is in use still.
    NotDone(Fault),
}

impl DefragJob {
    /// Copies, syncs and exchanges the files. A crash leaves one of the two in place, with the
    /// same content.
    pub fn run(self) -> Defragmented {
        let temporary = with_suffix(&self.path, ".tmp.defrag");
        let db = match self.copy(&temporary) {
            Ok(db) => db,
            Err(why) => {
                // What cannot be removed now is removed when the database is opened again.
                let _ = self.disk.remove_file(&temporary);
                return Defragmented::Kept(why);
            }
        };
        match self.exchange(&temporary) {
            Ok(()) => Defragmented::Exchanged(db),
            Err(fault) => Defragmented::Unknown(fault),
        }
    }

    fn copy(&self, temporary: &Path) -> Result<Db, Fault> {
        let disk = &*self.disk;
        if disk.exists(temporary).map_err(io(temporary, "cannot look for"))? {
            disk.remove_file(temporary).map_err(io(temporary, "cannot remove"))?;
        }
        let db = Db::open(disk, temporary, self.options)?;
        bolt::compact(&self.db, &db, TXN_BYTES)?;
        let (from, to) = (applied(&self.db.begin_read()), applied(&db.begin_read()));
        if let (Ok(from), Ok(to)) = (from, to) {
            assert_eq!(from, to, "a copy holds what the original has applied");
        }
        Ok(db)
    }

    fn exchange(&self, temporary: &Path) -> Result<(), Fault> {
        self.disk.rename(temporary, &self.path).map_err(io(temporary, "cannot rename"))?;
        match self.path.parent() {
            Some(dir) => self.disk.sync_dir(dir).map_err(io(dir, "cannot sync")),
            None => Ok(()),
        }
    }
}

/// Removes the temporary files of defragmentations that a crash interrupted, ours and etcd's.
pub(crate) fn remove_left_overs(disk: &dyn Disk, path: &Path) -> Result<(), Fault> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    let prefix = format!("{}.tmp", name.to_string_lossy());
    for name in disk.list(dir).map_err(io(dir, "cannot list"))? {
        if name.starts_with(&prefix) {
            let left_over = dir.join(name);
            disk.remove_file(&left_over).map_err(io(&left_over, "cannot remove"))?;
        }
    }
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn io(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Fault {
    let path = path.display().to_string();
    move |source| Fault::Io { path, what, source }
}
