//! Scripts of commands to a store, with the trace that they print.
//!
//! ```text
//! put KEY VALUE [lease=N]             one request: a new revision
//! delete KEY [END]                    likewise; END `*` is no end
//! txn                                 the input's lines are puts and deletes of one request
//! abandon                             as txn, but dropped before its end
//! get KEY [END] [rev=N] [limit=N] [sort=(order,target)] [keys] [count] [mod=(min,max)] [created=(min,max)] [of=NAME]
//! begin NAME                          a reader of the current revision, for `get ... of=NAME`
//! compact N / step [N]                promises a compaction; does N steps of it
//! history N / hash [N] / table        changes from a revision on; a hash; the rows of the key table
//! commit / defragment / crash / reopen [parts=N] / bump N
//! ```
//! After every command the store and the database check themselves.
#![allow(clippy::unwrap_used)] // the helpers of tests too

use backend::{Backend, DefragResult, EntryId, Options, Table};
use bytes::Bytes;
use disk::sim::SimDisk;
use mvcc::{
    Change, Kv, Progress, RangeOptions, ReadTxn, Refusal, RestoreJob, Revision, Store, WriteTxn,
    bump_revision,
};
use proto::mvccpb::KeyValue;
use script::{Directive, Suite};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::Path;

/// How many scripts there are at least.
const COUNT_MIN: usize = 16;
/// Rows that a step of a compaction looks at.
const BATCH_ROWS: usize = 3;

#[test]
fn stores_do_what_the_scripts_say() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    Suite::own(dir, COUNT_MIN).run(|| {
        let mut world = Some(World::new());
        move |directive: &Directive| {
            let mut out = String::new();
            let now = world.take().unwrap().act(directive, &mut out);
            now.store.check();
            now.backend.check();
            world = Some(now);
            out
        }
    });
}

struct World {
    sim: SimDisk,
    backend: Backend,
    store: Store,
    readers: BTreeMap<String, ReadTxn>,
    /// What has been applied since the last commit, and is applied again after a crash.
    applied: u64,
}

fn options() -> Options {
    let bolt = bolt::Options { page_size: 1024, growth_bytes: 8192, ..Default::default() };
    Options { bolt, ..Options::default() }
}

fn open(sim: &SimDisk, parts: usize, out: &mut String) -> (Backend, Store) {
    let backend = Backend::open(sim.disk(), Path::new("db"), options()).unwrap();
    let run = |jobs: Vec<RestoreJob>| jobs.into_iter().map(RestoreJob::run).collect();
    let (mut store, restored) = Store::open_in_parts(&backend, parts, run).unwrap();
    store.set_compaction_batch_limit(BATCH_ROWS);
    let applied = backend.applied().index;
    let (revision, compacted) = (store.revision(), store.compacted());
    writeln!(out, "entry {applied}, revision {revision}, compacted {compacted}").unwrap();
    for (key, lease) in restored.attachments {
        writeln!(out, "lease {lease} has {}", key.escape_ascii()).unwrap();
    }
    if let Some(to) = restored.unfinished_compaction {
        writeln!(out, "a compaction to {to} is under way again").unwrap();
    }
    (backend, store)
}

impl World {
    fn new() -> World {
        let sim = SimDisk::new(1);
        let (backend, store) = open(&sim, 1, &mut String::new());
        World { sim, backend, store, readers: BTreeMap::new(), applied: 0 }
    }

    fn act(mut self, directive: &Directive, out: &mut String) -> World {
        match directive.command.as_str() {
            "put" | "delete" => {
                let change = directive_words(directive);
                self.write(&[change], true, out);
            }
            "txn" | "abandon" => {
                let lines = directive.input.lines();
                let changes: Vec<Vec<String>> = lines
                    .map(|line| line.split_whitespace().map(str::to_owned).collect())
                    .collect();
                self.write(&changes, directive.command == "txn", out);
            }
            "get" => self.get(directive, out),
            "begin" => {
                let read = self.store.reader().read();
                writeln!(out, "it reads revision {}", read.revision()).unwrap();
                self.readers.insert(directive.word(0).to_owned(), read);
            }
            "compact" => self.compact(directive.number(0), out),
            "step" => {
                let steps = directive.words().next().map_or(1, |n| n.parse().unwrap());
                self.steps(steps, out);
            }
            "history" => self.history(directive.number(0), out),
            "hash" => self.hash(directive.words().next().map_or(0, |n| n.parse().unwrap()), out),
            "table" => self.table(out),
            "commit" => {
                self.backend.commit().unwrap();
                writeln!(out, "entry {} is durable", self.backend.durable().index).unwrap();
            }
            "defragment" => {
                let job = self.backend.defragment().unwrap();
                let done = self.backend.complete_defragment(job.run()).unwrap();
                assert!(matches!(done, DefragResult::Done));
                writeln!(out, "done").unwrap();
            }
            "bump" => {
                let view = self.backend.reader().view();
                let mut txn = self.backend.begin_maintenance();
                let bumped = bump_revision(&view, &mut txn, directive.number(0)).unwrap();
                txn.finish();
                drop(view);
                writeln!(out, "the last revision is {bumped}").unwrap();
                self.backend.commit().unwrap();
                return self.reopen(1, out);
            }
            "crash" => {
                self.sim.restart();
                return self.reopen(1, out);
            }
            "reopen" => {
                self.backend.commit().unwrap();
                let parts = directive.value("parts").map_or(1, |parts| parts.parse().unwrap());
                return self.reopen(parts, out);
            }
            other => panic!("{}: {other} is no command", directive.place),
        }
        self
    }

    fn reopen(self, parts: usize, out: &mut String) -> World {
        let World { sim, backend, store, readers, .. } = self;
        drop((backend, store, readers));
        let (backend, store) = open(&sim, parts, out);
        let applied = backend.applied().index;
        World { sim, backend, store, readers: BTreeMap::new(), applied }
    }

    fn entry(&mut self) -> EntryId {
        self.applied += 1;
        EntryId { term: 1, index: self.applied }
    }

    fn write(&mut self, changes: &[Vec<String>], is_kept: bool, out: &mut String) {
        let entry = self.entry();
        let mut txn = self.backend.begin();
        let mut write = self.store.begin(&mut txn);
        for change in changes {
            apply(&mut write, change, out);
        }
        if !is_kept {
            writeln!(out, "dropped at revision {}", write.revision()).unwrap();
            drop(write);
            return txn.finish(entry);
        }
        let change = write.end();
        txn.finish(entry);
        match change {
            Some(change) => {
                tell(&change, out);
                self.store.publish(&change);
            }
            None => writeln!(out, "nothing changed at {}", self.store.revision()).unwrap(),
        }
    }

    fn get(&self, directive: &Directive, out: &mut String) {
        let options = range_options(directive);
        let result = match directive.value("of") {
            Some(name) => self.readers[name].range(&options),
            None => self.store.reader().read().range(&options),
        };
        match result {
            Ok(found) => {
                found.kvs.iter().for_each(|kv| writeln!(out, "{}", show(&kv.decode())).unwrap());
                let more = if found.more { ", more are there" } else { "" };
                writeln!(out, "count {} at {}{more}", found.count, found.revision).unwrap();
            }
            Err(refusal) => refused(refusal, out),
        }
    }

    fn compact(&mut self, revision: i64, out: &mut String) {
        let entry = self.entry();
        let mut txn = self.backend.begin();
        let promised = self.store.schedule_compaction(&mut txn, revision);
        txn.finish(entry);
        match promised {
            Ok(()) => writeln!(out, "promised: nothing below {revision} can be read").unwrap(),
            Err(refusal) => refused(refusal, out),
        }
    }

    fn steps(&mut self, steps: usize, out: &mut String) {
        for _ in 0..steps {
            let mut txn = self.backend.begin_maintenance();
            let progress = self.store.compaction_step(&mut txn);
            txn.finish();
            let rows = self.rows().len();
            let left = if progress == Progress::Done { "done" } else { "more to do" };
            writeln!(out, "{left}; rows in the table: {rows}").unwrap();
        }
    }

    fn history(&self, from: i64, out: &mut String) {
        let walked = self.store.reader().read().history(from, |revision, is_tombstone, stored| {
            out.push_str(&row(revision, is_tombstone, stored));
            ControlFlow::Continue(())
        });
        if let Err(refusal) = walked {
            out.clear();
            refused(refusal, out);
        }
    }

    fn hash(&self, revision: i64, out: &mut String) {
        match self.store.reader().hash_kv(revision) {
            Ok(found) => {
                let (hash, of) = (found.hash, found.hash_revision);
                writeln!(out, "{hash:08x} of {of}, compacted {}", found.compact_revision).unwrap();
            }
            Err(refusal) => refused(refusal, out),
        }
    }

    fn rows(&self) -> Vec<String> {
        let mut rows = Vec::new();
        self.backend.reader().view().range(Table::Key, &[], &[], usize::MAX, |key, value| {
            let (revision, is_tombstone) = Revision::decode(key).unwrap();
            rows.push(row(revision, is_tombstone, value));
            ControlFlow::Continue(())
        });
        rows
    }

    fn table(&self, out: &mut String) {
        self.rows().iter().for_each(|row| out.push_str(row));
    }
}

/// A command's words and values as a line of a transaction has them.
fn directive_words(directive: &Directive) -> Vec<String> {
    let lease = directive.value("lease").map(|lease| format!("lease={lease}"));
    let words = directive.words().map(str::to_owned);
    std::iter::once(directive.command.clone()).chain(words).chain(lease).collect()
}

fn end_of(word: &str) -> Bytes {
    if word == "*" { Bytes::from_static(b"\0") } else { word.to_owned().into() }
}

fn apply(write: &mut WriteTxn<'_, '_>, change: &[String], out: &mut String) {
    let words: Vec<&str> = change.iter().map(String::as_str).collect();
    match words[..] {
        ["put", key, value, ref lease @ ..] => {
            let lease = lease.first().and_then(|lease| lease.strip_prefix("lease="));
            let lease = lease.map_or(0, |lease| lease.parse().unwrap());
            let put = write.put(&key.to_owned().into(), value.as_bytes(), lease, true);
            let before = put.prev.as_ref().map(Kv::decode);
            let before = before.map_or("was not there".into(), |kv| format!("was {}", show(&kv)));
            writeln!(out, "{key} {before}").unwrap();
        }
        ["delete", key, ref end @ ..] => {
            let end = end.first().map_or(Bytes::new(), |end| end_of(end));
            let deleted = write.delete_range(&key.to_owned().into(), &end, true);
            let before = deleted.prev.iter().map(Kv::decode);
            before.for_each(|kv| writeln!(out, "gone: {}", show(&kv)).unwrap());
        }
        _ => panic!("{words:?} is no change"),
    }
}

/// What watchers are told.
fn tell(change: &Change, out: &mut String) {
    for event in &change.events {
        let key = event.key.escape_ascii();
        let what = match (event.is_tombstone, event.is_create) {
            (true, _) => "is deleted",
            (false, true) => "is created",
            (false, false) => "is changed",
        };
        writeln!(out, "revision {}: {key} {what}", change.revision).unwrap();
    }
}

fn show(kv: &KeyValue) -> String {
    let (key, value) = (kv.key.escape_ascii(), kv.value.escape_ascii());
    let mut text = format!("{key}={value} mod {} ", kv.mod_revision);
    write!(text, "created {} version {}", kv.create_revision, kv.version).unwrap();
    if kv.lease != 0 {
        write!(text, " lease {}", kv.lease).unwrap();
    }
    text
}

fn row(revision: Revision, is_tombstone: bool, stored: &[u8]) -> String {
    use prost::Message;
    let kv = KeyValue::decode(stored).unwrap();
    let Revision { main, sub } = revision;
    match is_tombstone {
        true => format!("{main}.{sub} tombstone of {}\n", kv.key.escape_ascii()),
        false => format!("{main}.{sub} {}\n", show(&kv)),
    }
}

fn refused(refusal: Refusal, out: &mut String) {
    let why = match refusal {
        Refusal::Compacted => "it has been compacted",
        Refusal::FutureRevision => "there is no such revision yet",
        Refusal::InvalidSort => "there is no such order",
    };
    writeln!(out, "refused: {why}").unwrap();
}

fn range_options(directive: &Directive) -> RangeOptions {
    let place = |value: Option<&String>, words: &[&str]| {
        let place = value.map(|value| words.iter().position(|word| word == value).unwrap());
        place.unwrap_or(0) as i32
    };
    let pair = |key: &str| {
        let values = directive.values(key);
        let number = |at: usize| values.get(at).map_or(0, |value| value.parse().unwrap());
        (number(0), number(1))
    };
    let words: Vec<&str> =
        directive.words().filter(|word| !["keys", "count"].contains(word)).collect();
    let sort = directive.values("sort");
    let (min_mod_revision, max_mod_revision) = pair("mod");
    let (min_create_revision, max_create_revision) = pair("created");
    RangeOptions {
        key: words[0].to_owned().into(),
        range_end: words.get(1).map_or(Bytes::new(), |end| end_of(end)),
        limit: directive.get("limit"),
        revision: directive.get("rev"),
        sort_order: place(sort.first(), &["none", "ascend", "descend"]),
        sort_target: place(sort.get(1), &["key", "version", "create", "mod", "value"]),
        keys_only: directive.has("keys"),
        count_only: directive.has("count"),
        min_mod_revision,
        max_mod_revision,
        min_create_revision,
        max_create_revision,
    }
}
