//! What may be sent again.
//!
//! After the reference's `client/v3/retry_interceptor.go`, with one addition: a request that never
//! left this machine may always be sent again.

use crate::methods::Repeat;
use std::error::Error as _;
use std::time::Duration;
use tonic::{Code, ConnectError, Status};

/// Attempts in all for one call, as in the reference.
pub(crate) const ATTEMPTS_MAX: usize = 100;
/// The pause after a round through the endpoints.
pub(crate) const PAUSE: Duration = Duration::from_millis(25);

const LEARNER: &str = "etcdserver: rpc not supported for learner";
const NOT_SENT: [&str; 2] = ["there is no address available", "there is no connection available"];

/// Whether the connection could not be made, so that nothing was sent.
pub(crate) fn was_not_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    status.code() == Code::Unavailable && NOT_SENT.contains(&status.message())
}

/// A call that waited for a connection which ended is no call that somebody canceled: what a server
/// says has no source.
pub(crate) fn name_loss(status: Status) -> Status {
    let is_own = status.code() == Code::Cancelled && status.source().is_some();
    if is_own { Status::unavailable(status.message()) } else { status }
}

/// Whether a call that failed so may be sent again, to one of `endpoints` servers.
pub(crate) fn may_repeat(status: &Status, repeat: Repeat, endpoints: usize) -> bool {
    if was_not_sent(status) || (status.message() == LEARNER && endpoints > 1) {
        return true;
    }
    repeat == Repeat::Safe && status.code() == Code::Unavailable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_safe_is_sent_again() {
        let lost = Status::unavailable("connection reset");
        assert!(may_repeat(&lost, Repeat::Safe, 1));
        assert!(!may_repeat(&lost, Repeat::Unsafe, 3));
        assert!(may_repeat(&Status::unavailable(NOT_SENT[0]), Repeat::Unsafe, 1));
        let learner = Status::failed_precondition(LEARNER);
        assert!(may_repeat(&learner, Repeat::Unsafe, 2));
        assert!(!may_repeat(&learner, Repeat::Safe, 1));
        assert!(!may_repeat(&Status::invalid_argument("x"), Repeat::Safe, 3));
    }
}
