//! What watchers are told, as scripts tell it.
#![allow(clippy::unwrap_used)] // the helpers of tests too

mod common;

use common::{Wire, World, put, request};
use proto::etcdserverpb::{WatchCreateRequest, WatchResponse};
use proto::mvccpb::Event;
use script::{Directive, Suite};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use watch::Limits;

/// Scripts are added, not lost.
const SCRIPTS_MIN: usize = 21;

#[test]
fn watchers_are_told_what_the_scripts_say() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    Suite::own(dir, SCRIPTS_MIN).run(|| {
        let mut member = Member::new();
        move |directive| {
            let said = member.handle(directive);
            member.world.hub.check();
            said + &member.told()
        }
    });
}

/// A store with its hub, and clients that read when the script says so.
struct Member {
    world: World,
    /// Each stream, and how many responses of it were printed.
    streams: BTreeMap<u64, (Wire, usize)>,
}

impl Member {
    fn new() -> Member {
        Member { world: World::new(), streams: BTreeMap::new() }
    }

    /// What a command itself says; what streams are sent is printed behind it.
    fn handle(&mut self, directive: &Directive) -> String {
        match directive.command.as_str() {
            "write" => return self.write(directive),
            "limits" => {
                let limits = Limits {
                    fragment_bytes: directive.get("fragment"),
                    progress_interval_ms: 1000,
                    answer_bytes_max: directive.get("answers"),
                };
                self.world = World::with(limits);
            }
            "compact" => self.world.compact(directive.number(0)),
            "open" => {
                let id = directive.number(0);
                self.streams.insert(id, (self.world.stream(id), 0));
            }
            "close" => self.world.hub.close(directive.number(0)),
            "watch" => self.watch(directive),
            "cancel" => self.world.hub.cancel(directive.number(0), directive.number(1)),
            "progress" => self.world.hub.request_progress(directive.number(0)),
            "tick" => self.world.hub.tick(directive.get("at")),
            "room" => self.wire(directive).set_room(directive.get("bytes")),
            "response" => self.wire(directive).set_response(directive.get("bytes")),
            "read" => {
                self.wire(directive).take();
                self.world.hub.writable(directive.number(0));
            }
            "step" => {
                self.world.hub.step();
            }
            "settle" => self.world.settle(),
            "lag" => self.world.begin_lag(),
            "hear" => self.world.end_lag(),
            "overrun" => self.world.overrun(),
            "snapshot" => self.world.install_snapshot(),
            other => panic!("unknown command {other}"),
        }
        match directive.command.as_str() {
            "step" | "settle" | "overrun" | "snapshot" | "read" => self.watchers(),
            _ => String::new(),
        }
    }

    fn wire(&self, directive: &Directive) -> &Wire {
        &self.streams[&directive.number::<u64>(0)].0
    }

    /// Puts (`key=value`) and deletes (`key`) in one revision.
    fn write(&mut self, directive: &Directive) -> String {
        let times = directive.get::<usize>("times").max(1);
        let args = directive.args.iter().filter(|arg| arg.key != "times");
        let ops: Vec<_> = args
            .map(|arg| match arg.values.first() {
                Some(value) => put(&arg.key, value),
                None => (arg.key.clone(), None),
            })
            .collect();
        (0..times).for_each(|_| self.world.write(&ops));
        format!("revision {}\n", self.world.store.revision())
    }

    fn watch(&mut self, directive: &Directive) {
        let end = match directive.value("end") {
            Some("open") => "\0",
            end => end.unwrap_or_default(),
        };
        let key = directive.value("key").unwrap_or_default();
        let filters = [("no-put", 0), ("no-delete", 1)];
        let filters = filters.into_iter().filter(|(word, _)| directive.has(word));
        let create = WatchCreateRequest {
            watch_id: directive.get("id"),
            prev_kv: directive.has("prev"),
            fragment: directive.has("fragment"),
            progress_notify: directive.has("notify"),
            filters: filters.map(|(_, filter)| filter).collect(),
            ..request(key, end, directive.get("start"))
        };
        self.world.hub.create(directive.number(0), &create);
    }

    fn watchers(&self) -> String {
        let (all, behind) = self.world.hub.watchers();
        format!("{all} watchers, {behind} behind\n")
    }

    /// What the streams were sent since the last command.
    fn told(&mut self) -> String {
        let mut text = String::new();
        for (id, (wire, printed)) in &mut self.streams {
            let new = wire.sent_from(*printed);
            *printed += new.len();
            for response in new {
                text = format!("{text}{id} <- {}\n", said(&response));
            }
            if wire.cut.swap(false, Ordering::Relaxed) {
                text = format!("{text}{id} is cut\n");
            }
        }
        text
    }
}

fn said(response: &WatchResponse) -> String {
    let (id, at) = (response.watch_id, response.header.unwrap().revision);
    let fragment = if response.fragment { ", more follows" } else { "" };
    match (response.created, response.canceled, &response.events[..]) {
        (true, true, _) => format!("refused at {at}: {}", response.cancel_reason),
        (true, false, _) => format!("watcher {id} created at {at}"),
        (_, true, _) if response.compact_revision != 0 => {
            let compacted = response.compact_revision;
            format!("watcher {id} canceled at {at}: compacted up to {compacted}")
        }
        (_, true, _) => format!("watcher {id} canceled at {at}"),
        (_, _, []) if id == -1 => format!("all have come to {at}"),
        (_, _, []) => format!("watcher {id} has come to {at}"),
        (_, _, events) => format!("watcher {id} at {at}: {}{fragment}", changes(events)),
    }
}

/// Each change with its revision; of many only the first and the last.
fn changes(events: &[Event]) -> String {
    match events {
        [first, .., last] if events.len() > 6 => {
            format!("{} ... {} ({} events)", change(first), change(last), events.len())
        }
        events => events.iter().map(change).collect::<Vec<_>>().join(", "),
    }
}

fn change(event: &Event) -> String {
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        if text.len() > 10 { format!("({} bytes)", text.len()) } else { text.into_owned() }
    };
    let kv = event.kv.as_ref().unwrap();
    let before = event.prev_kv.as_ref().map(|prev| format!(" before {}", text(&prev.value)));
    let before = before.unwrap_or_default();
    let (revision, key) = (kv.mod_revision, text(&kv.key));
    if event.r#type == 0 {
        format!("{revision} {key}={}{before}", text(&kv.value))
    } else {
        format!("{revision} {key} deleted{before}")
    }
}
