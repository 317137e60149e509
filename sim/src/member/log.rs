//! The log writer's turn, and the thread that writes the database file.

use super::{ApplyEvent, CoreEvent, FileJob, LogEvent, Member};
use crate::plan::Mistake;
use replica::{Fault, Persist};

impl Member {
    /// Everything that waits goes to the disk in one write with one sync.
    pub(super) fn log_turn(&mut self) -> Result<(), Fault> {
        let mut batches: Vec<Persist> = Vec::new();
        let mut snapshots = Vec::new();
        for event in self.log_in.drain(..) {
            match event {
                LogEvent::Persist(persist) => batches.push(persist),
                LogEvent::Snapshot(due) => snapshots.push(due),
            }
        }
        self.spoil(&mut batches);
        if !batches.is_empty() {
            let done = self.log.persist(&batches)?;
            if done.number > 0 {
                self.tell(CoreEvent::Persisted(done.number));
            }
            self.log.prepare()?;
        }
        for due in snapshots {
            self.log.save_snapshot(due)?;
        }
        Ok(())
    }

    fn spoil(&self, batches: &mut [Persist]) {
        for batch in batches {
            match self.mistake {
                Some(Mistake::SkipSync) => batch.sync = false,
                Some(Mistake::ForgetVote) => {
                    batch.hard_state.iter_mut().for_each(|state| state.vote = None);
                }
                _ => {}
            }
        }
    }

    /// The next job of the file thread.
    pub(super) fn file_turn(&mut self) -> Result<(), Fault> {
        match self.file_in.pop_front() {
            Some(FileJob::Commit(job)) => {
                let done = job.run()?;
                self.apply_in.push_back(ApplyEvent::Committed(done));
            }
            Some(FileJob::Defragment(job)) => {
                self.apply_in.push_back(ApplyEvent::Defragmented(job.run()));
            }
            None => {}
        }
        Ok(())
    }

    pub(super) fn record(&mut self, due: replica::SnapshotDue) {
        self.log_in.push_back(LogEvent::Snapshot(due));
    }
}
