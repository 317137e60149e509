//! State hash equality: where members have applied the same entries, their stores are the same.

use super::{Violation, ensure, fold};
use replica::apply::backend::{self, Table};
use replica::apply::mvcc;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

const PROPERTY: &str = "state hash equality";

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

/// Index -> hashes of the state there, and who had it first.
#[derive(Default)]
pub(crate) struct StateHash {
    hashes: BTreeMap<u64, (Hashes, usize)>,
}

impl StateHash {
    /// The state of a member.
    pub(crate) fn is(&mut self, index: u64, hashes: Hashes, place: usize) -> Result<(), Violation> {
        let (known, other) = *self.hashes.entry(index).or_insert((hashes, place));
        ensure(PROPERTY, known == hashes, || {
            format!("after entry {index}, m{other} has {known:x?} and m{place} {hashes:x?}")
        })
    }
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
