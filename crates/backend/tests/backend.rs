//! Effects and applied index are one, through crashes, commits and defragmentation.
#![allow(clippy::unwrap_used)] // the helpers of tests too

use backend::{Backend, DefragResult, EntryId, Fault, Options, Reader, Table, View};
use disk::sim::SimDisk;
use std::ops::ControlFlow;
use std::path::Path;

fn options() -> Options {
    let bolt = bolt::Options { page_size: 1024, growth_bytes: 4096, ..Default::default() };
    Options { bolt, ..Options::default() }
}

fn open(sim: &SimDisk) -> Result<Backend, Fault> {
    Backend::open(sim.disk(), Path::new("db"), options())
}

fn key(n: u64) -> Vec<u8> {
    [&n.to_be_bytes()[..], b"_", &0u64.to_be_bytes()].concat()
}

fn apply(backend: &mut Backend, index: u64) {
    let mut txn = backend.begin();
    txn.put(Table::Key, &key(index), vec![index as u8; 50].into());
    txn.put(Table::Lease, &(index % 5).to_be_bytes(), index.to_string().into());
    if index.is_multiple_of(7) {
        txn.delete(Table::Lease, &(index % 3).to_be_bytes());
    }
    assert_eq!(txn.get(Table::Key, &key(index)).unwrap().len(), 50);
    txn.finish(EntryId { term: 1, index });
    backend.check();
}

fn keys(view: &View, table: Table) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    view.range(table, &[], &[], usize::MAX, |key, _| {
        found.push(key.to_vec());
        ControlFlow::Continue(())
    });
    found
}

#[test]
fn writes_are_read_at_once_and_while_they_are_committed() {
    let sim = SimDisk::new(1);
    let mut backend = open(&sim).unwrap();
    for index in 1..=20 {
        apply(&mut backend, index);
    }
    let job = backend.freeze().unwrap();
    assert!(backend.freeze().is_none(), "one job at a time");
    apply(&mut backend, 21);
    let early = backend.reader().view();
    assert_eq!(keys(&early, Table::Key).len(), 21);
    let done = job.run().unwrap();
    backend.check();
    backend.complete(done);
    backend.check();
    assert_eq!(backend.durable().index, 20);
    for view in [early, backend.reader().view()] {
        assert_eq!(keys(&view, Table::Key), (1..=21).map(key).collect::<Vec<_>>());
        assert_eq!(view.get(Table::Lease, &1u64.to_be_bytes()).unwrap(), "21");
    }
    let txn = backend.begin();
    drop(txn);
    assert_eq!(backend.applied().index, 21);
}

#[test]
fn maintenance_leaves_the_applied_index() {
    let sim = SimDisk::new(1);
    let mut backend = open(&sim).unwrap();
    apply(&mut backend, 1);
    backend.commit().unwrap();
    let mut txn = backend.begin_maintenance();
    txn.delete(Table::Key, &key(1));
    txn.put(Table::Meta, b"note", "x".into());
    txn.finish();
    backend.commit().unwrap();
    drop(backend);
    let backend = open(&sim).unwrap();
    assert_eq!(backend.applied(), EntryId { term: 1, index: 1 });
    assert!(keys(&backend.reader().view(), Table::Key).is_empty());
}

fn run(sim: &SimDisk) -> Result<(), Fault> {
    let mut backend = open(sim)?;
    for round in 0..6 {
        for index in round * 4 + 1..=round * 4 + 4 {
            apply(&mut backend, index);
        }
        backend.commit()?;
        backend.check();
        if round % 2 == 1 {
            let job = backend.defragment().unwrap();
            apply(&mut backend, 1000 + round);
            return match backend.complete_defragment(job.run())? {
                DefragResult::Done => Ok(()),
                DefragResult::NotDone(why) => Err(why),
            };
        }
    }
    Ok(())
}

#[test]
fn a_crash_anywhere_leaves_index_and_effects_in_step() {
    let whole = SimDisk::new(0);
    run(&whole).unwrap();
    for crash in 1..=whole.ops() {
        for seed in 0..10 {
            let sim = SimDisk::new(seed);
            sim.crash_after(crash);
            assert!(run(&sim).is_err());
            sim.restart();
            let Ok(backend) = open(&sim) else {
                assert!(crash < 6, "only a file that was never whole may fail to open");
                continue;
            };
            backend.check();
            let applied = backend.applied().index;
            let view = backend.reader().view();
            assert_eq!(keys(&view, Table::Key), (1..=applied).map(key).collect::<Vec<_>>());
            assert_eq!(applied % 4, 0, "commits are whole");
        }
    }
}

#[test]
fn defragmentation_shrinks_the_file_under_readers_and_writers() {
    let sim = SimDisk::new(1);
    let mut backend = open(&sim).unwrap();
    for index in 1..=400 {
        apply(&mut backend, index);
    }
    backend.commit().unwrap();
    let mut txn = backend.begin_maintenance();
    (1..=350).for_each(|n| txn.delete(Table::Key, &key(n)));
    txn.finish();
    backend.commit().unwrap();
    let before = (backend.size(), backend.reader().snapshot().hash());
    let reader = backend.reader().view();
    let job = backend.defragment().unwrap();
    apply(&mut backend, 401);
    assert!(backend.freeze().is_none(), "commits wait for the exchange");
    let result = backend.complete_defragment(job.run()).unwrap();
    assert!(matches!(result, DefragResult::Done));
    assert!(backend.size() < before.0 / 2);
    assert_eq!(backend.reader().snapshot().hash(), before.1);
    assert_eq!(keys(&reader, Table::Key).len(), 51);
    backend.commit().unwrap();
    drop((backend, reader));
    let backend = open(&sim).unwrap();
    assert_eq!(backend.applied().index, 401);
    assert_eq!(keys(&backend.reader().view(), Table::Key).len(), 51);
}

#[test]
fn what_is_committed_after_a_defragmentation_survives_a_crash_anywhere() {
    let run = |sim: &SimDisk, durable: &mut u64| -> Result<(), Fault> {
        let mut backend = open(sim)?;
        for round in 0..3 {
            for index in round * 20 + 1..=round * 20 + 20 {
                apply(&mut backend, index);
            }
            backend.commit()?;
            *durable = backend.durable().index;
            let job = backend.defragment().unwrap();
            let done = job.run();
            backend.complete_defragment(done)?;
        }
        Ok(())
    };
    let whole = SimDisk::new(0);
    run(&whole, &mut 0).unwrap();
    for crash in 1..=whole.ops() {
        for seed in 0..4 {
            let (sim, mut durable) = (SimDisk::new(seed), 0);
            sim.crash_after(crash);
            // A defragmentation that fails before the exchange is no fault.
            let _ = run(&sim, &mut durable);
            sim.restart();
            match open(&sim) {
                Ok(backend) => {
                    let applied = backend.applied().index;
                    assert!(applied >= durable, "crash {crash}, seed {seed}: {durable}, {applied}");
                    let found = keys(&backend.reader().view(), Table::Key);
                    assert_eq!(found, (1..=applied).map(key).collect::<Vec<_>>());
                }
                Err(fault) => assert_eq!(durable, 0, "crash {crash}, seed {seed}: {fault}"),
            }
        }
    }
}

#[test]
fn a_defragmentation_without_space_leaves_everything_as_it_was() {
    let sim = SimDisk::new(1);
    let mut backend = open(&sim).unwrap();
    for index in 1..=100 {
        apply(&mut backend, index);
    }
    backend.commit().unwrap();
    sim.set_capacity(Some(backend.size() + 2 * 4096));
    let job = backend.defragment().unwrap();
    let result = backend.complete_defragment(job.run()).unwrap();
    assert!(matches!(result, DefragResult::NotDone(_)));
    sim.set_capacity(None);
    assert_eq!(sim.disk().list(Path::new("")).unwrap(), ["db"]);
    apply(&mut backend, 101);
    backend.commit().unwrap();
    drop(backend);
    let backend = open(&sim).unwrap();
    assert_eq!(keys(&backend.reader().view(), Table::Key).len(), 101);
}

#[test]
fn left_overs_of_a_defragmentation_are_removed() {
    let sim = SimDisk::new(1);
    drop(open(&sim).unwrap());
    for name in ["db.tmp.defrag", "db.tmp.123456", "db.other"] {
        sim.disk().open(Path::new(name), disk::Open::CREATE).unwrap();
    }
    drop(open(&sim).unwrap());
    assert_eq!(sim.disk().list(Path::new("")).unwrap(), ["db", "db.other"]);
}

#[test]
fn removed_revisions_are_not_walked_before_they_leave_the_file() {
    let sim = SimDisk::new(1);
    let mut backend = open(&sim).unwrap();
    (1..=4).for_each(|index| apply(&mut backend, index));
    backend.commit().unwrap();
    apply(&mut backend, 5);
    let mut txn = backend.begin_maintenance();
    txn.delete(Table::Key, &key(2));
    txn.delete(Table::Key, &key(5));
    txn.finish();
    let left = vec![key(1), key(3), key(4)];
    assert_eq!(keys(&backend.reader().view(), Table::Key), left);
    let job = backend.freeze().unwrap();
    assert_eq!(keys(&backend.reader().view(), Table::Key), left);
    let done = job.run().unwrap();
    backend.complete(done);
    assert_eq!(keys(&backend.reader().view(), Table::Key), left);
}

#[test]
fn a_transaction_goes_back_to_its_savepoint() {
    let sim = SimDisk::new(1);
    let mut backend = open(&sim).unwrap();
    let mut txn = backend.begin();
    txn.put(Table::Key, &key(1), "kept".into());
    txn.put(Table::Lease, b"a", "kept".into());
    let savepoint = txn.savepoint();
    txn.put(Table::Key, &key(2), "undone".into());
    txn.put(Table::Lease, b"a", "undone".into());
    txn.delete(Table::Key, &key(1));
    txn.undo_to(savepoint);
    assert_eq!(txn.get(Table::Lease, b"a").unwrap(), "kept");
    txn.finish(EntryId { term: 1, index: 1 });
    assert_eq!(keys(&backend.reader().view(), Table::Key), [key(1)]);
}

#[test]
fn the_backend_is_full_from_its_limit_on() {
    let sim = SimDisk::new(1);
    let options = Options { pending_bytes_max: 200, ..options() };
    let mut backend = Backend::open(sim.disk(), Path::new("db"), options).unwrap();
    apply(&mut backend, 1);
    assert!(!backend.is_full());
    (2..=4).for_each(|index| apply(&mut backend, index));
    assert!(backend.is_full());
    let job = backend.freeze().unwrap();
    assert!(!backend.is_full());
    backend.complete(job.run().unwrap());
    assert_eq!(backend.durable().index, 4);
}

#[test]
fn a_file_can_be_looked_at_without_changing_it() {
    let sim = SimDisk::new(1);
    let look = || Reader::open(&*sim.disk(), Path::new("db"), options().bolt);
    assert!(look().is_err(), "nothing is made");
    let mut backend = open(&sim).unwrap();
    (1..=20).for_each(|index| apply(&mut backend, index));
    backend.commit().unwrap();
    assert!(look().is_err(), "a member is using it");
    let expected = keys(&backend.reader().view(), Table::Key);
    drop(backend);
    let before = disk::read_all(&*sim.disk(), Path::new("db")).unwrap();
    let (one, other) = (look().unwrap(), look().unwrap());
    assert_eq!(keys(&one.view(), Table::Key), expected);
    assert_eq!(other.view().last_revision_key(), Some(key(20)));
    assert_eq!(disk::read_all(&*sim.disk(), Path::new("db")).unwrap(), before);
}

#[test]
fn a_database_can_become_the_beginning_of_another_log() {
    let sim = SimDisk::new(1);
    let mut backend = open(&sim).unwrap();
    (1..=20).for_each(|index| apply(&mut backend, index));
    let mut txn = backend.begin_maintenance();
    txn.put(Table::Meta, b"k", "v".into());
    let first = EntryId { term: 1, index: 3 };
    txn.finish_at(first);
    assert_eq!(backend.applied(), first);
    backend.commit().unwrap();
    drop(backend);
    let mut backend = open(&sim).unwrap();
    assert_eq!((backend.applied(), backend.durable()), (first, first));
    assert_eq!(backend.reader().view().get(Table::Meta, b"k").as_deref(), Some(&b"v"[..]));
    let mut txn = backend.begin();
    txn.put(Table::Meta, b"k", "w".into());
    txn.finish(EntryId { term: 1, index: 4 });
}

#[test]
fn a_hash_that_nobody_waits_for_is_given_up() {
    let sim = SimDisk::new(1);
    let mut backend = open(&sim).unwrap();
    let mut txn = backend.begin_maintenance();
    (0..3000).for_each(|n| txn.put(Table::Key, &key(n), "v".into()));
    txn.finish();
    backend.commit().unwrap();
    let snapshot = backend.reader().snapshot();
    let looks = std::cell::Cell::new(0);
    let until = |last: u32| {
        looks.set(0);
        snapshot.hash_while(&|| {
            looks.set(looks.get() + 1);
            looks.get() < last
        })
    };
    assert_eq!((until(1), looks.get()), (None, 1));
    assert_eq!((until(2), looks.get()), (None, 2));
    assert_eq!(until(u32::MAX), Some(snapshot.hash()));
    assert!(looks.get() > 2, "it is asked on the way");
}
