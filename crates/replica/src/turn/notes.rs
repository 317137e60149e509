//! What happens within a turn, for those who log and measure; nothing depends on it.

use super::{SizeFigures, Time};
use crate::SnapshotDue;
use apply::{Alarms, Kind, Outcome};
use membership::Version;
use proto::raftpb::Entry;
use raft::Role;

/// Hears of what happens, while it happens.
pub trait Observer {
    /// Something happened.
    fn note(&mut self, note: Note<'_>);
}

/// Something that happened.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Note<'n> {
    /// The first wait for an election was shortened, for others were reached.
    ElectionShortened { ticks: u32, active_peers: usize },
    /// Another member leads, 0 for none.
    Leader { before: u64, leader: u64, term: u64 },
    /// The role or the term is another one.
    Role { role: Role, term: u64 },
    /// Reads failed: each by its time, or together by a change of the leader.
    ReadsFailed,
    /// A proposal came to nothing.
    ProposalFailed { kind: Kind, begun: Time },
    /// Entries begin to be applied.
    ApplyBegins,
    /// An entry was applied, now or before this member started again.
    Applied { entry: &'n Entry, outcome: &'n Outcome },
    /// The answer to a proposal is known.
    Answered { kind: Kind, begun: Time },
    /// Alarms may have changed.
    Alarms(&'n Alarms),
    /// The cluster's version may have changed.
    ClusterVersion(&'n str),
    /// A write found no room within the quota.
    OutOfSpace,
    /// A snapshot for the log was made possible; the last one was at `before`.
    SnapshotDue { due: &'n SnapshotDue, before: u64, count: u64 },
    /// A leader's snapshot is recorded in the log.
    SnapshotRecorded { index: u64 },
    /// A leader's snapshot begins to take the place of everything, or has done so.
    SnapshotApplying { begins: bool, snapshot: u64, applied: u64, index: u64, term: u64 },
    /// A compaction begins, up to this revision.
    CompactionBegins { revision: i64 },
    /// A step of a compaction begins; of the index, or of the file.
    CompactionStepBegins { of_index: bool },
    /// A step of a compaction is done.
    CompactionStepEnds { of_index: bool, rows: u64 },
    /// A compaction is done.
    CompactionEnds { revision: i64, rows: u64, sizes: SizeFigures },
    /// A defragmentation begins.
    DefragmentBegins { sizes: SizeFigures },
    /// A defragmentation is done.
    DefragmentEnds { sizes: SizeFigures },
    /// Expired leases are revoked.
    LeaseExpired,
    /// A lease was renewed here.
    LeaseRenewed,
    /// The storage is about to follow the cluster's version.
    StorageVersionDiffers { cluster: &'n Version, storage: &'n Version },
    /// The storage could not follow.
    StorageVersionFailed { cluster: &'n Version, error: String },
    /// The storage has followed.
    StorageVersion { version: &'n Version, downgrade_target: Option<&'n str> },
}
