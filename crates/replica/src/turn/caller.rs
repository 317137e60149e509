//! Whose requests a member serves, and what they are told.

use apply::Refusal;

/// What a caller keeps of its requests while a member works on them: handed in with a request, handed
/// back with the answer, never looked at in between.
///
/// A server keeps the way back to a client, a simulation the number of a request.
pub trait Caller: 'static {
    /// Who waits for an entry to be applied.
    type Write: Send;
    /// Who waits for an answer of type `A`.
    type Ticket<A: Send + 'static>: Send;

    /// Whether nobody waits any more, as far as it can be seen: then the request need not be proposed.
    fn is_gone(write: &Self::Write) -> bool {
        let _ = write;
        false
    }
}

/// Why a request came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// As many wait already as may.
    TooManyRequests,
    /// The request is longer than the log takes.
    RequestTooLarge,
    /// There is no leader.
    NoLeader,
    /// The time of the request is over.
    Timeout,
    /// The same, and the leader before was lost meanwhile.
    LeaderFailed,
    /// The same, and this member could not reach whom it needs.
    ConnectionLost,
    /// The same, and the request was never in the log: no leader was known.
    NotProposed,
    /// Another member came to lead while a read waited.
    LeaderChanged,
    /// The leadership did not move in time.
    TransferTimeout,
    /// What is committed was not applied in time.
    ApplyTimeout,
    /// This member does not lead, and only the leader knows.
    NotPrimary,
    /// The quota is used up.
    NoSpace,
    /// The member stops.
    Stopped,
    /// The entry was applied and refused, as every member does.
    Refused(Refusal),
}
