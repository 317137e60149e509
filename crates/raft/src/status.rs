//! What a node says of itself.

use crate::raft::{Raft, Role};
use crate::storage::Storage;
use crate::tracker::{Configuration, ProgressMap};

/// What a node knows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasicStatus {
    /// Its id.
    pub id: u64,
    /// Its term.
    pub term: u64,
    /// Whom it has voted for in this term, 0 for nobody.
    pub vote: u64,
    /// Its role.
    pub role: Role,
    /// The leader it knows, 0 for none.
    pub leader: u64,
    /// The last committed entry.
    pub committed: u64,
    /// The last applied entry.
    pub applied: u64,
    /// The last entry.
    pub last: u64,
    /// Whom it hands leadership over to, 0 for nobody.
    pub transferee: u64,
}

impl BasicStatus {
    pub(crate) fn of<S: Storage>(raft: &Raft<S>) -> BasicStatus {
        BasicStatus {
            id: raft.config.id,
            term: raft.term,
            vote: raft.vote,
            role: raft.role,
            leader: raft.leader,
            committed: raft.log.committed,
            applied: raft.log.applied,
            last: raft.log.last_index(),
            transferee: raft.transferee,
        }
    }
}

/// What a node knows of itself and of others.
#[derive(Clone, Debug)]
pub struct Status {
    /// Of itself.
    pub basic: BasicStatus,
    /// The configuration in force.
    pub config: Configuration,
    /// Each member's progress; empty unless this node leads.
    pub progress: ProgressMap,
}

impl Status {
    pub(crate) fn of<S: Storage>(raft: &Raft<S>) -> Status {
        let leads = raft.role == Role::Leader;
        Status {
            basic: BasicStatus::of(raft),
            config: raft.tracker.config.clone(),
            progress: if leads { raft.tracker.progress.clone() } else { ProgressMap::default() },
        }
    }
}
