//! The database file: commits, compaction in it, defragmentation, and who waits for them.

use super::{AfterCommit, Answer, ApplyEffect, ApplyTurn, At};
use crate::Fault;
use crate::turn::{Caller, Note};
use apply::{Kind, Reply};
use backend::{Committed, DefragResult, Defragmented};
use mvcc::Progress;

/// Changes that make a commit due at once.
const BATCH_OPS_MAX: usize = 10_000;
/// Buffered bytes that make a commit due at once.
const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;

impl<C: Caller> ApplyTurn<C> {
    /// Somebody waits until everything applied so far is in the file.
    pub(super) fn after_commit(&mut self, waiter: AfterCommit<C>, at: At<'_, '_, C>) {
        self.after_commit.push(waiter);
        self.next_commit = at.now;
    }

    pub(super) fn commit_if_due(&mut self, at: At<'_, '_, C>) {
        let backend = &self.applier.machine.backend;
        let full =
            backend.pending_ops() >= BATCH_OPS_MAX || backend.pending_bytes() >= BATCH_BYTES_MAX;
        if at.now < self.next_commit && !full {
            return;
        }
        self.next_commit = at.now + self.timing.batch_interval;
        if backend.job_is_out() {
            return;
        }
        match self.applier.freeze() {
            Some(job) => {
                self.after_this_commit = std::mem::take(&mut self.after_commit);
                at.out.push(ApplyEffect::Commit(job));
            }
            None => {
                for waiter in std::mem::take(&mut self.after_commit) {
                    self.is_in_file(waiter, at);
                }
            }
        }
    }

    pub(super) fn committed(&mut self, done: Committed, at: At<'_, '_, C>) {
        if let Some(due) = self.applier.complete(done) {
            let count = self.applier.snapshot_count();
            let before = std::mem::replace(&mut self.snapshot_index, due.index);
            at.observer.note(Note::SnapshotDue { due: &due, before, count });
            at.out.push(ApplyEffect::Record(due));
        }
        self.show_sizes(at);
        for waiter in std::mem::take(&mut self.after_this_commit) {
            self.is_in_file(waiter, at);
        }
        self.begin_defragment(at);
    }

    fn is_in_file(&mut self, waiter: AfterCommit<C>, at: At<'_, '_, C>) {
        match waiter {
            AfterCommit::Caller(ticket) => at.out.push(ApplyEffect::Durable(ticket)),
            AfterCommit::SendSnapshot(message) => self.send_snapshot(message, at),
            AfterCommit::Compaction(write, revision) => {
                let (kind, result) = (Kind::Compaction, Ok(Reply::Compaction { revision }));
                at.out.push(ApplyEffect::Answer(Answer { write, kind, result }));
            }
        }
    }

    // ---- defragmentation -------------------------------------------------------------------

    /// Defragments as soon as no commit is under way; `ticket` hears of it.
    pub(super) fn defragment(&mut self, ticket: C::Ticket<Result<(), String>>, at: At<'_, '_, C>) {
        self.defragment_waiters.push(ticket);
        self.begin_defragment(at);
    }

    fn begin_defragment(&mut self, at: At<'_, '_, C>) {
        if self.defragment_waiters.is_empty() {
            return;
        }
        if let Some(job) = self.applier.defragment() {
            self.is_defragmenting = true;
            at.observer.note(Note::DefragmentBegins { sizes: self.sizes() });
            at.out.push(ApplyEffect::Defragment(job));
        }
    }

    pub(super) fn defragmented(
        &mut self,
        done: Defragmented,
        at: At<'_, '_, C>,
    ) -> Result<(), Fault> {
        let result = self.applier.complete_defragment(done)?;
        self.show_sizes(at);
        let was_under_way = std::mem::take(&mut self.is_defragmenting);
        if was_under_way && matches!(result, DefragResult::Done) {
            at.observer.note(Note::DefragmentEnds { sizes: self.sizes() });
        }
        for ticket in std::mem::take(&mut self.defragment_waiters) {
            let result = match &result {
                DefragResult::Done => Ok(()),
                DefragResult::NotDone(why) => Err(why.to_string()),
            };
            at.out.push(ApplyEffect::Defragmented(ticket, result));
        }
        Ok(())
    }

    // ---- compaction ------------------------------------------------------------------------

    pub(super) fn wait_for_compaction(
        &mut self,
        write: C::Write,
        revision: i64,
        at: At<'_, '_, C>,
    ) {
        self.compaction_waiters.push((write, revision));
        if !self.applier.machine.store.is_compacting() {
            self.compaction_done(at);
        }
    }

    /// A step of the compaction under way.
    pub(super) fn compact(&mut self, at: At<'_, '_, C>) {
        let store = &self.applier.machine.store;
        if !store.is_compacting() {
            return;
        }
        let (of_index, rows_before) = (store.compacts_index(), store.rows_removed());
        if !self.is_compacting {
            self.is_compacting = true;
            at.observer.note(Note::CompactionBegins { revision: store.compacted() });
        }
        at.observer.note(Note::CompactionStepBegins { of_index });
        let progress = self.applier.compaction_step();
        let store = &self.applier.machine.store;
        let rows = store.rows_removed() - rows_before;
        at.observer.note(Note::CompactionStepEnds { of_index, rows });
        self.compacted_rows += rows;
        if progress == Progress::Done {
            self.is_compacting = false;
            let (revision, rows) = (store.compacted(), std::mem::take(&mut self.compacted_rows));
            at.observer.note(Note::CompactionEnds { revision, rows, sizes: self.sizes() });
            self.compaction_done(at);
        }
    }

    /// Another state machine has taken the place of the one that was being compacted.
    pub(super) fn compaction_restored(&mut self, at: At<'_, '_, C>) {
        if !self.applier.machine.store.is_compacting() {
            self.is_compacting = false;
            self.compacted_rows = 0;
            self.compaction_done(at);
        }
    }

    fn compaction_done(&mut self, at: At<'_, '_, C>) {
        for (write, revision) in std::mem::take(&mut self.compaction_waiters) {
            self.after_commit(AfterCommit::Compaction(write, revision), at);
        }
    }
}
