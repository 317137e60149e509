//! Random transactions against plain maps, with readers that stay, and reopening.
#![allow(clippy::unwrap_used)] // the helpers of tests too

mod common;

use bolt::{Db, Freelist, Options};
use common::{Model, Op, PATH, apply, commit, op, open, options};
use disk::RealDisk;
use disk::sim::SimDisk;
use proptest::prelude::*;

/// Every so many commits the oldest reader goes, and the database is reopened.
const READER_LIFE: usize = 3;
const REOPEN_EVERY: usize = 5;

/// On the real disk, for only there do readers see what becomes of their pages.
fn run(txns: &[Vec<Op>], freelist: Freelist) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(PATH);
    let open =
        || Db::open(&RealDisk, &path, Options { no_sync: true, ..options(freelist) }).unwrap();
    let mut db = open();
    let mut model = Model::default();
    let mut readers = Vec::new();
    for (n, ops) in txns.iter().enumerate() {
        readers.push((db.begin_read(), model.clone()));
        commit(&db, &mut model, ops).unwrap();
        assert_eq!(db.check(), []);
        assert_eq!(Model::read(&db.begin_read()), model);
        if readers.len() > READER_LIFE {
            readers.remove(n % 2);
        }
        for (reader, then) in &readers {
            assert_eq!(&Model::read(reader), then);
        }
        if n % REOPEN_EVERY == REOPEN_EVERY - 1 {
            readers.clear();
            drop(db);
            db = open();
            assert_eq!(db.check(), []);
            assert_eq!(Model::read(&db.begin_read()), model);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_database_is_a_map_of_maps(
        txns in prop::collection::vec(prop::collection::vec(op(), 1..150), 1..14),
        stored in any::<bool>(),
    ) {
        run(&txns, if stored { Freelist::Stored } else { Freelist::Rebuilt });
    }

    #[test]
    fn a_transaction_sees_its_own_changes_and_leaves_no_trace_when_dropped(
        before in prop::collection::vec(op(), 1..200),
        ops in prop::collection::vec(op(), 1..200),
    ) {
        let sim = SimDisk::new(1);
        let db = open(&sim, Freelist::Rebuilt);
        let mut model = Model::default();
        commit(&db, &mut model, &before).unwrap();
        let mut pending = model.clone();
        let mut txn = db.begin_write().unwrap();
        for op in &ops {
            apply(&mut txn, op).unwrap();
            pending.apply(op);
        }
        prop_assert_eq!(Model::read_pending(&mut txn), pending);
        let ops_before = sim.ops();
        drop(txn);
        prop_assert_eq!(sim.ops(), ops_before);
        prop_assert_eq!(db.check(), vec![]);
        prop_assert_eq!(Model::read(&db.begin_read()), model);
    }

    #[test]
    fn a_search_finds_the_first_key_not_below(
        keys in prop::collection::btree_set(prop::collection::vec(0u8..3, 1..10), 1..300),
        probes in prop::collection::vec(prop::collection::vec(0u8..4, 0..11), 1..40),
    ) {
        let sim = SimDisk::new(1);
        let db = open(&sim, Freelist::Rebuilt);
        let mut txn = db.begin_write().unwrap();
        let mut bucket = txn.create_bucket(b"b").unwrap();
        for key in &keys {
            bucket.put(key, &[7; 40]).unwrap();
        }
        let expected = |probe: &Vec<u8>| keys.range(probe.clone()..).next().map(|key| &key[..]);
        for probe in &probes {
            let found = bucket.cursor().seek(probe).map(|item| item.0.to_vec());
            prop_assert_eq!(found.as_deref(), expected(probe));
        }
        txn.commit().unwrap();
        let read = db.begin_read();
        let bucket = read.bucket(b"b").unwrap();
        let mut cursor = bucket.cursor();
        for probe in &probes {
            prop_assert_eq!(cursor.seek(probe).map(|item| item.0), expected(probe));
            let before = keys.range(..probe.clone()).next_back().map(|key| &key[..]);
            prop_assert_eq!(cursor.prev().map(|item| item.0), before);
            prop_assert_eq!(bucket.get(probe).is_some(), keys.contains(probe));
        }
    }
}
