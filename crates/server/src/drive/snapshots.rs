//! Whole databases between members: given to one that lags behind, taken from a leader.

use super::{ApplyDriver, CoreEvent};
use crate::lines;
use proto::raftpb::{Message, Snapshot, SnapshotMetadata};
use replica::Fault;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl ApplyDriver {
    /// Sends a snapshot: the message that raft made, at the place that the database file is at once
    /// everything applied is in it.
    pub(crate) fn send_snapshot(&mut self, mut message: Message) {
        let to = message.to();
        self.after_commit(move |shared| {
            let shared = Arc::clone(shared);
            // Back to the applier, which knows what its last commit holds.
            Arc::clone(&shared).on_apply(move |driver| {
                let due = driver.applier.committed().cloned();
                let (Some(due), Some(network)) = (due, shared.roster.network()) else {
                    shared.core.send(CoreEvent::SnapshotSent { to, delivered: false });
                    return;
                };
                let metadata = SnapshotMetadata {
                    conf_state: Some(due.conf_state),
                    index: Some(due.index),
                    term: Some(due.term),
                };
                let data = Some(due.data.into());
                message.snapshot = Some(Snapshot { data, metadata: Some(metadata) });
                let database = shared.backend().snapshot();
                lines::sends_snapshot(shared.member_id, to, database.size());
                network.send_snapshot(message, database);
            });
        });
    }

    /// A snapshot is recorded in the log: its database takes the place of everything here, as soon
    /// as the file is not being written.
    pub(super) fn restore(&mut self, snapshot: Snapshot) -> Result<(), Fault> {
        lines::snapshot_recorded(snapshot.metadata.as_ref().map_or(0, |metadata| metadata.index()));
        self.restoring = Some(snapshot);
        self.shared.metrics.member.snapshot_applying.set(1);
        self.restore_if_ready()
    }

    pub(super) fn restore_if_ready(&mut self) -> Result<(), Fault> {
        if self.applier.machine.backend.job_is_out() {
            return Ok(());
        }
        let Some(snapshot) = self.restoring.take() else { return Ok(()) };
        self.apply_before(&snapshot)?;
        let metadata = snapshot.metadata.clone().unwrap_or_default();
        let (index, term) = (metadata.index(), metadata.term());
        let before = self.applier.machine.backend.applied().index;
        lines::applies_snapshot("applying snapshot", self.snapshot_index, before, index, term);
        self.applier.install(&snapshot)?;
        self.snapshot_index = index;
        let shared = Arc::clone(&self.shared);
        let machine = &self.applier.machine;
        let applied = machine.backend.applied();
        shared.exchange_backend(machine.backend.reader());
        shared.roster.publish(machine.members.clone());
        let gauges = &shared.gauges;
        gauges.applied.store(applied.index, Ordering::Release);
        gauges.applied_term.store(applied.term, Ordering::Relaxed);
        gauges.leases.store(machine.lessor.len() as u64, Ordering::Relaxed);
        // Not what the reader shows when the hub comes to it: what is applied by then is published to it.
        let (reader, revision) = (machine.store.reader(), machine.store.revision());
        shared.hub.on_hub(move |hub| {
            hub.snapshot_installed(reader, revision);
        });
        shared.core.send(CoreEvent::Applied { index: applied.index, conf_changes: Vec::new() });
        self.publish_alarms();
        self.publish_state();
        self.compaction_restored();
        self.answer_contained();
        shared.metrics.member.snapshot_applying.set(0);
        lines::configuration(shared.member_id, &self.applier.machine.members.conf_state());
        lines::applies_snapshot("applied snapshot", index, applied.index, index, term);
        Ok(())
    }

    /// What waits to be applied and is part of a snapshot is applied still: somebody may wait for what
    /// comes of it, which the snapshot does not say.
    fn apply_before(&mut self, snapshot: &Snapshot) -> Result<(), Fault> {
        let last = snapshot.metadata.as_ref().map_or(0, SnapshotMetadata::index);
        // One that is all there is up to the snapshot is not applied: a snapshot leads forward.
        let count = self.held.partition_point(|entry| entry.index() < last);
        let later = self.held.split_off(count);
        let before = std::mem::replace(&mut self.held, later);
        self.held.retain(|entry| entry.index() > last);
        if before.is_empty() { Ok(()) } else { self.apply_now(&before) }
    }
}
