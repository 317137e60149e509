//! Answers: whoever asks hears exactly once, and in time, as long as the member lives that was asked.

use super::{Violation, ensure};
use crate::member::Ticket;
use std::collections::BTreeMap;

const PROPERTY: &str = "answers";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// A client.
    Client(usize),
    /// Another member, for one of its callers.
    Question {
        /// The question's number.
        number: u64,
        /// Which attempt it is.
        attempt: u32,
    },
    /// Nobody who looks at the answer.
    Nobody,
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) who: Who,
    pub(crate) what: &'static str,
    /// Where.
    pub(crate) place: usize,
    /// What was applied somewhere when it was asked.
    pub(crate) floor: u64,
    /// When it was asked.
    pub(crate) since_us: u64,
    /// Within what time it must be answered, where the member runs freely; `None` for what waits for the
    /// file.
    pub(crate) limit_us: Option<u64>,
    /// The lease that it is about.
    pub(crate) lease: i64,
    /// Its name in the log, 0 for what does not go there.
    pub(crate) request: u64,
    /// The entry that it became here, and the revision that this made.
    pub(crate) applied: Option<(u64, i64)>,
}

/// Everything that was asked and is not answered.
#[derive(Default)]
pub(crate) struct Tickets {
    open: BTreeMap<Ticket, Asked>,
    /// Names in the log.
    requests: BTreeMap<u64, Ticket>,
}

impl Tickets {
    /// Something is asked.
    pub(crate) fn asked(&mut self, ticket: Ticket, asked: Asked) {
        self.open.insert(ticket, asked);
    }

    /// It is in the log under this name.
    pub(crate) fn named(&mut self, ticket: Ticket, request: u64) {
        if let Some(asked) = self.open.get_mut(&ticket) {
            asked.request = request;
            self.requests.insert(request, ticket);
        }
    }

    /// The member that was asked has applied it, for the first time.
    pub(crate) fn applied(&mut self, place: usize, request: u64, index: u64, revision: i64) {
        let ticket = self.requests.get(&request);
        let asked = ticket.and_then(|ticket| self.open.get_mut(ticket));
        if let Some(asked) = asked.filter(|asked| asked.place == place) {
            asked.applied.get_or_insert((index, revision));
        }
    }

    /// What was asked and is not answered.
    pub(crate) fn get(&self, ticket: Ticket) -> Option<&Asked> {
        self.open.get(&ticket)
    }

    /// Nobody looks at the answer any more.
    pub(crate) fn is_left(&mut self, ticket: Ticket) {
        if let Some(asked) = self.open.get_mut(&ticket) {
            asked.who = Who::Nobody;
        }
    }

    /// It will not be answered, for its waiter was taken back.
    pub(crate) fn taken_back(&mut self, ticket: Ticket) {
        if let Some(asked) = self.open.remove(&ticket) {
            self.requests.remove(&asked.request);
        }
    }

    /// It is answered.
    pub(crate) fn answered(&mut self, ticket: Ticket) -> Result<Asked, Violation> {
        let asked = self.open.remove(&ticket);
        ensure(PROPERTY, asked.is_some(), || {
            format!("request {ticket} is answered twice, or after its client has left")
        })?;
        let asked = asked.expect("it was just looked at");
        self.requests.remove(&asked.request);
        Ok(asked)
    }

    /// A member is gone, and its callers with it; the clients among them come back.
    pub(crate) fn lost(&mut self, place: usize) -> Vec<usize> {
        let (mut clients, requests) = (Vec::new(), &mut self.requests);
        self.open.retain(|_, asked| {
            if asked.place == place {
                requests.remove(&asked.request);
                if let Who::Client(client) = asked.who {
                    clients.push(client);
                }
            }
            asked.place != place
        });
        clients
    }

    /// A member's core has ticked that has been running freely since `free_since_us`.
    pub(crate) fn ticked(
        &self,
        place: usize,
        now_us: u64,
        free_since_us: u64,
        slack_us: u64,
    ) -> Result<(), Violation> {
        let is_late = |asked: &Asked| {
            // What waits for a member that is frozen is new to it when it goes on.
            let since_us = asked.since_us.max(free_since_us);
            let is_over = |limit_us: u64| now_us > since_us + limit_us + slack_us;
            asked.place == place && asked.limit_us.is_some_and(is_over)
        };
        let late = self.open.iter().find(|(_, asked)| is_late(asked));
        ensure(PROPERTY, late.is_none(), || {
            let (ticket, asked) = late.expect("it was just looked at");
            let Asked { what, since_us, .. } = asked;
            format!(
                "request {ticket} ({what}), asked at {since_us} us, is not answered at {now_us} us"
            )
        })
    }

    /// How many are not answered, of those that this member was asked.
    pub(crate) fn open_at(&self, place: usize) -> usize {
        self.open.values().filter(|asked| asked.place == place).count()
    }
}
