//! What an entry led to besides its reply.

use proto::raftpb::ConfChange;

/// What applying an entry led to beyond its reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Nothing more.
    None,
    /// Raft must switch to this configuration change (made a no-op where it was refused).
    ConfChange(ConfChange),
    /// History up to this revision may be removed, step by step.
    Compact(i64),
    /// The write was applied though the quota is used up: the NOSPACE alarm must be raised before
    /// the client hears of it.
    OutOfSpace,
    /// The cluster's version was set.
    ClusterVersion {
        /// To one below the last: a log that holds higher ones stops members of that version.
        is_lower: bool,
    },
}
