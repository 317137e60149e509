//! The store against a naive map of every revision: random writes, reads with every option at old
//! revisions, compactions in pieces, commits, defragmentations, restarts.
#![allow(clippy::unwrap_used)] // the helpers of tests too

mod naive;

use backend::{Backend, DefragResult, EntryId, Options};
use bytes::Bytes;
use disk::sim::SimDisk;
use mvcc::{Progress, RangeOptions, Refusal, RestoreJob, Store};
use naive::{Model, Write};
use proptest::prelude::*;
use std::ops::ControlFlow;
use std::path::Path;

/// The store, and the model beside it.
struct World {
    sim: SimDisk,
    backend: Backend,
    store: Store,
    index: u64,
    model: Model,
}

fn options() -> Options {
    let bolt = bolt::Options { page_size: 1024, growth_bytes: 8192, ..Default::default() };
    Options { bolt, ..Options::default() }
}

impl World {
    fn new() -> World {
        let sim = SimDisk::new(1);
        let backend = Backend::open(sim.disk(), Path::new("db"), options()).unwrap();
        let (mut store, _) = Store::open(&backend).unwrap();
        store.set_compaction_batch_limit(3);
        World { sim, backend, store, index: 0, model: Model::default() }
    }

    fn entry(&mut self) -> EntryId {
        self.index += 1;
        EntryId { term: 1, index: self.index }
    }

    fn write(&mut self, writes: &[Write], keep: bool) {
        let entry = self.entry();
        let mut txn = self.backend.begin();
        let mut write = self.store.begin(&mut txn);
        let mut model = self.model.clone();
        model.begin();
        for step in writes {
            match step {
                Write::Put { key, value, lease } => {
                    assert_eq!(write.get(key), model.now().get(key).cloned());
                    let put = write.put(key, value, *lease, true);
                    let prev = model.put(key, value, *lease);
                    assert_eq!(put.prev.map(|kv| kv.decode()), prev);
                    assert_eq!(put.revision, model.current);
                }
                Write::Delete { key, end } => {
                    let deleted = write.delete_range(key, end, true);
                    let prev = model.delete(key, end);
                    let got: Vec<_> = deleted.prev.iter().map(mvcc::Kv::decode).collect();
                    assert_eq!(got, prev);
                    assert_eq!(deleted.keys.len(), prev.len());
                }
            }
            let all =
                RangeOptions { key: "\0".into(), range_end: "\0".into(), ..Default::default() };
            let seen = write.range(&all).unwrap();
            assert_eq!(seen.revision, self.model.current + i64::from(model.has_changed()));
            assert_eq!(seen.revision, write.revision());
            let seen: Vec<_> = seen.kvs.iter().map(mvcc::Kv::decode).collect();
            assert_eq!(seen, model.now().values().cloned().collect::<Vec<_>>());
        }
        if !keep {
            drop(write);
            txn.finish(entry);
            return;
        }
        let change = write.end();
        txn.finish(entry);
        assert_eq!(change.is_some(), model.has_changed());
        if let Some(change) = change {
            model.end();
            let events = change.events.iter();
            let got: Vec<_> = events.map(|event| (event.is_tombstone, event.kv.clone())).collect();
            assert_eq!(got, model.stored_at(change.revision));
            self.store.publish(&change);
            self.model = model;
        }
        assert_eq!(self.store.revision(), self.model.current);
    }

    fn compact(&mut self, revision: i64) {
        let entry = self.entry();
        let mut txn = self.backend.begin();
        let result = self.store.schedule_compaction(&mut txn, revision);
        txn.finish(entry);
        assert_eq!(result.is_ok(), self.model.schedule(revision), "compacting {revision}");
    }

    fn steps(&mut self, steps: usize) {
        for _ in 0..steps {
            let mut txn = self.backend.begin_maintenance();
            let progress = self.store.compaction_step(&mut txn);
            txn.finish();
            if progress == Progress::Done {
                self.model.finish();
                return;
            }
        }
    }

    fn reopen(self, parts: usize) -> World {
        let World { sim, mut backend, store, index, mut model } = self;
        backend.commit().unwrap();
        drop((backend, store));
        let backend = Backend::open(sim.disk(), Path::new("db"), options()).unwrap();
        let run = |jobs: Vec<RestoreJob>| jobs.into_iter().rev().map(RestoreJob::run).collect();
        let (mut store, restored) = Store::open_in_parts(&backend, parts, run).unwrap();
        assert_eq!(backend.applied().index, index);
        let mut attached = restored.attachments;
        attached.sort();
        let leased = model.now().values().filter(|kv| kv.lease != 0);
        assert_eq!(attached, leased.map(|kv| (kv.key.clone(), kv.lease)).collect::<Vec<_>>());
        let unfinished = store.is_compacting().then_some(model.compacted);
        assert_eq!(restored.unfinished_compaction, unfinished);
        assert_eq!((store.revision(), store.compacted()), (model.current, model.compacted));
        model.restart();
        store.set_compaction_batch_limit(3);
        World { sim, backend, store, index, model }
    }

    fn defragment(&mut self) {
        self.backend.commit().unwrap();
        let job = self.backend.defragment().unwrap();
        let result = self.backend.complete_defragment(job.run()).unwrap();
        assert!(matches!(result, DefragResult::Done));
    }

    fn check_range(&self, options: &RangeOptions) {
        let read = self.store.reader().read();
        let got = read.range(options);
        match self.model.range(options) {
            Ok((kvs, more, count)) => {
                let got = got.unwrap();
                let decoded: Vec<_> = got.kvs.iter().map(mvcc::Kv::decode).collect();
                assert_eq!(decoded, kvs, "{options:?}");
                assert_eq!((got.more, got.count), (more, count), "{options:?}");
                assert_eq!(got.revision, self.model.current);
            }
            Err(refusal) => assert_eq!(got, Err(refusal), "{options:?}"),
        }
    }

    fn check_history(&self, from: i64) {
        let mut got = Vec::new();
        let walked = self.store.reader().read().history(from, |revision, is_tombstone, stored| {
            got.push((revision.main, is_tombstone, Bytes::copy_from_slice(stored)));
            ControlFlow::Continue(())
        });
        if from < self.model.compacted {
            assert_eq!(walked, Err(Refusal::Compacted));
            return;
        }
        // Of the compacted revision itself only what is kept must be there.
        got.retain(|(main, ..)| *main > self.model.compacted);
        let first = from.max(self.model.compacted + 1);
        let expected: Vec<_> = (first..=self.model.current)
            .flat_map(|main| {
                let stored = self.model.stored_at(main).into_iter();
                stored.map(move |(is_tombstone, kv)| (main, is_tombstone, kv))
            })
            .collect();
        assert_eq!(got, expected);
    }

    fn check_hash(&mut self, revision: i64) {
        self.steps(usize::MAX);
        let got = self.store.reader().hash_kv(revision);
        match self.model.hash(revision) {
            Ok((hash, compact_revision, hash_revision)) => {
                let got = got.unwrap();
                assert_eq!(
                    (got.compact_revision, got.hash_revision),
                    (compact_revision, hash_revision)
                );
                assert_eq!(got.hash, hash, "at {revision}, compacted {compact_revision}");
                assert_eq!(got.revision, self.model.current);
            }
            Err(refusal) => assert_eq!(got, Err(refusal)),
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<Write>),
    Abandon(Vec<Write>),
    Range(RangeOptions),
    GetAt(Bytes, i64),
    History(i64),
    Hash(i64),
    Compact(i64),
    CompactionSteps(usize),
    Commit,
    Defragment,
    Reopen(usize),
}

fn name() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(prop::sample::select(b"\0ab\xff".to_vec()), 1..4).prop_map(Bytes::from)
}

fn end() -> impl Strategy<Value = Bytes> {
    prop_oneof![3 => Just(Bytes::new()), 2 => Just(Bytes::from_static(b"\0")), 3 => name()]
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let put = (name(), prop::collection::vec(any::<u8>(), 0..6), 0..3i64)
        .prop_map(|(key, value, lease)| Write::Put { key, value: value.into(), lease });
    let delete = (name(), end()).prop_map(|(key, end)| Write::Delete { key, end });
    prop::collection::vec(prop_oneof![3 => put, 1 => delete], 0..4)
}

fn range_options() -> impl Strategy<Value = RangeOptions> {
    let filter = || prop_oneof![3 => Just(0), 1 => 1..20i64];
    (
        (name(), end(), -1..6i64, -1..30i64, 0..4, 0..6),
        (any::<bool>(), prop::bool::weighted(0.1)),
        (filter(), filter(), filter(), filter()),
    )
        .prop_map(|(what, (keys_only, count_only), filters)| {
            let (key, range_end, limit, revision, sort_order, sort_target) = what;
            RangeOptions {
                key,
                range_end,
                limit,
                revision,
                sort_order,
                sort_target,
                keys_only,
                count_only,
                min_mod_revision: filters.0,
                max_mod_revision: filters.1,
                min_create_revision: filters.2,
                max_create_revision: filters.3,
            }
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => writes().prop_map(Step::Write),
        1 => writes().prop_map(Step::Abandon),
        10 => range_options().prop_map(Step::Range),
        2 => (name(), 0..30i64).prop_map(|(key, at)| Step::GetAt(key, at)),
        2 => (0..30i64).prop_map(Step::History),
        2 => (-1..30i64).prop_map(Step::Hash),
        2 => (0..30i64).prop_map(Step::Compact),
        3 => (1..4usize).prop_map(Step::CompactionSteps),
        3 => Just(Step::Commit),
        1 => Just(Step::Defragment),
        1 => (1..5usize).prop_map(Step::Reopen),
    ]
}

fn run(steps: Vec<Step>) {
    let mut world = World::new();
    for step in steps {
        match step {
            Step::Write(writes) => world.write(&writes, true),
            Step::Abandon(writes) => world.write(&writes, false),
            Step::Range(options) => world.check_range(&options),
            Step::GetAt(key, at) => {
                let got = world.store.reader().read().get_at(&key, at);
                assert_eq!(got.map(|kv| kv.decode()), world.model.get_at(&key, at));
            }
            Step::History(from) => world.check_history(from),
            Step::Hash(revision) => world.check_hash(revision),
            Step::Compact(revision) => world.compact(revision),
            Step::CompactionSteps(steps) => world.steps(steps),
            Step::Commit => world.backend.commit().unwrap(),
            Step::Defragment => world.defragment(),
            Step::Reopen(parts) => world = world.reopen(parts),
        }
        world.store.check();
        world.backend.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_the_model(steps in prop::collection::vec(step(), 1..60)) {
        run(steps);
    }
}
