//! What is always true of a node, asserted: for tests and simulations, after every event.
//!
//! Each type says its own truths where it is declared; here stands what they are to each other.

use crate::raft::{Raft, Role};
use crate::storage::Storage;
use crate::wire::NONE;

impl<S: Storage> Raft<S> {
    /// Asserts what is always true of [`Raft`]. Costs a walk over the members.
    pub(crate) fn check(&self) {
        self.log.check();
        self.tracker.check();
        self.reads.check();
        self.check_role();
        if self.role == Role::Leader {
            self.check_leader();
        } else {
            self.check_other();
        }
    }

    fn check_role(&self) {
        let (id, role, leader, vote) = (self.config.id, self.role, self.leader, self.vote);
        match role {
            Role::Leader => assert_eq!(leader, id, "member {id} leads and follows another"),
            Role::Candidate => {
                assert_eq!(vote, id, "candidate {id} has voted for another in term {}", self.term);
                assert_eq!(leader, NONE, "candidate {id} has a leader in term {}", self.term);
            }
            Role::PreCandidate => {
                assert_eq!(leader, NONE, "member {id} would campaign and has a leader");
            }
            Role::Follower => assert_ne!(leader, id, "member {id} follows itself"),
        }
        let counts = matches!(role, Role::Candidate | Role::PreCandidate);
        assert!(counts || !self.tracker.has_votes(), "a {role} of term {} counts votes", self.term);
    }

    fn check_leader(&self) {
        let (term, last, committed) = (self.term, self.log.last_id(), self.log.committed);
        assert_eq!(last.term, term, "the last entry of a leader is of its term");
        let pending = self.pending_conf_index;
        assert!(pending <= last.index, "a change is expected at {pending} behind {last:?}");
        for (id, progress) in &self.tracker.progress.0 {
            let (matched, sent) = (progress.matched, progress.sent_commit);
            assert!(matched <= last.index, "{id} holds {matched}, and the leader {last:?}");
            assert!(progress.next <= last.index + 1, "{id} is sent {} of {last:?}", progress.next);
            assert!(sent <= committed, "{id} was told to commit {sent} of {committed}");
        }
        let transferee = self.transferee;
        let is_other = transferee != self.config.id;
        assert!(is_other, "a leader hands over to itself");
        let is_known = transferee == NONE || self.tracker.get(transferee).is_some();
        assert!(is_known, "leadership goes to {transferee}, who is no member");
    }

    /// What only a leader has is gone with its role.
    fn check_other(&self) {
        let (role, term) = (self.role, self.term);
        assert_eq!(self.transferee, NONE, "a {role} of term {term} hands over");
        assert_eq!(self.uncommitted_bytes, 0, "a {role} of term {term} counts proposals");
        assert_eq!(self.pending_conf_index, 0, "a {role} of term {term} expects a change");
        assert!(self.reads.is_empty(), "a {role} of term {term} confirms reads");
    }
}
