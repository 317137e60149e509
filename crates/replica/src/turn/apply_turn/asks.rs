//! What callers ask of the apply turn, in order with what is applied.

use super::leases::millis;
use super::{AfterCommit, ApplyEffect, ApplyTurn, At};
use crate::turn::{Caller, Failure, SizeFigures, Time};
use lease::TimeToLive;
use membership::Version;
use proto::etcdserverpb::AlarmMember;

/// More do not wait for committed entries: they are refused.
const AWAITING_MAX: usize = 100_000;
/// Nothing waits for committed entries longer than this, as in etcd.
const AWAITING_TIMEOUT: Time = Time::from_secs(1);

/// What a caller asks.
pub enum Ask<C: Caller> {
    /// To renew a lease.
    Renew(Renewal<C>),
    /// How long a lease lives, and its keys if they are asked for. Only the leader knows.
    TimeToLive {
        /// The lease.
        id: i64,
        /// Whether its keys are asked for.
        keys: bool,
        /// Who asks.
        ticket: C::Ticket<Result<Option<TimeToLive>, Failure>>,
    },
    /// Which leases there are.
    Leases(C::Ticket<Vec<i64>>),
    /// To hear when everything asked before was worked on.
    Reach(C::Ticket<()>),
    /// To hear when everything applied so far is in the database file.
    Durable(C::Ticket<()>),
    /// To defragment the database file.
    Defragment(C::Ticket<Result<(), String>>),
    /// How the member stands.
    Status(C::Ticket<StatusReport>),
}

/// A lease to be renewed.
pub struct Renewal<C: Caller> {
    /// The lease.
    pub id: i64,
    /// Whether another member asks, which is told if this one does not lead. For others, the leader is
    /// asked.
    pub is_for_member: bool,
    /// Who asks.
    pub ticket: C::Ticket<Result<Renewed, Failure>>,
}

/// A renewed lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// Its time to live in seconds, 0 where it is gone.
    pub ttl_s: i64,
    /// The store's revision, no newer than the renewal.
    pub revision: i64,
}

/// How the member stands.
#[derive(Clone, Debug)]
pub struct StatusReport {
    /// What the database file takes.
    pub sizes: SizeFigures,
    /// Every alarm raised.
    pub alarms: Vec<AlarmMember>,
    /// Whether this member is a learner.
    pub is_learner: bool,
    /// What the storage says.
    pub storage_version: Option<Version>,
    /// The version to which the cluster goes down, if it does.
    pub downgrade_target: Option<String>,
}

/// What waits until everything committed is applied here.
///
/// A leader applies after its own disk has the entries; followers with quicker disks may have applied
/// them before, and answered. What the leader alone knows, such as leases, must then wait for them.
pub(super) enum Waits<C: Caller> {
    Renew(Renewal<C>),
    TimeToLive { id: i64, keys: bool, ticket: C::Ticket<Result<Option<TimeToLive>, Failure>> },
}

pub(super) struct AwaitsCommitted<C: Caller> {
    pub(super) index: u64,
    deadline: Time,
    waits: Waits<C>,
}

impl<C: Caller> ApplyTurn<C> {
    pub(super) fn ask(&mut self, ask: Ask<C>, at: At<'_, '_, C>) {
        match ask {
            Ask::Renew(renewal) if renewal.is_for_member => {
                self.when_committed_is_applied(Waits::Renew(renewal), at);
            }
            Ask::Renew(renewal) => self.renew(renewal, at),
            Ask::TimeToLive { id, keys, ticket } => {
                self.when_committed_is_applied(Waits::TimeToLive { id, keys, ticket }, at);
            }
            Ask::Leases(ticket) => {
                let leases = self.applier.machine.lessor.leases();
                at.out.push(ApplyEffect::Leases(ticket, leases));
            }
            Ask::Reach(ticket) => at.out.push(ApplyEffect::Reached(ticket)),
            Ask::Durable(ticket) => self.after_commit(AfterCommit::Caller(ticket), at),
            Ask::Defragment(ticket) => self.defragment(ticket, at),
            Ask::Status(ticket) => {
                let report = Box::new(self.status());
                self.show_sizes(at);
                at.out.push(ApplyEffect::Status(ticket, report));
            }
        }
    }

    fn status(&mut self) -> StatusReport {
        let (own_id, sizes) = (self.common.member_id, self.sizes());
        let machine = self.machine();
        let (members, downgrade) = (&machine.members, machine.members.downgrade());
        StatusReport {
            sizes,
            alarms: machine.alarms().list(0),
            is_learner: members.get(own_id).is_some_and(|member| member.is_learner),
            storage_version: machine.storage_version(),
            downgrade_target: downgrade.enabled.then(|| downgrade.target_version.clone()),
        }
    }

    /// Does something once all that this member knows to be committed is applied.
    pub(super) fn when_committed_is_applied(&mut self, waits: Waits<C>, at: At<'_, '_, C>) {
        let index = self.common.figures.committed();
        if self.applier.machine.backend.applied().index >= index {
            return self.resume(waits, Ok(()), at);
        }
        if self.awaits_committed.len() >= AWAITING_MAX {
            return self.resume(waits, Err(Failure::TooManyRequests), at);
        }
        let deadline = at.now + AWAITING_TIMEOUT;
        self.awaits_committed.push_back(AwaitsCommitted { index, deadline, waits });
    }

    /// Does what waited for what is applied now. Indexes only grow, and so do deadlines: the first
    /// are due first.
    pub(super) fn resume_awaiting(&mut self, at: At<'_, '_, C>) {
        if self.awaits_committed.is_empty() {
            return;
        }
        let applied = self.applier.machine.backend.applied().index;
        while let Some(due) = self.awaits_committed.pop_front_if(|one| one.index <= applied) {
            self.resume(due.waits, Ok(()), at);
        }
        while let Some(late) = self.awaits_committed.pop_front_if(|one| one.deadline <= at.now) {
            self.resume(late.waits, Err(Failure::ApplyTimeout), at);
        }
    }

    fn resume(&mut self, waits: Waits<C>, applied: Result<(), Failure>, at: At<'_, '_, C>) {
        match (waits, applied) {
            (Waits::Renew(renewal), Ok(())) => self.renew_now(renewal, at),
            (Waits::Renew(renewal), Err(failure)) => {
                at.out.push(ApplyEffect::Renewed(renewal.ticket, Err(failure)));
            }
            (Waits::TimeToLive { id, keys, ticket }, applied) => {
                let found = applied.and_then(|()| self.time_to_live(id, keys, at));
                at.out.push(ApplyEffect::TimeToLive(ticket, found));
            }
        }
    }

    /// What the leader knows of a lease. A member that does not lead any more says so: without the
    /// leadership it does not know how much time is left.
    fn time_to_live(
        &mut self,
        id: i64,
        keys: bool,
        at: At<'_, '_, C>,
    ) -> Result<Option<TimeToLive>, Failure> {
        self.follow_leadership(at);
        let lessor = &mut self.applier.machine.lessor;
        if !lessor.is_primary() {
            return Err(Failure::LeaderChanged);
        }
        Ok(lessor.time_to_live(id, millis(at.now), keys))
    }
}
