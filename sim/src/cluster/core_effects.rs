//! What follows from a turn of the core or the log, carried out as `server` does.

use super::{Cluster, Event, spoil};
use crate::checks::{Asked, Violation, Who};
use crate::member::{ApplyEvent, CoreEffect, CoreEvent, LogEffect, Ticket};
use crate::plan::Mistake;
use proto::raftpb::Entry;
use replica::Persist;
use replica::turn::{AppliedFigures, CoreFigures, Failed, LogEvent, Urgency};

/// Writes that a core which is alone makes itself where it may, in a thousand.
const OWN_WRITES: u64 = 500;
/// Confirmed reads that another thread serves a little later, in a thousand, and how much later in
/// microseconds.
const LATE_READS: u64 = 500;
const LATE_READ_US: u64 = 3_000;

impl Cluster {
    pub(super) fn carry_log(&mut self, place: usize, effect: LogEffect) {
        match effect {
            LogEffect::Core(event) => self.tell_core(place, event, Urgency::Urgent),
            LogEffect::Apply(event) => self.tell_apply(place, event),
        }
    }

    pub(super) fn carry_core(&mut self, place: usize, effect: CoreEffect) -> Result<(), Violation> {
        match effect {
            CoreEffect::Show(figures) => self.show_core(place, &figures),
            CoreEffect::Persist { persist, may_write_here } => {
                return self.persist(place, persist, may_write_here);
            }
            CoreEffect::Apply(event) => return self.hand_to_apply(place, event),
            CoreEffect::Send(messages) => {
                for message in messages {
                    self.checks.election.sends(&message)?;
                    self.checks.log_matching.sends(&message)?;
                    self.send(place, message);
                }
            }
            CoreEffect::Serve(tickets) => {
                if !self.rng.per_mille(LATE_READS) {
                    return self.serve(place, &tickets);
                }
                let (delay, life) = (self.rng.between(1, LATE_READ_US), self.nodes[place].life);
                self.scheduler.after(delay, Event::Serve(place, life, tickets));
            }
            CoreEffect::RefuseReads(tickets, _) => {
                return tickets.into_iter().try_for_each(|ticket| self.failed(ticket));
            }
            CoreEffect::Fail(Failed::Write(ticket, _)) => return self.failed(ticket),
            CoreEffect::Fail(Failed::Renewal(ticket, failure)) => {
                return self.is_renewed(place, ticket, Err(failure));
            }
            CoreEffect::Transferred(ticket, Ok(())) | CoreEffect::Status(ticket, _) => {
                self.answered(ticket)?;
            }
            CoreEffect::Transferred(ticket, Err(_)) => return self.failed(ticket),
            CoreEffect::Leaderless => {}
        }
        Ok(())
    }

    fn show_core(&mut self, place: usize, figures: &CoreFigures) {
        let (life, now_us) = (self.nodes[place].life, self.scheduler.now_us());
        let Some(member) = &mut self.nodes[place].member else { return };
        let shown = &member.common.figures;
        if self.plan.mistake == Some(Mistake::LoseWaiters) && shown.leader() != figures.leader {
            drop(member.common.waiters.take_all());
        }
        shown.show_core(figures);
        if figures.leads {
            self.checks.leases.leads((place, life), figures.term, now_us);
        }
    }

    // ---- the log ---------------------------------------------------------------------------

    fn persist(
        &mut self,
        place: usize,
        mut persist: Persist,
        may_write_here: bool,
    ) -> Result<(), Violation> {
        self.checks.log_matching.appends(&persist.entries)?;
        self.checks.durability.writing(place, &persist);
        match self.plan.mistake {
            Some(Mistake::AcknowledgeEarly) => {
                let event = CoreEvent::Persisted { number: persist.number };
                self.tell_core(place, event, Urgency::Urgent);
            }
            Some(Mistake::ApplyUncommitted) => self.apply_ahead(place, &persist.entries),
            _ => {}
        }
        let does_itself = may_write_here && self.rng.per_mille(OWN_WRITES);
        let Some(member) = &mut self.nodes[place].member else { return Ok(()) };
        if !does_itself || !member.core.queue.is_empty() || member.log.under_way > 0 {
            self.tell_log(place, LogEvent::Persist(persist));
            return Ok(());
        }
        spoil::persist(self.plan.mistake, &mut persist);
        match member.log.turn.write_one(persist) {
            Ok(number) => {
                member.core.turn.persisted(number);
                let wants_prepare = member.log.turn.wants_prepare();
                self.checks.durability.written(place, number);
                if wants_prepare {
                    self.tell_log(place, LogEvent::Prepare);
                }
                Ok(())
            }
            Err(fault) => self.fails(place, &fault),
        }
    }

    /// With [`Mistake::ApplyUncommitted`].
    fn apply_ahead(&mut self, place: usize, entries: &[Entry]) {
        let Some(member) = &mut self.nodes[place].member else { return };
        let ahead = member.applied_ahead.max(member.applied());
        let new: Vec<Entry> = entries.iter().filter(|e| e.index() > ahead).cloned().collect();
        if let (Some(first), Some(last)) = (new.first(), new.last())
            && first.index() == ahead + 1
        {
            member.applied_ahead = last.index();
            self.tell_apply(place, ApplyEvent::Entries(new));
        }
    }

    // ---- the state machine -----------------------------------------------------------------

    fn hand_to_apply(&mut self, place: usize, event: ApplyEvent) -> Result<(), Violation> {
        match (event, self.plan.mistake) {
            (ApplyEvent::SendSnapshot(message), Some(Mistake::SendUncommitted)) => {
                return self.send_snapshot(place, *message);
            }
            (ApplyEvent::Entries(entries), mistake) => {
                if mistake == Some(Mistake::IndexBeforeApply)
                    && let Some(last) = entries.last()
                    && let Some(member) = &self.nodes[place].member
                {
                    let (index, term) = (last.index(), last.term());
                    member.common.figures.show_applied(AppliedFigures { index, term });
                }
                self.tell_apply(place, ApplyEvent::Entries(entries));
            }
            (event, _) => {
                if let ApplyEvent::Revoke { ids, .. } = &event {
                    let life = (place, self.nodes[place].life);
                    self.checks.leases.confirms(life, ids, self.scheduler.now_us());
                }
                self.tell_apply(place, event);
            }
        }
        Ok(())
    }

    // ---- answers ---------------------------------------------------------------------------

    /// The reads of these tickets are confirmed: they look at the store.
    pub(super) fn serve(&mut self, place: usize, tickets: &[Ticket]) -> Result<(), Violation> {
        for ticket in tickets {
            let asked = self.answered(*ticket)?;
            if asked.who != Who::Nobody {
                self.read(place, *ticket, &asked)?;
            }
        }
        Ok(())
    }

    /// A read looks at the store of a member.
    pub(super) fn read(
        &mut self,
        place: usize,
        ticket: Ticket,
        asked: &Asked,
    ) -> Result<(), Violation> {
        let Some(member) = &self.nodes[place].member else { return Ok(()) };
        let applied = member.applied();
        self.note(place, "read", [ticket, applied, asked.floor, 0]);
        self.checks.reads.served(&self.model, &member.common.reader, applied, asked.floor)
    }

    /// A request came to nothing.
    pub(super) fn failed(&mut self, ticket: Ticket) -> Result<(), Violation> {
        self.counts.failures += 1;
        self.answered(ticket).map(|_| ())
    }

    /// Somebody hears: a client may ask the next.
    pub(super) fn answered(&mut self, ticket: Ticket) -> Result<Asked, Violation> {
        let asked = self.checks.tickets.answered(ticket)?;
        if let Who::Client(client) = asked.who {
            self.workload.set(client, None);
        }
        Ok(asked)
    }
}
