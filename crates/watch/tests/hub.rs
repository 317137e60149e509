//! What watchers are told, and when.
#![allow(clippy::unwrap_used)] // the helpers of tests too

mod common;

use common::{Wire, World, events, put, request};
use prost::Message;
use proto::etcdserverpb::WatchCreateRequest;

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

#[test]
fn there_is_no_progress_before_a_watcher_has_begun() {
    let mut world = World::new();
    let wire = world.stream(1);
    let mut watch = request("k", "", 2);
    watch.progress_notify = true;
    world.hub.create(1, &watch);
    wire.take();
    world.hub.request_progress(1);
    world.hub.tick(1000);
    assert!(wire.take().is_empty(), "revision 2 is yet to come");
    world.write(&[put("other", "x")]);
    world.hub.request_progress(1);
    world.hub.tick(2000);
    let told: Vec<_> = wire.take().iter().map(|r| r.watch_id).collect();
    assert_eq!(told, [-1, 0]);
}

#[test]
fn no_fragment_is_longer_than_its_limit_with_its_header() {
    let mut world = World::new();
    let wire = world.stream(1);
    world.hub.create(1, &WatchCreateRequest { fragment: true, ..request("a", "z", 0) });
    wire.take();
    for len in 0..60 {
        let value = "x".repeat(len);
        world.write(&[put("k", &value), put("l", &value), put("m", &value)]);
        let told = wire.take();
        assert_eq!(events(&told).len(), 3);
        for response in &told {
            assert!(response.events.len() == 1 || response.encoded_len() < 100, "{response:?}");
        }
        for two in told.windows(2) {
            let mut both = two[0].clone();
            both.events.push(two[1].events[0].clone());
            assert!(two[0].fragment && both.encoded_len() >= 100, "{both:?}");
        }
    }
}

#[test]
fn events_count_for_every_watcher_that_gets_them() {
    let mut world = World::new();
    world.write(&[put("a", "1"), put("b", "1")]);
    let wire = Wire::default();
    world.hub.open(1, Box::new(wire.clone()));
    world.hub.create(1, &request("a", "", 0));
    world.hub.create(1, &request("a", "z", 0));
    assert_eq!(world.hub.events_sent(), 0);
    world.write(&[put("a", "2"), put("c", "2"), put("zz", "2")]);
    world.settle();
    assert_eq!(world.hub.events_sent(), 3);
    world.hub.create(1, &request("a", "z", 1));
    world.settle();
    assert_eq!(world.hub.events_sent(), 3 + 4);
}
