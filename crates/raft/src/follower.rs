//! A follower: takes what the leader sends, and passes on what is for the leader (thesis, sections
//! 3.5, 5 and 6.2).

use crate::log::EntryId;
use crate::raft::{Campaign, Dropped, Raft, ReadState, Role};
use crate::storage::{Storage, snapshot_index};
use crate::wire::{self, NONE};
use proto::raftpb::{ConfState, Message, MessageType, Snapshot};

impl<S: Storage> Raft<S> {
    pub(crate) fn step_follower(&mut self, message: Message) -> Result<(), Dropped> {
        use MessageType::*;
        let kind = message.r#type();
        if matches!(kind, MsgApp | MsgHeartbeat | MsgSnap) {
            self.election_elapsed = 0;
            self.leader = message.from();
        }
        match kind {
            MsgApp => self.handle_append(message),
            MsgHeartbeat => self.handle_heartbeat(message),
            MsgSnap => self.handle_snapshot(message),
            MsgProp if self.leader == NONE => return Err(Dropped::NoLeader),
            MsgProp if self.config.disable_proposal_forwarding => {
                return Err(Dropped::NotForwarded);
            }
            MsgProp | MsgReadIndex | MsgTransferLeader => self.forward(message),
            MsgForgetLeader => self.forget_leader(),
            // No pre-election: the leader itself is ready to go.
            MsgTimeoutNow => self.hup(Campaign::Transfer),
            MsgReadIndexResp => self.read_answered(message),
            _ => {}
        }
        Ok(())
    }

    /// Passes a request on to the leader, where there is one.
    fn forward(&mut self, message: Message) {
        if self.leader != NONE {
            self.send(Message { to: Some(self.leader), ..message });
        }
    }

    fn read_answered(&mut self, mut message: Message) {
        let index = message.index();
        if let (Some(entry), true) = (message.entries.pop(), message.entries.is_empty()) {
            self.read_states.push(ReadState { index, context: entry.data.unwrap_or_default() });
        }
    }

    /// Appends what the leader sent, if it follows what is here; otherwise tells the leader where
    /// it might.
    fn handle_append(&mut self, message: Message) {
        let before = EntryId { index: message.index(), term: message.log_term() };
        let response = wire::message(MessageType::MsgAppResp, message.from());
        let commit = message.commit();
        if before.index < self.log.committed {
            self.send(Message { index: Some(self.log.committed), ..response });
            return;
        }
        if !is_consecutive(before, &message) {
            return;
        }
        if let Some(last) = self.log.maybe_append(before, message.entries, commit) {
            self.send(Message { index: Some(last), ..response });
            return;
        }
        // Where the leader's log has its term or a lower one, only entries of ours with such terms
        // can agree: everything above is skipped at once.
        let from = before.index.min(self.log.last_index());
        let hint = self.log.find_conflict(from, before.term);
        self.send(Message {
            index: Some(before.index),
            reject: Some(true),
            reject_hint: Some(hint.index),
            log_term: Some(hint.term),
            ..response
        });
    }

    fn handle_heartbeat(&mut self, message: Message) {
        self.log.commit_to(message.commit());
        let response = wire::message(MessageType::MsgHeartbeatResp, message.from());
        self.send(Message { context: message.context, ..response });
    }

    fn handle_snapshot(&mut self, message: Message) {
        let response = wire::message(MessageType::MsgAppResp, message.from());
        let restored = self.restore(message.snapshot.unwrap_or_default());
        let index = if restored { self.log.last_index() } else { self.log.committed };
        self.send(Message { index: Some(index), ..response });
    }

    /// Replaces log and configuration by a snapshot; whether that was needed and possible.
    fn restore(&mut self, snapshot: Snapshot) -> bool {
        assert_eq!(self.role, Role::Follower, "a leader sends snapshots to others");
        if snapshot_index(&snapshot) <= self.log.committed {
            return false;
        }
        let metadata = snapshot.metadata.clone().unwrap_or_default();
        let state = metadata.conf_state.clone().unwrap_or_default();
        if !is_member(&state, self.config.id) {
            return false;
        }
        let id = EntryId { index: metadata.index(), term: metadata.term() };
        if self.log.matches(id) {
            // Everything that it covers is here.
            self.log.commit_to(id.index);
            return false;
        }
        self.log.restore(snapshot);
        self.restore_conf_state(&state);
        true
    }

    /// Waits for a leader as if none had been heard, so that voters may grant pre-votes at once.
    /// With leases that would let two leaders answer reads.
    fn forget_leader(&mut self) {
        if self.config.read_only == crate::ReadOnly::Safe {
            self.leader = NONE;
        }
    }
}

/// Whether the entries of an append are numbered one after another, with terms that do not fall.
fn is_consecutive(mut before: EntryId, message: &Message) -> bool {
    message.entries.iter().map(EntryId::of).all(|id| {
        let follows = id.index == before.index + 1 && id.term >= before.term;
        before = id;
        follows
    })
}

/// Whoever becomes a learner next is an outgoing voter, so three lists are enough.
fn is_member(state: &ConfState, id: u64) -> bool {
    [&state.voters, &state.learners, &state.voters_outgoing].iter().any(|ids| ids.contains(&id))
}
