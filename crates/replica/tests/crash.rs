//! A member on a disk that crashes at every operation, fails its syncs, and fills up.
#![allow(clippy::unwrap_used)] // the helpers of tests too

use apply::envelope::{self, Kind};
use apply::mvcc::Progress;
use apply::{Effect, Reply};
use bytes::Bytes;
use disk::sim::SimDisk;
use prost::Message;
use proto::etcdserverpb as pb;
use proto::raftpb::{HardState, Snapshot, SnapshotMetadata};
use replica::apply::membership::InitialCluster;
use replica::apply::{self, lease};
use replica::{Beginning, Command, Fault, Options, Parts, Persist, SnapshotDue, disk, open, wal};
use std::collections::BTreeMap;
use std::path::Path;

fn options() -> Options {
    let bolt = bolt::Options { page_size: 1024, growth_bytes: 4096, ..Default::default() };
    Options {
        data_dir: "m.etcd".into(),
        wal_dir: None,
        name: "m".into(),
        beginning: Beginning::New(InitialCluster::parse("m=http://h:1", "t").unwrap()),
        force_new_cluster: false,
        election_ticks: 10,
        pre_vote: true,
        snapshot_count: 10,
        keep_wals: 2,
        keep_snapshots: 2,
        wal: wal::Options { segment_bytes: 2048, no_sync: false },
        backend: apply::backend::Options { bolt, ..Default::default() },
        lease: lease::Config { ttl_min_s: 2, checkpoints: false, persist_checkpoints: false },
        apply: apply::Config { quota_bytes: 0, learners_max: 1 },
        uncommitted_bytes_max: 1 << 20,
        catch_up: replica::CatchUp::default(),
    }
}

/// A member whose parts are stepped in turn.
struct Member {
    parts: Parts,
    acknowledged: Vec<(u64, Result<Reply, apply::Refusal>)>,
    commit_every: u64,
    applied_since_commit: u64,
}

impl Member {
    fn open(sim: &SimDisk) -> Result<Member, Fault> {
        Member::open_with(sim, &options())
    }

    fn open_with(sim: &SimDisk, options: &Options) -> Result<Member, Fault> {
        let parts = open(sim.disk(), options)?;
        let mut member =
            Member { parts, acknowledged: Vec::new(), commit_every: 4, applied_since_commit: 0 };
        member.run()?;
        Ok(member)
    }

    fn propose(&mut self, id: u64, kind: Kind, request: &impl Message) -> Result<(), Fault> {
        let header = pb::RequestHeader { id, ..Default::default() };
        let data = envelope::encode(kind, &request.encode_to_vec(), &header);
        self.parts.core.propose(data).expect("the member leads itself");
        self.run()
    }

    /// Until nothing is left to do.
    fn run(&mut self) -> Result<(), Fault> {
        let mut commands = Vec::new();
        loop {
            self.parts.core.poll(&mut commands);
            if commands.is_empty() {
                return Ok(());
            }
            for command in commands.drain(..) {
                match command {
                    Command::Persist(persist) => {
                        let done = self.parts.log_writer.persist(&[persist])?;
                        self.parts.log_writer.prepare()?;
                        self.parts.core.persisted(done.number);
                    }
                    Command::Apply(entries) => self.apply(&entries)?,
                    other => panic!("a member alone has no use for {other:?}"),
                }
            }
        }
    }

    fn apply(&mut self, entries: &[proto::raftpb::Entry]) -> Result<(), Fault> {
        let applied = self.parts.applier.apply(entries, |_| true, |_| {})?;
        self.parts.core.applied(applied.index, &applied.conf_changes);
        let mut compact = false;
        for outcome in applied.outcomes {
            compact |= matches!(outcome.effect, Effect::Compact(_));
            self.acknowledged.push((outcome.id, outcome.result));
        }
        if compact {
            while self.parts.applier.compaction_step() == Progress::More {}
        }
        self.applied_since_commit += entries.len() as u64;
        if self.applied_since_commit >= self.commit_every {
            self.applied_since_commit = 0;
            if let Some(job) = self.parts.applier.freeze() {
                let done = job.run()?;
                if let Some(due) = self.parts.applier.complete(done) {
                    self.parts.log_writer.save_snapshot(due)?;
                }
            }
        }
        Ok(())
    }

    /// Every key with its value and revision.
    fn content(&self) -> BTreeMap<Bytes, (Bytes, i64)> {
        let all = apply::mvcc::RangeOptions {
            key: Bytes::from_static(b"\0"),
            range_end: Bytes::from_static(b"\0"),
            ..Default::default()
        };
        let found = self.parts.reader.read().range(&all).unwrap();
        let pairs = found.kvs.iter().map(|kv| kv.decode());
        pairs.map(|kv| (kv.key, (kv.value, kv.mod_revision))).collect()
    }
}

fn put(n: u64) -> pb::PutRequest {
    pb::PutRequest {
        key: format!("k{}", n % 7).into(),
        value: format!("v{n}").into(),
        lease: if n.is_multiple_of(5) { 77 } else { 0 },
        ..Default::default()
    }
}

/// Puts, a lease, deletes and compactions, one at a time.
fn work(member: &mut Member, from: u64, to: u64) -> Result<(), Fault> {
    for n in from..to {
        match n {
            1 => {
                let grant = pb::LeaseGrantRequest { ttl: 100, id: 77 };
                member.propose(n, Kind::LeaseGrant, &grant)?;
            }
            n if n % 11 == 0 => {
                let delete = pb::DeleteRangeRequest { key: "k3".into(), ..Default::default() };
                member.propose(n, Kind::DeleteRange, &delete)?;
            }
            n if n % 13 == 0 => {
                let revision = member.parts.reader.revision() - 3;
                let compact = pb::CompactionRequest { revision, physical: false };
                member.propose(n, Kind::Compaction, &compact)?;
            }
            n => member.propose(n, Kind::Put, &put(n))?,
        }
    }
    Ok(())
}

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
