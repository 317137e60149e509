//! The log's turn: everything that waits goes to the disk in one write with one sync.

use super::{ApplyEvent, Caller, CoreEvent};
use crate::{Fault, LogWriter, Persist, SnapshotDue, Surplus};
use std::path::PathBuf;

/// For the log's turn.
#[derive(Debug)]
pub enum LogEvent {
    /// To be written.
    Persist(Persist),
    /// To be recorded; the log before it is let go of.
    Snapshot(SnapshotDue),
    /// The next segment is to be made ready.
    Prepare,
}

/// What follows from a write.
pub enum LogEffect<C: Caller> {
    /// For the core.
    Core(CoreEvent<C>),
    /// For the apply turn.
    Apply(ApplyEvent<C>),
}

/// The log writer, and what it is to do.
pub struct LogTurn {
    writer: LogWriter,
}

impl LogTurn {
    /// A turn over this writer.
    pub fn new(writer: LogWriter) -> LogTurn {
        LogTurn { writer }
    }

    /// Writes what is to be written, in one write, and makes the next segment ready where it is time.
    /// Snapshots come back, to be recorded with [`LogTurn::record`] afterwards.
    ///
    /// # Errors
    /// The disk: nothing more may be written.
    pub fn write<C: Caller>(
        &mut self,
        events: &mut Vec<LogEvent>,
        out: &mut Vec<LogEffect<C>>,
    ) -> Result<Vec<SnapshotDue>, Fault> {
        let mut batches: Vec<Persist> = Vec::new();
        let mut snapshots = Vec::new();
        for event in events.drain(..) {
            match event {
                LogEvent::Persist(persist) => batches.push(persist),
                LogEvent::Snapshot(due) => snapshots.push(due),
                LogEvent::Prepare => {}
            }
        }
        if !batches.is_empty() {
            let done = self.writer.persist(&batches)?;
            if done.number > 0 {
                out.push(LogEffect::Core(CoreEvent::Persisted { number: done.number }));
            }
        }
        self.writer.prepare()?;
        Ok(snapshots)
    }

    /// Writes at once what a core hands in that is alone; gives the number of what was written.
    ///
    /// # Errors
    /// As [`LogTurn::write`].
    pub fn write_one(&mut self, persist: Persist) -> Result<u64, Fault> {
        Ok(self.writer.persist(&[persist])?.number)
    }

    /// Whether the next segment is to be made ready: [`LogEvent::Prepare`] does it.
    pub fn wants_prepare(&self) -> bool {
        self.writer.wants_prepare()
    }

    /// Records a snapshot; gives the paths of old files that were removed for it.
    ///
    /// # Errors
    /// As [`LogTurn::write`].
    pub fn record<C: Caller>(
        &mut self,
        due: SnapshotDue,
        out: &mut Vec<LogEffect<C>>,
    ) -> Result<Vec<PathBuf>, Fault> {
        let index = due.index;
        let removed = self.writer.save_snapshot(due)?;
        out.push(LogEffect::Apply(ApplyEvent::SnapshotRecorded(index)));
        Ok(removed)
    }

    /// Files that are more than are kept; as [`LogWriter::surplus`].
    ///
    /// # Errors
    /// As [`LogTurn::write`].
    pub fn surplus(&self) -> Result<Surplus, Fault> {
        self.writer.surplus()
    }
}
