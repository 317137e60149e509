//! A state machine with its database, its log, and a disk that can lose what was not written.

use crate::requests::{self, Content};
use crate::said;
use apply::{Config, Machine};
use backend::{Backend, Options};
use disk::sim::SimDisk;
use mvcc::Progress;
use proto::mvccpb::KeyValue;
use proto::raftpb::{Entry, EntryType};
use script::Directive;
use std::path::Path;

/// A database whose file stays small, so that a test is about what it holds.
fn options() -> Options {
    let mut options = Options::default();
    (options.bolt.growth_bytes, options.bolt.initial_map_bytes) = (4096, 0);
    options
}

pub(crate) struct Member {
    /// `None` after it has stopped over a fault.
    pub(crate) machine: Option<Machine>,
    disk: SimDisk,
    config: Config,
    log: Vec<Entry>,
}

impl Member {
    pub(crate) fn new() -> Member {
        let config = Config { quota_bytes: 0, learners_max: 1 };
        let mut member = Member { machine: None, disk: SimDisk::new(1), config, log: Vec::new() };
        member.open();
        member
    }

    fn open(&mut self) -> String {
        let backend = Backend::open(self.disk.disk(), Path::new("db"), options()).unwrap();
        let lease = lease::Config {
            ttl_min_s: 2,
            checkpoints: true,
            persist_checkpoints: true,
            checkpoint_interval_ms: 300_000,
        };
        match Machine::open(backend, lease, self.config) {
            Ok(opened) => {
                let mut machine = opened.machine;
                let mut text = format!(
                    "applied {}, revision {}",
                    machine.backend.applied().index,
                    machine.store.revision()
                );
                if let Some(revision) = opened.unfinished_compaction {
                    machine.store.resume_compaction(revision);
                    text += &format!(", compaction up to {revision} goes on");
                }
                self.machine = Some(machine);
                text
            }
            Err(fault) => format!("does not open: {fault}"),
        }
    }

    fn machine(&mut self) -> &mut Machine {
        self.machine.as_mut().expect("the member has not stopped")
    }

    pub(crate) fn handle(&mut self, directive: &Directive) -> String {
        if let Some(content) = requests::content(directive) {
            let entry = self.entry(content);
            self.log.push(entry.clone());
            return self.apply(&entry, !directive.has("unwanted"));
        }
        match directive.command.as_str() {
            "quota" => {
                self.config.quota_bytes = directive.number(0);
                self.restart()
            }
            "learners" => {
                self.config.learners_max = directive.number(0);
                self.restart()
            }
            "commit" => {
                self.machine().backend.commit().unwrap();
                format!("durable up to {}", self.machine().backend.durable().index)
            }
            "restart" => self.restart(),
            "crash" => {
                self.machine = None;
                self.disk.restart();
                self.open()
            }
            "replay" => self.replay(),
            "compaction-step" => {
                self.machine().store.set_compaction_batch_limit(1);
                let machine = self.machine();
                let mut txn = machine.backend.begin_maintenance();
                let progress = machine.store.compaction_step(&mut txn);
                txn.finish();
                if progress == Progress::Done { "done".into() } else { "more to do".into() }
            }
            "finish-compaction" => {
                let machine = self.machine();
                loop {
                    let mut txn = machine.backend.begin_maintenance();
                    let progress = machine.store.compaction_step(&mut txn);
                    txn.finish();
                    if progress == Progress::Done {
                        return "done".into();
                    }
                }
            }
            "keys" => self.keys(),
            "members" => self.members(),
            "lease" => self.lease(directive.number(0)),
            "alarms" => said::alarms(&self.machine().alarms().list(0)),
            "hash" => self.same_hash(),
            other => panic!("unknown command {other}"),
        }
    }

    fn entry(&self, content: Content) -> Entry {
        let (kind, data) = match content {
            Content::Normal(data) => (EntryType::EntryNormal, data),
            Content::ConfChange(data) => (EntryType::EntryConfChange, data),
            Content::ConfChangeV2 => (EntryType::EntryConfChangeV2, Default::default()),
        };
        let index = self.log.len() as u64 + 1;
        Entry { r#type: Some(kind as i32), term: Some(2), index: Some(index), data: Some(data) }
    }

    fn apply(&mut self, entry: &Entry, is_wanted: bool) -> String {
        match self.machine().apply(entry, |id| is_wanted && id == requests::REQUEST_ID) {
            Ok(outcome) => said::outcome(&outcome),
            Err(fault) => {
                // The member stops; what it had applied is in its database.
                self.machine = None;
                format!("stops: {fault}")
            }
        }
    }

    /// Stops in good order and starts again.
    fn restart(&mut self) -> String {
        if let Some(machine) = &mut self.machine {
            machine.backend.commit().unwrap();
        }
        self.machine = None;
        self.open()
    }

    /// Applies the whole log again, as after a start.
    fn replay(&mut self) -> String {
        let log = self.log.clone();
        let mut text = String::new();
        for entry in &log {
            let before = self.machine().backend.applied().index;
            let said = self.apply(entry, false);
            let is_new = entry.index() > before;
            let first = said.lines().next().unwrap_or_default();
            text += &format!("{}: {}\n", entry.index(), if is_new { first } else { "passed over" });
        }
        text
    }

    fn keys(&mut self) -> String {
        let read = self.machine().store.reader().read();
        let every =
            mvcc::RangeOptions { key: "\0".into(), range_end: "\0".into(), ..Default::default() };
        let kvs = read.range(&every).unwrap().kvs;
        let lines: Vec<String> =
            kvs.iter().map(|kv| said::stored(&kv.decode() as &KeyValue)).collect();
        let revision = read.revision();
        format!("revision {revision}\n{}", lines.join("\n"))
    }

    fn members(&mut self) -> String {
        let members = &self.machine().members;
        let mut text = String::new();
        for member in members.list() {
            let kind = if member.is_learner { "learner" } else { "voter" };
            let (id, urls, name) = (member.id, member.peer_urls.join(" "), &member.name);
            text += &format!("{id:x}: {kind} {urls} named {name:?}\n");
        }
        let removed: Vec<String> = members.removed().map(|id| format!("{id:x}")).collect();
        let removed = if removed.is_empty() { "nobody".into() } else { removed.join(" ") };
        text + &format!("removed: {removed}\n")
    }

    fn lease(&mut self, id: i64) -> String {
        match self.machine().lessor.time_to_live(id, 0, true) {
            None => "no such lease".into(),
            Some(found) => {
                let keys = found.keys.iter().map(|key| String::from_utf8_lossy(key));
                let keys = keys.collect::<Vec<_>>().join(" ");
                let keys = if keys.is_empty() { "none".into() } else { keys };
                format!("{} s; keys: {keys}", found.granted_s)
            }
        }
    }

    /// Whether a member that applies the same log, and on which nobody waits, holds the same.
    fn same_hash(&mut self) -> String {
        let mut other = Member::new();
        other.config = self.config;
        for entry in &self.log {
            other.apply(entry, false);
        }
        let hash = |member: &mut Member| member.machine().store.reader().read().hash_kv(0).unwrap();
        let (own, others) = (hash(self).hash, hash(&mut other).hash);
        if own == others { "another member holds the same".into() } else { "they differ".into() }
    }
}
