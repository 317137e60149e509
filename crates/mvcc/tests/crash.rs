//! A crash at every operation of the disk, and the log applied again from where the database is.
#![allow(clippy::unwrap_used)] // the helpers of tests too

use backend::{Backend, DefragResult, EntryId, Fault, Options, Table};
use disk::sim::SimDisk;
use mvcc::{HashKv, Progress, RangeOptions, Store};
use proto::mvccpb::KeyValue;
use std::ops::ControlFlow;
use std::path::Path;

const ENTRIES: u64 = 60;

struct Member {
    backend: Backend,
    store: Store,
}

/// What can be seen of a store.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    revision: i64,
    compacted: i64,
    kvs: Vec<KeyValue>,
}

fn open(sim: &SimDisk) -> Result<Member, Fault> {
    let bolt = bolt::Options { page_size: 1024, growth_bytes: 4096, ..Default::default() };
    let options = Options { bolt, ..Options::default() };
    let backend = Backend::open(sim.disk(), Path::new("db"), options)?;
    let (mut store, _) = Store::open(&backend)?;
    store.set_compaction_batch_limit(4);
    Ok(Member { backend, store })
}

impl Member {
    /// Applies an entry of the log, which is the same in every life.
    fn apply(&mut self, index: u64) {
        let mut txn = self.backend.begin();
        let key = |n: u64| bytes::Bytes::from(format!("key{}", n % 5));
        let mut change = None;
        if index % 8 == 7 {
            let _ = self.store.schedule_compaction(&mut txn, self.store.revision() - 1);
        } else {
            let mut write = self.store.begin(&mut txn);
            if index % 4 == 2 {
                write.delete_range(&key(index), &key(index + 2), false);
            } else {
                write.put(&key(index), index.to_string().as_bytes(), 0, false);
                write.put(&key(index * 3 + 1), b"also", 0, false);
            }
            change = write.end();
        }
        txn.finish(EntryId { term: 1, index });
        if let Some(change) = change {
            self.store.publish(&change);
        }
        self.check();
    }

    fn check(&self) {
        self.store.check();
        self.backend.check();
    }

    /// Everything that happens beside the log, at times that an entry's index decides.
    fn run(&mut self, sim: &SimDisk) -> Result<(), Fault> {
        while self.backend.applied().index < ENTRIES {
            let index = self.backend.applied().index + 1;
            if index.is_multiple_of(5)
                && let Some(job) = self.backend.freeze()
            {
                self.apply(index);
                let done = job.run()?;
                self.backend.complete(done);
            } else if index.is_multiple_of(17)
                && let Some(job) = self.backend.defragment()
            {
                self.apply(index);
                if let DefragResult::NotDone(why) = self.backend.complete_defragment(job.run())? {
                    return Err(why);
                }
            } else {
                self.apply(index);
            }
            let mut txn = self.backend.begin_maintenance();
            self.store.compaction_step(&mut txn);
            txn.finish();
            self.check();
            assert!(!sim.has_crashed(), "a crash is an error");
        }
        self.settle()
    }

    /// Finishes what is under way.
    fn settle(&mut self) -> Result<(), Fault> {
        loop {
            let mut txn = self.backend.begin_maintenance();
            let progress = self.store.compaction_step(&mut txn);
            txn.finish();
            self.backend.commit()?;
            if progress == Progress::Done {
                return Ok(());
            }
        }
    }

    fn see(&self) -> Seen {
        self.check();
        let read = self.store.reader().read();
        let all = RangeOptions { key: "\0".into(), range_end: "\0".into(), ..Default::default() };
        let kvs = read.range(&all).unwrap().kvs.iter().map(mvcc::Kv::decode).collect();
        Seen { revision: self.store.revision(), compacted: self.store.compacted(), kvs }
    }

    /// The hash as members compute it that have not cached any.
    fn hash(self, sim: &SimDisk) -> HashKv {
        drop(self);
        open(sim).unwrap().store.reader().hash_kv(0).unwrap()
    }
}

/// What is seen after every entry, where nothing goes wrong.
fn reference() -> Vec<Seen> {
    let sim = SimDisk::new(0);
    let mut member = open(&sim).unwrap();
    let mut seen = vec![member.see()];
    for index in 1..=ENTRIES {
        member.apply(index);
        seen.push(member.see());
    }
    seen
}

#[test]
fn a_crash_anywhere_leaves_a_prefix_of_the_log_and_the_rest_follows() {
    let expected = reference();
    let whole = SimDisk::new(0);
    let mut member = open(&whole).unwrap();
    member.run(&whole).unwrap();
    let ops = whole.ops();
    assert_eq!(member.see(), expected[ENTRIES as usize]);
    let hash = member.hash(&whole);
    assert!(ops > 80, "{ops} places to crash at");
    for crash in 1..=ops {
        for seed in 0..3 {
            let sim = SimDisk::new(seed);
            sim.crash_after(crash);
            let durable = match open(&sim) {
                Ok(mut member) => {
                    let _ = member.run(&sim);
                    member.backend.durable().index
                }
                Err(_) => 0,
            };
            sim.restart();
            let Ok(mut member) = open(&sim) else {
                assert!(crash < 6, "only a file that was never whole may fail to open");
                continue;
            };
            let applied = member.backend.applied().index;
            assert!(applied >= durable, "what was durable is there");
            assert_eq!(member.see(), expected[applied as usize], "crash at {crash}, seed {seed}");
            member.run(&sim).unwrap();
            assert_eq!(member.see(), expected[ENTRIES as usize]);
            assert_eq!(member.hash(&sim), hash, "crash at {crash}, seed {seed}");
        }
    }
}

/// A store with a key that is put and deleted, and a compaction promised up to the deletion.
fn deleted_and_compacted(sim: &SimDisk) -> Member {
    let mut member = open(sim).unwrap();
    for index in 1..=2 {
        let mut txn = member.backend.begin();
        let mut write = member.store.begin(&mut txn);
        if index == 1 {
            write.put(&"key".into(), b"value", 0, false);
        } else {
            write.delete_range(&"key".into(), &"".into(), false);
        }
        let change = write.end().unwrap();
        txn.finish(EntryId { term: 1, index });
        member.store.publish(&change);
    }
    let mut txn = member.backend.begin();
    member.store.schedule_compaction(&mut txn, member.store.revision()).unwrap();
    txn.finish(EntryId { term: 1, index: 3 });
    member.backend.commit().unwrap();
    member
}

fn rows(member: &Member) -> Vec<Vec<u8>> {
    let mut rows = Vec::new();
    member.backend.reader().view().range(Table::Key, &[], &[], usize::MAX, |key, _| {
        rows.push(key.to_vec());
        ControlFlow::Continue(())
    });
    rows
}

/// etcd #17780: older versions remove the tombstone too, and a crash comes before the end of the
/// compaction is noted.
#[test]
fn a_revision_that_a_compaction_removed_stays_used() {
    let sim = SimDisk::new(1);
    let mut member = deleted_and_compacted(&sim);
    let gone = rows(&member);
    let mut txn = member.backend.begin_maintenance();
    gone.iter().for_each(|key| txn.delete(Table::Key, key));
    txn.finish();
    member.backend.commit().unwrap();
    drop(member);
    let mut member = open(&sim).unwrap();
    assert_eq!((member.store.revision(), member.store.compacted()), (3, 3));
    assert!(member.store.is_compacting());
    member.settle().unwrap();
    drop(member);
    let member = open(&sim).unwrap();
    assert_eq!((member.store.revision(), member.store.compacted()), (3, 3));
    assert!(!member.store.is_compacting());
}

/// etcd #18089: a watcher from the compacted revision on must see a deletion exactly there.
#[test]
fn a_tombstone_at_the_compacted_revision_is_kept() {
    let sim = SimDisk::new(1);
    let mut member = deleted_and_compacted(&sim);
    member.settle().unwrap();
    drop(member);
    let member = open(&sim).unwrap();
    assert_eq!(rows(&member), [b"\0\0\0\0\0\0\0\x03_\0\0\0\0\0\0\0\0t"]);
    let mut seen = Vec::new();
    let read = member.store.reader().read();
    let walked = read.history(3, |revision, is_tombstone, _| {
        seen.push((revision.main, is_tombstone));
        ControlFlow::Continue(())
    });
    assert_eq!((walked, seen), (Ok(()), vec![(3, true)]));
}

/// With every key deleted, no revision is to be kept on account of a later one: what the hash
/// counts must not depend on how far the compaction has come here.
#[test]
fn a_hash_amid_a_compaction_is_that_after_it() {
    let sim = SimDisk::new(1);
    let mut member = open(&sim).unwrap();
    for index in 1..=4 {
        let mut txn = member.backend.begin();
        let mut write = member.store.begin(&mut txn);
        if index < 4 {
            write.put(&"key".into(), b"value", 0, false);
        } else {
            write.delete_range(&"key".into(), &"".into(), false);
        }
        let change = write.end().unwrap();
        txn.finish(EntryId { term: 1, index });
        member.store.publish(&change);
    }
    let mut txn = member.backend.begin();
    member.store.schedule_compaction(&mut txn, 3).unwrap();
    txn.finish(EntryId { term: 1, index: 5 });
    member.backend.commit().unwrap();
    drop(member);
    let mut member = open(&sim).unwrap();
    let amid = member.store.reader().hash_kv(0).unwrap();
    member.settle().unwrap();
    assert_eq!(member.store.reader().hash_kv(0).unwrap(), amid);
}

/// What `etcdutl snapshot restore --bump-revision` leaves behind.
#[test]
fn an_empty_key_value_counts_as_a_revision_only() {
    let sim = SimDisk::new(1);
    let mut member = deleted_and_compacted(&sim);
    let bumped = b"\0\0\0\0\0\0\x01\0_\0\0\0\0\0\0\0\0";
    let mut txn = member.backend.begin_maintenance();
    txn.put(Table::Key, bumped, "".into());
    txn.put(Table::Meta, b"scheduledCompactRev", bumped[..].into());
    txn.finish();
    member.backend.commit().unwrap();
    drop(member);
    let mut member = open(&sim).unwrap();
    assert_eq!((member.store.revision(), member.store.compacted()), (256, 256));
    assert!(member.see().kvs.is_empty());
    member.settle().unwrap();
    drop(member);
    assert_eq!(open(&sim).unwrap().store.revision(), 256);
}

#[test]
fn damaged_rows_are_a_fault_that_names_the_table() {
    let rows: [(&[u8], &[u8]); 3] = [
        (b"short", b""),
        (b"\0\0\0\0\0\0\0\x09_\0\0\0\0\0\0\0\0x", b""),
        (b"\0\0\0\0\0\0\0\x09_\0\0\0\0\0\0\0\0", b"\x0a\xff"),
    ];
    for (key, value) in rows {
        let sim = SimDisk::new(1);
        let mut member = deleted_and_compacted(&sim);
        let mut txn = member.backend.begin_maintenance();
        // Behind all others, as the table demands.
        let key = [&[0x7f], &key[1..]].concat();
        txn.put(Table::Key, &key, value.to_vec().into());
        txn.finish();
        member.backend.commit().unwrap();
        drop(member);
        let fault = open(&sim).err().unwrap().to_string();
        assert!(fault.starts_with("table key: "), "{fault}");
    }
}

#[test]
#[should_panic(expected = "the table has")]
fn a_row_that_is_gone_is_found() {
    let sim = SimDisk::new(1);
    let mut member = open(&sim).unwrap();
    member.apply(1);
    let row = rows(&member).swap_remove(0);
    let mut txn = member.backend.begin_maintenance();
    txn.delete(Table::Key, &row);
    txn.finish();
    member.backend.commit().unwrap();
    member.check();
}

#[test]
#[should_panic(expected = "the index knows")]
fn a_row_that_nobody_wrote_is_found() {
    let sim = SimDisk::new(1);
    let mut member = open(&sim).unwrap();
    member.apply(1);
    let mut txn = member.backend.begin_maintenance();
    txn.put(Table::Key, b"\0\0\0\0\0\0\0\x09_\0\0\0\0\0\0\0\0", "".into());
    txn.finish();
    member.check();
}
