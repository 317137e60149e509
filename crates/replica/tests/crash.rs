//! A member on a disk that crashes at every operation, fails its syncs, and fills up.
#![allow(clippy::unwrap_used)] // the helpers of tests too

mod common;

use apply::Kind;
use apply::Reply;
use common::{Member, options, put, work};
use disk::Disk;
use disk::sim::SimDisk;
use membership::InitialCluster;
use proto::etcdserverpb as pb;
use proto::raftpb::{HardState, Snapshot, SnapshotMetadata};
use replica::{Beginning, Options, Persist, SnapshotDue};
use std::collections::BTreeMap;
use std::path::Path;

/// The highest revision that a client was told.
fn acknowledged_revision(member: &Member) -> i64 {
    let replies = member.acknowledged.iter().filter_map(|(_, result)| result.as_ref().ok());
    replies.filter_map(Reply::revision).max().unwrap_or(1)
}

#[test]
fn a_crash_anywhere_loses_nothing_acknowledged_and_reuses_no_revision() {
    let whole = SimDisk::new(0);
    let mut member = Member::open(&whole).unwrap();
    work(&mut member, 1, 40).unwrap();
    let expected = member.content();
    assert!(expected.len() >= 6);
    drop(member);
    for crash in 1..=whole.ops() {
        for seed in 0..3 {
            let sim = SimDisk::new(seed);
            sim.crash_after(crash);
            let (done, revision, before) = match Member::open(&sim) {
                Ok(mut member) => {
                    assert!(work(&mut member, 1, 40).is_err() || crash == whole.ops());
                    let done = member.acknowledged.iter().map(|(id, _)| *id).max().unwrap_or(0);
                    (done, acknowledged_revision(&member), member.content())
                }
                Err(_) => (0, 1, BTreeMap::new()),
            };
            sim.restart();
            every_recorded_snapshot_has_its_file(&sim);
            let mut member = match Member::open(&sim) {
                Ok(member) => member,
                Err(fault) => panic!("crash {crash}, seed {seed}: {fault}"),
            };
            let now = member.parts.reader.revision();
            assert!(
                now >= revision,
                "crash {crash}, seed {seed}: revision {revision} became {now}"
            );
            if now == revision {
                assert_eq!(member.content(), before, "crash {crash}, seed {seed}");
            }
            let hash = member.parts.reader.read().hash_kv(0).unwrap();
            // What was proposed but not acknowledged may be there or not; doing it again settles it.
            work(&mut member, done + 2, 40).unwrap();
            assert!(hash.hash_revision >= revision);
        }
    }
}

/// The newest snapshot that the log names, where it is not the start, can be read: a log that was
/// cut before it is of no use without.
fn every_recorded_snapshot_has_its_file(sim: &SimDisk) {
    let (wal_dir, snap_dir) = (Path::new("m.etcd/member/wal"), Path::new("m.etcd/member/snap"));
    let Ok(recorded) = wal::valid_snapshots(sim, wal_dir) else { return };
    let Some(newest) = recorded.last().filter(|newest| newest.index() > 0) else { return };
    let found = wal::snap::load_newest(sim, snap_dir, std::slice::from_ref(newest)).unwrap();
    assert!(found.is_some(), "snapshot {} has no file", newest.index());
}

/// A member of three whose others are gone; forced, it goes on alone.
fn forced() -> Options {
    let three = "m=http://h:1,n=http://h:2,o=http://h:3";
    let beginning = Beginning::New(InitialCluster::parse(three, "t").unwrap());
    Options { beginning, force_new_cluster: true, ..options() }
}

fn members(member: &Member) -> Vec<String> {
    let members = &member.parts.applier.machine.members;
    members.list().map(|member| member.name.clone()).collect()
}

#[test]
fn a_forced_member_is_alone_wherever_it_crashed() {
    let lost = |sim: &SimDisk| {
        let options = Options { force_new_cluster: false, ..forced() };
        let member = Member::open_with(sim, &options).unwrap();
        assert_eq!(members(&member).len(), 3);
        assert_eq!(member.parts.core.status().leader, 0, "alone, it is no majority of three");
        drop(member);
        sim.restart();
    };
    let whole = SimDisk::new(0);
    lost(&whole);
    let before = whole.ops();
    let mut member = Member::open_with(&whole, &forced()).unwrap();
    assert_eq!(members(&member), ["m"]);
    work(&mut member, 2, 9).unwrap();
    for crash in 1..=whole.ops() - before {
        let sim = SimDisk::new(crash);
        lost(&sim);
        sim.crash_after(crash);
        let revision = Member::open_with(&sim, &forced()).map_or(1, |mut member| {
            let _ = work(&mut member, 2, 9);
            acknowledged_revision(&member)
        });
        sim.restart();
        let member = Member::open_with(&sim, &forced()).unwrap();
        assert_eq!(members(&member), ["m"], "crash {crash}");
        assert!(member.parts.reader.revision() >= revision, "crash {crash}");
        drop(member);
        sim.restart();
        let mut member = Member::open(&sim).unwrap();
        assert_eq!(members(&member), ["m"], "the log has it: no later start needs to be forced");
        work(&mut member, 20, 25).unwrap();
    }
}

#[test]
fn a_snapshot_that_a_leaders_has_overtaken_is_not_recorded() {
    let sim = SimDisk::new(5);
    let mut member = Member::open(&sim).unwrap();
    work(&mut member, 1, 5).unwrap();
    let term = Some(member.parts.core.status().term);
    let metadata = SnapshotMetadata { index: Some(90), term, ..SnapshotMetadata::default() };
    let persist = Persist {
        number: 100,
        hard_state: Some(HardState { term, vote: Some(0), commit: Some(90) }),
        entries: Vec::new(),
        snapshot: Some(Snapshot { data: None, metadata: Some(metadata) }),
        sync: true,
    };
    member.parts.log_writer.persist(&[persist]).unwrap();
    let late = SnapshotDue {
        index: 4,
        term: 2,
        conf_state: member.parts.core.conf_state(),
        data: Vec::new(),
    };
    member.parts.log_writer.save_snapshot(late).unwrap();
    let recorded = wal::valid_snapshots(&sim, Path::new("m.etcd/member/wal")).unwrap();
    assert_eq!(recorded.last().unwrap().index(), 90);
}

#[test]
fn a_snapshot_counts_although_the_commit_index_was_not_written_yet() {
    let sim = SimDisk::new(6);
    let mut member = Member::open(&sim).unwrap();
    work(&mut member, 1, 5).unwrap();
    let core = &member.parts.core;
    let due = SnapshotDue {
        index: core.status().committed,
        term: core.status().term,
        conf_state: core.conf_state(),
        data: Vec::new(),
    };
    member.parts.log_writer.save_snapshot(due).unwrap();
    let recorded = wal::valid_snapshots(&sim, Path::new("m.etcd/member/wal")).unwrap();
    assert_eq!(recorded.last().unwrap().index(), member.parts.core.status().committed);
}

#[test]
fn restarts_give_the_same_hash_at_the_same_revision() {
    let sim = SimDisk::new(4);
    let mut hashes = BTreeMap::new();
    let mut member = Member::open(&sim).unwrap();
    for round in 0..12 {
        work(&mut member, round * 10 + 1, round * 10 + 10).unwrap();
        let read = member.parts.reader.read();
        hashes.insert(read.revision(), read.hash_kv(0).unwrap().hash);
        drop((read, member));
        sim.restart();
        member = Member::open(&sim).unwrap();
        let read = member.parts.reader.read();
        assert_eq!(hashes[&read.revision()], read.hash_kv(0).unwrap().hash, "round {round}");
    }
}

#[test]
fn a_failing_sync_and_a_full_disk_stop_the_member_with_a_reason() {
    for full in [false, true] {
        let sim = SimDisk::new(2);
        let mut member = Member::open(&sim).unwrap();
        work(&mut member, 1, 10).unwrap();
        let acknowledged = member.content();
        if full {
            sim.set_capacity(Some(0));
        } else {
            sim.fail_sync_after(1);
        }
        let fault = work(&mut member, 10, 200).unwrap_err().to_string();
        assert!(fault.contains("m.etcd/member"), "{fault}");
        drop(member);
        sim.restart();
        let member = Member::open(&sim).unwrap();
        let after = member.content();
        for (key, (_, revision)) in &acknowledged {
            assert!(after.get(key).is_some_and(|(_, now)| now >= revision), "{key:?}");
        }
    }
}

#[test]
fn a_transaction_that_would_kill_a_careless_member_is_refused_as_a_whole() {
    use pb::request_op::Request as Op;
    let sim = SimDisk::new(3);
    let mut member = Member::open(&sim).unwrap();
    member.propose(1, Kind::Put, &put(2)).unwrap();
    let op = |request| pb::RequestOp { request: Some(request) };
    let delete = pb::DeleteRangeRequest { key: "k2".into(), ..Default::default() };
    let keep = pb::PutRequest { key: "k2".into(), ignore_value: true, ..Default::default() };
    let nested = pb::TxnRequest {
        success: vec![op(Op::RequestDeleteRange(delete)), op(Op::RequestPut(keep))],
        ..Default::default()
    };
    let txn = pb::TxnRequest {
        success: vec![op(Op::RequestPut(put(3))), op(Op::RequestTxn(nested))],
        ..Default::default()
    };
    let before = member.content();
    member.propose(2, Kind::Txn, &txn).unwrap();
    let (_, result) = member.acknowledged.last().unwrap();
    assert_eq!(result.as_ref().err(), Some(&apply::Refusal::KeyNotFound));
    assert_eq!(member.content(), before);
    drop(member);
    sim.restart();
    assert_eq!(Member::open(&sim).unwrap().content(), before);
}

/// The names of files of one kind in a directory.
fn named(sim: &SimDisk, dir: &str, end: &str) -> Vec<String> {
    let names = sim.list(Path::new(dir)).unwrap();
    names.into_iter().filter(|name| name.ends_with(end)).collect()
}

#[test]
fn a_start_removes_files_that_are_too_many_and_none_that_is_needed() {
    const WAL: &str = "m.etcd/member/wal";
    const SNAP: &str = "m.etcd/member/snap";
    let sim = SimDisk::new(0);
    let hoarder = Options { keep_wals: usize::MAX, keep_snapshots: usize::MAX, ..options() };
    let mut member = Member::open_with(&sim, &hoarder).unwrap();
    work(&mut member, 1, 120).unwrap();
    let before = member.content();
    drop(member);
    let (wals, snaps) = (named(&sim, WAL, ".wal"), named(&sim, SNAP, ".snap"));
    assert!(wals.len() > 3 && snaps.len() > 3, "{wals:?} {snaps:?}");
    let strangers =
        ["ffffffffffffffff-0000000000000001.snap", "ffffffffffffffff-0000000000000002.snap"];
    let databases =
        ["0000000000000001.snap.db", "0000000000000002.snap.db", "0000000000000003.snap.db"];
    for name in strangers.iter().chain(&databases) {
        sim.open(&Path::new(SNAP).join(name), disk::Open::CREATE).unwrap();
    }
    let member = Member::open(&sim).unwrap();
    assert_eq!(member.content(), before);
    let newest = snaps.last().unwrap().as_str();
    assert_eq!(named(&sim, SNAP, ".snap"), [newest, strangers[0], strangers[1]]);
    assert_eq!(named(&sim, SNAP, ".snap.db"), databases[1..]);
    let left = named(&sim, WAL, ".wal");
    assert!(left.len() < wals.len() && wals.ends_with(&left), "{left:?} of {wals:?}");
    drop(member);
    assert_eq!(Member::open(&sim).unwrap().content(), before);
}
