//! Why a request is refused: the same on every member, and part of the reply.

use std::fmt;

/// A client's mistake or a state that forbids the request.
///
/// The variants carry etcd's names (`rpctypes`, `mvcc`, `lease`, `membership`); the table that
/// turns them into gRPC codes and texts is in `server`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The key is empty.
    EmptyKey,
    /// `ignore_value` or `ignore_lease` on a key that does not exist, or an empty operation.
    KeyNotFound,
    /// The revision asked for has been compacted.
    Compacted,
    /// The revision asked for does not exist yet.
    FutureRevision,
    /// A sort order or target that does not exist.
    InvalidSort,
    /// The lease does not exist.
    LeaseNotFound,
    /// A lease with this id exists already.
    LeaseExists,
    /// The lease would live longer than etcd allows.
    LeaseTtlTooLarge,
    /// The database quota is used up.
    NoSpace,
    /// The CORRUPT alarm is raised.
    Corrupt,
    /// An alarm action that does not exist.
    UnknownAlarmAction,
    /// The member is known already.
    MemberExists,
    /// No such member.
    MemberNotFound,
    /// A member with one of these peer URLs exists.
    PeerUrlExists,
    /// The member is not a learner and cannot be promoted.
    MemberNotLearner,
    /// No more learners are allowed.
    TooManyLearners,
    /// The member's URLs cannot be parsed.
    MemberBadUrls,
    /// The member was removed and cannot return.
    MemberRemoved,
    /// This request needs a part that this build does not have.
    NotSupported,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Refusal {}

impl From<mvcc::Refusal> for Refusal {
    fn from(refusal: mvcc::Refusal) -> Refusal {
        match refusal {
            mvcc::Refusal::Compacted => Refusal::Compacted,
            mvcc::Refusal::FutureRevision => Refusal::FutureRevision,
            mvcc::Refusal::InvalidSort => Refusal::InvalidSort,
        }
    }
}

impl From<lease::Refusal> for Refusal {
    fn from(refusal: lease::Refusal) -> Refusal {
        match refusal {
            lease::Refusal::NotFound => Refusal::LeaseNotFound,
            lease::Refusal::Exists => Refusal::LeaseExists,
            lease::Refusal::TtlTooLarge => Refusal::LeaseTtlTooLarge,
        }
    }
}

impl From<membership::Refusal> for Refusal {
    fn from(refusal: membership::Refusal) -> Refusal {
        match refusal {
            membership::Refusal::Removed => Refusal::MemberRemoved,
            membership::Refusal::Exists => Refusal::MemberExists,
            membership::Refusal::NotFound => Refusal::MemberNotFound,
            membership::Refusal::PeerUrlExists => Refusal::PeerUrlExists,
            membership::Refusal::TooManyLearners => Refusal::TooManyLearners,
            membership::Refusal::NotLearner => Refusal::MemberNotLearner,
            membership::Refusal::Malformed => Refusal::MemberBadUrls,
        }
    }
}
