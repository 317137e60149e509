//! A node: its term and role, and what it asks its owner to do.

use crate::log::Log;
use bytes::Bytes;
use prost::Message;
use proto::raftpb::{ConfChange, ConfChangeType, ConfState, Entry, EntryType, HardState};
use thiserror::Error;

/// What a node is told once.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The node's id, not 0.
    pub id: u64,
    /// Proposals are refused while this many bytes wait to be committed.
    pub uncommitted_bytes_max: usize,
}

/// What a node begins with: its durable state.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Term, vote and commit index.
    pub hard_state: HardState,
    /// Index and term that the entries follow.
    pub snapshot: (u64, u64),
    /// Everything in the log after that.
    pub entries: Vec<Entry>,
    /// The voters and learners as of the applied index.
    pub conf_state: ConfState,
    /// What the state machine has applied already.
    pub applied: u64,
}

/// A node's part in the cluster (thesis, section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Takes proposals.
    Leader,
}

/// Why a proposal is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Dropped {
    /// There is no leader to take it.
    #[error("raft: no leader")]
    NoLeader,
    /// Too many bytes wait to be committed.
    #[error("raft: too many uncommitted proposals")]
    TooManyUncommitted,
    /// Another configuration change is under way.
    #[error("raft: a configuration change is under way")]
    ConfChangePending,
}

/// What the owner must do now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ready {
    /// To be persisted with the entries, where it has changed.
    pub hard_state: Option<HardState>,
    /// To be persisted, in this order.
    pub entries: Vec<Entry>,
    /// Whether the two must be durable before [`Node::persisted`]. A moved commit index alone
    /// need not be.
    pub must_sync: bool,
    /// To be applied, in this order.
    pub committed: Vec<Entry>,
}

impl Ready {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.hard_state.is_none() && self.entries.is_empty() && self.committed.is_empty()
    }
}

/// What a node knows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its id.
    pub id: u64,
    /// Its term.
    pub term: u64,
    /// Its role.
    pub role: Role,
    /// The leader it knows, 0 for none.
    pub leader: u64,
    /// The last committed entry.
    pub committed: u64,
    /// The last applied entry.
    pub applied: u64,
    /// Whether what is applied here is all that was ever acknowledged: this node leads, is the
    /// only voter, and has applied an entry of its own term (thesis, section 6.4).
    pub may_read: bool,
}

/// A Raft node.
#[derive(Debug)]
pub struct Node {
    config: Config,
    term: u64,
    vote: u64,
    role: Role,
    leader: u64,
    log: Log,
    voters: Vec<u64>,
    learners: Vec<u64>,
    /// The hard state handed out last.
    saved: HardState,
    /// The first entry of the own term as leader.
    term_start: u64,
    /// A configuration change is in the log up to here and may not be applied yet.
    conf_change_index: u64,
    uncommitted_bytes: usize,
}

impl Node {
    /// A node from its durable state, as a follower of nobody.
    pub fn new(config: Config, start: Start) -> Node {
        assert_ne!(config.id, 0, "0 means no node");
        let commit = start.hard_state.commit();
        let log = Log::new(start.snapshot, start.entries, commit, start.applied);
        // Any entry not applied yet may be a configuration change.
        let conf_change_index = log.last();
        Node {
            config,
            term: start.hard_state.term(),
            vote: start.hard_state.vote(),
            role: Role::Follower,
            leader: 0,
            log,
            voters: start.conf_state.voters,
            learners: start.conf_state.learners,
            saved: start.hard_state,
            term_start: u64::MAX,
            conf_change_index,
            uncommitted_bytes: 0,
        }
    }

    /// Whether this node is the only voter.
    pub fn is_sole_voter(&self) -> bool {
        self.voters == [self.config.id]
    }

    /// Tries to become leader (thesis, section 3.4): a new term, and a vote for itself. The only
    /// voter wins at once; its vote is persisted before anything that the term does is committed.
    pub fn campaign(&mut self) {
        if !self.is_sole_voter() || self.role == Role::Leader {
            return;
        }
        self.term += 1;
        self.vote = self.config.id;
        self.role = Role::Leader;
        self.leader = self.config.id;
        self.term_start = self.log.last() + 1;
        // Entries of earlier terms are committed by one of this term (thesis, section 3.6.2).
        self.append(EntryType::EntryNormal, None);
    }

    /// Lets time pass: a voter without a leader tries to become one.
    pub fn tick(&mut self) {
        if self.leader == 0 {
            self.campaign();
        }
    }

    /// Proposes an entry.
    ///
    /// # Errors
    /// See [`Dropped`]; the entry is not in the log then.
    pub fn propose(&mut self, data: Bytes) -> Result<(), Dropped> {
        if self.role != Role::Leader {
            return Err(Dropped::NoLeader);
        }
        let bytes = self.uncommitted_bytes + data.len();
        if self.uncommitted_bytes > 0 && bytes > self.config.uncommitted_bytes_max {
            return Err(Dropped::TooManyUncommitted);
        }
        self.uncommitted_bytes = bytes;
        self.append(EntryType::EntryNormal, Some(data));
        Ok(())
    }

    /// Proposes a configuration change; one at a time (thesis, section 4.1).
    ///
    /// # Errors
    /// See [`Dropped`].
    pub fn propose_conf_change(&mut self, change: &ConfChange) -> Result<(), Dropped> {
        if self.role != Role::Leader {
            return Err(Dropped::NoLeader);
        }
        if self.conf_change_index > self.log.applied() {
            return Err(Dropped::ConfChangePending);
        }
        self.append(EntryType::EntryConfChange, Some(change.encode_to_vec().into()));
        self.conf_change_index = self.log.last();
        Ok(())
    }

    fn append(&mut self, kind: EntryType, data: Option<Bytes>) {
        let index = self.log.last() + 1;
        let (term, index) = (Some(self.term), Some(index));
        self.log.append(Entry { r#type: Some(kind as i32), term, index, data });
    }

    /// The disk has the hard state and entries handed out, up to the entry of this index and term.
    pub fn persisted(&mut self, index: u64, term: u64) {
        if self.log.persisted_to(index, term) && self.role == Role::Leader {
            self.commit();
        }
    }

    /// What a quorum has on disk is committed, if it is of this term (thesis, figure 3.2).
    fn commit(&mut self) {
        let quorum_has = self.log.persisted();
        if quorum_has > self.log.committed && self.log.term(quorum_has) == Some(self.term) {
            self.log.committed = quorum_has;
        }
    }

    /// The state machine has applied everything up to this index.
    pub fn applied(&mut self, index: u64) {
        self.log.applied_to(index);
        if index == self.log.last() {
            self.uncommitted_bytes = 0;
        }
        if self.is_sole_voter() && self.learners.is_empty() {
            // Nobody else will ask for them.
            self.log.forget_to(index);
        }
    }

    /// Takes up a committed configuration change, when it is applied. Node 0 means that it was
    /// refused.
    pub fn apply_conf_change(&mut self, change: &ConfChange) -> ConfState {
        let id = change.node_id();
        if id != 0 {
            let kind = ConfChangeType::try_from(change.r#type.unwrap_or_default());
            if !matches!(kind, Ok(ConfChangeType::ConfChangeUpdateNode)) {
                self.voters.retain(|voter| *voter != id);
                self.learners.retain(|learner| *learner != id);
            }
            match kind {
                Ok(ConfChangeType::ConfChangeAddNode) => self.voters.push(id),
                Ok(ConfChangeType::ConfChangeAddLearnerNode) => self.learners.push(id),
                _ => {}
            }
            self.voters.sort_unstable();
        }
        if self.leader == 0 {
            self.campaign();
        }
        self.conf_state()
    }

    /// The voters and learners.
    pub fn conf_state(&self) -> ConfState {
        ConfState {
            voters: self.voters.clone(),
            learners: self.learners.clone(),
            auto_leave: Some(false),
            ..ConfState::default()
        }
    }

    /// What there is to do. Everything in it is handed out once.
    pub fn ready(&mut self) -> Ready {
        let entries = self.log.take_unpersisted();
        let committed = self.log.take_unapplied();
        let now = HardState {
            term: Some(self.term),
            vote: Some(self.vote),
            commit: Some(self.log.committed),
        };
        let same_vote = (now.term(), now.vote()) == (self.saved.term(), self.saved.vote());
        let must_sync = !entries.is_empty() || !same_vote;
        let moved = now.commit() != self.saved.commit();
        let hard_state = (!same_vote || moved).then_some(now);
        self.saved = now;
        self.log.check();
        Ready { hard_state, entries, must_sync, committed }
    }

    /// What the node knows of itself.
    pub fn status(&self) -> Status {
        Status {
            id: self.config.id,
            term: self.term,
            role: self.role,
            leader: self.leader,
            committed: self.log.committed(),
            applied: self.log.applied(),
            may_read: self.role == Role::Leader
                && self.is_sole_voter()
                && self.log.applied() >= self.term_start,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: Config = Config { id: 1, uncommitted_bytes_max: 1000 };

    fn voter() -> Start {
        let conf_state = ConfState { voters: vec![1], ..ConfState::default() };
        Start { conf_state, ..Start::default() }
    }

    fn indexes(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(Entry::index).collect()
    }

    #[test]
    fn nothing_is_committed_before_the_own_disk_has_it() {
        let mut node = Node::new(CONFIG, voter());
        assert_eq!(node.propose(Bytes::from_static(b"x")), Err(Dropped::NoLeader));
        node.tick();
        node.propose(Bytes::from_static(b"x")).unwrap();
        let ready = node.ready();
        assert!(ready.must_sync && ready.committed.is_empty());
        assert_eq!(indexes(&ready.entries), [1, 2]);
        assert_eq!(ready.hard_state.unwrap().term(), 1);
        assert!(node.ready().is_empty());
        node.persisted(1, 1);
        let ready = node.ready();
        assert_eq!(indexes(&ready.committed), [1]);
        assert!(!ready.must_sync && ready.hard_state.unwrap().commit() == 1);
        node.persisted(2, 9);
        assert!(node.ready().is_empty(), "an answer for another term counts for nothing");
        node.persisted(2, 1);
        assert_eq!(indexes(&node.ready().committed), [2]);
        assert!(!node.status().may_read);
        node.applied(2);
        assert!(node.status().may_read);
    }

    #[test]
    fn a_restart_commits_what_an_earlier_term_left() {
        let entry =
            |index| Entry { r#type: Some(0), term: Some(3), index: Some(index), data: None };
        let mut node = Node::new(
            CONFIG,
            Start {
                hard_state: HardState { term: Some(3), vote: Some(1), commit: Some(5) },
                snapshot: (4, 2),
                entries: (5..=8).map(entry).collect(),
                applied: 6,
                ..voter()
            },
        );
        assert!(node.ready().committed.is_empty(), "6 is applied, so only 7 and 8 are open");
        node.campaign();
        let ready = node.ready();
        assert_eq!((indexes(&ready.entries), ready.entries[0].term()), (vec![9], 4));
        node.persisted(9, 4);
        assert_eq!(indexes(&node.ready().committed), [7, 8, 9]);
    }

    #[test]
    fn a_new_member_becomes_a_voter_through_the_log() {
        let change = ConfChange { r#type: Some(0), node_id: Some(1), ..ConfChange::default() };
        let entry = Entry {
            r#type: Some(EntryType::EntryConfChange as i32),
            term: Some(1),
            index: Some(1),
            data: Some(change.encode_to_vec().into()),
        };
        let hard_state = HardState { term: Some(1), vote: Some(0), commit: Some(1) };
        let start = Start { hard_state, entries: vec![entry], ..Start::default() };
        let mut node = Node::new(CONFIG, start);
        node.tick();
        assert_eq!(node.status().leader, 0);
        assert_eq!(indexes(&node.ready().committed), [1]);
        node.apply_conf_change(&change);
        node.applied(1);
        assert_eq!(node.status().role, Role::Leader);
        assert_eq!(node.propose_conf_change(&change), Ok(()));
        assert_eq!(node.propose_conf_change(&change), Err(Dropped::ConfChangePending));
    }

    #[test]
    fn uncommitted_bytes_are_bounded() {
        let mut node = Node::new(CONFIG, voter());
        node.tick();
        node.propose(vec![0; 900].into()).unwrap();
        assert_eq!(node.propose(vec![0; 101].into()), Err(Dropped::TooManyUncommitted));
        node.ready();
        node.persisted(2, 1);
        node.ready();
        node.applied(2);
        node.propose(vec![0; 5000].into()).unwrap();
    }
}
