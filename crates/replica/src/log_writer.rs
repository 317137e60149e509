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
    /// Its number, or 0 where nobody waits for it.
    pub number: u64,
    /// The hard state, where it changed.
    pub hard_state: Option<HardState>,
    /// Entries, in order.
    pub entries: Vec<Entry>,
    /// A snapshot from the leader, in place of everything before.
    pub snapshot: Option<Snapshot>,
    /// Whether it must be durable.
    pub sync: bool,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Persisted {
    /// The number of the last batch that somebody waits for, 0 where nobody does.
    pub number: u64,
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
    /// The newest snapshot that the log names.
    pub(crate) recorded: u64,
}

impl LogWriter {
    /// Writes batches in one go, with one sync where any of them needs it.
    ///
    /// # Errors
    /// The log takes no more writes then; the member must stop.
    pub fn persist(&mut self, batches: &[Persist]) -> Result<Persisted, Fault> {
        let mut done = Persisted::default();
        let mut rest = batches;
        while let Some(first) = rest.first() {
            if let Some(snapshot) = &first.snapshot {
                self.record(snapshot)?;
            }
            // A snapshot is written between what comes before it and what comes with it.
            let next = rest.iter().skip(1).position(|batch| batch.snapshot.is_some());
            let (together, later) = rest.split_at(next.map_or(rest.len(), |place| place + 1));
            done.bytes += self.save(together)?;
            rest = later;
        }
        done.number = batches.iter().map(|batch| batch.number).max().unwrap_or(0);
        Ok(done)
    }

    fn save(&mut self, batches: &[Persist]) -> Result<u64, Fault> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut hard_state = None;
        let mut sync = false;
        for batch in batches {
            entries.extend_from_slice(&batch.entries);
            hard_state = batch.hard_state.or(hard_state);
            sync |= batch.sync;
        }
        Ok(self.wal.save(hard_state.as_ref(), &entries, sync)?.bytes)
    }

    /// Records a snapshot: the file first, for a record must never name a file that is not there.
    fn record(&mut self, snapshot: &Snapshot) -> Result<(), Fault> {
        let metadata = snapshot.metadata.clone().unwrap_or_default();
        snap::write(&*self.disk, &self.snap_dir, snapshot)?;
        self.wal.save_snapshot(&walpb::Snapshot {
            index: metadata.index,
            term: metadata.term,
            conf_state: metadata.conf_state,
        })?;
        self.recorded = metadata.index.unwrap_or_default();
        Ok(())
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

    /// Records a snapshot, lets go of the log before it, and removes old files. One that a leader's
    /// has overtaken on its way here is forgotten: whoever reads the log begins at the last that it
    /// names, and between the two there may be no entries.
    ///
    /// # Errors
    /// I/O faults.
    pub fn save_snapshot(&mut self, due: SnapshotDue) -> Result<(), Fault> {
        if due.index < self.recorded {
            return Ok(());
        }
        let metadata = SnapshotMetadata {
            conf_state: Some(due.conf_state),
            index: Some(due.index),
            term: Some(due.term),
        };
        let snapshot = Snapshot { data: Some(due.data.into()), metadata: Some(metadata) };
        self.record(&snapshot)?;
        self.wal.release_to(due.index);
        self.wal.purge(self.keep_files)?;
        snap::purge(&*self.disk, &self.snap_dir, self.keep_files)?;
        Ok(())
    }
}
