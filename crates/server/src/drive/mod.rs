//! The driver threads: they give the replica's parts time, disk and company.

mod apply;
mod awaiting;
mod contained;
mod core;
mod hub;
mod hub_queue;
mod log;
mod snapshots;
mod storage_version;
#[cfg(test)]
mod tests;

pub(crate) use self::apply::{ApplyDriver, Timing};
pub(crate) use self::contained::Visible;
pub(crate) use self::core::{CoreDriver, Pace, run as run_core};
pub(crate) use self::hub::run as run_hub;
pub(crate) use self::hub_queue::HubQueue;
pub(crate) use self::log::LogDesk;

use crate::cluster::{Proposal, Read, Transferred};
use crate::metrics::Metrics;
use crate::rpc::Error;
use ::apply::backend::{self, Committed, Defragmented};
use ::apply::{Kind, Refusal, Reply};
use net::rpc::Responder;
use proto::raftpb::{ConfChange, Entry, Message, Snapshot};
use replica::{Core, Fault, Persist, SnapshotDue};
use std::time::Instant;

/// Work for the pool.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// For the core thread.
pub(crate) enum CoreEvent {
    Propose {
        id: u64,
        proposal: Proposal,
    },
    Persisted {
        number: u64,
    },
    Applied {
        index: u64,
        conf_changes: Vec<ConfChange>,
    },
    /// A message of another member.
    Step(Box<Message>),
    Unreachable(u64),
    SnapshotSent {
        to: u64,
        delivered: bool,
    },
    Transfer {
        to: u64,
        /// Hears when the other member leads, or that it does not.
        then: Option<Transferred>,
    },
    Read(Read),
    Do(Box<dyn FnOnce(&mut Core) + Send>),
}

/// For the log thread.
pub(crate) enum LogEvent {
    Persist(Persist),
    Snapshot(SnapshotDue),
    /// The next segment is to be made ready.
    Prepare,
}

/// For the apply thread.
pub(crate) enum ApplyEvent {
    Entries(Vec<Entry>),
    /// A leader's snapshot takes the place of everything.
    Restore(Snapshot),
    Committed(Result<Committed, backend::Fault>),
    Defragmented(Defragmented),
    Do(Box<dyn FnOnce(&mut ApplyDriver) + Send>),
}

/// Who waits for an applied entry.
pub(crate) enum Waiter {
    /// A client, who gets the reply.
    Client(Responder),
    /// A client whose compaction must be done in the file as well.
    Physical(Responder),
    /// A client who will hear that there is no space, once the alarm is raised.
    NoSpace(Responder),
    /// This server.
    Own(Box<dyn FnOnce(Result<Reply, Error>) + Send>),
}

impl Waiter {
    /// The entry will not be applied, or not in time.
    pub(crate) fn fail(self, error: Error) {
        match self {
            Waiter::Client(reply) | Waiter::Physical(reply) => reply.fail(error),
            Waiter::NoSpace(reply) => reply.fail(Error::NoSpace),
            Waiter::Own(act) => act(Err(error)),
        }
    }
}

/// A waiter and what it waits for.
pub(crate) struct Waiting {
    pub(crate) waiter: Waiter,
    pub(crate) kind: Kind,
    pub(crate) begun: Instant,
    /// What a snapshot may show to be done.
    pub(crate) visible: Option<Visible>,
}

impl Waiting {
    /// The proposal came to nothing.
    pub(crate) fn fail(self, metrics: &Metrics, error: Error) {
        metrics.member.proposals_failed.inc();
        metrics.requests.answered(self.kind, false, self.begun.elapsed());
        self.waiter.fail(error);
    }
}

/// Why the member cannot go on.
pub(crate) type Failed = std::sync::Arc<dyn Fn(Fault) + Send + Sync>;

/// What an entry's result is for a client.
pub(crate) fn for_client(result: Result<Reply, Refusal>) -> Result<Reply, Error> {
    result.map_err(Error::from)
}
