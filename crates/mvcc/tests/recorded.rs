//! What etcd's own store answered, asked of this one: every reply, hash and stored byte.
#![allow(clippy::unwrap_used)] // the helpers of tests too

use backend::{Backend, EntryId, Options, Table};
use bytes::Bytes;
use disk::sim::SimDisk;
use mvcc::{Progress, RangeOptions, Refusal, Store};
use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// A database whose file stays small, so that a test is about what it holds.
fn options() -> Options {
    let mut options = Options::default();
    (options.bolt.growth_bytes, options.bolt.initial_map_bytes) = (4096, 0);
    options
}

struct World {
    sim: SimDisk,
    open: Option<(Backend, Store)>,
    index: u64,
}

fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().map(|c| (c as char).to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect::<Vec<_>>().into()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn refusal(refusal: Refusal) -> String {
    match refusal {
        Refusal::Compacted => "compacted\n".into(),
        Refusal::FutureRevision => "future\n".into(),
        Refusal::InvalidSort => "invalid\n".into(),
    }
}

/// The words of an operation; an empty one is an empty key.
fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

impl World {
    fn open(sim: SimDisk, index: u64) -> World {
        let backend = Backend::open(sim.disk(), Path::new("db"), options()).unwrap();
        let (store, _) = Store::open_in_parts(&backend, 3, |jobs| {
            jobs.into_iter().map(mvcc::RestoreJob::run).collect()
        })
        .unwrap();
        World { sim, open: Some((backend, store)), index }
    }

    fn parts(&mut self) -> (&mut Backend, &mut Store) {
        let (backend, store) = self.open.as_mut().unwrap();
        (backend, store)
    }

    fn reader(&self) -> mvcc::Reader {
        self.open.as_ref().unwrap().1.reader()
    }

    /// The operations from `begin` to `end`, each with what it answers.
    fn write(&mut self, ops: &[&str]) -> Vec<String> {
        self.index += 1;
        let entry = EntryId { term: 1, index: self.index };
        let (backend, store) = self.parts();
        let mut answers = vec![String::new()];
        let mut txn = backend.begin();
        let mut write = store.begin(&mut txn);
        for op in ops {
            answers.push(match words(op)[..] {
                ["put", key, value, lease] => {
                    let lease = lease.parse().unwrap();
                    let put = write.put(&hex(key), &hex(value), lease, false);
                    format!("revision {}\n", put.revision)
                }
                ["delete", key, end] => {
                    let deleted = write.delete_range(&hex(key), &hex(end), false).keys.len();
                    format!("deleted {deleted} revision {}\n", write.revision())
                }
                _ => panic!("{op}"),
            });
        }
        let change = write.end();
        txn.finish(entry);
        if let Some(change) = change {
            store.publish(&change);
        }
        answers.push(format!("revision {}\n", store.revision()));
        if entry.index.is_multiple_of(3) {
            backend.commit().unwrap();
        }
        answers
    }

    fn range(&self, words: &[&str]) -> String {
        let number = |at: usize| words[at].parse::<i64>().unwrap();
        let options = RangeOptions {
            key: hex(words[0]),
            range_end: hex(words[1]),
            limit: number(2),
            revision: number(3),
            sort_order: number(4) as i32,
            sort_target: number(5) as i32,
            keys_only: words[6] == "true",
            count_only: words[7] == "true",
            min_mod_revision: number(8),
            max_mod_revision: number(9),
            min_create_revision: number(10),
            max_create_revision: number(11),
        };
        match self.reader().read().range(&options) {
            Err(why) => refusal(why),
            Ok(found) => {
                let (revision, count, more) = (found.revision, found.count, found.more);
                let head = format!("revision {revision} count {count} more {more}\n");
                let kvs = found.kvs.iter().map(|kv| format!("kv {}\n", to_hex(kv.encoded())));
                head + &kvs.collect::<String>()
            }
        }
    }

    fn hash(&self, revision: &str) -> String {
        match self.reader().hash_kv(revision.parse().unwrap()) {
            Err(why) => refusal(why),
            Ok(hash) => format!(
                "hash {:08x} compact {} at {} current {}\n",
                hash.hash, hash.compact_revision, hash.hash_revision, hash.revision
            ),
        }
    }

    fn compact(&mut self, revision: &str) -> String {
        self.index += 1;
        let entry = EntryId { term: 1, index: self.index };
        let (backend, store) = self.parts();
        let mut txn = backend.begin();
        let result = store.schedule_compaction(&mut txn, revision.parse().unwrap());
        txn.finish(entry);
        loop {
            let mut txn = backend.begin_maintenance();
            let progress = store.compaction_step(&mut txn);
            txn.finish();
            if progress == Progress::Done {
                break;
            }
        }
        result.map_or_else(refusal, |()| "ok\n".into())
    }

    fn rows(&mut self) -> String {
        let mut text = String::new();
        let view = self.parts().0.reader().view();
        view.range(Table::Key, &[], &[], usize::MAX, |key, value| {
            writeln!(text, "row {} {}", to_hex(key), to_hex(value)).unwrap();
            ControlFlow::Continue(())
        });
        for key in ["finishedCompactRev", "scheduledCompactRev"] {
            if let Some(value) = view.get(Table::Meta, key.as_bytes()) {
                writeln!(text, "meta {key} {}", to_hex(&value)).unwrap();
            }
        }
        text
    }

    fn reopen(&mut self) -> String {
        self.parts().0.commit().unwrap();
        self.open = None;
        *self = World::open(self.sim.clone(), self.index);
        format!("revision {}\n", self.reader().revision())
    }

    /// Operations that belong together, each with its answer.
    fn run(&mut self, ops: &[&str]) -> Vec<String> {
        let words = words(ops[0]);
        vec![match (words[0], &words[1..]) {
            ("begin", []) => return self.write(&ops[1..ops.len() - 1]),
            ("range", rest) => self.range(rest),
            ("hash", [revision]) => self.hash(revision),
            ("compact", [revision]) => self.compact(revision),
            ("rows", []) => self.rows(),
            ("reopen", []) => self.reopen(),
            _ => panic!("{ops:?}"),
        }]
    }
}

/// An operation, the number of its line, and the answer recorded.
fn read(text: &str) -> Vec<(&str, usize, String)> {
    let mut ops: Vec<(&str, usize, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        match line.strip_prefix("> ") {
            Some(op) => ops.push((op, number + 1, String::new())),
            None => {
                let answer = &mut ops.last_mut().unwrap().2;
                answer.push_str(line);
                answer.push('\n');
            }
        }
    }
    ops
}

fn replay(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let ops = read(&text);
    let mut world = World::open(SimDisk::new(1), 0);
    let mut at = 0;
    while at < ops.len() {
        let len = match ops[at].0 {
            "begin" => 1 + ops[at..].iter().position(|(op, ..)| *op == "end").unwrap(),
            _ => 1,
        };
        let group: Vec<&str> = ops[at..at + len].iter().map(|(op, ..)| *op).collect();
        for (answer, (op, line, expected)) in world.run(&group).iter().zip(&ops[at..]) {
            assert_eq!(answer, expected, "{}:{line}: {op}", path.display());
        }
        at += len;
    }
}

#[test]
fn every_answer_is_the_one_that_etcd_gave() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let dir = std::env::var_os("MVCC_RECORDED").map_or(dir, PathBuf::from);
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|ext| ext == "txt")).collect();
    files.sort();
    assert!(!files.is_empty());
    files.iter().for_each(|path| replay(path));
}
