//! One row for each kind of replicated request: its field in the log's envelope, its message, what it costs,
//! what stops it, and the function that applies it.
//!
//! A new kind is one row, one function in `step`, and one test.

use crate::quota;
use crate::step::{self, Step};
use crate::{Refusal, Reply};
use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb as pb;
use proto::membershippb as mpb;

/// What a corrupt cluster does with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum UnderCorruption {
    /// It refuses it.
    Refused,
    /// It executes it: the cluster can be looked after.
    Executed,
}

macro_rules! kinds {
    ($($kind:ident = $field:literal, $message:ty, $cost:expr, $corruption:ident, $apply:path;)*) => {
        /// Field numbers of `InternalRaftRequest` (reference: `raft_internal.proto`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        #[allow(missing_docs)] // the reference's own names
        pub enum Kind {
            $($kind = $field,)*
        }

        impl Kind {
            /// Every kind, in the order of [`Kind::place`].
            pub const ALL: [Kind; [$($field),*].len()] = [$(Kind::$kind),*];

            /// The kind's place in [`Kind::ALL`].
            pub fn place(self) -> usize {
                enum Place {
                    $($kind,)*
                }
                match self {
                    $(Kind::$kind => Place::$kind as usize,)*
                }
            }

            /// The name that metrics know it by: the field's, in Go.
            pub fn name(self) -> &'static str {
                match self {
                    $(Kind::$kind => stringify!($kind),)*
                }
            }
        }

        /// The request of an entry, decoded.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)] // the reference's own names
        pub enum Request {
            /// Nothing that changes the store: a read that reached the log, a test request, no field set.
            Nothing,
            $($kind($message),)*
            /// A field of a room that this build does not have, by its number.
            Unsupported(u32),
        }

        impl Request {
            /// Which request it is; `None` for one without effect.
            pub fn kind(&self) -> Option<Kind> {
                match self {
                    $(Request::$kind(_) => Some(Kind::$kind),)*
                    Request::Nothing | Request::Unsupported(_) => None,
                }
            }

            /// The request in a field of the envelope; `None` where the bytes are no such message.
            pub(crate) fn decode(field: u32, body: Bytes) -> Option<Request> {
                Some(match field {
                    $($field => Request::$kind(Message::decode(body).ok()?),)*
                    field if WITHOUT_EFFECT.contains(&field) => Request::Nothing,
                    field => Request::Unsupported(field),
                })
            }

            /// What it takes of the quota, in bytes; 0 for what always fits.
            pub(crate) fn cost(&self) -> u64 {
                match self {
                    $(Request::$kind(request) => {
                        let cost: fn(&$message) -> u64 = $cost;
                        cost(request)
                    })*
                    Request::Nothing | Request::Unsupported(_) => 0,
                }
            }

            /// Whether a corrupt cluster refuses it.
            pub(crate) fn is_stopped_by_corruption(&self) -> bool {
                let corruption = match self {
                    $(Request::$kind(_) => UnderCorruption::$corruption,)*
                    Request::Nothing | Request::Unsupported(_) => UnderCorruption::Executed,
                };
                corruption == UnderCorruption::Refused
            }

            /// Executes it.
            pub(crate) fn apply(self, step: &mut Step<'_, '_>) -> Result<Reply, Refusal> {
                match self {
                    $(Request::$kind(request) => $apply(step, request),)*
                    // What is not supported was sorted out before.
                    Request::Nothing | Request::Unsupported(_) => Ok(Reply::Done),
                }
            }
        }
    };
}

/// Costs nothing.
fn free<M>(_: &M) -> u64 {
    0
}

kinds! {
    Range = 3, pb::RangeRequest, free, Refused, step::range;
    Put = 4, pb::PutRequest, quota::put_cost, Refused, step::put;
    DeleteRange = 5, pb::DeleteRangeRequest, free, Refused, step::delete_range;
    Txn = 6, pb::TxnRequest, quota::txn_cost, Refused, step::txn;
    Compaction = 7, pb::CompactionRequest, free, Refused, step::compact;
    LeaseGrant = 8, pb::LeaseGrantRequest, |_| quota::lease_cost(), Refused, step::grant;
    LeaseRevoke = 9, pb::LeaseRevokeRequest, free, Refused, step::revoke;
    Alarm = 10, pb::AlarmRequest, free, Executed, step::alarm;
    LeaseCheckpoint = 11, pb::LeaseCheckpointRequest, free, Executed, step::checkpoint;
    ClusterVersionSet = 1300, mpb::ClusterVersionSetRequest, free, Executed, step::set_cluster_version;
    ClusterMemberAttrSet = 1301, mpb::ClusterMemberAttrSetRequest, free, Executed, step::set_attributes;
    DowngradeInfoSet = 1302, mpb::DowngradeInfoSetRequest, free, Executed, step::set_downgrade;
}

/// Fields that change nothing: the status of authentication and reads of it, the test of a downgrade.
const WITHOUT_EFFECT: [u32; 6] = [1013, 1102, 1106, 1107, 1202, 9900];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_place() {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!((kind.place(), kind.name()), (place, format!("{kind:?}").as_str()));
        }
    }
}
