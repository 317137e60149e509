//! Crashes at every operation, failing syncs, full disks: the last or the previous commit is
//! there, whole.
#![allow(clippy::unwrap_used)] // the helpers of tests too

mod common;

use bolt::{Db, Error, Freelist};
use common::{Model, Op, PATH, commit, open, try_open};
use disk::sim::SimDisk;
use std::path::Path;

const SEEDS: u64 = 4;

/// Puts, overwrites, deletions, buckets that come and go, values over several pages.
fn steps() -> Vec<Vec<Op>> {
    let step = |step: u16| {
        let outer = move |n: u16| Op::Put(vec![0], (n * 7 + step * 31) % 600, 40 + usize::from(n));
        let nested = move |n: u16| Op::Put(vec![1, step as u8 % 3], n, 300 * usize::from(n % 12));
        let mut ops: Vec<Op> = (0..50).map(outer).collect();
        ops.extend((0..15).map(nested));
        ops.push(Op::Delete(vec![0], step * 50, 40));
        ops.push(Op::NextSequence(vec![1]));
        if step % 3 == 2 {
            ops.push(Op::DeleteBucket(vec![1, 0]));
        }
        ops
    };
    (0..6).map(step).collect()
}

/// Commits steps until the disk fails. Gives the state after the last success, and the one that
/// was being made when it failed.
fn run(sim: &SimDisk, freelist: Freelist) -> (Model, Model) {
    let mut model = Model::default();
    let Ok(db) = try_open(sim, freelist) else {
        return (model.clone(), model);
    };
    for ops in steps() {
        let before = model.clone();
        if let Err(error) = commit(&db, &mut model, &ops) {
            assert!(matches!(error, Error::Io { .. }), "{error}");
            assert!(matches!(db.begin_write().err(), Some(Error::Poisoned { .. })));
            return (before, model);
        }
    }
    (model.clone(), model)
}

/// Opens what is left, finds one of the two states and goes on from it.
fn recover(sim: &SimDisk, freelist: Freelist, (before, after): (Model, Model), what: &str) {
    let db = try_open(sim, freelist).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(db.check(), [], "{what}");
    let mut model = Model::read(&db.begin_read());
    assert!(model == before || model == after, "{what}");
    commit(&db, &mut model, &steps()[0]).unwrap();
    assert_eq!(db.check(), [], "{what}");
    assert_eq!(Model::read(&db.begin_read()), model, "{what}");
}

fn crash_at_every_operation(freelist: Freelist) {
    let whole = SimDisk::new(0);
    run(&whole, freelist);
    for crash in 1..=whole.ops() {
        for seed in 0..SEEDS {
            // Another fate of what was not synced, every time.
            let sim = SimDisk::new(crash * SEEDS + seed);
            sim.crash_after(crash);
            let states = run(&sim, freelist);
            assert!(sim.has_crashed());
            sim.restart();
            recover(&sim, freelist, states, &format!("crash at {crash}, seed {seed}"));
        }
    }
}

#[test]
fn a_crash_leaves_the_last_or_the_previous_commit() {
    crash_at_every_operation(Freelist::Rebuilt);
}

#[test]
fn so_it_does_with_a_stored_freelist() {
    crash_at_every_operation(Freelist::Stored);
}

#[test]
fn a_crash_while_the_file_is_made_is_mended() {
    for page_size in [1024, 4096] {
        let options = bolt::Options { page_size, ..bolt::Options::default() };
        let open = |sim: &SimDisk| Db::open(sim, Path::new(PATH), options);
        for crash in 1..=4 {
            for seed in 0..40 {
                let sim = SimDisk::new(crash * 40 + seed);
                sim.crash_after(crash);
                let _ = open(&sim);
                sim.restart();
                let db = open(&sim).unwrap();
                assert_eq!(db.check(), []);
                assert_eq!(db.begin_read().txid(), 1);
            }
        }
    }
}

#[test]
fn after_a_failed_sync_nothing_is_written_and_the_last_commit_is_there() {
    for sync in 1..12 {
        for seed in 0..SEEDS {
            let sim = SimDisk::new(sync * SEEDS + seed);
            drop(open(&sim, Freelist::Rebuilt));
            sim.fail_sync_after(sync);
            let states = run(&sim, Freelist::Rebuilt);
            let ops = sim.ops();
            sim.restart();
            assert_eq!(sim.ops(), ops);
            recover(&sim, Freelist::Rebuilt, states, &format!("sync {sync}, seed {seed}"));
        }
    }
}

#[test]
fn a_full_disk_stops_the_writer_and_loses_nothing() {
    for capacity in (4..100).map(|kib| kib * 1024) {
        let sim = SimDisk::new(capacity);
        sim.set_capacity(Some(capacity));
        let states = run(&sim, Freelist::Rebuilt);
        sim.set_capacity(None);
        recover(&sim, Freelist::Rebuilt, states, &format!("capacity {capacity}"));
    }
}

#[test]
fn readers_go_on_after_a_failure() {
    let sim = SimDisk::new(0);
    let db = open(&sim, Freelist::Rebuilt);
    let mut model = Model::default();
    commit(&db, &mut model, &steps()[0]).unwrap();
    let committed = model.clone();
    sim.fail_sync_after(1);
    assert!(commit(&db, &mut model, &steps()[1]).is_err());
    assert_eq!(Model::read(&db.begin_read()), committed);
    let refused = db.begin_write().err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains("simulated sync failure"), "{refused}");
    assert!(matches!(db.sync(), Err(Error::Poisoned { .. })));
}
