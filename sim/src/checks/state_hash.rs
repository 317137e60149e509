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

/// Index -> hash of the state there, and who had it first.
#[derive(Default)]
pub(crate) struct StateHash {
    hashes: BTreeMap<u64, (u64, usize)>,
}

impl StateHash {
    /// The state of a member.
    pub(crate) fn is(&mut self, index: u64, hash: u64, place: usize) -> Result<(), Violation> {
        let (known, other) = *self.hashes.entry(index).or_insert((hash, place));
        ensure(PROPERTY, known == hash, || {
            format!("after entry {index}, m{other} has {known:016x} and m{place} {hash:016x}")
        })
    }
}

/// The hash of all that a member has applied.
pub(crate) fn hash_of(reader: &mvcc::Reader, backend: &backend::Reader) -> u64 {
    let (kv, revision) = {
        let read = reader.read();
        (read.hash_kv(0).map_or(0, |hash| hash.hash), read.revision())
    };
    let mut hash = fold(u64::from(kv), &revision.to_be_bytes());
    hash = fold(hash, &reader.compacted().to_be_bytes());
    let view = backend.view();
    for table in TABLES {
        view.range(table, &[], &[], usize::MAX, |key, value| {
            hash = fold(fold(hash, key), value);
            ControlFlow::Continue(())
        });
    }
    fold(hash, &view.get(Table::Meta, b"confState").unwrap_or_default())
}
