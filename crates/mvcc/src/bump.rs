//! Raising the revision of a database that no member uses.
//!
//! Whoever restores a snapshot goes back in time; clients that remember later revisions would take
//! new writes for old ones. So the revision is raised beyond all that were ever given out, by a row
//! without a key, and everything up to there is marked as compacted: watches and caches from
//! before are then told to begin again.

use crate::Revision;
use crate::compacting::SCHEDULED;
use crate::revision::start_of;
use backend::{MaintenanceTxn, Table, View};
use bytes::Bytes;

/// Raises the last revision in `view` by `amount` and promises a compaction up to there; gives the
/// new one, or nothing where there is no such number.
pub fn bump_revision(view: &View, txn: &mut MaintenanceTxn<'_>, amount: u64) -> Option<i64> {
    let last = view.last_revision_key();
    let last = last.and_then(|key| Revision::decode(&key)).map_or(0, |(revision, _)| revision.main);
    let bumped = last.checked_add(i64::try_from(amount).ok()?)?;
    assert!(bumped >= last, "a revision is raised from {last}, not to {bumped}");
    let row = start_of(bumped);
    txn.put(Table::Key, &row, Bytes::new());
    txn.put(Table::Meta, SCHEDULED, Bytes::copy_from_slice(&row));
    Some(bumped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RangeOptions, Refusal, Store};
    use backend::{Backend, EntryId, Options};
    use disk::sim::SimDisk;
    use std::path::Path;
    use std::sync::Arc;

    #[test]
    fn what_was_there_can_be_read_at_the_new_revision_only() {
        let disk = Arc::new(SimDisk::new(1));
        let mut backend = Backend::open(disk, Path::new("db"), Options::default()).unwrap();
        let (mut store, _) = Store::open(&backend).unwrap();
        let mut txn = backend.begin();
        let mut write = store.begin(&mut txn);
        write.put(&"k".into(), b"v", 0, false);
        let change = write.end().unwrap();
        txn.finish(EntryId { term: 1, index: 1 });
        store.publish(&change);

        let view = backend.reader().view();
        let mut txn = backend.begin_maintenance();
        assert_eq!(bump_revision(&view, &mut txn, u64::MAX), None);
        assert_eq!(bump_revision(&view, &mut txn, 1000), Some(1002));
        txn.finish_at(EntryId { term: 1, index: 1 });
        backend.commit().unwrap();

        let (mut store, restored) = Store::open(&backend).unwrap();
        assert_eq!(restored.unfinished_compaction, Some(1002));
        assert_eq!((store.revision(), store.compacted()), (1002, 1002));
        let read = store.reader().read();
        let at = |revision| RangeOptions { key: "k".into(), revision, ..RangeOptions::default() };
        assert_eq!(read.range(&at(1002)).unwrap().count, 1);
        assert_eq!(read.range(&at(1001)), Err(Refusal::Compacted));

        // The row outlives the compaction: every member must hash the same.
        let before = read.hash_kv(0).unwrap().hash;
        while store.is_compacting() {
            let mut txn = backend.begin_maintenance();
            store.compaction_step(&mut txn);
            txn.finish();
        }
        backend.commit().unwrap();
        let mut rows = 0;
        backend.reader().view().range(Table::Key, &[], &[], usize::MAX, |_, _| {
            rows += 1;
            std::ops::ControlFlow::Continue(())
        });
        assert_eq!(rows, 2);
        assert_eq!(store.reader().read().hash_kv(0).unwrap().hash, before);
        let (again, _) = Store::open(&backend).unwrap();
        assert_eq!(again.reader().read().hash_kv(0).unwrap().hash, before);
    }
}
