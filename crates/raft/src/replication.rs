//! Replication: what a leader sends to each follower, and what it learns from answers (thesis,
//! sections 3.5, 5 and 10.2).

use crate::progress::Flow;
use crate::raft::Raft;
use crate::storage::{Storage, StorageError, snapshot_index};
use crate::wire;
use proto::raftpb::{Message, MessageType};

impl<S: Storage> Raft<S> {
    /// Sends every other member what it lacks, or at least the commit index.
    pub(crate) fn broadcast_append(&mut self) {
        self.each_other(Raft::send_append);
    }

    pub(crate) fn send_append(&mut self, to: u64) {
        self.maybe_send_append(to, true);
    }

    /// Sends a member the next entries, or a snapshot where they are gone; whether anything was
    /// sent. Without `even_empty` nothing is sent where there are no entries.
    pub(crate) fn maybe_send_append(&mut self, to: u64, even_empty: bool) -> bool {
        let Some(progress) = self.tracker.get(to).filter(|progress| !progress.is_paused()) else {
            return false;
        };
        let before = progress.next - 1;
        let Ok(term) = self.log.term(before) else { return self.maybe_send_snapshot(to) };
        // With a full window only an empty append goes: its answer shows whether everything else
        // was lost.
        let is_throttled = progress.flow == Flow::Replicate && progress.inflights.is_full();
        let entries = if is_throttled {
            Ok(Vec::new())
        } else {
            self.log.entries(progress.next, self.config.message_bytes_max)
        };
        if !even_empty && entries.as_ref().map_or(true, Vec::is_empty) {
            return false;
        }
        let Ok(entries) = entries else { return self.maybe_send_snapshot(to) };
        let (count, bytes) = (entries.len() as u64, wire::payload_bytes(&entries));
        let commit = self.log.committed;
        self.send(Message {
            index: Some(before),
            log_term: Some(term),
            entries,
            commit: Some(commit),
            ..wire::message(MessageType::MsgApp, to)
        });
        let progress = self.tracker.get_mut(to).expect("found above");
        progress.sent_entries(count, bytes);
        progress.sent_commit(commit);
        true
    }

    /// Sends a snapshot, if the member was heard lately and one is at hand; whether it was sent.
    fn maybe_send_snapshot(&mut self, to: u64) -> bool {
        if !self.tracker.get(to).is_some_and(|progress| progress.recent_active) {
            return false;
        }
        let snapshot = match self.log.snapshot() {
            Err(StorageError::SnapshotTemporarilyUnavailable) => return false,
            snapshot => snapshot.expect("storage has a snapshot of what it let go"),
        };
        let index = snapshot_index(&snapshot);
        assert_ne!(index, 0, "an empty snapshot covers nothing that is gone");
        self.tracker.get_mut(to).expect("found above").become_snapshot(index);
        let message = wire::message(MessageType::MsgSnap, to);
        self.send(Message { snapshot: Some(snapshot), ..message });
        true
    }

    /// Tells every other member that this leader lives, and asks for what reads wait for.
    pub(crate) fn broadcast_heartbeat(&mut self) {
        let context = self.reads.heartbeat_context();
        self.each_other(|raft, id| raft.send_heartbeat(id, context.clone()));
    }

    /// The commit index goes along as far as the member's log is known to agree.
    fn send_heartbeat(&mut self, to: u64, context: Option<bytes::Bytes>) {
        let committed = self.log.committed;
        let Some(progress) = self.tracker.get_mut(to) else { return };
        let commit = progress.matched.min(committed);
        progress.sent_commit(commit);
        let message = wire::message(MessageType::MsgHeartbeat, to);
        self.send(Message { commit: Some(commit), context, ..message });
    }

    /// A member has answered an append or installed a snapshot; or the own log is persisted.
    pub(crate) fn append_answered(&mut self, message: &Message) {
        let from = message.from();
        let Some(progress) = self.tracker.get_mut(from) else { return };
        progress.recent_active = true;
        if message.reject() {
            self.append_rejected(message);
        } else if message.index() <= self.log.last_index() {
            self.append_accepted(from, message.index());
        }
    }

    /// Tries again where the logs may agree. The follower's guess is the last of its entries that
    /// the append did not rule out, with its term. Where this log has a higher term it cannot agree
    /// either, since terms never fall within a log: each probe skips a whole term of one side.
    fn append_rejected(&mut self, message: &Message) {
        let mut next = message.reject_hint();
        if message.log_term() > 0 {
            next = self.log.find_conflict(next, message.log_term()).index;
        }
        let from = message.from();
        let Some(progress) = self.tracker.get_mut(from) else { return };
        if progress.maybe_decrease(message.index(), next) {
            if progress.flow == Flow::Replicate {
                progress.become_probe();
            }
            self.send_append(from);
        }
    }

    fn append_accepted(&mut self, from: u64, index: u64) {
        let first = self.log.first_index();
        let Some(progress) = self.tracker.get_mut(from) else { return };
        // An answer that is no news can still end a probe.
        let ends_probe = progress.flow == Flow::Probe && progress.matched == index;
        if !progress.maybe_update(index) && !ends_probe {
            return;
        }
        match progress.flow {
            Flow::Probe => progress.become_replicate(),
            // Whatever snapshot was installed: the log goes on from there.
            Flow::Snapshot if progress.matched + 1 >= first => progress.become_replicate(),
            Flow::Snapshot => {}
            Flow::Replicate => progress.inflights.free_to(index),
        }
        let is_other = from != self.config.id;
        if self.maybe_commit() {
            self.release_early_reads();
            self.broadcast_append();
        } else if is_other && self.can_bump_commit(from) {
            self.send_append(from);
        }
        // The answer may have made room for more than one append.
        while is_other && self.maybe_send_append(from, false) {}
        self.continue_transfer(from);
    }

    fn can_bump_commit(&self, id: u64) -> bool {
        let committed = self.log.committed;
        self.tracker.get(id).is_some_and(|progress| progress.can_bump_commit(committed))
    }

    pub(crate) fn heartbeat_answered(&mut self, message: &Message) {
        let last = self.log.last_index();
        let Some(progress) = self.tracker.get_mut(message.from()) else { return };
        progress.recent_active = true;
        progress.paused = false;
        // An append gets a member going again that has lost all appends before, and ends a probe.
        if progress.matched < last || progress.flow == Flow::Probe {
            self.send_append(message.from());
        }
        self.confirm_reads(message);
    }

    /// The owner has seen a snapshot arrive, or not.
    pub(crate) fn snapshot_reported(&mut self, from: u64, failed: bool) {
        let Some(progress) = self.tracker.get_mut(from) else { return };
        if progress.flow != Flow::Snapshot {
            return;
        }
        if failed {
            // Probe from what is known, not from what has not arrived.
            progress.pending_snapshot = 0;
        }
        progress.become_probe();
        // Wait for the member's own answer, or for the next heartbeat's.
        progress.paused = true;
    }

    /// The owner could not deliver a message: appends on their way are probably lost.
    pub(crate) fn unreachable_reported(&mut self, from: u64) {
        let Some(progress) = self.tracker.get_mut(from) else { return };
        if progress.flow == Flow::Replicate {
            progress.become_probe();
        }
    }
}
