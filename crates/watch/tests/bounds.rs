//! What watchers may cost: bytes at once, and each other's time.
#![allow(clippy::unwrap_used)] // the helpers of tests too

mod common;

use common::{Wire, World, events, put, request};
use proto::etcdserverpb::WatchCreateRequest;
use std::sync::atomic::Ordering;

const KIB: usize = 1024;

fn revision_of(wire: &Wire) -> i64 {
    wire.take().last().unwrap().header.as_ref().unwrap().revision
}

#[test]
fn a_piece_of_history_has_a_limit_in_bytes() {
    let mut world = World::new();
    let value = "x".repeat(256 * KIB);
    for _ in 0..40 {
        world.write(&[put("k", &value)]);
    }
    let wire = world.stream(1);
    world.hub.create(1, &request("k", "", 2));
    wire.take();
    let mut total = 0;
    while total < 40 {
        world.hub.step();
        assert!(wire.queued() <= 2048 * KIB, "{} bytes at once", wire.queued());
        total += events(&wire.take()).len();
    }
    assert_eq!(total, 40);
}

#[test]
fn a_response_is_as_long_as_the_sink_allows_and_up_to_a_thousand_revisions() {
    let mut world = World::new();
    let value = "x".repeat(4 * KIB);
    for _ in 0..1500 {
        world.write(&[put("k", &value), put("l", &value)]);
    }
    let wire = world.stream(1);
    wire.set_response(64 * 1024 * KIB);
    world.hub.create(1, &request("k", "z", 2));
    wire.take();
    world.settle();
    let told = wire.take();
    let counts: Vec<usize> = told.iter().map(|response| response.events.len()).collect();
    assert_eq!(counts, [2000, 1000]);
    // Whatever the limit, the events of a revision come together.
    wire.set_response(KIB);
    world.hub.create(1, &request("k", "z", 2));
    wire.take();
    world.settle();
    let told = wire.take();
    assert_eq!(told.len(), 1500);
    assert!(told.iter().all(|response| response.events.len() == 2 && !response.fragment));
}

#[test]
fn values_before_count_too() {
    let mut world = World::new();
    let value = "x".repeat(256 * KIB);
    for n in 0..20 {
        world.write(&[put(&format!("k{n}"), &value)]);
    }
    for n in 0..20 {
        world.write(&[(format!("k{n}"), None)]);
    }
    let wire = world.stream(1);
    let watch = WatchCreateRequest { prev_kv: true, filters: vec![0], ..request("k", "l", 2) };
    world.hub.create(1, &watch);
    wire.take();
    let mut total = 0;
    while total < 20 {
        world.hub.step();
        assert!(wire.queued() <= 2048 * KIB, "{} bytes at once", wire.queued());
        total += events(&wire.take()).len();
    }
}

#[test]
fn room_is_asked_for_each_watcher() {
    let mut world = World::new();
    world.write(&[put("k", &"x".repeat(64 * KIB))]);
    let wire = world.stream(1);
    for _ in 0..100 {
        world.hub.create(1, &request("k", "", 2));
    }
    wire.take();
    wire.set_room(128 * KIB);
    world.settle();
    assert!(wire.queued() <= 256 * KIB, "{} bytes though there is no room", wire.queued());
    let mut total = 0;
    for _ in 0..100 {
        total += events(&wire.take()).len();
        world.hub.writable(1);
        world.settle();
    }
    assert_eq!(total, 100);
}

#[test]
fn a_watcher_far_behind_does_not_hold_up_the_others() {
    let mut world = World::new();
    for n in 0..6000 {
        world.write(&[put("k", &n.to_string())]);
    }
    let now = world.store.revision();
    let far = world.stream(1);
    let near = world.stream(2);
    world.hub.create(1, &request("k", "", 2));
    world.hub.create(2, &request("k", "", now));
    far.take();
    near.take();
    world.hub.step();
    world.hub.step();
    assert_eq!(events(&near.take()).len(), 1, "it is one revision behind");
    assert!(events(&far.take()).len() < 6000);
    world.settle();
}

#[test]
fn a_watch_created_after_a_visible_write_begins_after_it() {
    let mut world = World::new();
    world.begin_lag();
    world.write(&[put("k", "seen")]);
    let wire = world.stream(1);
    world.hub.create(1, &request("k", "", 0));
    assert_eq!(revision_of(&wire), 2, "the write was visible");
    world.hub.create(1, &request("k", "", 2));
    assert_eq!(revision_of(&wire), 2);
    world.hub.cancel(1, 99);
    world.end_lag();
    world.write(&[put("k", "new")]);
    world.settle();
    let told = wire.take();
    let of = |id| told.iter().filter(|r| r.watch_id == id).cloned().collect::<Vec<_>>();
    assert_eq!(events(&of(0)).len(), 1);
    assert_eq!(events(&of(1)).len(), 2);
}

#[test]
fn progress_waits_for_what_was_visible_when_it_was_asked_for() {
    let mut world = World::new();
    let wire = world.stream(1);
    world.hub.create(1, &request("k", "", 0));
    wire.take();
    world.begin_lag();
    world.write(&[put("k", "seen")]);
    world.hub.request_progress(1);
    assert!(wire.take().is_empty(), "the hub has not come that far");
    world.end_lag();
    let told = wire.take();
    assert_eq!(told.len(), 2);
    assert_eq!((told[0].events.len(), told[1].events.len()), (1, 0));
    assert_eq!(told[1].header.as_ref().unwrap().revision, 2);
}

#[test]
fn a_hub_that_fell_behind_goes_on_from_history() {
    let mut world = World::new();
    let busy = world.stream(1);
    let quiet = world.stream(2);
    world.hub.create(1, &request("k", "", 0));
    world.hub.create(2, &request("other", "", 0));
    world.hub.create(2, &request("k", "", 9));
    for n in 0..4 {
        world.write(&[put("k", &n.to_string())]);
    }
    // The quiet watchers have had nothing, but they are not behind.
    world.compact(4);
    world.begin_lag();
    world.write(&[put("k", "missed")]);
    world.overrun();
    world.hub.check();
    assert_eq!(world.hub.watchers(), (3, 2), "one waits for the future");
    world.settle();
    assert_eq!(world.hub.watchers(), (3, 0));
    for n in 0..3 {
        world.write(&[put("k", &n.to_string())]);
    }
    let told = quiet.take();
    assert!(told.iter().all(|response| !response.canceled), "{told:?}");
    assert_eq!(events(&told).iter().map(|event| event.0).collect::<Vec<_>>(), [9]);
    let revisions: Vec<i64> = events(&busy.take()).iter().map(|event| event.0).collect();
    assert_eq!(revisions, [2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_snapshot_takes_nobody_back_and_cancels_who_has_lost_history() {
    let mut world = World::new();
    let wire = world.stream(1);
    world.hub.create(1, &request("k", "", 0));
    world.hub.create(1, &request("k", "", 8));
    world.write(&[put("k", "before")]);
    world.begin_lag();
    for n in 0..3 {
        world.write(&[put("k", &n.to_string())]);
    }
    world.install_snapshot();
    world.settle();
    for n in 0..3 {
        world.write(&[put("k", &n.to_string())]);
    }
    let told = wire.take();
    let of = |id| told.iter().filter(|r| r.watch_id == id).cloned().collect::<Vec<_>>();
    let revisions = |id| events(&of(id)).iter().map(|event| event.0).collect::<Vec<_>>();
    assert_eq!(revisions(0), [2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(revisions(1), [8]);
    world.begin_lag();
    world.write(&[put("k", "lost")]);
    world.write(&[put("k", "kept")]);
    world.compact(10);
    world.install_snapshot();
    world.settle();
    let told = wire.take();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|r| r.canceled && r.compact_revision == 10), "{told:?}");
}

#[test]
fn what_is_applied_before_the_hub_hears_of_a_snapshot_comes_after_it() {
    let mut world = World::new();
    let wire = world.stream(1);
    world.hub.create(1, &request("k", "", 0));
    world.begin_lag();
    world.write(&[put("k", "in the snapshot")]);
    let snapshot = world.replace_store();
    world.begin_lag();
    world.write(&[put("k", "applied since")]);
    world.hub.snapshot_installed(snapshot.0, snapshot.1);
    world.settle();
    world.end_lag();
    let revisions: Vec<_> = events(&wire.take()).iter().map(|event| event.0).collect();
    assert_eq!(revisions, [2, 3]);
}

#[test]
fn who_asks_and_does_not_read_is_cut_off() {
    let mut world = World::new();
    let wire = world.stream(1);
    for _ in 0..1000 {
        world.hub.create(1, &request("k", "", 0));
    }
    assert!(!wire.cut.load(Ordering::Relaxed), "this one reads");
    wire.set_room(0);
    let before = wire.queued();
    for id in 0..1000 {
        world.hub.cancel(1, id);
    }
    assert!(wire.cut.load(Ordering::Relaxed));
    assert!(wire.queued() - before <= 10_000, "{} bytes", wire.queued() - before);
    assert_eq!((world.hub.streams(), world.hub.watchers()), (0, (0, 0)));
    world.hub.check();
    world.write(&[put("k", "x")]);
}

#[test]
fn progress_is_left_out_where_there_is_no_room() {
    let mut world = World::new();
    let wire = world.stream(1);
    let watch = WatchCreateRequest { progress_notify: true, ..request("k", "", 0) };
    world.hub.create(1, &watch);
    wire.take();
    wire.set_room(0);
    world.hub.request_progress(1);
    world.hub.tick(1000);
    assert!(wire.take().is_empty());
}

#[test]
fn thousands_of_watchers_come_and_go() {
    let mut world = World::new();
    for n in 0..100 {
        world.write(&[put(&format!("k{n:02}"), "x")]);
    }
    let wire = world.stream(1);
    for n in 0..3000 {
        let (key, end) = (format!("k{:02}", n % 100), format!("k{:02}", n % 70 + 30));
        let end = if n % 100 < n % 70 + 30 { end } else { String::new() };
        world.hub.create(1, &request(&key, &end, n % 100 + 2));
    }
    for id in (0..3000).step_by(2) {
        world.hub.cancel(1, id);
    }
    world.hub.check();
    wire.take();
    world.settle();
    let first = events(&wire.take()).len();
    assert!(first > 1500);
    world.write(&[put("k50", "y")]);
    assert!(!events(&wire.take()).is_empty());
    world.hub.close(1);
    world.hub.check();
    assert_eq!(world.hub.watchers(), (0, 0));
}

#[test]
fn watchers_of_a_slow_stream_take_turns() {
    let mut world = World::new();
    let wire = world.stream(1);
    for _ in 0..5 {
        world.hub.create(1, &request("k", "", 0));
    }
    wire.take();
    wire.set_room(1);
    let mut got = [0; 5];
    for n in 0..50 {
        world.write(&[put("k", &n.to_string())]);
        world.hub.writable(1);
        world.settle();
        for response in wire.take() {
            got[response.watch_id as usize] += 1;
        }
    }
    assert!(got.iter().all(|&responses| responses >= 5), "{got:?}");
}
