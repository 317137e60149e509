//! What may be sent again.
//!
//! After the reference's `client/v3/retry_interceptor.go`, with one addition: a request that never
//! left this machine may always be sent again.

use crate::error::Error;
use crate::methods::Repeat;
use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Status};

/// Attempts in all for one call, as in the reference.
const ATTEMPTS_MAX: usize = 100;
/// The pause after a round through the endpoints.
pub(crate) const PAUSE: Duration = Duration::from_millis(25);

const LEARNER: &str = "etcdserver: rpc not supported for learner";
const INVALID_TOKEN: &str = "etcdserver: invalid auth token";
const OLD_REVISION: &str = "etcdserver: revision of auth store is old";
const USER_EMPTY: &str = "etcdserver: user name is empty";

/// The request is still here.
#[derive(Debug)]
struct NotSent(hyper::Error);

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for NotSent {}

/// A connection was over before a request went out.
pub(crate) fn not_sent(error: hyper::Error) -> Status {
    let mut status = Status::unavailable("the connection was closed before the request was sent");
    status.set_source(Arc::new(NotSent(error)));
    status
}

fn was_not_sent(status: &Status) -> bool {
    status.source().is_some_and(|source| source.is::<NotSent>())
}

/// A connection that ended is no call that somebody canceled: what a server says has no source.
pub(crate) fn name_loss(status: Status) -> Status {
    let is_own = matches!(status.code(), Code::Cancelled | Code::Unknown);
    match status.source() {
        Some(source) if is_own => Status::unavailable(crate::cause::innermost(source)),
        _ => status,
    }
}

/// Whether a text says that another token is wanted.
pub(crate) fn is_about_token(text: &str) -> bool {
    [INVALID_TOKEN, OLD_REVISION, USER_EMPTY].iter().any(|about| text.ends_with(about))
}

/// What to do after a failed attempt.
#[derive(Debug)]
pub(crate) enum Next {
    /// Exchange name and password for a new token, and try again.
    Renew,
    /// Try again, after this pause.
    Again(Duration),
    /// Give up.
    Stop(Error),
}

/// The attempts of one call.
#[derive(Debug)]
pub(crate) struct Attempts {
    repeat: Repeat,
    number: usize,
    has_renewed: bool,
    /// Whether one of them may have been executed.
    was_sent: bool,
}

impl Attempts {
    pub(crate) fn new(repeat: Repeat) -> Attempts {
        Attempts { repeat, number: 0, has_renewed: false, was_sent: false }
    }

    /// Judges a failed attempt of a client with so many endpoints.
    pub(crate) fn judge(&mut self, status: Status, endpoints: usize, can_renew: bool) -> Next {
        self.number += 1;
        if !self.has_renewed && can_renew && is_about_token(status.message()) {
            self.has_renewed = true;
            return Next::Renew;
        }
        let not_sent = was_not_sent(&status);
        let is_spent = self.number >= ATTEMPTS_MAX && !not_sent;
        if is_spent || !(not_sent || may_repeat(&status, self.repeat, endpoints)) {
            return Next::Stop(status.into());
        }
        self.was_sent |= !not_sent && status.code() == Code::Unavailable;
        let round_is_over = self.number.is_multiple_of(endpoints.max(1));
        Next::Again(if round_is_over { PAUSE } else { Duration::ZERO })
    }

    /// What it means that no server can be reached any more.
    pub(crate) fn unreachable(&self, error: Error) -> Error {
        match error {
            Error::Unreachable { has_deadline: true, .. } if self.was_sent => {
                Error::DeadlineExceeded
            }
            Error::Unreachable { why, .. } if self.was_sent => Status::unavailable(why).into(),
            error => error,
        }
    }
}

/// Whether a call that failed so may be sent again, to one of `endpoints` servers.
fn may_repeat(status: &Status, repeat: Repeat, endpoints: usize) -> bool {
    if status.message() == LEARNER && endpoints > 1 {
        return true;
    }
    repeat != Repeat::Unsafe && status.code() == Code::Unavailable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_safe_is_sent_again() {
        let lost = Status::unavailable("connection reset");
        assert!(may_repeat(&lost, Repeat::Safe, 1));
        assert!(may_repeat(&lost, Repeat::Read, 1));
        assert!(!may_repeat(&lost, Repeat::Unsafe, 3));
        let learner = Status::failed_precondition(LEARNER);
        assert!(may_repeat(&learner, Repeat::Unsafe, 2));
        assert!(!may_repeat(&learner, Repeat::Safe, 1));
        assert!(!may_repeat(&Status::invalid_argument("x"), Repeat::Safe, 3));
    }

    #[test]
    fn a_call_that_may_have_been_executed_is_not_said_to_be_undone() {
        let unreachable = || Error::Unreachable { why: "refused".into(), has_deadline: true };
        let mut attempts = Attempts::new(Repeat::Safe);
        assert!(attempts.unreachable(unreachable()).is_certainly_not_done());
        let lost = Status::unavailable("connection reset");
        assert!(matches!(attempts.judge(lost, 1, false), Next::Again(_)));
        assert!(!attempts.unreachable(unreachable()).is_certainly_not_done());
    }

    #[test]
    fn a_token_is_renewed_once() {
        let mut attempts = Attempts::new(Repeat::Unsafe);
        let old = || Status::unauthenticated(INVALID_TOKEN);
        assert!(matches!(attempts.judge(old(), 1, true), Next::Renew));
        assert!(matches!(attempts.judge(old(), 1, true), Next::Stop(_)));
        let mut attempts = Attempts::new(Repeat::Read);
        assert!(matches!(attempts.judge(old(), 1, false), Next::Stop(_)));
    }
}
