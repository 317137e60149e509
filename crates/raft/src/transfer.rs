//! Handing leadership over (thesis, section 3.10).
//!
//! The leader stops taking proposals, brings the other member's log up to its own, and then tells
//! it to campaign at once. If that has not worked after an election timeout, it goes on leading.

use crate::raft::Raft;
use crate::storage::Storage;
use crate::wire::{self, NONE};
use proto::raftpb::MessageType;

impl<S: Storage> Raft<S> {
    /// Begins to hand over, in place of whatever was under way for somebody else.
    pub(crate) fn transfer_requested(&mut self, to: u64) {
        if self.tracker.get(to).is_none_or(|progress| progress.is_learner) || self.transferee == to
        {
            return;
        }
        self.transferee = NONE;
        if to == self.config.id {
            return;
        }
        self.election_elapsed = 0;
        self.transferee = to;
        if self.has_whole_log(to) {
            self.send(wire::message(MessageType::MsgTimeoutNow, to));
        } else {
            self.send_append(to);
        }
    }

    /// Goes on with handing over, when a member has answered.
    pub(crate) fn continue_transfer(&mut self, from: u64) {
        if from == self.transferee && self.has_whole_log(from) {
            self.send(wire::message(MessageType::MsgTimeoutNow, from));
        }
    }

    fn has_whole_log(&self, id: u64) -> bool {
        let last = self.log.last_index();
        self.tracker.get(id).is_some_and(|progress| progress.matched == last)
    }
}
