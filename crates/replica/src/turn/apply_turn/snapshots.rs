//! Whole databases between members: given to one that lags behind, taken from a leader.

use super::{ApplyEffect, ApplyTurn, At, MembersChange};
use crate::Fault;
use crate::turn::{Caller, CoreEvent, Note, Urgency};
use proto::raftpb::{Message, Snapshot, SnapshotMetadata};

impl<C: Caller> ApplyTurn<C> {
    /// Gives a snapshot away: the message that raft made, at the place that the database file is at now
    /// that a commit after the message is done.
    pub(super) fn send_snapshot(&mut self, mut message: Box<Message>, at: At<'_, '_, C>) {
        let Some(due) = self.applier.committed().cloned() else {
            let event = CoreEvent::SnapshotSent { to: message.to(), delivered: false };
            return at.out.push(ApplyEffect::Core(event, Urgency::Urgent));
        };
        let metadata = SnapshotMetadata {
            conf_state: Some(due.conf_state),
            index: Some(due.index),
            term: Some(due.term),
        };
        let data = Some(due.data.into());
        message.snapshot = Some(Snapshot { data, metadata: Some(metadata) });
        at.out.push(ApplyEffect::SendSnapshot(message));
    }

    /// A snapshot is recorded in the log: its database takes the place of everything here, as soon
    /// as the file is not being written.
    pub(super) fn restore(&mut self, snapshot: Snapshot, at: At<'_, '_, C>) -> Result<(), Fault> {
        let index = snapshot.metadata.as_ref().map_or(0, SnapshotMetadata::index);
        at.observer.note(Note::SnapshotRecorded { index });
        if let Some(before) = self.restoring.replace(snapshot) {
            // What followed one that is not installed cannot be applied without it; this one has it.
            let last = before.metadata.as_ref().map_or(0, SnapshotMetadata::index);
            self.held.retain(|entry| entry.index() <= last);
        }
        self.restore_if_ready(at)
    }

    pub(super) fn restore_if_ready(&mut self, at: At<'_, '_, C>) -> Result<(), Fault> {
        if self.applier.machine.backend.job_is_out() {
            return Ok(());
        }
        let Some(snapshot) = self.restoring.take() else { return Ok(()) };
        self.apply_before(&snapshot, at)?;
        let metadata = snapshot.metadata.clone().unwrap_or_default();
        let (index, term) = (metadata.index(), metadata.term());
        let (snapshot_index, applied) =
            (self.snapshot_index, self.applier.machine.backend.applied().index);
        let note = |begins, snapshot, applied| Note::SnapshotApplying {
            begins,
            snapshot,
            applied,
            index,
            term,
        };
        at.observer.note(note(true, snapshot_index, applied));
        self.applier.install(&snapshot)?;
        self.snapshot_index = index;
        self.show_restored(at);
        at.observer.note(note(false, index, self.applier.machine.backend.applied().index));
        Ok(())
    }

    /// The database and the members first, then the index, the watchers, the core, and who waits for what
    /// the snapshot shows to be done.
    fn show_restored(&mut self, at: At<'_, '_, C>) {
        let machine = &self.applier.machine;
        let index = machine.backend.applied().index;
        at.out.push(ApplyEffect::ShowDatabase(machine.backend.reader()));
        let members = Box::new(machine.members.clone());
        at.out.push(ApplyEffect::ShowMembers(members, MembersChange::Restored));
        self.show_applied(at);
        // Not what the reader shows when the hub comes to it: what is applied by then is published to it.
        let (reader, revision) = (machine.store.reader(), machine.store.revision());
        at.out.push(ApplyEffect::Restored(reader, revision));
        let event = CoreEvent::Applied { index, conf_changes: Vec::new() };
        at.out.push(ApplyEffect::Core(event, Urgency::Urgent));
        self.show_state(at);
        self.show_everything(at);
        self.compaction_restored(at);
        self.answer_visible(at);
    }

    /// What waits to be applied and is part of a snapshot is applied still: somebody may wait for what
    /// comes of it, which the snapshot does not say.
    fn apply_before(&mut self, snapshot: &Snapshot, at: At<'_, '_, C>) -> Result<(), Fault> {
        let last = snapshot.metadata.as_ref().map_or(0, SnapshotMetadata::index);
        // One that is all there is up to the snapshot is not applied: a snapshot leads forward.
        let count = self.held.partition_point(|entry| entry.index() < last);
        let later = self.held.split_off(count);
        let before = std::mem::replace(&mut self.held, later);
        self.held.retain(|entry| entry.index() > last);
        if before.is_empty() { Ok(()) } else { self.apply_now(&before, at) }
    }
}
