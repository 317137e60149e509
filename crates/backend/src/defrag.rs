//! Copying the committed state into a file without free space, and putting that in its place.

use crate::Fault;
use bolt::Db;
use disk::Disk;
use std::io;
use std::path::PathBuf;
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

/// A defragmentation that is done: the new file, in its place.
pub struct Defragmented {
    pub(crate) db: Db,
}

impl DefragJob {
    /// Copies, syncs and exchanges the files. A crash leaves one of the two in place, with the
    /// same content.
    ///
    /// # Errors
    /// I/O faults; the old file stays in use.
    pub fn run(self) -> Result<Defragmented, Fault> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".tmp.defrag");
        let temporary = PathBuf::from(name);
        let io = |what| {
            let path = temporary.display().to_string();
            move |source: io::Error| Fault::Io { path, what, source }
        };
        if self.disk.exists(&temporary).map_err(io("cannot look for"))? {
            self.disk.remove_file(&temporary).map_err(io("cannot remove"))?;
        }
        let db = Db::open(&*self.disk, &temporary, self.options)?;
        bolt::compact(&self.db, &db, TXN_BYTES)?;
        self.disk.rename(&temporary, &self.path).map_err(io("cannot rename"))?;
        if let Some(dir) = self.path.parent() {
            self.disk.sync_dir(dir).map_err(io("cannot sync the directory of"))?;
        }
        Ok(Defragmented { db })
    }
}
