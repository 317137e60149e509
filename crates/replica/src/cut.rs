//! What a database must hold to stand for everything before a snapshot, and the check that it does.
//!
//! A file with the right name may be anybody's: one kept from before, one of another cluster, half a
//! file. So it is read whole before anything is renamed, replaced or removed for its sake.

use crate::Fault;
use backend::{self, Backend, Reader};
use disk::Disk;
use membership::Members;
use proto::raftpb::ConfState;
use std::path::Path;

/// What the reference says where there is no database for a snapshot.
const NO_FILE: &str = "failed to find database snapshot file (snap: snapshot file doesn't exist)";

/// Where a log was cut: a database that holds what was before has applied this entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cut {
    /// The last entry that is not in the log any more.
    pub(crate) index: u64,
    /// Who the members were then, if it is known.
    pub(crate) conf_state: Option<ConfState>,
}

/// What a database holds, as far as a log must fit it.
#[derive(Clone, Debug)]
pub(crate) struct Holds {
    /// The last entry that it has applied.
    pub(crate) applied: u64,
    /// Who the members are.
    pub(crate) members: Members,
}

impl Holds {
    /// What a database holds that this member has open.
    ///
    /// # Errors
    /// Rows that cannot be read.
    pub(crate) fn of(backend: &Backend) -> Result<Holds, Fault> {
        let members = Members::load(&backend.reader().view()).map_err(apply::Fault::from)?;
        Ok(Holds { applied: backend.applied().index, members })
    }
}

impl Cut {
    /// Reads a file that nobody writes, every page of it, and tells whether it holds what is needed; gives
    /// what it holds.
    ///
    /// # Errors
    /// I/O faults, damage, an older database, one of another cluster.
    pub(crate) fn check_file(
        &self,
        disk: &dyn Disk,
        path: &Path,
        options: backend::Options,
    ) -> Result<Holds, Fault> {
        let mut bolt = options.bolt;
        // It is read once.
        bolt.initial_map_bytes = 0;
        let reader = Reader::open(disk, path, bolt)?;
        let applied = reader.applied()?.index;
        if applied < self.index {
            return Err(Fault::Config(format!(
                "database file ({} index {applied}) does not match with snapshot (index {})",
                path.display(),
                self.index
            )));
        }
        let members = Members::load(&reader.view()).map_err(apply::Fault::from)?;
        self.check_members(path, &members)?;
        Ok(Holds { applied, members })
    }

    /// Members leave a cluster only to be remembered as removed, so a database that knows none of
    /// those who were members at the cut is of another cluster.
    ///
    /// # Errors
    /// It is.
    pub(crate) fn check_members(&self, path: &Path, members: &Members) -> Result<(), Fault> {
        let Some(conf_state) = &self.conf_state else { return Ok(()) };
        let mut ids = conf_state.voters.iter().chain(&conf_state.learners).peekable();
        let is_known = |id: &u64| members.get(*id).is_some() || members.is_removed(*id);
        if ids.peek().is_none() || ids.any(is_known) {
            return Ok(());
        }
        Err(Fault::Config(format!(
            "database file ({}) is of another cluster: it knows none of the members that the \
             snapshot (index {}) has",
            path.display(),
            self.index
        )))
    }

    /// There is no database for the snapshot.
    pub(crate) fn missing(&self, own: &Path, received: &Path, applied: Option<u64>) -> Fault {
        let own = own.display();
        let own = match applied {
            Some(applied) => format!("database file ({own} index {applied})"),
            None => format!("database file ({own}), which does not exist,"),
        };
        Fault::Config(format!(
            "failed to recover v3 backend from snapshot: {NO_FILE}: {own} does not match with \
             snapshot (index {}), and there is no {}",
            self.index,
            received.display()
        ))
    }
}
