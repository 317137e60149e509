//! The log writer: everything raft wants to be durable.

use crate::Fault;
use crate::applier::SnapshotDue;
use disk::Disk;
use proto::raftpb::{Entry, HardState, Snapshot, SnapshotMetadata};
use proto::walpb;
use std::path::PathBuf;
use std::sync::Arc;
use wal::{Wal, snap};

/// What to write.
#[derive(Clone, Debug, Default)]
pub struct Persist {
    /// The hard state, where it changed.
    pub hard_state: Option<HardState>,
    /// Entries, in order.
    pub entries: Vec<Entry>,
    /// Whether it must be durable.
    pub sync: bool,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Persisted {
    /// The last entry's index, 0 where there was none.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// The log writer.
pub struct LogWriter {
    pub(crate) wal: Wal,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) snap_dir: PathBuf,
    /// Old segments and snapshot files that are kept.
    pub(crate) keep_files: usize,
}

impl LogWriter {
    /// Writes batches in one go, with one sync where any of them needs it.
    ///
    /// # Errors
    /// The log takes no more writes then; the member must stop.
    pub fn persist(&mut self, batches: &[Persist]) -> Result<Persisted, Fault> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut hard_state = None;
        let mut sync = false;
        for batch in batches {
            entries.extend_from_slice(&batch.entries);
            hard_state = batch.hard_state.or(hard_state);
            sync |= batch.sync;
        }
        let saved = self.wal.save(hard_state.as_ref(), &entries, sync)?;
        let last = entries.last();
        Ok(Persisted {
            index: last.map_or(0, Entry::index),
            term: last.map_or(0, Entry::term),
            bytes: saved.bytes,
        })
    }

    /// Makes the next segment ahead where it is time; costs milliseconds, once in a segment.
    ///
    /// # Errors
    /// I/O faults.
    pub fn prepare(&mut self) -> Result<(), Fault> {
        if self.wal.wants_prepared() {
            let prepared = self.wal.preparation()()?;
            self.wal.prepared(prepared);
        }
        Ok(())
    }

    /// Records a snapshot, lets go of the log before it, and removes old files.
    ///
    /// # Errors
    /// I/O faults.
    pub fn save_snapshot(&mut self, due: SnapshotDue) -> Result<(), Fault> {
        let record = walpb::Snapshot {
            index: Some(due.index),
            term: Some(due.term),
            conf_state: Some(due.conf_state.clone()),
        };
        let metadata = SnapshotMetadata {
            conf_state: Some(due.conf_state),
            index: Some(due.index),
            term: Some(due.term),
        };
        let snapshot = Snapshot { data: Some(due.data.into()), metadata: Some(metadata) };
        // The file first: a record must never name a file that is not there.
        snap::write(&*self.disk, &self.snap_dir, &snapshot)?;
        self.wal.save_snapshot(&record)?;
        self.wal.release_to(due.index);
        self.wal.purge(self.keep_files)?;
        snap::purge(&*self.disk, &self.snap_dir, self.keep_files)?;
        Ok(())
    }
}
