//! Watchers of several streams against a model: random writes, compactions, slow clients, a hub that
//! lags, is overrun, or gets a snapshot.
#![allow(clippy::unwrap_used)] // the helpers of tests too

mod common;

use common::{Seen, Wire, World, events, put, request};
use proptest::prelude::*;
use watch::Sink;

const STREAMS: u64 = 3;

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(u8, bool)>),
    Compact(u8),
    Watch {
        stream: u64,
        key: u8,
        wide: bool,
        back: u8,
    },
    Cancel(u8),
    /// A client that reads nothing, little, or all.
    Room(u64, usize),
    Read(u64),
    Progress(u64),
    Work,
    Settle,
    Lag,
    Heal,
    Overrun,
    Snapshot,
}

fn step() -> impl Strategy<Value = Step> {
    let stream = || 1..=STREAMS;
    prop_oneof![
        8 => prop::collection::vec((0u8..6, prop::bool::weighted(0.7)), 1..4).prop_map(Step::Write),
        1 => (0u8..10).prop_map(Step::Compact),
        3 => (stream(), 0u8..6, any::<bool>(), 0u8..12)
            .prop_map(|(stream, key, wide, back)| Step::Watch { stream, key, wide, back }),
        1 => (0u8..12).prop_map(Step::Cancel),
        2 => (stream(), prop::sample::select(vec![0, 200, usize::MAX]))
            .prop_map(|(stream, room)| Step::Room(stream, room)),
        2 => stream().prop_map(Step::Read),
        2 => stream().prop_map(Step::Progress),
        2 => Just(Step::Work),
        1 => Just(Step::Settle),
        1 => Just(Step::Lag),
        2 => Just(Step::Heal),
        1 => Just(Step::Overrun),
        1 => Just(Step::Snapshot),
    ]
}

/// A watcher as it should be.
struct Expected {
    stream: u64,
    id: i64,
    key: u8,
    wide: bool,
    from: i64,
    /// Where in its stream it was told that it was created.
    created_at: usize,
    /// It may have something to read from history, no earlier than this.
    behind_from: Option<i64>,
    /// Its start was compacted when it was created.
    is_lost: bool,
    is_canceled: bool,
    compacted: bool,
}

impl Expected {
    /// It may miss what the hub hears of after this revision.
    fn fall_behind(&mut self, heard: i64) {
        self.behind_from.get_or_insert(self.from.max(heard + 1));
    }

    fn covers(&self, key: &str) -> bool {
        let first = name(self.key);
        if self.wide { key >= first.as_str() } else { key == first }
    }
}

fn name(n: u8) -> String {
    format!("k{n}")
}

struct Model {
    world: World,
    wires: Vec<Wire>,
    watchers: Vec<Expected>,
    /// How much of each stream was looked at for cancels.
    seen: Vec<usize>,
    /// The last revision that the hub had heard of before the step that is being made.
    heard: i64,
}

impl Model {
    fn new() -> Model {
        let mut world = World::new();
        let wires = (1..=STREAMS).map(|stream| world.stream(stream)).collect();
        Model { world, wires, watchers: Vec::new(), seen: vec![0; STREAMS as usize], heard: 1 }
    }

    fn wire(&self, stream: u64) -> &Wire {
        &self.wires[stream as usize - 1]
    }

    fn act(&mut self, step: Step) {
        if self.world.lag.is_none() {
            self.heard = self.world.store.revision();
        }
        match step {
            Step::Write(ops) => self.write(ops),
            Step::Compact(back) => {
                let to = self.world.store.revision() - i64::from(back);
                self.world.compact(to);
            }
            Step::Watch { stream, key, wide, back } => self.watch(stream, key, wide, back),
            Step::Cancel(which) => self.cancel(usize::from(which)),
            Step::Room(stream, bytes) => {
                self.wire(stream).set_room(bytes);
                self.world.hub.writable(stream);
            }
            Step::Read(stream) => {
                self.wire(stream).take();
                self.world.hub.writable(stream);
            }
            Step::Progress(stream) => self.world.hub.request_progress(stream),
            Step::Work => {
                self.world.hub.step();
            }
            Step::Settle => self.settle(),
            Step::Lag => self.world.begin_lag(),
            Step::Heal => self.world.end_lag(),
            Step::Overrun | Step::Snapshot => {
                self.watchers.iter_mut().for_each(|watcher| watcher.fall_behind(self.heard));
                match step {
                    Step::Overrun => self.world.overrun(),
                    _ => self.world.install_snapshot(),
                }
            }
        }
        self.look();
        self.world.hub.check();
    }

    fn write(&mut self, ops: Vec<(u8, bool)>) {
        let value = self.world.index.to_string();
        let mut ops: Vec<_> = ops
            .into_iter()
            .map(|(k, is_put)| if is_put { put(&name(k), &value) } else { (name(k), None) })
            .collect();
        ops.sort();
        ops.dedup_by(|a, b| a.0 == b.0);
        self.world.write(&ops);
    }

    fn watch(&mut self, stream: u64, key: u8, wide: bool, back: u8) {
        let now = self.world.store.revision();
        let start = if back == 0 { 0 } else { (now + 3 - i64::from(back)).max(1) };
        let created_at = self.wire(stream).sent();
        let end = if wide { "k9" } else { "" };
        self.world.hub.create(stream, &request(&name(key), end, start));
        let told = self.wire(stream).sent_from(created_at);
        assert!(told[0].created && told[0].header.as_ref().unwrap().revision >= now);
        self.watchers.push(Expected {
            stream,
            id: told[0].watch_id,
            key,
            wide,
            from: if start == 0 { now + 1 } else { start },
            created_at,
            behind_from: (0 < start && start <= now).then_some(start),
            is_lost: 0 < start && start < self.world.store.compacted() && self.world.lag.is_none(),
            is_canceled: false,
            compacted: false,
        });
    }

    fn cancel(&mut self, which: usize) {
        if let Some(watcher) = self.watchers.get_mut(which)
            && !watcher.is_canceled
        {
            watcher.is_canceled = true;
            let (stream, id) = (watcher.stream, watcher.id);
            self.world.hub.cancel(stream, id);
        }
    }

    /// Everyone who has room comes to now.
    fn settle(&mut self) {
        for (stream, wire) in (1..).zip(&self.wires) {
            if wire.has_room() {
                self.world.hub.writable(stream);
            }
        }
        self.world.settle();
        self.look();
        for watcher in &mut self.watchers {
            if self.wires[watcher.stream as usize - 1].has_room() {
                watcher.behind_from = None;
            }
        }
    }

    /// Every cancel must have been due: only who was behind loses history.
    fn look(&mut self) {
        for (n, wire) in self.wires.iter().enumerate() {
            let has_room = wire.has_room();
            let told = wire.sent_from(self.seen[n]);
            self.seen[n] += told.len();
            let own = self.watchers.iter_mut().filter(|w| w.stream == n as u64 + 1);
            for watcher in own {
                if !has_room {
                    watcher.fall_behind(self.heard);
                }
                let canceled =
                    told.iter().find(|r| r.watch_id == watcher.id && r.compact_revision != 0);
                if let Some(canceled) = canceled {
                    let from = watcher.behind_from.expect("only who is behind loses history");
                    assert!(from < canceled.compact_revision && !watcher.is_canceled);
                    assert!(canceled.compact_revision <= self.world.store.compacted());
                    watcher.compacted = true;
                }
            }
        }
    }

    fn end(mut self) {
        self.world.end_lag();
        for stream in 1..=STREAMS {
            self.act(Step::Room(stream, usize::MAX));
        }
        self.act(Step::Settle);
        assert_eq!(self.world.hub.watchers().1, 0, "everyone has come to now");
        self.watchers.iter().for_each(|watcher| self.check(watcher));
        self.check_progress();
    }

    /// A watcher has what it should have: all, or as much as it lived to see.
    fn check(&self, watcher: &Expected) {
        let sent = self.wire(watcher.stream).sent_from(watcher.created_at);
        let own: Vec<_> = sent.into_iter().filter(|r| r.watch_id == watcher.id).collect();
        let got = events(&own);
        let is_due = |(revision, key, _): &&Seen| *revision >= watcher.from && watcher.covers(key);
        let all: Vec<_> = self.world.history.iter().filter(is_due).cloned().collect();
        if watcher.is_canceled || watcher.compacted {
            assert!(all.starts_with(&got), "{got:?} of {all:?}");
        } else {
            assert_eq!(got, all);
            assert!(!watcher.is_lost, "it should have heard that its history is gone");
        }
    }

    /// After progress, no watcher that was there gets an event from before it.
    fn check_progress(&self) {
        for (stream, wire) in (1..).zip(&self.wires) {
            let sent = wire.sent_from(0);
            for (at, progress) in sent.iter().enumerate() {
                if progress.watch_id != -1 || progress.created {
                    continue;
                }
                let revision = progress.header.as_ref().unwrap().revision;
                let there = |id| {
                    let mut own = self.watchers.iter().filter(|w| w.stream == stream && w.id == id);
                    own.any(|w| w.created_at < at)
                };
                for response in sent[at..].iter().filter(|r| there(r.watch_id)) {
                    let early = response
                        .events
                        .iter()
                        .any(|event| event.kv.as_ref().unwrap().mod_revision <= revision);
                    assert!(!early, "{response:?} after progress to {revision}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn every_watcher_gets_exactly_its_events(steps in prop::collection::vec(step(), 1..150)) {
        let mut model = Model::new();
        for step in steps {
            model.act(step);
        }
        model.end();
    }
}
