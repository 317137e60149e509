//! Files: bbolt's bytes, growth, mappings that move, copies, readers beside a writer.
#![allow(clippy::unwrap_used)] // the helpers of tests too

mod common;

use bolt::{Db, Error, Freelist, Options};
use common::{Model, Op, PATH, commit, open, options};
use disk::sim::SimDisk;
use disk::{Disk, RealDisk};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

fn at(dir: &tempfile::TempDir, name: &str, options: Options) -> Db {
    Db::open(&RealDisk, &dir.path().join(name), options).unwrap()
}

/// The changes that bbolt v1.5.0 made for the files in `golden`: in a first transaction a bucket
/// `meta` of one key and sequence 1, and a bucket `key` of 20 keys of 50 zero bytes, filled to
/// 0.9, with a bucket `nested` of one key in it; in a second the deletion of `rev-03`.
fn golden(freelist: Freelist) -> Vec<u8> {
    let sim = SimDisk::new(1);
    let options = Options { page_size: 1024, freelist, ..Options::default() };
    let db = Db::open(&sim, Path::new(PATH), options).unwrap();
    let mut txn = db.begin_write().unwrap();
    let mut meta = txn.create_bucket(b"meta").unwrap();
    meta.put(b"term", b"12345678").unwrap();
    assert_eq!(meta.next_sequence(), 1);
    let mut key = txn.create_bucket(b"key").unwrap();
    key.set_fill_percent(0.9);
    for n in 0..20 {
        key.put(format!("rev-{n:02}").as_bytes(), &[0; 50]).unwrap();
    }
    key.create_bucket(b"nested").unwrap().put(b"a", b"b").unwrap();
    txn.commit().unwrap();
    let mut txn = db.begin_write().unwrap();
    txn.bucket_mut(b"key").unwrap().delete(b"rev-03").unwrap();
    txn.commit().unwrap();
    let size = db.size() as usize;
    disk::read_all(&sim, Path::new(PATH)).unwrap()[..size].to_vec()
}

#[test]
fn the_same_changes_give_the_bytes_that_bbolt_writes() {
    assert!(golden(Freelist::Rebuilt) == include_bytes!("golden/rebuilt.db"));
    assert!(golden(Freelist::Stored) == include_bytes!("golden/stored.db"));
}

#[test]
fn a_file_of_bbolt_is_read() {
    for bytes in [&include_bytes!("golden/rebuilt.db")[..], include_bytes!("golden/stored.db")] {
        let sim = SimDisk::new(1);
        sim.open(Path::new(PATH), disk::Open::CREATE).unwrap().write_at(bytes, 0).unwrap();
        let db = open(&sim, Freelist::Rebuilt);
        assert_eq!(db.check(), []);
        let read = db.begin_read();
        assert_eq!((read.txid(), read.size()), (3, bytes.len() as u64));
        let key = read.bucket(b"key").unwrap();
        assert_eq!(key.get(b"rev-02"), Some(&[0; 50][..]));
        assert_eq!((key.get(b"rev-03"), key.get(b"nested")), (None, None));
        let nested = key.bucket(b"nested").unwrap();
        assert_eq!((nested.is_inline(), nested.get(b"a")), (true, Some(&b"b"[..])));
        assert_eq!(read.bucket(b"meta").unwrap().sequence(), 1);
        assert!(key.bucket(b"rev-02").is_none() && read.bucket(b"none").is_none());
    }
}

#[test]
fn names_and_keys_stay_apart() {
    let sim = SimDisk::new(1);
    let db = open(&sim, Freelist::Rebuilt);
    let mut txn = db.begin_write().unwrap();
    assert!(matches!(txn.create_bucket(b"").err(), Some(Error::BucketNameRequired)));
    assert!(matches!(txn.delete_bucket(b"b"), Err(Error::BucketNotFound)));
    let mut bucket = txn.create_bucket(b"b").unwrap();
    bucket.create_bucket(b"name").unwrap();
    bucket.put(b"key", b"value").unwrap();
    assert!(matches!(bucket.put(b"name", b""), Err(Error::IncompatibleValue)));
    assert!(matches!(bucket.delete(b"name"), Err(Error::IncompatibleValue)));
    assert!(matches!(bucket.create_bucket(b"name").err(), Some(Error::BucketExists)));
    assert!(matches!(bucket.create_bucket(b"key").err(), Some(Error::IncompatibleValue)));
    assert!(matches!(bucket.delete_bucket(b"key"), Err(Error::IncompatibleValue)));
    assert!(bucket.bucket_mut(b"key").is_none() && bucket.get(b"name").is_none());
    assert!(matches!(bucket.put(b"", b""), Err(Error::KeyRequired)));
    let long = vec![7; bolt::KEY_MAX + 1];
    assert!(matches!(bucket.put(&long, b""), Err(Error::KeyTooLarge)));
    bucket.put(&long[1..], b"long").unwrap();
    assert!(matches!(txn.create_bucket(b"b").err(), Some(Error::BucketExists)));
    txn.commit().unwrap();
    assert_eq!(db.check(), []);
    assert_eq!(db.begin_read().bucket(b"b").unwrap().get(&long[1..]), Some(&b"long"[..]));
}

/// Goes beyond both ends and comes back, with any cursor.
macro_rules! assert_stays_at_the_ends {
    ($cursor:expr, $first:expr, $second:expr, $before_last:expr, $last:expr) => {
        let mut cursor = $cursor;
        assert_eq!(cursor.next(), None, "it has no place yet");
        assert_eq!(cursor.first().map(|item| item.0.to_vec()), Some($first));
        assert_eq!((cursor.prev(), cursor.prev()), (None, None));
        assert_eq!(cursor.next().map(|item| item.0.to_vec()), Some($second));
        assert_eq!(cursor.last().map(|item| item.0.to_vec()), Some($last));
        assert_eq!((cursor.next(), cursor.next()), (None, None));
        assert_eq!(cursor.prev().map(|item| item.0.to_vec()), Some($before_last));
        assert_eq!(cursor.seek(b"zzz"), None);
        assert_eq!(cursor.prev().map(|item| item.0.to_vec()), Some($last));
    };
}

#[test]
fn a_cursor_stays_on_the_element_at_the_end() {
    let sim = SimDisk::new(1);
    let db = open(&sim, Freelist::Rebuilt);
    let mut txn = db.begin_write().unwrap();
    let mut bucket = txn.create_bucket(b"b").unwrap();
    for n in 0..200 {
        bucket.put(&common::key(n), &[1; 50]).unwrap();
    }
    txn.commit().unwrap();
    let key = common::key;
    let read = db.begin_read();
    let bucket = read.bucket(b"b").unwrap();
    assert_stays_at_the_ends!(bucket.cursor(), key(0), key(1), key(198), key(199));
    // Leaves of nothing at both ends and in the middle.
    let mut txn = db.begin_write().unwrap();
    let mut bucket = txn.bucket_mut(b"b").unwrap();
    for n in (0..70).chain(90..120).chain(150..200) {
        bucket.delete(&key(n)).unwrap();
    }
    assert_stays_at_the_ends!(bucket.cursor(), key(70), key(71), key(148), key(149));
    let mut cursor = bucket.cursor();
    assert_eq!(cursor.seek(&key(95)).map(|item| item.0.to_vec()), Some(key(120)));
    assert_eq!(cursor.prev().map(|item| item.0.to_vec()), Some(key(89)));
    for n in (70..90).chain(120..150) {
        bucket.delete(&key(n)).unwrap();
    }
    let mut cursor = bucket.cursor();
    assert_eq!((cursor.first(), cursor.last(), cursor.seek(b"k")), (None, None, None));
    assert_eq!((cursor.next(), cursor.prev()), (None, None));
    txn.commit().unwrap();
    assert_eq!(db.check(), []);
    let read = db.begin_read();
    let mut cursor = read.bucket(b"b").unwrap().cursor();
    assert_eq!((cursor.first(), cursor.last(), cursor.next()), (None, None, None));
}

#[test]
fn looking_into_a_bucket_writes_nothing() {
    let sim = SimDisk::new(1);
    let db = open(&sim, Freelist::Rebuilt);
    let mut model = Model::default();
    commit(&db, &mut model, &(0..200).map(|n| Op::Put(vec![0, 1], n, 50)).collect::<Vec<_>>())
        .unwrap();
    let mut txn = db.begin_write().unwrap();
    assert_eq!(Model::read_pending(&mut txn), model);
    assert_eq!(txn.commit().unwrap(), bolt::CommitStats::default());
    assert_eq!(db.check(), []);
}

#[test]
fn copies_and_compactions_hold_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let db = at(&dir, "a", Options::default());
    let mut model = Model::default();
    let mut ops: Vec<Op> = (0..600).map(|n| Op::Put(vec![0], n, 300)).collect();
    ops.extend((0..300).map(|n| Op::Put(vec![0, 1, 2], n, 20)));
    ops.extend([Op::NextSequence(vec![0, 1]), Op::NextSequence(vec![2])]);
    commit(&db, &mut model, &ops).unwrap();
    commit(&db, &mut model, &[Op::Delete(vec![0], 0, 500)]).unwrap();
    let mut copy = Vec::new();
    let read = db.begin_read();
    assert_eq!(read.copy_to(&mut copy).unwrap(), read.size());
    let mut pieces = vec![0; copy.len() + 100];
    for (n, piece) in pieces.chunks_mut(5000).enumerate() {
        let offset = n * 5000;
        let expected = piece.len().min(copy.len() - offset);
        assert_eq!(read.copy_at(offset as u64, piece), expected);
    }
    assert_eq!(read.copy_at(u64::MAX, &mut [0; 8]), 0);
    assert!(pieces[..copy.len()] == copy);
    std::fs::write(dir.path().join("b"), copy).unwrap();
    assert_eq!(Model::read(&at(&dir, "b", Options::default()).begin_read()), model);
    for (name, txn_max_bytes) in [("c", 0), ("d", 1), ("e", 10_000)] {
        let small = at(&dir, name, Options::default());
        bolt::compact(&db, &small, txn_max_bytes).unwrap();
        assert_eq!(Model::read(&small.begin_read()), model);
        assert_eq!(small.check(), []);
    }
    let small = at(&dir, "e", Options::default());
    assert!(small.size() < db.size() / 2, "{} of {}", small.size(), db.size());
}

#[test]
fn a_copy_of_a_copy_rules_by_its_first_meta_page() {
    let sim = SimDisk::new(1);
    let db = open(&sim, Freelist::Stored);
    commit(&db, &mut Model::default(), &[Op::Put(vec![0], 1, 2)]).unwrap();
    let mut copy = Vec::new();
    let read = db.begin_read();
    read.copy_to(&mut copy).unwrap();
    let txid = |page: usize| u64::from_le_bytes(copy[page * 1024 + 64..][..8].try_into().unwrap());
    assert_eq!((txid(0), txid(1)), (read.txid(), read.txid() - 1));
}

#[test]
fn a_compaction_is_durable_when_it_returns() {
    let sim = SimDisk::new(3);
    let db = open(&sim, Freelist::Rebuilt);
    let mut model = Model::default();
    let ops: Vec<Op> = (0..300).map(|n| Op::Put(vec![0], n, 60)).collect();
    commit(&db, &mut model, &ops).unwrap();
    let compacted = Db::open(&sim, Path::new("compacted"), options(Freelist::Rebuilt)).unwrap();
    bolt::compact(&db, &compacted, 1000).unwrap();
    sim.restart();
    let compacted = Db::open(&sim, Path::new("compacted"), options(Freelist::Rebuilt)).unwrap();
    assert_eq!(Model::read(&compacted.begin_read()), model);
}

/// Pages that hold something, the two meta pages left out.
fn pages_in_use(db: &Db) -> u64 {
    let stats = db.stats();
    db.size() / stats.page_size as u64 - stats.free_pages - stats.pending_pages - 2
}

#[test]
fn deletions_make_the_tree_small_again() {
    let sim = SimDisk::new(1);
    let db = open(&sim, Freelist::Rebuilt);
    let mut txn = db.begin_write().unwrap();
    let mut bucket = txn.create_bucket(b"b").unwrap();
    let key = |n: u32| [&[0; 200][..], &n.to_be_bytes()].concat();
    for n in 0..600 {
        bucket.put(&key(n), &[1; 40]).unwrap();
    }
    txn.commit().unwrap();
    assert!(pages_in_use(&db) > 300, "four levels at least");
    let delete = |keep: fn(u32) -> bool| {
        let mut txn = db.begin_write().unwrap();
        let mut bucket = txn.bucket_mut(b"b").unwrap();
        (0..600).filter(|&n| !keep(n)).for_each(|n| bucket.delete(&key(n)).unwrap());
        txn.commit().unwrap();
        assert_eq!(db.check(), []);
        pages_in_use(&db)
    };
    let tenth = delete(|n| n % 10 == 0);
    assert!(tenth < 125, "two children in a branch, one key in a leaf: {tenth}");
    assert_eq!(delete(|n| n == 300), 2, "the root, and a leaf too large to lie in it");
    assert_eq!(delete(|_| false), 1, "nothing lies in the root");
}

#[test]
fn files_grow_as_bbolt_grows_them() {
    let dir = tempfile::tempdir().unwrap();
    let len = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().len();
    let put = |db: &Db, bytes: usize| {
        let mut txn = db.begin_write().unwrap();
        txn.create_bucket_if_not_exists(b"b").unwrap().put(b"k", &vec![1; bytes]).unwrap();
        txn.commit().unwrap();
    };
    let small = at(&dir, "small", Options { no_sync: true, ..Options::default() });
    assert_eq!(len("small"), 4 * 4096);
    put(&small, 10);
    assert_eq!(len("small"), 32 << 10);
    put(&small, 120_000);
    assert_eq!(len("small"), 256 << 10);
    put(&small, 17 << 20);
    assert_eq!(len("small"), small.size() + 4096 + (16 << 20));
    let initial_map_bytes = 1 << 30;
    let mapped = at(&dir, "mapped", Options { initial_map_bytes, ..Options::default() });
    put(&mapped, 10);
    assert_eq!(len("mapped"), mapped.size() + 4096 + (16 << 20));
}

#[test]
fn a_long_reader_keeps_its_pages_and_no_others() {
    let sim = SimDisk::new(1);
    let db = open(&sim, Freelist::Rebuilt);
    let mut model = Model::default();
    let ops: Vec<Op> = (0..300).map(|n| Op::Put(vec![0], n, 60)).collect();
    commit(&db, &mut model, &ops).unwrap();
    let (reader, then) = (db.begin_read(), model.clone());
    commit(&db, &mut model, &ops).unwrap();
    commit(&db, &mut model, &ops).unwrap();
    let size = db.size();
    for n in 0..200 {
        commit(&db, &mut model, &[Op::Put(vec![0], n, 60), Op::Put(vec![0], n + 50, 60)]).unwrap();
        if n % 20 == 0 {
            assert_eq!(db.check(), []);
        }
    }
    assert!(db.size() <= size + 16 * 1024, "{} after {size}", db.size());
    assert_eq!(Model::read(&reader), then);
    assert!(db.stats().pending_pages > 20);
    assert_eq!(db.stats().open_reads, 1);
    drop(reader);
    commit(&db, &mut model, &[]).unwrap();
    assert!(db.stats().pending_pages == 0, "{:?}", db.stats());
}

#[test]
fn readers_in_other_threads_see_whole_states_while_the_file_grows() {
    let dir = tempfile::tempdir().unwrap();
    let db = at(&dir, "db", Options { no_sync: true, growth_bytes: 8192, ..Options::default() });
    let done = AtomicBool::new(false);
    let state = |db: &Db| {
        let read = db.begin_read();
        let bucket = read.bucket(b"b")?;
        let mut cursor = bucket.cursor();
        let first = cursor.first()?.1?[0];
        let mut keys = 1;
        while let Some((_, value)) = cursor.next() {
            assert!(value.unwrap().iter().all(|&byte| byte == first), "one commit wrote them all");
            keys += 1;
        }
        Some((read.txid(), keys))
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut newest = 0;
                while !done.load(Ordering::Relaxed) {
                    if let Some((txid, keys)) = state(&db) {
                        assert!(txid >= newest && keys == txid * 10 - 10, "{keys} in {txid}");
                        newest = txid;
                    }
                }
            });
        }
        for n in 1..60_u8 {
            let mut txn = db.begin_write().unwrap();
            let mut bucket = txn.create_bucket_if_not_exists(b"b").unwrap();
            for key in 0..u32::from(n) * 10 {
                bucket.put(&key.to_be_bytes(), &[n; 100]).unwrap();
            }
            txn.commit().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(state(&db), Some((60, 590)));
    assert_eq!(db.check(), []);
}
