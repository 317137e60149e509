//! Watchers against a model: random writes, compactions, slow streams.
#![allow(clippy::unwrap_used)] // the helpers of tests too

use backend::{Backend, EntryId, Options};
use bytes::Bytes;
use disk::sim::SimDisk;
use mvcc::{Progress, Store};
use proptest::prelude::*;
use prost::Message;
use proto::etcdserverpb::{WatchCreateRequest, WatchResponse};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use watch::{Hub, Limits, Sink};

#[derive(Clone, Default)]
struct Wire {
    sent: Arc<Mutex<Vec<WatchResponse>>>,
    full: Arc<AtomicBool>,
}

impl Sink for Wire {
    fn send(&mut self, pieces: Vec<Bytes>) {
        let response = WatchResponse::decode(&pieces.concat()[..]).unwrap();
        self.sent.lock().unwrap().push(response);
    }

    fn has_room(&self) -> bool {
        !self.full.load(Ordering::Relaxed)
    }
}

impl Wire {
    fn take(&self) -> Vec<WatchResponse> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }
}

struct World {
    backend: Backend,
    store: Store,
    hub: Hub,
    index: u64,
    /// Every change: revision, key, value; no value for a delete.
    history: Vec<(i64, String, Option<String>)>,
}

impl World {
    fn new() -> World {
        let sim = SimDisk::new(1);
        let backend = Backend::open(sim.disk(), Path::new("db"), Options::default()).unwrap();
        let (store, _) = Store::open(&backend).unwrap();
        let limits = Limits { fragment_bytes: 100, progress_interval_ms: 1000 };
        let hub = Hub::new(store.reader(), limits, 7, 8);
        World { backend, store, hub, index: 0, history: Vec::new() }
    }

    /// Puts and deletes in one revision.
    fn write(&mut self, ops: &[(String, Option<String>)]) {
        self.index += 1;
        let mut txn = self.backend.begin();
        let mut write = self.store.begin(&mut txn);
        let mut done = Vec::new();
        for (key, value) in ops {
            let name = Bytes::from(key.clone());
            match value {
                Some(value) => {
                    write.put(&name, value.as_bytes(), 0, false);
                    done.push((key.clone(), Some(value.clone())));
                }
                None => {
                    if !write.delete_range(&name, &Bytes::new(), false).keys.is_empty() {
                        done.push((key.clone(), None));
                    }
                }
            }
        }
        let change = write.end();
        txn.finish(EntryId { term: 1, index: self.index });
        if let Some(change) = change {
            self.store.publish(&change);
            self.hub.publish(&change);
            self.history.extend(done.into_iter().map(|(k, v)| (change.revision, k, v)));
        }
    }

    fn compact(&mut self, revision: i64) {
        self.index += 1;
        let mut txn = self.backend.begin();
        let scheduled = self.store.schedule_compaction(&mut txn, revision);
        txn.finish(EntryId { term: 1, index: self.index });
        if scheduled.is_ok() {
            loop {
                let mut txn = self.backend.begin_maintenance();
                let progress = self.store.compaction_step(&mut txn);
                txn.finish();
                if progress == Progress::Done {
                    break;
                }
            }
        }
    }

    fn settle(&mut self) {
        while self.hub.step() {}
        self.hub.check();
    }
}

fn request(key: &str, end: &str, start: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        key: key.to_owned().into(),
        range_end: end.to_owned().into(),
        start_revision: start,
        ..Default::default()
    }
}

fn put(key: &str, value: &str) -> (String, Option<String>) {
    (key.into(), Some(value.into()))
}

fn events(responses: &[WatchResponse]) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let all = responses.iter().flat_map(|response| &response.events);
    all.map(|event| {
        let kv = event.kv.as_ref().unwrap();
        let value = (event.r#type == 0).then(|| text(&kv.value));
        (kv.mod_revision, text(&kv.key), value)
    })
    .collect()
}

#[test]
fn answers_are_those_of_etcd() {
    let mut world = World::new();
    let wire = Wire::default();
    let stream = 1;
    world.hub.open(stream, Box::new(wire.clone()));
    world.hub.create(stream, &request("b", "a", 0));
    world.hub.create(stream, &request("a", "", -1));
    world.hub.create(stream, &request("a", "", 0));
    world.hub.create(stream, &WatchCreateRequest { watch_id: -5, ..request("a", "\0", 0) });
    world.hub.create(stream, &WatchCreateRequest { watch_id: -5, ..request("a", "", 0) });
    let told: Vec<_> = wire
        .take()
        .into_iter()
        .map(|r| (r.watch_id, r.created, r.canceled, r.cancel_reason))
        .collect();
    let refused = |reason: &str| (-1, true, true, reason.to_owned());
    let expected = vec![
        refused("mvcc: watcher range is empty"),
        refused("etcdserver: mvcc: required revision has been compacted"),
        (0, true, false, String::new()),
        (-5, true, false, String::new()),
        refused("mvcc: duplicate watch ID provided on the WatchStream"),
    ];
    assert_eq!(told, expected);
    world.hub.cancel(stream, 99);
    world.hub.cancel(stream, -5);
    let canceled = wire.take();
    assert_eq!(canceled.len(), 1);
    assert!(canceled[0].canceled && canceled[0].watch_id == -5);
    assert_eq!(canceled[0].header.as_ref().unwrap().cluster_id, 7);
}

#[test]
fn history_below_the_compacted_revision_is_refused_and_the_revision_itself_is_not() {
    let mut world = World::new();
    for n in 0..6 {
        world.write(&[put("k", &n.to_string())]);
    }
    world.write(&[("k".into(), None)]);
    world.compact(8);
    let wire = Wire::default();
    let stream = 1;
    world.hub.open(stream, Box::new(wire.clone()));
    world.hub.create(stream, &request("k", "", 5));
    world.hub.create(stream, &request("k", "", 8));
    world.settle();
    let told = wire.take();
    let canceled = told.iter().find(|response| response.canceled).unwrap();
    assert_eq!((canceled.watch_id, canceled.compact_revision), (0, 8));
    assert_eq!(canceled.header.as_ref().unwrap().revision, 0);
    assert_eq!(events(&told), [(8, "k".into(), None)], "the tombstone at the horizon is there");
}

#[test]
fn progress_comes_after_the_events_it_covers() {
    let mut world = World::new();
    let wire = Wire::default();
    let stream = 1;
    world.hub.open(stream, Box::new(wire.clone()));
    world.hub.request_progress(stream);
    assert!(wire.take().is_empty(), "nobody watches");
    world.write(&[put("k", "1")]);
    let mut watch = request("k", "", 2);
    watch.progress_notify = true;
    world.hub.create(stream, &watch);
    world.hub.request_progress(stream);
    assert_eq!(wire.take().len(), 1, "only created: the watcher has not come to now");
    world.settle();
    world.hub.request_progress(stream);
    let told = wire.take();
    assert_eq!(told.len(), 2);
    assert_eq!((told[1].watch_id, told[1].header.as_ref().unwrap().revision), (-1, 2));
    world.hub.tick(1000);
    assert!(wire.take().is_empty(), "it has had events");
    world.hub.tick(2000);
    let told = wire.take();
    assert_eq!((told[0].watch_id, told[0].header.as_ref().unwrap().revision), (0, 2));
    world.hub.create(stream, &request("k", "", 50));
    wire.take();
    world.hub.request_progress(stream);
    assert!(wire.take().is_empty(), "one watcher waits for the future");
}

#[test]
fn filters_previous_values_and_fragments() {
    let mut world = World::new();
    let wire = Wire::default();
    let stream = 1;
    world.hub.open(stream, Box::new(wire.clone()));
    world.hub.create(
        stream,
        &WatchCreateRequest { filters: vec![0], prev_kv: true, ..request("a", "z", 0) },
    );
    world.hub.create(stream, &WatchCreateRequest { fragment: true, ..request("a", "z", 0) });
    world.write(&[put("k", "old")]);
    let long = "x".repeat(60);
    world.write(&[put("m", &long), put("n", &long), ("k".into(), None)]);
    let told = wire.take();
    let of = |id| told.iter().filter(move |r| r.watch_id == id && !r.created);
    let deletes: Vec<_> = of(0).collect();
    assert_eq!(deletes.len(), 1);
    let event = &deletes[0].events[0];
    assert_eq!(event.prev_kv.as_ref().unwrap().value, "old");
    assert_eq!(event.kv.as_ref().unwrap().mod_revision, 3);
    let pieces: Vec<_> = of(1).map(|r| (r.events.len(), r.fragment)).collect();
    assert_eq!(pieces, [(1, false), (1, true), (2, false)]);
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(u8, bool)>),
    Compact(u8),
    Watch { key: u8, wide: bool, back: u8 },
    Cancel(u8),
    Full(bool),
    Work,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec((0u8..6, prop::bool::weighted(0.7)), 1..4).prop_map(Step::Write),
        1 => (0u8..10).prop_map(Step::Compact),
        2 => (0u8..6, any::<bool>(), 0u8..12)
            .prop_map(|(key, wide, back)| Step::Watch { key, wide, back }),
        1 => (0u8..6).prop_map(Step::Cancel),
        2 => any::<bool>().prop_map(Step::Full),
        2 => Just(Step::Work),
    ]
}

struct Expected {
    id: i64,
    key: u8,
    wide: bool,
    from: i64,
    canceled_at: Option<usize>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn every_watcher_gets_exactly_its_events(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        let wire = Wire::default();
        let stream = 1;
    world.hub.open(stream, Box::new(wire.clone()));
        let mut watchers: Vec<Expected> = Vec::new();
        let name = |n: u8| format!("k{n}");
        for step in steps {
            match step {
                Step::Write(ops) => {
                    let mut ops: Vec<_> = ops
                        .into_iter()
                        .map(|(k, is_put)| (name(k), is_put.then(|| world.index.to_string())))
                        .collect();
                    ops.sort();
                    ops.dedup_by(|a, b| a.0 == b.0);
                    world.write(&ops);
                }
                Step::Compact(back) => {
                    let to = world.store.revision() - i64::from(back);
                    world.compact(to);
                }
                Step::Watch { key, wide, back } => {
                    let now = world.store.revision();
                    let start = if back == 0 { 0 } else { (now + 3 - i64::from(back)).max(1) };
                    let end = if wide { "k9" } else { "" };
                    world.hub.create(stream, &request(&name(key), end, start));
                    let from = if start == 0 { now + 1 } else { start };
                    let id = watchers.len() as i64;
                    watchers.push(Expected { id, key, wide, from, canceled_at: None });
                }
                Step::Cancel(which) => {
                    if let Some(watcher) = watchers.get_mut(usize::from(which))
                        && watcher.canceled_at.is_none()
                    {
                        world.hub.cancel(stream, watcher.id);
                        watcher.canceled_at = Some(world.history.len());
                    }
                }
                Step::Full(full) => {
                    wire.full.store(full, Ordering::Relaxed);
                    if !full {
                        world.hub.writable(stream);
                    }
                }
                Step::Work => {
                    world.hub.step();
                }
            }
            world.hub.check();
        }
        wire.full.store(false, Ordering::Relaxed);
        world.hub.writable(stream);
        world.settle();
        let told = wire.take();
        for watcher in watchers {
            let own: Vec<_> = told.iter().filter(|r| r.watch_id == watcher.id).cloned().collect();
            let covers = |key: &String| {
                let first = name(watcher.key);
                if watcher.wide { *key >= first } else { *key == first }
            };
            let all: Vec<_> = world
                .history
                .iter()
                .filter(|(revision, key, _)| *revision >= watcher.from && covers(key))
                .cloned()
                .collect();
            let got = events(&own);
            let compacted = own.iter().any(|r| r.compact_revision != 0);
            if watcher.canceled_at.is_some() || compacted {
                prop_assert!(all.starts_with(&got), "{got:?} of {all:?}");
            } else {
                prop_assert_eq!(got, all);
            }
        }
    }
}
