//! Every error a client can see, with etcd's code and text: the one table of them
//! (reference: `api/v3rpc/rpctypes/error.go`).

use apply::Refusal;
use net::rpc::{Code, Status};
use replica::turn::Failure;

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident => $code:ident, $text:expr;)*) => {
        /// An error that a client sees.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // the text says it
        pub enum Error {
            $($(#[$doc])* $name,)*
        }

        impl Error {
            /// The gRPC code and text.
            pub fn code_and_text(self) -> (Code, &'static str) {
                match self {
                    $(Error::$name => (Code::$code, $text),)*
                }
            }
        }
    };
}

errors! {
    EmptyKey => InvalidArgument, "etcdserver: key is not provided";
    KeyNotFound => InvalidArgument, "etcdserver: key not found";
    ValueProvided => InvalidArgument, "etcdserver: value is provided";
    LeaseProvided => InvalidArgument, "etcdserver: lease is provided";
    TooManyOps => InvalidArgument, "etcdserver: too many operations in txn request";
    DuplicateKey => InvalidArgument, "etcdserver: duplicate key given in txn request";
    InvalidSortOption => InvalidArgument, "etcdserver: invalid sort option";
    Compacted => OutOfRange, "etcdserver: mvcc: required revision has been compacted";
    FutureRevision => OutOfRange, "etcdserver: mvcc: required revision is a future revision";
    NoSpace => ResourceExhausted, "etcdserver: mvcc: database space exceeded";
    LeaseNotFound => NotFound, "etcdserver: requested lease not found";
    LeaseExists => FailedPrecondition, "etcdserver: lease already exists";
    LeaseTtlTooLarge => OutOfRange, "etcdserver: too large lease TTL";
    RequestTooLarge => InvalidArgument, "etcdserver: request is too large";
    /// etcd sends its client-side type here, so the code on the wire is Unknown.
    TooManyRequests => Unknown, "etcdserver: too many requests";
    MemberExists => FailedPrecondition, "etcdserver: member ID already exist";
    MemberNotFound => NotFound, "etcdserver: member not found";
    PeerUrlExists => FailedPrecondition, "etcdserver: Peer URLs already exists";
    MemberBadUrls => InvalidArgument, "etcdserver: given member URLs are invalid";
    MemberNotLearner => FailedPrecondition, "etcdserver: can only promote a learner member";
    TooManyLearners => FailedPrecondition, "etcdserver: too many learner members in cluster";
    /// The code is Unknown as for too many requests.
    NotEnoughStarted => Unknown,
        "etcdserver: re-configuration failed due to not enough started members";
    Unhealthy => Unavailable, "etcdserver: unhealthy cluster";
    LearnerNotReady => FailedPrecondition,
        "etcdserver: can only promote a learner member which is in sync with leader";
    NotForLearners => FailedPrecondition, "etcdserver: rpc not supported for learner";
    BadTransferee => FailedPrecondition, "etcdserver: bad leader transferee";
    WrongDowngradeFormat => InvalidArgument,
        "etcdserver: wrong downgrade target version format";
    InvalidDowngradeTarget => InvalidArgument,
        "etcdserver: invalid downgrade target version";
    DowngradeInProcess => FailedPrecondition,
        "etcdserver: cluster has a downgrade job in progress";
    NoClusterVersion => FailedPrecondition,
        "etcdserver: cluster version not found during downgrade";
    UnknownMethod => Unknown, "etcdserver: unknown method";
    NotLeader => FailedPrecondition, "etcdserver: not leader";
    TransferTimeout => Unavailable,
        "etcdserver: request timed out, leader transfer took too long";
    NoLeader => Unavailable, "etcdserver: no leader";
    Stopped => Unavailable, "etcdserver: server stopped";
    Timeout => Unavailable, "etcdserver: request timed out";
    LeaderChanged => Unavailable, "etcdserver: leader changed";
    ApplyTimeout => Unavailable,
        "etcdserver: request timed out, waiting for the applied index took too long";
    /// etcd has no code for it, so it is Unknown.
    NotPrimary => Unknown, "not a primary lessor";
    LeaderFailed => Unavailable,
        "etcdserver: request timed out, possibly due to previous leader failure";
    ConnectionLost => Unavailable,
        "etcdserver: request timed out, possibly due to connection lost";
    /// What was never proposed, for want of a leader, ran out of time before it was in the log.
    NotProposed => DeadlineExceeded, "context deadline exceeded";
    Corrupt => DataLoss, "etcdserver: corrupt cluster";
    StreamSorted => Unimplemented, "RangeStream does not support custom sort orders";
    StreamFiltered => Unimplemented, "RangeStream does not support revision filters";
    UnknownAlarmAction => InvalidArgument,
        "etcdserver: unknown alarm action, use GET, ACTIVATE or DEACTIVATE";
    Malformed => Internal,
        "grpc: failed to unmarshal the received message: proto: cannot parse invalid wire-format data";
    MalformedRequest => Internal,
        "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data";
    NotSupported => Unimplemented, "this request is not supported by this member";
}

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        let (code, text) = error.code_and_text();
        Status::new(code, text)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::EmptyKey => Error::EmptyKey,
            Refusal::KeyNotFound => Error::KeyNotFound,
            Refusal::Compacted => Error::Compacted,
            Refusal::FutureRevision => Error::FutureRevision,
            Refusal::InvalidSort => Error::InvalidSortOption,
            Refusal::LeaseNotFound => Error::LeaseNotFound,
            Refusal::LeaseExists => Error::LeaseExists,
            Refusal::LeaseTtlTooLarge => Error::LeaseTtlTooLarge,
            Refusal::NoSpace => Error::NoSpace,
            Refusal::Corrupt => Error::Corrupt,
            Refusal::UnknownAlarmAction => Error::UnknownAlarmAction,
            Refusal::MemberExists => Error::MemberExists,
            Refusal::MemberRemoved | Refusal::MemberNotFound => Error::MemberNotFound,
            Refusal::PeerUrlExists => Error::PeerUrlExists,
            Refusal::MemberNotLearner => Error::MemberNotLearner,
            Refusal::TooManyLearners => Error::TooManyLearners,
            Refusal::MemberBadUrls => Error::MemberBadUrls,
            Refusal::NotSupported => Error::NotSupported,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::TooManyRequests => Error::TooManyRequests,
            Failure::RequestTooLarge => Error::RequestTooLarge,
            Failure::NoLeader => Error::NoLeader,
            Failure::Timeout => Error::Timeout,
            Failure::LeaderFailed => Error::LeaderFailed,
            Failure::ConnectionLost => Error::ConnectionLost,
            Failure::NotProposed => Error::NotProposed,
            Failure::LeaderChanged => Error::LeaderChanged,
            Failure::TransferTimeout => Error::TransferTimeout,
            Failure::ApplyTimeout => Error::ApplyTimeout,
            Failure::NotPrimary => Error::NotPrimary,
            Failure::NoSpace => Error::NoSpace,
            Failure::Stopped => Error::Stopped,
            Failure::Refused(refusal) => refusal.into(),
        }
    }
}

impl From<mvcc::Refusal> for Error {
    fn from(refusal: mvcc::Refusal) -> Error {
        Refusal::from(refusal).into()
    }
}
