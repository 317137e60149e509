//! A candidate or pre-candidate: waits for votes, or for somebody who has won (thesis, section
//! 3.4).

use crate::raft::{Dropped, Raft, Role};
use crate::storage::Storage;
use proto::raftpb::{Message, MessageType};

impl<S: Storage> Raft<S> {
    pub(crate) fn step_candidate(&mut self, message: Message) -> Result<(), Dropped> {
        use MessageType::*;
        match message.r#type() {
            MsgProp => return Err(Dropped::NoLeader),
            // Of this term, or it would not have come here: somebody else has won.
            MsgApp | MsgHeartbeat | MsgSnap => {
                self.become_follower(message.term(), message.from());
                return self.step_follower(message);
            }
            MsgPreVoteResp if self.role == Role::PreCandidate => self.count_vote(&message),
            MsgVoteResp if self.role == Role::Candidate => self.count_vote(&message),
            _ => {}
        }
        Ok(())
    }
}
