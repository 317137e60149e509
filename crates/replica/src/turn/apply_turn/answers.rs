//! Answers to those who wait for entries, and the alarm of a full database that some wait for.

use super::{Answer, ApplyEffect, ApplyTurn, At};
use crate::turn::common::{Waiter, Waiting};
use crate::turn::{Caller, Failure, Note, Urgency};
use apply::{Effect, Kind, Outcome, Reply};
use prost::Message;
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::{AlarmRequest, AlarmType};
use std::sync::Arc;

impl<C: Caller> ApplyTurn<C> {
    pub(super) fn answer(&mut self, outcome: Outcome, at: At<'_, '_, C>) {
        if outcome.id == 0 {
            return;
        }
        let Some(waiting) = self.common.waiters.take(outcome.id) else { return };
        let Waiting { waiter, kind, begun, .. } = waiting;
        at.observer.note(Note::Answered { kind, begun });
        if outcome.effect == Effect::OutOfSpace && self.raises_no_space {
            match waiter {
                Waiter::Caller(write) | Waiter::InFile(write) => {
                    return self.no_space_waiters.push((write, kind));
                }
                _ => {}
            }
        }
        self.tell(waiter, kind, outcome.result.map_err(Failure::Refused), at);
    }

    pub(super) fn tell(
        &mut self,
        waiter: Waiter<C>,
        kind: Kind,
        result: Result<Reply, Failure>,
        at: At<'_, '_, C>,
    ) {
        match (waiter, result) {
            (Waiter::InFile(write), Ok(Reply::Compaction { revision })) => {
                self.wait_for_compaction(write, revision, at);
            }
            (Waiter::Caller(write) | Waiter::InFile(write), result) => {
                at.out.push(ApplyEffect::Answer(Answer { write, kind, result }));
            }
            (Waiter::Renewal(renewal), Ok(_)) => self.renew(renewal, at),
            (Waiter::Renewal(renewal), Err(failure)) => {
                at.out.push(ApplyEffect::Renewed(renewal.ticket, Err(failure)));
            }
            (Waiter::NoSpaceAlarm, _) => self.no_space_raised(at),
            (Waiter::Nobody, _) => {}
        }
    }

    /// A snapshot was installed: whoever waits for what it shows to be done need not wait for an entry.
    pub(super) fn answer_visible(&mut self, at: At<'_, '_, C>) {
        let common = Arc::clone(&self.common);
        let machine = &self.applier.machine;
        let reply_of = |waiting: &Waiting<C>| waiting.visible.as_ref()?.reply(machine);
        for (waiting, reply) in common.waiters.take_those(reply_of) {
            at.observer.note(Note::Answered { kind: waiting.kind, begun: waiting.begun });
            self.tell(waiting.waiter, waiting.kind, Ok(reply), at);
        }
    }

    /// A write is applied that this member's quota has no room for, whoever waits for it: everyone must
    /// hear of it, and clients once everyone does.
    pub(super) fn raise_no_space(&mut self, at: At<'_, '_, C>) {
        if self.raises_no_space || self.applier.machine.alarms().is_raised(AlarmType::Nospace) {
            return;
        }
        at.observer.note(Note::OutOfSpace);
        let alarm = AlarmRequest {
            action: AlarmAction::Activate as i32,
            member_id: self.common.member_id,
            alarm: AlarmType::Nospace as i32,
        };
        let (request, author) = (alarm.encode_to_vec(), Default::default());
        let waiter = Waiter::NoSpaceAlarm;
        // Where it is not taken, the next write raises it.
        if let Ok(event) = self.common.propose(Kind::Alarm, &request, &author, waiter, at.now) {
            self.raises_no_space = true;
            at.out.push(ApplyEffect::Core(event, Urgency::Urgent));
        }
    }

    /// The alarm is raised, or cannot be: then the next write raises it.
    pub(super) fn no_space_raised(&mut self, at: At<'_, '_, C>) {
        self.raises_no_space = false;
        for (write, kind) in std::mem::take(&mut self.no_space_waiters) {
            let result = Err(Failure::NoSpace);
            at.out.push(ApplyEffect::Answer(Answer { write, kind, result }));
        }
    }
}
