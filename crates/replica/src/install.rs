//! A leader's snapshot takes the place of everything here.
//!
//! ```text
//! received   the database lies whole and checked beside the own one, as `%016x.snap.db`
//! recorded   the log writer has the snapshot's file and record; from here on a restart needs it
//! installed  the file has the database's name, and the state machine is built anew from it
//! ```
//! After a crash in between, [`find`] and [`Found::take`] go on where it stopped. No file is taken that
//! was not read: see [`Cut`].

use crate::Fault;
use crate::applier::Applier;
use crate::cut::{Cut, Holds};
use crate::home::{Home, received_db};
use backend::Backend;
use proto::raftpb::Snapshot;

/// The database of a member that starts, found and not touched.
pub(crate) enum Found {
    /// None, and none is needed: the log begins with its first entry.
    Nothing,
    /// The own one.
    Own(Box<Backend>),
    /// The one that came with the recorded snapshot; an older one has its name and stays locked.
    Received { _older: Option<Box<Backend>>, holds: Holds },
}

/// Finds the database as of a recorded snapshot: where that is newer than the own one, the one that
/// came with it. A file in that place is read whole.
///
/// # Errors
/// I/O faults, and a log that begins behind what any database holds.
pub(crate) fn find(home: &Home, own: Option<Backend>, cut: &Cut) -> Result<Found, Fault> {
    if own.is_none() && cut.index == 0 {
        return Ok(Found::Nothing);
    }
    let applied = own.as_ref().map(|backend| backend.applied().index);
    let older = match own {
        Some(backend) if cut.index <= backend.applied().index => {
            return Ok(Found::Own(Box::new(backend)));
        }
        older => older.map(Box::new),
    };
    let received = received_db(&home.snap_dir, cut.index);
    if !home.exists(&received)? {
        return Err(cut.missing(&home.db(), &received, applied));
    }
    let holds = cut.check_file(&*home.disk, &received, home.backend)?;
    Ok(Found::Received { _older: older, holds })
}

impl Found {
    /// What it holds; nothing where it is to be made.
    ///
    /// # Errors
    /// Rows that cannot be read.
    pub(crate) fn holds(&self) -> Result<Option<Holds>, Fault> {
        match self {
            Found::Nothing => Ok(None),
            Found::Own(backend) => Holds::of(backend).map(Some),
            Found::Received { holds, .. } => Ok(Some(holds.clone())),
        }
    }

    /// Opens it; what came with a snapshot takes the own one's name.
    ///
    /// # Errors
    /// I/O faults, and what has changed in the file since it was read.
    pub(crate) fn take(self, home: &Home, cut: &Cut) -> Result<Backend, Fault> {
        match self {
            Found::Nothing => home.open_backend(),
            Found::Own(mut backend) => {
                backend.make_ready()?;
                Ok(*backend)
            }
            Found::Received { .. } => {
                home.adopt(cut)?;
                home.open_backend()
            }
        }
    }
}

impl Applier {
    /// Builds the state machine anew from the database that came with a snapshot. Readers follow.
    /// No commit or defragmentation may be under way.
    ///
    /// # Errors
    /// A database that cannot be used; the member must stop.
    pub fn install(&mut self, snapshot: &Snapshot) -> Result<(), Fault> {
        assert!(!self.machine.backend.job_is_out(), "the file is being written");
        let metadata = snapshot.metadata.clone().unwrap_or_default();
        let cut = Cut { index: metadata.index(), conf_state: metadata.conf_state };
        assert!(cut.index > self.machine.backend.applied().index, "a snapshot leads forward");
        self.home.adopt(&cut)?;
        let backend = self.home.open_backend()?;
        let mut machine = self.home.open_machine(backend)?;
        machine.store.succeed(&self.machine.store);
        self.machine = machine;
        self.forget_snapshots(cut.index);
        Ok(())
    }
}
