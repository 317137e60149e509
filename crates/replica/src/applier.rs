//! The applier: committed entries into the state machine, and everything that follows in time.

use crate::Fault;
use crate::home::Home;
use apply::{Effect, Machine, Outcome};
use backend::{CommitJob, Committed, DefragJob, DefragResult, Defragmented};
use mvcc::Progress;
use proto::raftpb::{ConfChange, ConfState, Entry};
use std::path::PathBuf;

/// Entries that came of a batch.
#[derive(Debug, Default)]
pub struct Applied {
    /// The last entry's index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// One result for each entry.
    pub outcomes: Vec<Outcome>,
    /// For raft, in order.
    pub conf_changes: Vec<ConfChange>,
}

/// A snapshot for the log writer to record: everything up to it is durable in the database.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotDue {
    /// The last entry it covers.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// The voters and learners.
    pub conf_state: ConfState,
    /// The membership in the old store's JSON.
    pub data: Vec<u8>,
}

/// The applier.
pub struct Applier {
    /// The state machine.
    pub machine: Machine,
    pub(crate) home: Home,
    snapshot_count: u64,
    last_snapshot: u64,
    /// The next commit makes a snapshot, however few entries came since the last one.
    snapshot_is_forced: bool,
    /// What the commit under way will make durable, and whether the log is to record it.
    committing: Option<(SnapshotDue, bool)>,
    /// What the last commit made durable.
    committed: Option<SnapshotDue>,
}

impl Applier {
    pub(crate) fn new(
        machine: Machine,
        home: Home,
        snapshot_count: u64,
        last_snapshot: u64,
    ) -> Applier {
        let committed = Some(state_of(&machine));
        let (snapshot_is_forced, committing) = (false, None);
        Applier {
            machine,
            home,
            snapshot_count,
            last_snapshot,
            snapshot_is_forced,
            committing,
            committed,
        }
    }

    /// Applies entries, one after another. `wanted(id)` tells whether somebody waits; `each` sees
    /// every outcome as soon as it is there.
    ///
    /// # Errors
    /// An entry that cannot be understood; the member must stop.
    pub fn apply(
        &mut self,
        entries: &[Entry],
        wanted: impl Fn(u64) -> bool,
        mut each: impl FnMut(&Entry, &Outcome),
    ) -> Result<Applied, Fault> {
        let mut applied = Applied::default();
        applied.outcomes.reserve(entries.len());
        for entry in entries {
            let outcome = self.machine.apply(entry, &wanted)?;
            each(entry, &outcome);
            match &outcome.effect {
                Effect::ConfChange(change) => applied.conf_changes.push(change.clone()),
                Effect::ClusterVersion { is_lower: true } => self.snapshot_is_forced = true,
                _ => {}
            }
            (applied.index, applied.term) = (entry.index(), entry.term());
            applied.outcomes.push(outcome);
        }
        Ok(applied)
    }

    /// Has the next commit make a snapshot. Gives the index that it will reach at least, or nothing
    /// where there is one as of all that is applied.
    pub fn force_snapshot(&mut self) -> Option<u64> {
        let index = self.machine.backend.applied().index;
        self.snapshot_is_forced = index > self.last_snapshot;
        self.snapshot_is_forced.then_some(index)
    }

    /// Takes what waits to be committed; see [`backend::Backend::freeze`].
    pub fn freeze(&mut self) -> Option<CommitJob> {
        let job = self.machine.backend.freeze()?;
        let state = state_of(&self.machine);
        let is_due = state.index >= self.last_snapshot + self.snapshot_count
            || self.snapshot_is_forced && state.index > self.last_snapshot;
        if is_due {
            self.last_snapshot = state.index;
            self.snapshot_is_forced = false;
        }
        self.committing = Some((state, is_due));
        Some(job)
    }

    /// Takes the result of a commit. A snapshot that it makes possible comes back.
    pub fn complete(&mut self, committed: Committed) -> Option<SnapshotDue> {
        self.machine.backend.complete(committed);
        let (state, is_due) = self.committing.take()?;
        self.committed = Some(state.clone());
        is_due.then_some(state)
    }

    /// The last snapshot that the log has, or is about to have.
    pub fn snapshot_index(&self) -> u64 {
        self.last_snapshot
    }

    /// Entries between snapshots.
    pub fn snapshot_count(&self) -> u64 {
        self.snapshot_count
    }

    /// Where the database file is.
    pub fn database(&self) -> PathBuf {
        self.home.db()
    }

    /// What the database file holds: what a member that lags behind can be given.
    pub fn committed(&self) -> Option<&SnapshotDue> {
        self.committed.as_ref()
    }

    /// A snapshot was installed: those made here before mean nothing any more.
    pub(crate) fn forget_snapshots(&mut self, installed: u64) {
        self.last_snapshot = installed;
        self.snapshot_is_forced = false;
        self.committing = None;
        self.committed = Some(state_of(&self.machine));
    }

    /// Takes a defragmentation; see [`backend::Backend::defragment`].
    pub fn defragment(&mut self) -> Option<DefragJob> {
        self.machine.backend.defragment()
    }

    /// Takes the result of a defragmentation.
    ///
    /// # Errors
    /// It is not known which file a restart would find: the member must stop.
    pub fn complete_defragment(&mut self, done: Defragmented) -> Result<DefragResult, Fault> {
        Ok(self.machine.backend.complete_defragment(done)?)
    }

    /// Does a bounded part of the compaction under way.
    pub fn compaction_step(&mut self) -> Progress {
        let mut txn = self.machine.backend.begin_maintenance();
        let progress = self.machine.store.compaction_step(&mut txn);
        txn.finish();
        progress
    }
}

/// Who the members are as of what is applied.
fn state_of(machine: &Machine) -> SnapshotDue {
    let applied = machine.backend.applied();
    SnapshotDue {
        index: applied.index,
        term: applied.term,
        conf_state: machine.members.conf_state(),
        data: membership::snapshot_data(&machine.members, applied.index),
    }
}
