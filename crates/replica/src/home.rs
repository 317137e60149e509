//! The directory of a member's database, and how the state machine is opened from it.

use crate::Fault;
use crate::cut::Cut;
use apply::Machine;
use backend::{self, Backend};
use disk::Disk;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a state machine is opened with, once more for every snapshot.
#[derive(Clone)]
pub(crate) struct Home {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) snap_dir: PathBuf,
    pub(crate) backend: backend::Options,
    pub(crate) lease: lease::Config,
    pub(crate) apply: apply::Config,
}

/// Where the database that came with a snapshot lies.
pub fn received_db(snap_dir: &Path, index: u64) -> PathBuf {
    snap_dir.join(format!("{index:016x}.snap.db"))
}

impl Home {
    pub(crate) fn db(&self) -> PathBuf {
        self.snap_dir.join("db")
    }

    /// The database as it is, if there is one.
    pub(crate) fn open_existing(&self) -> Result<Option<Backend>, Fault> {
        if !self.exists(&self.db())? {
            return Ok(None);
        }
        let disk = Arc::clone(&self.disk);
        Ok(Some(Backend::open_as_it_is(disk, &self.db(), self.backend)?))
    }

    pub(crate) fn open_backend(&self) -> Result<Backend, Fault> {
        Ok(Backend::open(Arc::clone(&self.disk), &self.db(), self.backend)?)
    }

    /// The state machine of a database; a compaction that was cut short is under way again.
    pub(crate) fn open_machine(&self, backend: Backend) -> Result<Machine, Fault> {
        let opened = Machine::open(backend, self.lease, self.apply)?;
        let mut machine = opened.machine;
        if let Some(revision) = opened.unfinished_compaction {
            machine.store.resume_compaction(revision);
        }
        Ok(machine)
    }

    /// Gives a received database the own one's name, once it is known to hold what is needed.
    pub(crate) fn adopt(&self, cut: &Cut) -> Result<(), Fault> {
        let received = received_db(&self.snap_dir, cut.index);
        cut.check_file(&*self.disk, &received, self.backend)?;
        let io = |what| {
            let path = received.display().to_string();
            move |source| Fault::Io { path, what, source }
        };
        self.disk.rename(&received, &self.db()).map_err(io("cannot rename"))?;
        self.disk.sync_dir(&self.snap_dir).map_err(io("cannot sync the directory of"))
    }

    pub(crate) fn exists(&self, path: &Path) -> Result<bool, Fault> {
        self.disk.exists(path).map_err(|source| {
            let path = path.display().to_string();
            Fault::Io { path, what: "cannot look for", source }
        })
    }
}
