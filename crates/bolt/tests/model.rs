//! Random changes against an ordered map, with reopening and crashes.
#![allow(clippy::unwrap_used)] // the helpers of tests too

use bolt::{Db, Error, Freelist, Options};
use disk::sim::SimDisk;
use disk::{Disk, RealDisk};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

const PATH: &str = "db";

fn options(freelist: Freelist) -> Options {
    Options { freelist, page_size: 1024, growth_bytes: 8192, ..Options::default() }
}

fn open(disk: &dyn Disk, freelist: Freelist) -> Db {
    Db::open(disk, Path::new(PATH), options(freelist)).unwrap()
}

/// Everything in bucket `b`, read in both directions.
fn content(db: &Db) -> Model {
    let txn = db.begin_read();
    assert_eq!(txn.check(), []);
    let Some(bucket) = txn.bucket(b"b") else {
        return Model::new();
    };
    let mut cursor = bucket.cursor();
    let mut found = Model::new();
    let mut next = cursor.first();
    while let Some((key, value)) = next {
        found.insert(key.to_vec(), value.expect("no buckets inside").to_vec());
        next = cursor.next();
    }
    let mut backwards = Vec::new();
    let mut prev = cursor.last();
    while let Some((key, _)) = prev {
        backwards.push(key.to_vec());
        prev = cursor.prev();
    }
    assert!(backwards.iter().rev().eq(found.keys()));
    found
}

fn count(mut cursor: bolt::Cursor<'_>) -> usize {
    let mut n = 0;
    let mut next = cursor.first();
    while next.is_some() {
        n += 1;
        next = cursor.next();
    }
    n
}

#[derive(Clone, Debug)]
enum Op {
    Put(u16, usize),
    Delete(u16),
    DeleteRange(u16, u16),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0u16..600, prop_oneof![9 => 0usize..80, 1 => 0usize..5000])
            .prop_map(|(k, len)| Op::Put(k, len)),
        3 => (0u16..600).prop_map(Op::Delete),
        1 => (0u16..600, 0u16..300).prop_map(|(k, n)| Op::DeleteRange(k, n)),
    ]
}

fn key(n: u16) -> Vec<u8> {
    format!("key-{n:04}").into_bytes()
}

fn apply(db: &Db, model: &mut Model, ops: &[Op]) -> Result<(), Error> {
    let mut txn = db.begin_write()?;
    let mut bucket = txn.create_bucket_if_not_exists(b"b")?;
    for op in ops {
        match *op {
            Op::Put(n, len) => {
                let value = vec![n as u8; len];
                bucket.put(&key(n), &value)?;
                assert_eq!(bucket.get(&key(n)), Some(&value[..]));
                model.insert(key(n), value);
            }
            Op::Delete(n) => {
                bucket.delete(&key(n))?;
                model.remove(&key(n));
            }
            Op::DeleteRange(from, count) => {
                for n in from..from + count {
                    bucket.delete(&key(n))?;
                    model.remove(&key(n));
                }
            }
        }
    }
    txn.commit().map(|_| ())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_an_ordered_map(
        txns in prop::collection::vec(prop::collection::vec(op(), 1..120), 1..12),
        stored in any::<bool>(),
    ) {
        let freelist = if stored { Freelist::Stored } else { Freelist::Rebuilt };
        let sim = SimDisk::new(1);
        let mut db = open(&sim, freelist);
        let mut model = Model::new();
        for (n, ops) in txns.iter().enumerate() {
            let before = model.len();
            let reader = db.begin_read();
            apply(&db, &mut model, ops).unwrap();
            prop_assert_eq!(&content(&db), &model);
            prop_assert_eq!(reader.bucket(b"b").map_or(0, |b| count(b.cursor())), before);
            prop_assert_eq!(reader.check(), vec![]);
            let now = db.begin_read();
            let bucket = now.bucket(b"b").unwrap();
            for probe in [0u16, 299, 599] {
                let found = bucket.get(&key(probe)).map(<[u8]>::to_vec);
                prop_assert_eq!(found.as_ref(), model.get(&key(probe)));
                let sought = bucket.cursor().seek(&key(probe)).map(|item| item.0.to_vec());
                prop_assert_eq!(sought.as_ref(), model.range(key(probe)..).next().map(|(k, _)| k));
            }
            drop((reader, now));
            if n % 3 == 2 {
                drop(db);
                db = open(&sim, freelist);
                prop_assert_eq!(&content(&db), &model);
            }
        }
    }

    #[test]
    fn damaged_files_are_reported_not_believed(
        bits in prop::collection::vec(0u64..40_000 * 8, 1..4)
    ) {
        let sim = SimDisk::new(1);
        let db = open(&sim, Freelist::Rebuilt);
        let puts: Vec<Op> = (0..200).map(|n| Op::Put(n, 60)).collect();
        apply(&db, &mut Model::new(), &puts).unwrap();
        drop(db);
        for bit in bits {
            // Past the end of the file there is nothing to flip.
            let _ = sim.flip_bit(Path::new(PATH), bit);
        }
        if let Ok(db) = Db::open(&sim, Path::new(PATH), options(Freelist::Rebuilt)) {
            content(&db);
        }
    }
}

/// Commits steps until the disk fails; gives every state that was asked for.
fn run(sim: &SimDisk, steps: &[Vec<Op>]) -> (Vec<Model>, bool) {
    let mut states = vec![Model::new()];
    let mut model = Model::new();
    let Ok(db) = Db::open(sim, Path::new(PATH), options(Freelist::Rebuilt)) else {
        return (states, true);
    };
    for ops in steps {
        let done = apply(&db, &mut model, ops);
        states.push(model.clone());
        if done.is_err() {
            assert!(matches!(db.begin_write().err(), Some(Error::Poisoned { .. })));
            break;
        }
    }
    (states, false)
}

#[test]
fn a_crash_leaves_the_last_or_the_previous_commit() {
    let step = |step: u16| {
        let puts = (0..60).map(move |n| Op::Put((n * 7 + step * 31) % 600, 40 + n as usize));
        puts.chain([Op::DeleteRange(step * 50, 40)]).collect()
    };
    let steps: Vec<Vec<Op>> = (0..8).map(step).collect();
    let whole = SimDisk::new(0);
    run(&whole, &steps);
    for crash in 1..=whole.ops() {
        for seed in 0..6 {
            let sim = SimDisk::new(seed);
            sim.crash_after(crash);
            let (states, failed_to_open) = run(&sim, &steps);
            sim.restart();
            match Db::open(&sim, Path::new(PATH), options(Freelist::Rebuilt)) {
                Ok(db) => {
                    let mut model = content(&db);
                    let last_two = &states[states.len().saturating_sub(2)..];
                    assert!(last_two.contains(&model), "crash at {crash}, seed {seed}");
                    apply(&db, &mut model, &steps[0]).unwrap();
                    assert_eq!(content(&db), model);
                }
                Err(error) => assert!(failed_to_open, "crash at {crash}, seed {seed}: {error}"),
            }
        }
    }
}

#[test]
fn nested_buckets_live_and_die() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new();
    let path = dir.path().join("db");
    for freelist in [Freelist::Stored, Freelist::Rebuilt] {
        let db = Db::open(&*disk, &path, Options { freelist, ..Options::default() }).unwrap();
        let mut txn = db.begin_write().unwrap();
        let mut outer = txn.create_bucket_if_not_exists(b"outer").unwrap();
        for n in 0..3u8 {
            let mut inner = outer.create_bucket(&[b'n', n]).unwrap();
            assert_eq!(inner.next_sequence(), 1);
            for k in 0..u32::from(n) * 200 {
                inner.put(&k.to_be_bytes(), &[n; 30]).unwrap();
            }
        }
        assert!(matches!(outer.create_bucket(b"n\0").err(), Some(Error::BucketExists)));
        assert!(matches!(outer.put(b"n\0", b""), Err(Error::IncompatibleValue)));
        txn.commit().unwrap();
        let read = db.begin_read();
        assert_eq!(read.check(), []);
        let outer = read.bucket(b"outer").unwrap();
        assert!(outer.bucket(b"n\0").unwrap().is_inline());
        assert_eq!(count(outer.bucket(b"n\x02").unwrap().cursor()), 400);
        assert_eq!(outer.bucket(b"n\x01").unwrap().sequence(), 1);
        drop(read);
        let mut txn = db.begin_write().unwrap();
        let mut outer = txn.bucket_mut(b"outer").unwrap();
        outer.delete_bucket(b"n\x02").unwrap();
        outer.bucket_mut(b"n\0").unwrap().put(b"k", b"v").unwrap();
        txn.commit().unwrap();
        let read = db.begin_read();
        let small = read.bucket(b"outer").unwrap().bucket(b"n\0").unwrap();
        assert_eq!(small.get(b"k"), Some(&b"v"[..]));
        drop(read);
        let mut txn = db.begin_write().unwrap();
        txn.delete_bucket(b"outer").unwrap();
        txn.commit().unwrap();
        assert_eq!(db.begin_read().check(), []);
        let stats = db.stats();
        assert!(stats.free_pages + stats.pending_pages > 5, "{stats:?}");
    }
}

#[test]
fn copies_and_compactions_hold_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new();
    let opened = |name: &str| Db::open(&*disk, &dir.path().join(name), Options::default()).unwrap();
    let db = opened("a");
    let mut model = Model::new();
    apply(&db, &mut model, &(0..600).map(|n| Op::Put(n, 300)).collect::<Vec<_>>()).unwrap();
    apply(&db, &mut model, &[Op::DeleteRange(0, 500)]).unwrap();
    let mut copy = Vec::new();
    db.begin_read().copy_to(&mut copy).unwrap();
    let mut pieces = vec![0; copy.len()];
    for (n, piece) in pieces.chunks_mut(5000).enumerate() {
        assert_eq!(db.begin_read().copy_at(n as u64 * 5000, piece), piece.len());
    }
    assert!(pieces == copy);
    std::fs::write(dir.path().join("b"), copy).unwrap();
    assert_eq!(content(&opened("b")), model);
    let small = opened("c");
    bolt::compact(&db, &small, 10_000).unwrap();
    assert_eq!(content(&small), model);
    assert!(small.size() < db.size() / 2, "{} of {}", small.size(), db.size());
}
