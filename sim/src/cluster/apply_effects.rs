//! What follows from a turn of the state machine, carried out as `server` does.

use super::{Cluster, Said};
use crate::checks::{self, Violation, Visibility, Who, ensure};
use crate::member::{ApplyEffect, ApplyEvent, CoreEvent, FileJob, Ticket};
use crate::plan::Mistake;
use apply::Refusal;
use apply::{Request, envelope};
use lease::TimeToLive;
use membership::Members;
use proto::raftpb::Message;
use replica::turn::{
    Answer, AppliedFigures, Failure, LogEvent, Proposal, Read, Renewed, Urgency, WatchEvent,
};

impl Cluster {
    pub(super) fn carry_apply(
        &mut self,
        place: usize,
        effect: ApplyEffect,
    ) -> Result<(), Violation> {
        match effect {
            ApplyEffect::Core(event, urgency) => return self.hand_to_core(place, event, urgency),
            ApplyEffect::ShowMembers(members, _) => self.show_members(place, *members),
            ApplyEffect::ShowApplied(figures) => return self.show_applied(place, figures),
            ApplyEffect::ShowState(figures) => {
                if let Some(member) = &self.nodes[place].member {
                    member.common.figures.show_state(figures);
                }
            }
            ApplyEffect::ShowSizes(figures, _) => {
                if let Some(member) = &self.nodes[place].member {
                    member.common.figures.show_sizes(figures);
                }
            }
            ApplyEffect::ShowDatabase(reader) => {
                if let Some(member) = &mut self.nodes[place].member {
                    member.backend_reader = reader;
                }
            }
            ApplyEffect::TermBegun => {}
            ApplyEffect::Publish(changes) => self.publish(place, changes),
            ApplyEffect::Restored(reader, revision) => {
                if let Some(member) = &mut self.nodes[place].member {
                    member.watch.published = member.watch.published.max(revision);
                }
                self.tell_watch(place, WatchEvent::Restored { reader, revision });
            }
            ApplyEffect::Commit(job) => self.tell_file(place, FileJob::Commit(job)),
            ApplyEffect::Defragment(job) => self.tell_file(place, FileJob::Defragment(job)),
            ApplyEffect::Record(due) => self.tell_log(place, LogEvent::Snapshot(due)),
            ApplyEffect::SendSnapshot(message) => return self.send_snapshot(place, *message),
            other => return self.carry_answer(place, other),
        }
        Ok(())
    }

    fn carry_answer(&mut self, place: usize, effect: ApplyEffect) -> Result<(), Violation> {
        match effect {
            ApplyEffect::Answer(answer) => return self.answer(place, answer),
            ApplyEffect::Renewed(ticket, result) => return self.is_renewed(place, ticket, result),
            ApplyEffect::RenewElsewhere(renewal, _) => {
                return self.ask_elsewhere(place, renewal.ticket, renewal.id, false);
            }
            ApplyEffect::TimeToLive(ticket, found) => return self.lives_for(place, ticket, found),
            ApplyEffect::Leases(ticket, _)
            | ApplyEffect::Reached(ticket)
            | ApplyEffect::Durable(ticket)
            | ApplyEffect::Status(ticket, _)
            | ApplyEffect::Defragmented(ticket, _) => self.answered(ticket)?,
            _ => unreachable!("everything else was carried out before"),
        };
        Ok(())
    }

    // ---- what is shown ---------------------------------------------------------------------

    fn show_members(&mut self, place: usize, members: Members) {
        if let Some(member) = &self.nodes[place].member {
            member.common.show_members(members);
        }
    }

    fn show_applied(&mut self, place: usize, figures: AppliedFigures) -> Result<(), Violation> {
        let node = &self.nodes[place];
        let Some(member) = &node.member else { return Ok(()) };
        member.common.figures.show_applied(figures);
        let (checks, life) = (&mut self.checks, (place, node.life));
        checks.visibility.shows(&self.model, life, &member.common, figures.index)
    }

    // ---- for the core ----------------------------------------------------------------------

    fn hand_to_core(
        &mut self,
        place: usize,
        event: CoreEvent,
        urgency: Urgency,
    ) -> Result<(), Violation> {
        let (now_us, life) = (self.turn_us(place), (place, self.nodes[place].life));
        match &event {
            CoreEvent::Propose { proposal: Proposal::AsLeader { term, data }, .. } => {
                self.proposes_as_leader(place, *term, data)?;
            }
            CoreEvent::Read(Read::Revoke { ids, term }) => {
                self.checks.leases.asks(life, ids, now_us);
                if self.plan.mistake == Some(Mistake::RevokeUnconfirmed) {
                    let (ids, term) = (ids.clone(), *term);
                    self.tell_apply(place, ApplyEvent::Revoke { ids, term });
                    return Ok(());
                }
            }
            _ => {}
        }
        self.tell_core(place, event, urgency);
        Ok(())
    }

    fn proposes_as_leader(
        &mut self,
        place: usize,
        term: u64,
        data: &bytes::Bytes,
    ) -> Result<(), Violation> {
        let (now_us, life) = (self.turn_us(place), (place, self.nodes[place].life));
        let member = self.nodes[place].member.as_ref();
        let is_alone = member.is_some_and(|member| member.apply.turn_may_read);
        let interval_us = self.weather.tuning.lease.checkpoint_interval_ms * 1000;
        let request = envelope::decode(data.clone()).map(|envelope| envelope.request);
        match request {
            Some(Request::LeaseRevoke(revoke)) => {
                self.counts.expiries += 1;
                self.note(place, "revokes", [revoke.id as u64, term, 0, 0]);
                let leases = &self.checks.leases;
                leases.revokes(&self.model, life, term, revoke.id, (now_us, !is_alone))
            }
            Some(Request::LeaseCheckpoint(noted)) => {
                self.counts.checkpoints += noted.checkpoints.len() as u64;
                noted.checkpoints.iter().try_for_each(|one| {
                    self.checks.leases.notes(life, term, one.id, (now_us, interval_us))
                })
            }
            _ => Ok(()),
        }
    }

    /// When the last turn of a member's state machine was: its effects are as of then.
    fn turn_us(&self, place: usize) -> u64 {
        self.nodes[place].member.as_ref().map_or(0, |member| member.apply.turn_us)
    }

    // ---- snapshots -------------------------------------------------------------------------

    /// Sends a snapshot with the database as it is in the file now.
    pub(super) fn send_snapshot(
        &mut self,
        place: usize,
        message: Message,
    ) -> Result<(), Violation> {
        let Some(member) = &self.nodes[place].member else { return Ok(()) };
        checks::snapshot_goes(&message, &member.backend_reader)?;
        let snapshot = member.backend_reader.snapshot();
        let mut database = vec![0; snapshot.size() as usize];
        let mut at = 0;
        while at < database.len() {
            at += snapshot.read_at(at as u64, &mut database[at..]);
        }
        self.send_database(place, message, database);
        Ok(())
    }

    // ---- answers ---------------------------------------------------------------------------

    fn answer(
        &mut self,
        place: usize,
        answer: Answer<crate::member::SimCaller>,
    ) -> Result<(), Violation> {
        let Answer { write: ticket, result, .. } = answer;
        let asked = self.answered(ticket)?;
        if let Err(failure) = result {
            let is_full = [Failure::NoSpace, Failure::Refused(Refusal::NoSpace)].contains(&failure);
            self.counts.no_space += u64::from(is_full);
            return Ok(());
        }
        // What a snapshot shows to be done has no entry here.
        let Some((index, revision)) = asked.applied else { return Ok(()) };
        self.note(place, "acknowledged", [ticket, index, asked.floor, 0]);
        self.checks.reads.acknowledged(index, asked.floor)?;
        let published = self.nodes[place].member.as_ref().map_or(0, |one| one.watch.published);
        Visibility::answers(place, revision, published)?;
        self.is_acknowledged |= asked.who == Who::Client(self.workload.clients());
        Ok(())
    }

    /// A lease was renewed here, or was not.
    pub(super) fn is_renewed(
        &mut self,
        place: usize,
        ticket: Ticket,
        result: Result<Renewed, Failure>,
    ) -> Result<(), Violation> {
        let asked = self.answered(ticket)?;
        let (now_us, life) = (self.turn_us(place), (place, self.nodes[place].life));
        if let Ok(Renewed { ttl_s: 1.., .. }) = result {
            self.counts.renewals += 1;
            self.note(place, "renewed", [ticket, asked.lease as u64, 0, 0]);
            self.checks.leases.renewed(life, asked.lease, now_us);
        }
        if let Who::Question { number, attempt } = asked.who {
            let said = if result.is_ok() { Said::Yes } else { Said::No };
            self.say(place, number, attempt, said);
        }
        Ok(())
    }

    fn lives_for(
        &mut self,
        place: usize,
        ticket: Ticket,
        found: Result<Option<TimeToLive>, Failure>,
    ) -> Result<(), Violation> {
        let asked = self.answered(ticket)?;
        if let Ok(Some(found)) = &found {
            let (ttl_s, _) = self.model.lease_times(asked.lease);
            let longest_s = ttl_s + crate::plan::ELECTION_TIMEOUT.as_secs() as i64 + 1;
            ensure("leases", found.granted_s == ttl_s && found.remaining_s <= longest_s, || {
                format!("lease {} was granted {ttl_s} s, it is said to be {found:?}", asked.lease)
            })?;
        }
        if let Who::Question { number, attempt } = asked.who {
            self.say(place, number, attempt, if found.is_ok() { Said::Yes } else { Said::No });
        }
        Ok(())
    }
}
