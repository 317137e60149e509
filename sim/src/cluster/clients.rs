//! Clients as they come, ask, and leave.

use super::recovery::Phase;
use super::{Cluster, Event};
use crate::checks::{Asked, Violation, Who};
use crate::member::{ApplyEvent, CoreEvent, Ticket};
use crate::plan::Mistake;
use crate::requests::Request;
use crate::workload::Ask;
use proto::raftpb::ConfChange;
use replica::turn::{Ask as Question, Author, Read, Renewal, Time, Urgency, Waiter};

/// What waits for committed entries to be applied waits no longer than this.
const AWAITING: Time = Time::from_secs(1);

impl Cluster {
    pub(super) fn client(&mut self, client: usize) -> Result<(), Violation> {
        if self.phase != Phase::Trouble {
            return Ok(());
        }
        let think = self.rng.between(500, self.weather.think_ms * 1000);
        self.scheduler.after(think, Event::Client(client));
        if let Some(ticket) = self.workload.waits(client) {
            if self.rng.per_mille(self.weather.leave) {
                self.leaves(client, ticket);
            }
            return Ok(());
        }
        let ticket = self.workload.ticket();
        let ask = self.workload.ask(ticket, &self.model, &mut self.rng);
        self.ask(client, ticket, ask)
    }

    /// A client that waits does not wait any longer.
    fn leaves(&mut self, client: usize, ticket: Ticket) {
        self.workload.set(client, None);
        let Some(asked) = self.checks.tickets.get(ticket).copied() else { return };
        let place = asked.place;
        let Some(member) = &self.nodes[place].member else { return };
        let core = &member.core;
        let is_unproposed = core.turn.holds(asked.request) || core.queued.contains(&asked.request);
        if asked.request != 0 && is_unproposed {
            self.checks.departures.left(asked.request);
            self.counts.departures += 1;
        }
        let keeps = self.plan.mistake == Some(Mistake::ProposeForTheDeparted);
        if !keeps && member.common.waiters.take(asked.request).is_some() {
            self.checks.tickets.taken_back(ticket);
        } else {
            self.checks.tickets.is_left(ticket);
        }
        self.note(place, "leaves", [ticket, is_unproposed.into(), 0, 0]);
    }

    /// Sends a client's request to some member that runs.
    pub(super) fn ask(&mut self, client: usize, ticket: Ticket, ask: Ask) -> Result<(), Violation> {
        let up: Vec<usize> = self.running().collect();
        let Some(&place) = self.rng.pick(&up) else { return Ok(()) };
        let limit = self.limit_of(&ask);
        self.note(place, ask.name(), [ticket, self.model.index(), ask.lease() as u64, 0]);
        self.open(ticket, Who::Client(client), place, (ask.name(), ask.lease(), limit));
        self.workload.set(client, Some(ticket));
        match ask {
            Ask::Write { request, in_file } => {
                let waiter = if in_file { Waiter::InFile(ticket) } else { Waiter::Caller(ticket) };
                self.propose(place, ticket, &request, waiter)?;
            }
            Ask::Read => return self.ask_to_read(place, ticket),
            Ask::Renew(id) => {
                let renewal = Renewal { id, is_for_member: false, ticket };
                self.question(place, Question::Renew(renewal));
            }
            Ask::TimeToLive(id) => {
                let member = self.nodes[place].member.as_ref();
                if !member.is_some_and(|member| member.common.figures.leads()) {
                    return self.ask_elsewhere(place, ticket, id, true);
                }
                self.question(place, Question::TimeToLive { id, keys: true, ticket });
            }
            Ask::Leases => self.question(place, Question::Leases(ticket)),
            Ask::Reach => self.question(place, Question::Reach(ticket)),
            Ask::Durable => self.question(place, Question::Durable(ticket)),
            Ask::Status => self.question(place, Question::Status(ticket)),
            Ask::RaftStatus => self.tell_core(place, CoreEvent::Status(ticket), Urgency::Urgent),
        }
        Ok(())
    }

    /// Within what time this is to be answered, where it is known.
    fn limit_of(&self, ask: &Ask) -> Option<Time> {
        let timeout = self.weather.rules.request_timeout;
        match ask {
            // What a full database refuses waits for the alarm as well.
            Ask::Write { in_file: false, .. } => Some(2 * timeout),
            Ask::Write { in_file: true, .. } | Ask::Durable => None,
            Ask::Read => Some(timeout),
            // Here, in the log, here again; or in several attempts elsewhere.
            Ask::Renew(_) | Ask::TimeToLive(_) => Some(2 * timeout + 2 * AWAITING),
            Ask::Leases | Ask::Reach | Ask::RaftStatus | Ask::Status => Some(Time::ZERO),
        }
    }

    /// Somebody asks something of a member; what it is, about which lease, and how long it may take.
    pub(super) fn open(
        &mut self,
        ticket: Ticket,
        who: Who,
        place: usize,
        (what, lease, limit): (&'static str, i64, Option<Time>),
    ) {
        let since_us = self.scheduler.now_us();
        let limit_us = limit.map(|limit| limit.as_micros() as u64);
        let floor = self.model.index();
        let asked =
            Asked { who, what, place, floor, since_us, limit_us, lease, request: 0, applied: None };
        self.checks.tickets.asked(ticket, asked);
    }

    fn propose(
        &mut self,
        place: usize,
        ticket: Ticket,
        (kind, request): &Request,
        waiter: Waiter<crate::member::SimCaller>,
    ) -> Result<(), Violation> {
        let now_us = self.scheduler.now_us();
        let Some(member) = &self.nodes[place].member else { return Ok(()) };
        let (common, now) = (&member.common, member.time(now_us));
        let taken = common.propose(*kind, request, &Author::default(), waiter, now);
        self.given(place, ticket, taken.ok())
    }

    /// A request was taken, or was not.
    fn given(
        &mut self,
        place: usize,
        ticket: Ticket,
        taken: Option<CoreEvent>,
    ) -> Result<(), Violation> {
        let Some(event) = taken else { return self.failed(ticket) };
        if let CoreEvent::Propose { id, .. } = &event {
            self.checks.tickets.named(ticket, *id);
        }
        self.tell_core(place, event, Urgency::Urgent);
        Ok(())
    }

    /// Proposes a change of the membership.
    pub(super) fn propose_change(
        &mut self,
        place: usize,
        change: ConfChange,
    ) -> Result<(), Violation> {
        let (ticket, limit) = (self.workload.ticket(), Some(self.weather.rules.request_timeout));
        self.open(ticket, Who::Nobody, place, ("change of members", 0, limit));
        let now_us = self.scheduler.now_us();
        let Some(member) = &self.nodes[place].member else { return Ok(()) };
        let now = member.time(now_us);
        let (author, waiter) = (Author::default(), Waiter::Caller(ticket));
        let taken = member.common.propose_conf_change(change, &author, waiter, now);
        self.given(place, ticket, taken.ok())
    }

    fn ask_to_read(&mut self, place: usize, ticket: Ticket) -> Result<(), Violation> {
        let member = self.nodes[place].member.as_ref();
        let may_read = member.is_some_and(|member| member.common.figures.may_read());
        if may_read || self.plan.mistake == Some(Mistake::ReadLocally) {
            return self.serve(place, &[ticket]);
        }
        self.tell_core(place, CoreEvent::Read(Read::Caller(ticket)), Urgency::Urgent);
        Ok(())
    }

    /// Asks something of a member's state machine.
    pub(super) fn question(&mut self, place: usize, ask: Question<crate::member::SimCaller>) {
        self.tell_apply(place, ApplyEvent::Ask(ask));
    }
}
