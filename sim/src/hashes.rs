//! What a member's state hashes to, for comparisons within a run.

use backend::Table;
use std::ops::ControlFlow;

/// Tables that hold the same on all members; of keys, `HashKV` leaves out what a compaction under
/// way has removed here and not yet there.
const TABLES: [Table; 8] = [
    Table::Lease,
    Table::Alarm,
    Table::Cluster,
    Table::Members,
    Table::MembersRemoved,
    Table::Auth,
    Table::AuthUsers,
    Table::AuthRoles,
];

/// Hashes of what a member has applied: keys, revisions, other tables, configuration.
pub(crate) type Hashes = [u64; 4];

/// A hash for comparisons within a run.
pub(crate) fn fold(hash: u64, bytes: &[u8]) -> u64 {
    let start = (hash ^ bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bytes.iter().fold(start, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29)
    })
}

/// The hashes of all that a member has applied.
pub(crate) fn hashes_of(reader: &mvcc::Reader, backend: &backend::Reader) -> Hashes {
    let (keys, revision) = {
        let read = reader.read();
        (read.hash_kv(0).map_or(0, |hash| hash.hash), read.revision())
    };
    let revisions = fold(fold(1, &revision.to_be_bytes()), &reader.compacted().to_be_bytes());
    let view = backend.view();
    let mut others = 1;
    for table in TABLES {
        view.range(table, &[], &[], usize::MAX, |key, value| {
            others = fold(fold(others, key), value);
            ControlFlow::Continue(())
        });
    }
    let configuration = fold(1, &view.get(Table::Meta, b"confState").unwrap_or_default());
    [u64::from(keys), revisions, others, configuration]
}
