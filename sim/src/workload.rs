//! Clients: each asks one thing at a time, of any member, and now and then leaves before it is answered.

use crate::Rng;
use crate::member::Ticket;
use crate::model::Model;
use crate::plan::LEASE_TTL_MAX_S;
use crate::requests::{self, Request};

/// What a client asks of a member.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// A write.
    Write {
        /// The request.
        request: Request,
        /// Whether it waits for the database file as well; for compactions.
        in_file: bool,
    },
    /// All keys, linearizably.
    Read,
    /// To renew a lease.
    Renew(i64),
    /// How long a lease lives.
    TimeToLive(i64),
    /// Which leases there are.
    Leases,
    /// To hear when everything asked before was worked on.
    Reach,
    /// To hear when everything applied is in the database file.
    Durable,
    /// What raft knows.
    RaftStatus,
    /// How the member stands.
    Status,
}

impl Ask {
    /// Its name in a trace.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Ask::Write { .. } => "asked to write",
            Ask::Read => "asked to read",
            Ask::Renew(_) => "asked to renew",
            Ask::TimeToLive(_) => "asked time to live",
            Ask::Leases => "asked leases",
            Ask::Reach => "asked to reach",
            Ask::Durable => "asked to be durable",
            Ask::RaftStatus => "asked raft's status",
            Ask::Status => "asked status",
        }
    }

    /// The lease that it is about, 0 for none.
    pub(crate) fn lease(&self) -> i64 {
        match self {
            Ask::Renew(lease) | Ask::TimeToLive(lease) => *lease,
            _ => 0,
        }
    }
}

/// All clients.
pub(crate) struct Workload {
    /// What each waits for.
    waits: Vec<Option<Ticket>>,
    next_ticket: Ticket,
    keys: u64,
    next_lease: i64,
}

impl Workload {
    pub(crate) fn new(clients: usize, keys: u64) -> Workload {
        Workload { waits: vec![None; clients + 1], next_ticket: 0, keys, next_lease: 1 }
    }

    /// Clients; the one of this number asks whether the cluster is alive.
    pub(crate) fn clients(&self) -> usize {
        self.waits.len() - 1
    }

    /// A number for a request.
    pub(crate) fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// What a client waits for.
    pub(crate) fn waits(&self, client: usize) -> Option<Ticket> {
        self.waits[client]
    }

    /// A client waits for this now, or for nothing.
    pub(crate) fn set(&mut self, client: usize, ticket: Option<Ticket>) {
        self.waits[client] = ticket;
    }

    /// What a client asks next.
    pub(crate) fn ask(&mut self, ticket: Ticket, model: &Model, rng: &mut Rng) -> Ask {
        let lease = rng.pick(&model.leases()).copied().unwrap_or(0);
        match rng.below(100) {
            0..25 => Ask::Read,
            25..32 => Ask::Renew(lease),
            32..34 => Ask::TimeToLive(lease),
            34 => Ask::Leases,
            35 => Ask::Reach,
            36 => Ask::Durable,
            37 => Ask::RaftStatus,
            38 => Ask::Status,
            _ => self.write(ticket, lease, model, rng),
        }
    }

    fn write(&mut self, ticket: Ticket, lease: i64, model: &Model, rng: &mut Rng) -> Ask {
        let key = rng.below(self.keys);
        let mut in_file = false;
        let request = match rng.below(61) {
            0..28 => requests::put(ticket, key, 0),
            28..36 => requests::put(ticket, key, lease),
            36..43 => requests::delete(key, key + rng.between(1, 3)),
            43..51 => {
                let seen =
                    if rng.per_mille(800) { model.mod_revision(&requests::key(key)) } else { 0 };
                requests::txn(ticket, key, seen)
            }
            51..54 => {
                in_file = rng.per_mille(500);
                requests::compact(revision_to_compact(model, rng), in_file)
            }
            54..59 => {
                self.next_lease += 1;
                requests::grant(self.next_lease, rng.between(1, LEASE_TTL_MAX_S) as i64)
            }
            59 => requests::revoke(lease),
            _ => requests::disarm(rng.pick(&model.full_members()).copied().unwrap_or(0)),
        };
        Ask::Write { request, in_file }
    }
}

fn revision_to_compact(model: &Model, rng: &mut Rng) -> i64 {
    // After a compaction at revision 0, `HashKV` of the current revision answers with the hash
    // kept from then, as the reference does.
    let (low, high) = (model.compacted().max(1) as u64, model.revision() as u64);
    rng.between(low, high + 1) as i64
}
