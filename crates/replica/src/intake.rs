//! Databases that come from a leader: saved, checked and named before raft hears of them.
//!
//! ```text
//! tmp-<index>-<n>   written as it comes
//!                   whole, synced, read: it is sound and holds what the snapshot stands for
//! <index>.snap.db   renamed, in the place of one that was there, and the directory synced
//! ```
//! Only then may the message go to raft: once the log has its record, a restart needs the file.

use crate::Fault;
use crate::cut::Cut;
use crate::home::received_db;
use crate::open::Options;
use disk::{Disk, File, Open};
use proto::raftpb::Snapshot;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where databases that come in are saved. Clones share what they count.
#[derive(Clone)]
pub struct Intake {
    disk: Arc<dyn Disk>,
    snap_dir: PathBuf,
    backend: backend::Options,
    begun: Arc<AtomicU64>,
}

/// A database on its way in. Unless it is finished, nothing of it stays.
pub struct Incoming {
    intake: Intake,
    cut: Cut,
    file: Arc<dyn File>,
    temporary: PathBuf,
    bytes: u64,
    is_named: bool,
}

impl Intake {
    /// For the member of these options.
    pub fn new(disk: Arc<dyn Disk>, options: &Options) -> Intake {
        let snap_dir = options.snap_dir();
        Intake { disk, snap_dir, backend: options.backend, begun: Arc::default() }
    }

    /// Begins to take the database that belongs to a snapshot.
    ///
    /// # Errors
    /// I/O faults.
    pub fn begin(&self, snapshot: &Snapshot) -> Result<Incoming, Fault> {
        let metadata = snapshot.metadata.clone().unwrap_or_default();
        let cut = Cut { index: metadata.index(), conf_state: metadata.conf_state };
        loop {
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            // Members, etcd's too, remove files of such names when they start.
            let temporary = self.snap_dir.join(format!("tmp-{:016x}-{number}", cut.index));
            match self.disk.open(&temporary, Open::CREATE_NEW) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(fault(&temporary, "cannot make", source)),
                Ok(file) => {
                    let intake = self.clone();
                    let (bytes, is_named) = (0, false);
                    return Ok(Incoming { intake, cut, file, temporary, bytes, is_named });
                }
            }
        }
    }
}

impl Incoming {
    /// Appends what came.
    ///
    /// # Errors
    /// I/O faults.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let written = self.file.write_at(bytes, self.bytes);
        written.map_err(|source| fault(&self.temporary, "cannot write", source))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// All of it came. On return it lies, durably, where the applier will look for it.
    ///
    /// # Errors
    /// I/O faults, and databases that do not hold what the snapshot stands for.
    pub fn finish(mut self) -> Result<(), Fault> {
        let (disk, dir) = (Arc::clone(&self.intake.disk), self.intake.snap_dir.clone());
        let synced = self.file.sync_all();
        synced.map_err(|source| fault(&self.temporary, "cannot sync", source))?;
        self.cut.check_file(&*disk, &self.temporary, self.intake.backend)?;
        let named = received_db(&dir, self.cut.index);
        let renamed = disk.rename(&self.temporary, &named);
        renamed.map_err(|source| fault(&self.temporary, "cannot rename", source))?;
        self.is_named = true;
        disk.sync_dir(&dir).map_err(|source| fault(&dir, "cannot sync", source))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.is_named {
            // What cannot be removed now is removed when the member starts again.
            let _ = self.intake.disk.remove_file(&self.temporary);
        }
    }
}

fn fault(path: &Path, what: &'static str, source: io::Error) -> Fault {
    Fault::Io { path: path.display().to_string(), what, source }
}
