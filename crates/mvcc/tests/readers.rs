//! Readers on other threads while one thread writes, compacts and another commits: every reader
//! sees one revision, whole.
#![allow(clippy::unwrap_used)] // the helpers of tests too

use backend::{Backend, CommitJob, Committed, EntryId, Options};
use bytes::Bytes;
use disk::sim::SimDisk;
use mvcc::{RangeOptions, ReadTxn, Reader, Refusal, Store};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

/// A database whose file stays small, so that a test is about what it holds.
fn options() -> Options {
    let mut options = Options::default();
    (options.bolt.growth_bytes, options.bolt.initial_map_bytes) = (4096, 0);
    options
}

const REVISIONS: i64 = 4000;
/// More than a leaf and a page of the index hold.
const KEYS: i64 = 700;
const FIRST: i64 = 2;

fn key(n: i64) -> Bytes {
    format!("key{:04}", n % KEYS).into()
}

fn all() -> RangeOptions {
    RangeOptions { key: "\0".into(), range_end: "\0".into(), ..Default::default() }
}

/// Every revision writes one key of a circle and deletes the one opposite; its own number goes
/// into a key that all of them write.
fn write(store: &mut Store, backend: &mut Backend, revision: i64) {
    let mut txn = backend.begin();
    let mut write = store.begin(&mut txn);
    write.put(&"all".into(), revision.to_string().as_bytes(), 0, false);
    write.put(&key(revision), revision.to_string().as_bytes(), 0, false);
    write.delete_range(&key(revision + KEYS / 2), &Bytes::new(), false);
    let change = write.end().unwrap();
    txn.finish(EntryId { term: 1, index: revision as u64 });
    store.publish(&change);
    assert_eq!(change.revision, revision);
}

/// Keys that exist at a revision.
fn expected(revision: i64) -> Vec<(Bytes, i64)> {
    let alive = (revision - KEYS / 2 + 1).max(FIRST)..=revision;
    let mut keys: Vec<_> = alive.map(|at| (key(at), at)).collect();
    keys.push(("all".into(), revision));
    keys.sort();
    keys
}

fn check_at(read: &ReadTxn, revision: i64) -> Result<(), Refusal> {
    let result = read.range(&RangeOptions { revision, ..all() })?;
    let at = if revision == 0 { read.revision() } else { revision };
    let seen: Vec<_> = result
        .kvs
        .iter()
        .map(|kv| {
            let kv = kv.decode();
            assert_eq!(kv.value, kv.mod_revision.to_string());
            (kv.key, kv.mod_revision)
        })
        .collect();
    assert_eq!(seen, expected(at));
    assert_eq!(result.count as usize, seen.len());
    let page = read.range(&RangeOptions { revision, limit: 10, ..all() })?;
    assert_eq!(page.kvs, result.kvs[..10.min(seen.len())]);
    assert_eq!(page.count, result.count);
    Ok(())
}

fn check_history(read: &ReadTxn) {
    let from = (read.revision() - 20).max(FIRST);
    let mut last = (from, -1);
    let walked = read.history(from, |revision, _, _| {
        let next = (revision.main, revision.sub);
        assert!(next == (last.0, last.1 + 1) || next == (last.0 + 1, 0), "{last:?} {next:?}");
        last = next;
        ControlFlow::Continue(())
    });
    if walked.is_ok() {
        assert_eq!(last.0, read.revision());
    }
}

fn read_until(reader: &Reader, stop: &AtomicBool, rounds: &AtomicUsize) {
    while !stop.load(Ordering::Relaxed) {
        reader
            .read_with(|read| if read.revision() > FIRST { check_at(read, 0) } else { Ok(()) })
            .unwrap();
        let read = reader.read();
        if read.revision() > FIRST {
            let old = read.revision() - 60;
            if old > FIRST {
                let result = check_at(&read, old);
                assert!(result.is_ok() || old < read.compacted(), "{result:?}");
            }
            check_history(&read);
            // What a reader saw, it sees again.
            let result = check_at(&read, read.revision());
            assert!(result.is_ok() || read.revision() < read.compacted());
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

fn commit_jobs(jobs: mpsc::Receiver<CommitJob>, done: mpsc::Sender<Committed>) {
    for job in jobs {
        // The writer may have ended already.
        let _ = done.send(job.run().unwrap());
    }
}

#[test]
fn readers_see_whole_revisions_while_one_thread_writes_and_another_commits() {
    let sim = SimDisk::new(1);
    let mut backend = Backend::open(sim.disk(), Path::new("db"), options()).unwrap();
    let (mut store, _) = Store::open(&backend).unwrap();
    let (stop, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|threads| {
        let reader = store.reader();
        let (stop, rounds) = (&stop, &rounds);
        for _ in 0..2 {
            let reader = reader.clone();
            threads.spawn(move || read_until(&reader, stop, rounds));
        }
        let (send_job, jobs) = mpsc::channel();
        let (done, committed) = mpsc::channel();
        threads.spawn(move || commit_jobs(jobs, done));
        for revision in FIRST..=REVISIONS {
            write(&mut store, &mut backend, revision);
            if let Ok(committed) = committed.try_recv() {
                backend.complete(committed);
            }
            if let Some(job) = backend.freeze() {
                send_job.send(job).unwrap();
            }
            compact(&mut store, &mut backend, revision);
        }
        drop(send_job);
        // However fast the writer was, readers have looked too.
        while rounds.load(Ordering::Relaxed) < 3 {
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Promises a compaction now and then, and does a step of it with every revision.
fn compact(store: &mut Store, backend: &mut Backend, revision: i64) {
    if revision % 100 == 0 {
        // Entries and revisions count alike here, so this one is no entry of its own.
        let mut txn = backend.begin();
        store.schedule_compaction(&mut txn, revision - 30).unwrap();
        drop(txn);
    }
    let mut txn = backend.begin_maintenance();
    store.compaction_step(&mut txn);
    txn.finish();
}

#[test]
fn readers_follow_a_store_that_takes_the_place_of_another() {
    let sim = SimDisk::new(1);
    let open = |name: &str| {
        let options = Options::default();
        Backend::open(std::sync::Arc::new(sim.clone()), Path::new(name), options).unwrap()
    };
    let (mut first_backend, mut second_backend) = (open("first"), open("second"));
    let (mut first, _) = Store::open(&first_backend).unwrap();
    let (mut second, _) = Store::open(&second_backend).unwrap();
    (FIRST..FIRST + 3).for_each(|revision| write(&mut first, &mut first_backend, revision));
    (FIRST..FIRST + 9).for_each(|revision| write(&mut second, &mut second_backend, revision));
    let reader = first.reader();
    let begun = reader.read();
    second.succeed(&first);
    drop((first, first_backend));
    assert_eq!((begun.revision(), reader.revision()), (FIRST + 2, FIRST + 8));
    check_at(&begun, 0).unwrap();
    check_at(&reader.read(), 0).unwrap();
    write(&mut second, &mut second_backend, FIRST + 9);
    check_at(&reader.read(), FIRST + 9).unwrap();
}

#[test]
fn a_hash_that_nobody_waits_for_is_given_up() {
    let sim = SimDisk::new(1);
    let mut backend = Backend::open(sim.disk(), Path::new("db"), options()).unwrap();
    let (mut store, _) = Store::open(&backend).unwrap();
    (FIRST..REVISIONS).for_each(|revision| write(&mut store, &mut backend, revision));
    let reader = store.reader();
    let looks = AtomicUsize::new(0);
    let until = |last: usize| {
        looks.store(0, Ordering::Relaxed);
        reader.hash_kv_while(0, &|| looks.fetch_add(1, Ordering::Relaxed) + 1 < last).unwrap()
    };
    assert_eq!((until(1), looks.load(Ordering::Relaxed)), (None, 1));
    assert_eq!((until(3), looks.load(Ordering::Relaxed)), (None, 3));
    assert_eq!(until(usize::MAX), Some(reader.hash_kv(0).unwrap()));
}
