//! A leader: takes proposals, commits, and watches whether it still has a quorum (thesis, sections
//! 3.5, 3.6.2, 4 and 6.2).

use crate::raft::{Dropped, Raft, Role};
use crate::storage::Storage;
use crate::wire::{self, NONE};
use prost::Message as _;
use proto::raftpb::{ConfChange, ConfChangeV2, Entry, EntryType, Message, MessageType};

impl<S: Storage> Raft<S> {
    /// Begins to lead with an entry of the new term, behind which everything before it is
    /// committed (thesis, section 3.6.2 and 6.4).
    pub(crate) fn become_leader(&mut self) {
        assert_ne!(self.role, Role::Follower, "only a candidate is elected");
        let term = self.term;
        self.become_follower(term, self.config.id);
        self.role = Role::Leader;
        let own = self.tracker.get_mut(self.config.id).expect("only a voter is elected");
        own.become_replicate();
        own.recent_active = true;
        // Any entry so far may be a configuration change that is not applied.
        self.pending_conf_index = self.log.last_index();
        let accepted = self.append_entries(vec![Entry::default()]);
        assert!(accepted, "an empty entry is never refused");
    }

    pub(crate) fn step_leader(&mut self, message: Message) -> Result<(), Dropped> {
        use MessageType::*;
        let from = message.from();
        match message.r#type() {
            MsgBeat => self.broadcast_heartbeat(),
            MsgCheckQuorum => self.check_quorum(),
            MsgProp => return self.lead_proposal(message.entries),
            MsgReadIndex => self.lead_read(message),
            _ if self.tracker.get(from).is_none() => {}
            MsgAppResp => self.append_answered(&message),
            MsgHeartbeatResp => self.heartbeat_answered(&message),
            MsgSnapStatus => self.snapshot_reported(from, message.reject()),
            MsgUnreachable => self.unreachable_reported(from),
            MsgTransferLeader => self.transfer_requested(from),
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn tick_leader(&mut self) {
        self.heartbeat_elapsed += 1;
        self.election_elapsed += 1;
        if self.election_elapsed >= self.config.election_ticks {
            self.election_elapsed = 0;
            if self.config.check_quorum {
                self.check_quorum();
            }
            // Handing over may take one election timeout; then this leader goes on.
            self.transferee = NONE;
        }
        if self.role == Role::Leader && self.heartbeat_elapsed >= self.config.heartbeat_ticks {
            self.heartbeat_elapsed = 0;
            self.broadcast_heartbeat();
        }
    }

    /// Steps down unless a quorum was heard since the last time (thesis, section 6.2).
    fn check_quorum(&mut self) {
        if !self.tracker.is_quorum_active() {
            self.become_follower(self.term, NONE);
        }
        let own_id = self.config.id;
        for (id, progress) in &mut self.tracker.progress.0 {
            progress.recent_active &= *id == own_id;
        }
    }

    fn lead_proposal(&mut self, mut entries: Vec<Entry>) -> Result<(), Dropped> {
        if entries.is_empty() {
            return Err(Dropped::Malformed);
        }
        if self.tracker.get(self.config.id).is_none() {
            return Err(Dropped::Removed);
        }
        if self.transferee != NONE {
            return Err(Dropped::Transferring);
        }
        let last = self.log.last_index();
        for (entry, index) in entries.iter_mut().zip(last + 1..) {
            if let Some(changes) = changes_in(entry)? {
                self.admit_conf_change(entry, changes, index);
            }
        }
        if !self.append_entries(entries) {
            return Err(Dropped::TooManyUncommitted);
        }
        self.broadcast_append();
        Ok(())
    }

    /// Lets a configuration change into the log, or an empty entry in its place. Only one may be
    /// under way (thesis, section 4.1), and a joint configuration must be left before the next
    /// change. The configuration known here may not be the newest one, so this is only a help.
    fn admit_conf_change(&mut self, entry: &mut Entry, changes: usize, index: u64) {
        let is_pending = self.pending_conf_index > self.log.applied;
        let is_joint = self.tracker.config.voters.is_joint();
        let wants_to_leave = changes == 0;
        let is_wrong = is_pending || is_joint != wants_to_leave;
        if is_wrong && !self.config.disable_conf_change_validation {
            *entry = Entry { r#type: Some(EntryType::EntryNormal as i32), ..Entry::default() };
        } else {
            self.pending_conf_index = index;
        }
    }

    /// Appends entries of this term to the own log; `false` where too many bytes wait to be
    /// committed. The leader acknowledges them to itself when they are persisted.
    fn append_entries(&mut self, mut entries: Vec<Entry>) -> bool {
        let bytes = wire::payload_bytes(&entries);
        let waiting = self.uncommitted_bytes.saturating_add(bytes);
        // Empty entries always go, and so does anything when nothing waits.
        let refusable = self.uncommitted_bytes > 0 && bytes > 0;
        if refusable && waiting > self.config.uncommitted_bytes_max {
            return false;
        }
        self.uncommitted_bytes = waiting;
        let mut last = self.log.last_index();
        for entry in &mut entries {
            last += 1;
            entry.term = Some(self.term);
            entry.index = Some(last);
        }
        assert_eq!(self.role, Role::Leader, "entries are appended in term {}", self.term);
        self.log.append(entries);
        assert_eq!(self.log.last_index(), last, "the log ends with what was appended");
        let response = wire::message(MessageType::MsgAppResp, self.config.id);
        self.send(Message { index: Some(last), ..response });
        true
    }

    /// Commits what a quorum has persisted, if it ends with an entry of this term (thesis, section
    /// 3.6.2); whether that is news.
    pub(crate) fn maybe_commit(&mut self) -> bool {
        assert_eq!(self.role, Role::Leader, "who counts the copies of an entry leads");
        let index = self.tracker.committed();
        self.log.maybe_commit(crate::log::EntryId { index, term: self.term })
    }

    /// What a leader does when the configuration has changed.
    pub(crate) fn lead_changed_configuration(&mut self) {
        let own = self.tracker.get(self.config.id);
        if own.is_none_or(|own| own.is_learner) {
            if self.config.step_down_on_removal {
                self.become_follower(self.term, NONE);
            }
            return;
        }
        if self.maybe_commit() {
            // Fewer voters may need to agree now.
            self.broadcast_append();
        } else {
            // New members need not wait for the next heartbeat.
            self.each_other(|raft, id| {
                raft.maybe_send_append(id, false);
            });
        }
        if !self.tracker.config.voters.contains(self.transferee) {
            self.transferee = NONE;
        }
    }
}

/// How many changes an entry makes; `None` where it is no configuration change.
fn changes_in(entry: &Entry) -> Result<Option<usize>, Dropped> {
    let data = entry.data.clone().unwrap_or_default();
    match entry.r#type() {
        EntryType::EntryNormal => Ok(None),
        EntryType::EntryConfChange => {
            ConfChange::decode(data).map_err(|_| Dropped::Malformed)?;
            Ok(Some(1))
        }
        EntryType::EntryConfChangeV2 => {
            let change = ConfChangeV2::decode(data).map_err(|_| Dropped::Malformed)?;
            Ok(Some(change.changes.len()))
        }
    }
}
