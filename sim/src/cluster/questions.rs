//! What a member is asked about leases and only the leader knows: it asks the leader, and again where no
//! answer comes, as `server` does.

use super::{Cluster, Event};
use crate::checks::{Violation, Who};
use crate::member::Ticket;
use replica::turn::{Ask, Renewal, Time};

/// How long after a failure the leader is asked again, in microseconds.
const PAUSE_US: u64 = 50_000;
/// Lost questions and answers that are noticed before the question's time is over, in a thousand, and
/// after how long at most, in microseconds.
const NOTICED: u64 = 800;
const NOTICED_US: u64 = 300_000;

/// One question to the leader, whoever that is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    /// Who asks, in which life.
    pub(super) place: usize,
    ticket: Ticket,
    lease: i64,
    /// Whether it asks how long the lease lives; otherwise it renews it.
    is_time: bool,
    deadline_us: u64,
    attempt: u32,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It is done.
    Yes,
    /// Another one is to be asked.
    No,
}

impl Cluster {
    /// A member asks the leader about a lease, for one of its callers.
    pub(super) fn ask_elsewhere(
        &mut self,
        place: usize,
        ticket: Ticket,
        lease: i64,
        is_time: bool,
    ) -> Result<(), Violation> {
        self.next_question += 1;
        let timeout_us = self.weather.rules.request_timeout.as_micros() as u64;
        let deadline_us = self.scheduler.now_us() + timeout_us;
        let question = Question { place, ticket, lease, is_time, deadline_us, attempt: 0 };
        self.questions.insert(self.next_question, question);
        // Whatever becomes of it, the caller hears when its time is over.
        self.scheduler.after(timeout_us, Event::Ask(self.next_question, 0));
        self.ask_leader(self.next_question, 0)
    }

    /// Asks whoever leads as this member sees it; later where nobody does.
    pub(super) fn ask_leader(&mut self, number: u64, attempt: u32) -> Result<(), Violation> {
        let now_us = self.scheduler.now_us();
        let Some(question) = self.questions.get_mut(&number) else { return Ok(()) };
        // Another attempt was made before.
        if question.attempt != attempt && now_us < question.deadline_us {
            return Ok(());
        }
        question.attempt += 1;
        let (question, attempt) = (*question, question.attempt);
        if now_us >= question.deadline_us {
            self.questions.remove(&number);
            return self.failed(question.ticket);
        }
        let Some(member) = &self.nodes[question.place].member else { return Ok(()) };
        match self.places.get(&member.common.figures.leader()) {
            Some(&to) if to != question.place => {
                self.carry(question.place, to, number, attempt, |attempt| Event::Question {
                    number,
                    attempt,
                    to,
                });
            }
            _ => self.scheduler.after(PAUSE_US, Event::Ask(number, attempt)),
        }
        Ok(())
    }

    /// Something of a question goes over the network. Where it is lost, that is noticed, at the latest when
    /// the question's time is over.
    fn carry(
        &mut self,
        from: usize,
        to: usize,
        number: u64,
        attempt: u32,
        event: impl Fn(u32) -> Event,
    ) {
        let delays = self.network.send(from, to, &self.weather, &mut self.rng);
        // A connection doubles nothing.
        if let Some(delay) = delays.first() {
            return self.scheduler.after(*delay, event(attempt));
        }
        let now_us = self.scheduler.now_us();
        let left_us = self
            .questions
            .get(&number)
            .map_or(0, |question| question.deadline_us)
            .saturating_sub(now_us);
        let delay =
            if self.rng.per_mille(NOTICED) { self.rng.between(1, NOTICED_US) } else { left_us };
        self.scheduler.after(delay.min(left_us) + PAUSE_US, Event::Ask(number, attempt));
    }

    pub(super) fn question_arrives(&mut self, number: u64, attempt: u32, to: usize) {
        let Some(question) = self.questions.get(&number).copied() else { return };
        if self.nodes[to].member.is_none() {
            return self.scheduler.after(PAUSE_US, Event::Ask(number, attempt));
        }
        let ticket = self.workload.ticket();
        let limit = 2 * self.weather.rules.request_timeout + Time::from_secs(2);
        let who = Who::Question { number, attempt };
        self.open(ticket, who, to, ("a question", question.lease, Some(limit)));
        let id = question.lease;
        self.question(
            to,
            if question.is_time {
                Ask::TimeToLive { id, keys: false, ticket }
            } else {
                Ask::Renew(Renewal { id, is_for_member: true, ticket })
            },
        );
    }

    /// The member that was asked answers.
    pub(super) fn say(&mut self, from: usize, number: u64, attempt: u32, said: Said) {
        let Some(question) = self.questions.get(&number).copied() else { return };
        self.carry(from, question.place, number, attempt, |attempt| Event::Said {
            number,
            attempt,
            said,
        });
    }

    pub(super) fn said(&mut self, number: u64, attempt: u32, said: Said) -> Result<(), Violation> {
        let Some(question) = self.questions.get(&number).copied() else { return Ok(()) };
        if question.attempt != attempt {
            return Ok(());
        }
        if said == Said::No {
            self.scheduler.after(PAUSE_US, Event::Ask(number, attempt));
            return Ok(());
        }
        self.counts.forwarded += u64::from(!question.is_time);
        self.questions.remove(&number);
        self.answered(question.ticket).map(|_| ())
    }
}
