//! What the server keeps of a request while the member works on it.

use crate::rpc::Error;
use crate::shared::Shared;
use apply::Reply;
use net::rpc::Responder;
use replica::turn::{Caller, Failure};

/// The callers of this server: clients' calls, pages, and the server itself.
pub(crate) enum Calls {}

impl Caller for Calls {
    type Write = Waiter;
    type Ticket<A: Send + 'static> = Ticket<A>;
}

/// Who waits for an answer: what is done with it, on the thread that has it.
pub(crate) type Ticket<A> = Box<dyn FnOnce(A) + Send>;

/// A ticket that does this.
pub(crate) fn ticket<A>(act: impl FnOnce(A) + Send + 'static) -> Ticket<A> {
    Box::new(act)
}

/// Who waits for an applied entry.
pub(crate) enum Waiter {
    /// A client, who gets the reply.
    Client(Responder),
    /// A client who will hear that there is no space, once the alarm is raised.
    NoSpace(Responder),
    /// This server.
    Own(Box<dyn FnOnce(Result<Reply, Error>) + Send>),
}

impl Waiter {
    /// Somebody else need not hear of it.
    pub(crate) fn nobody() -> Waiter {
        Waiter::Own(Box::new(|_| {}))
    }

    /// The entry was applied, or refused when it was.
    pub(crate) fn answer(self, result: Result<Reply, Failure>, shared: &Shared) {
        match (self, result) {
            (Waiter::Client(responder), Ok(reply)) => {
                let revision = reply.revision().unwrap_or_else(|| shared.reader.revision());
                responder.reply(reply.encode(&shared.header(revision)));
            }
            (Waiter::NoSpace(responder), _) => responder.fail(Error::NoSpace),
            (Waiter::Own(act), result) => act(result.map_err(Error::from)),
            (waiter, Err(failure)) => waiter.fail(failure.into()),
        }
    }

    /// The entry will not be applied, or not in time.
    pub(crate) fn fail(self, error: Error) {
        match self {
            Waiter::Client(responder) => responder.fail(error),
            Waiter::NoSpace(responder) => responder.fail(Error::NoSpace),
            Waiter::Own(act) => act(Err(error)),
        }
    }
}
