//! Leases in time: whose they are while this member leads, what expires, what is renewed.

use super::{ApplyEffect, ApplyTurn, At, LEASE_SCAN, Renewal, Renewed};
use crate::turn::common::Waiter;
use crate::turn::{Caller, CoreEvent, Failure, Note, Read, Time, Urgency};
use apply::Kind;
use lease::Renewal as Outcome;
use prost::Message;
use proto::etcdserverpb::{LeaseCheckpoint, LeaseCheckpointRequest, LeaseRevokeRequest};

/// Leases revoked in one scan: 1000 in a second.
const REVOKES_MAX: usize = 500;
/// Leases noted in one entry of the log, and such entries proposed in one scan.
const CHECKPOINTS_MAX: usize = 1000;
const CHECKPOINT_ENTRIES_MAX: usize = 500;
/// A revoke that has not been applied after this long is proposed again.
const REVOKE_RETRY: Time = Time::from_secs(3);

impl<C: Caller> ApplyTurn<C> {
    /// Lets leases expire here while this member leads. Called before leases are looked at, so that
    /// nobody finds them as they were before the member's role changed. Whoever leads in another term than
    /// before has been succeeded in between, even if it did not look then: leases may have been renewed
    /// elsewhere.
    pub(super) fn follow_leadership(&mut self, at: At<'_, '_, C>) {
        let now_ms = millis(at.now);
        let extend_ms = millis(self.timing.election_timeout);
        let (leads, term) = (self.common.figures.leads(), self.common.figures.term());
        let lessor = &mut self.applier.machine.lessor;
        if lessor.is_primary() && !(leads && term == self.led_term) {
            lessor.demote();
        }
        if leads && !lessor.is_primary() {
            lessor.promote(now_ms, extend_ms);
            self.led_term = term;
        } else {
            lessor.tick(now_ms);
        }
    }

    pub(super) fn scan_leases(&mut self, at: At<'_, '_, C>) {
        if at.now < self.next_lease_scan {
            return;
        }
        self.next_lease_scan = at.now + LEASE_SCAN;
        self.follow_leadership(at);
        self.revoke_expired(at);
        self.propose_checkpoints(at);
    }

    /// A member that slept may have been replaced without knowing: the cluster confirms that it
    /// leads before it revokes what expired meanwhile.
    fn revoke_expired(&mut self, at: At<'_, '_, C>) {
        self.revoking.retain(|_, since| at.now < *since + REVOKE_RETRY);
        let mut ids = self.applier.machine.lessor.expired(millis(at.now), REVOKES_MAX);
        ids.retain(|id| !self.revoking.contains_key(id));
        if ids.is_empty() {
            return;
        }
        self.revoking.extend(ids.iter().map(|id| (*id, at.now)));
        let term = self.common.figures.term();
        if self.common.figures.may_read() {
            return self.revoke(&ids, term, at);
        }
        let event = CoreEvent::Read(Read::Revoke { ids, term });
        at.out.push(ApplyEffect::Core(event, Urgency::Urgent));
    }

    /// Revokes those that are still expired, if this member still leads in the same term.
    pub(super) fn revoke(&mut self, ids: &[i64], term: u64, at: At<'_, '_, C>) {
        self.follow_leadership(at);
        if !self.applier.machine.lessor.is_primary() || self.common.figures.term() != term {
            return;
        }
        for id in self.applier.machine.lessor.expired(millis(at.now), REVOKES_MAX) {
            if ids.contains(&id) {
                at.observer.note(Note::LeaseExpired);
                let revoke = LeaseRevokeRequest { id }.encode_to_vec();
                self.propose_as_leader(Kind::LeaseRevoke, &revoke, term, at);
            }
        }
    }

    /// A note that is lost on the way is made again when the lease is due the next time.
    fn propose_checkpoints(&mut self, at: At<'_, '_, C>) {
        for _ in 0..CHECKPOINT_ENTRIES_MAX {
            let lessor = &mut self.applier.machine.lessor;
            let checkpoints = lessor.due_checkpoints(millis(at.now), CHECKPOINTS_MAX);
            if checkpoints.is_empty() {
                return;
            }
            let request = LeaseCheckpointRequest { checkpoints }.encode_to_vec();
            let term = self.common.figures.term();
            self.propose_as_leader(Kind::LeaseCheckpoint, &request, term, at);
        }
    }

    fn propose_as_leader(&self, kind: Kind, request: &[u8], term: u64, at: At<'_, '_, C>) {
        // What is not taken is decided again.
        if let Ok(event) = self.common.propose_as_leader(kind, request, term, at.now) {
            at.out.push(ApplyEffect::Core(event, Urgency::Urgent));
        }
    }

    // ---- renewals --------------------------------------------------------------------------

    /// Renews a lease, as the leader when it knows what others may know of it.
    pub(super) fn renew(&mut self, renewal: Renewal<C>, at: At<'_, '_, C>) {
        self.follow_leadership(at);
        if self.applier.machine.lessor.is_primary() {
            self.when_committed_is_applied(super::asks::Waits::Renew(renewal), at);
        } else {
            self.renew_now(renewal, at);
        }
    }

    /// Renews a lease; after the log has heard of it, where it must.
    pub(super) fn renew_now(&mut self, renewal: Renewal<C>, at: At<'_, '_, C>) {
        self.follow_leadership(at);
        // The revision first: it must not be newer than the renewal.
        let revision = self.common.reader.revision();
        let lessor = &mut self.applier.machine.lessor;
        if !lessor.is_primary() {
            return at.out.push(if renewal.is_for_member {
                ApplyEffect::Renewed(renewal.ticket, Err(Failure::NotPrimary))
            } else {
                ApplyEffect::RenewElsewhere(renewal, revision)
            });
        }
        let ttl_s = match lessor.renew(renewal.id, millis(at.now)) {
            Ok(Outcome::Done { ttl_s }) => {
                at.observer.note(Note::LeaseRenewed);
                ttl_s
            }
            Ok(Outcome::AfterCheckpoint) => return self.clear_checkpoint(renewal, at),
            // A lease that is gone has a time of 0, which is no error.
            Err(_) => 0,
        };
        at.out.push(ApplyEffect::Renewed(renewal.ticket, Ok(Renewed { ttl_s, revision })));
    }

    /// Tells all members that the lease has its full time, then renews it again.
    fn clear_checkpoint(&mut self, renewal: Renewal<C>, at: At<'_, '_, C>) {
        let checkpoint = LeaseCheckpoint { id: renewal.id, remaining_ttl: 0 };
        let request = LeaseCheckpointRequest { checkpoints: vec![checkpoint] }.encode_to_vec();
        let (author, waiter) = (Default::default(), Waiter::Renewal(renewal));
        let kind = Kind::LeaseCheckpoint;
        at.out.push(match self.common.propose(kind, &request, &author, waiter, at.now) {
            Ok(event) => ApplyEffect::Core(event, Urgency::Urgent),
            Err(refused) => match refused.waiter {
                Waiter::Renewal(renewal) => {
                    ApplyEffect::Renewed(renewal.ticket, Err(refused.failure))
                }
                _ => unreachable!("the waiter that was handed in comes back"),
            },
        });
    }
}

/// Milliseconds since the member started: the time that the lessor sees.
pub(super) fn millis(time: Time) -> u64 {
    time.as_millis() as u64
}
