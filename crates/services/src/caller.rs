//! What is kept of a request while the member works on it.

use crate::Error;
use apply::{Header, Reply};
use net::rpc::Responder;
use replica::turn::{self, Caller, Failed, Failure};

/// What the turns share, for callers of the services.
pub type Common = turn::Common<Calls>;
/// For the core's turn.
pub type CoreEvent = turn::CoreEvent<Calls>;
/// For the apply turn.
pub type ApplyEvent = turn::ApplyEvent<Calls>;

/// Callers of the services: clients' calls, pages, and the server itself.
#[derive(Debug)]
pub enum Calls {}

impl Caller for Calls {
    type Write = Waiter;
    type Ticket<A: Send + 'static> = Ticket<A>;

    fn is_gone(write: &Waiter) -> bool {
        match write {
            Waiter::Client(responder) | Waiter::NoSpace(responder) => responder.is_gone(),
            Waiter::Own(_) => false,
        }
    }
}

/// Who waits for an answer: what is done with it, on the thread that has it.
pub type Ticket<A> = Box<dyn FnOnce(A) + Send>;

/// A ticket that does this.
pub fn ticket<A>(act: impl FnOnce(A) + Send + 'static) -> Ticket<A> {
    Box::new(act)
}

/// Who waits for an applied entry.
pub enum Waiter {
    /// A client, who gets the reply.
    Client(Responder),
    /// A client who will hear that there is no space, once the alarm is raised.
    NoSpace(Responder),
    /// A caller within this program.
    Own(Ticket<Result<Reply, Error>>),
}

impl Waiter {
    /// Nobody need hear of it.
    pub fn nobody() -> Waiter {
        Waiter::Own(ticket(|_| {}))
    }

    /// The same caller, who will hear that there is no space, once the alarm is raised.
    pub(crate) fn for_no_space(self) -> Waiter {
        match self {
            Waiter::Client(responder) | Waiter::NoSpace(responder) => Waiter::NoSpace(responder),
            Waiter::Own(act) => Waiter::Own(ticket(|_| act(Err(Error::NoSpace)))),
        }
    }

    /// The entry was applied, or refused when it was.
    pub fn answer(self, result: Result<Reply, Failure>, common: &Common) {
        match (self, result) {
            (Waiter::Client(responder), Ok(reply)) => {
                let revision = reply.revision().unwrap_or_else(|| common.reader.revision());
                responder.reply(reply.encode(&header(common, revision)));
            }
            (Waiter::NoSpace(responder), _) => responder.fail(Error::NoSpace),
            (Waiter::Own(act), result) => act(result.map_err(Error::from)),
            (waiter, Err(failure)) => waiter.fail(failure.into()),
        }
    }

    /// The entry will not be applied, or not in time.
    pub fn fail(self, error: Error) {
        match self {
            Waiter::Client(responder) => responder.fail(error),
            Waiter::NoSpace(responder) => responder.fail(Error::NoSpace),
            Waiter::Own(act) => act(Err(error)),
        }
    }
}

/// Tells a caller that nothing came of its request.
pub fn fail(failed: Failed<Calls>) {
    match failed {
        Failed::Write(waiter, failure) => waiter.fail(failure.into()),
        Failed::Renewal(ticket, failure) => ticket(Err(failure)),
    }
}

/// A response's header with this revision.
pub(crate) fn header(common: &Common, revision: i64) -> Header {
    Header {
        cluster_id: common.cluster_id,
        member_id: common.member_id,
        revision,
        term: common.figures.applied_term(),
    }
}
