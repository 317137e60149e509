//! A member on a simulated disk whose parts are stepped from one thread, and work for it.
#![allow(dead_code)] // not every file of tests uses all of it

use apply::{Effect, Reply};
use apply::{Kind, envelope};
use bytes::Bytes;
use disk::sim::SimDisk;
use membership::InitialCluster;
use mvcc::Progress;
use prost::Message;
use proto::etcdserverpb as pb;
use replica::{Beginning, Command, Fault, Options, Parts, open};
use std::collections::BTreeMap;

pub(crate) fn options() -> Options {
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
        backend: backend::Options { bolt, ..Default::default() },
        lease: lease::Config {
            ttl_min_s: 2,
            checkpoints: false,
            persist_checkpoints: false,
            checkpoint_interval_ms: lease::CHECKPOINT_MS,
        },
        apply: apply::Config { quota_bytes: 0, learners_max: 1 },
        uncommitted_bytes_max: 1 << 20,
        catch_up: replica::CatchUp::default(),
    }
}

/// A member whose parts are stepped in turn.
pub(crate) struct Member {
    pub(crate) parts: Parts,
    pub(crate) acknowledged: Vec<(u64, Result<Reply, apply::Refusal>)>,
    /// Everything that was applied, in its order.
    pub(crate) entries: Vec<proto::raftpb::Entry>,
    commit_every: u64,
    applied_since_commit: u64,
}

impl Member {
    pub(crate) fn open(sim: &SimDisk) -> Result<Member, Fault> {
        Member::open_with(sim, &options())
    }

    pub(crate) fn open_with(sim: &SimDisk, options: &Options) -> Result<Member, Fault> {
        let parts = open(sim.disk(), options)?;
        let mut member = Member {
            parts,
            acknowledged: Vec::new(),
            entries: Vec::new(),
            commit_every: 4,
            applied_since_commit: 0,
        };
        member.run()?;
        Ok(member)
    }

    pub(crate) fn propose(
        &mut self,
        id: u64,
        kind: Kind,
        request: &impl Message,
    ) -> Result<(), Fault> {
        let header = pb::RequestHeader { id, ..Default::default() };
        let data = envelope::encode(kind, &request.encode_to_vec(), &header);
        self.parts.core.propose(data).expect("the member leads itself");
        self.run()
    }

    /// Until nothing is left to do.
    pub(crate) fn run(&mut self) -> Result<(), Fault> {
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

    pub(crate) fn apply(&mut self, entries: &[proto::raftpb::Entry]) -> Result<(), Fault> {
        self.entries.extend_from_slice(entries);
        let applied = self.parts.applier.apply(entries, |_| true, |_, _| {})?;
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
        let machine = &self.parts.applier.machine;
        machine.store.check();
        machine.backend.check();
        machine.members.check(&self.parts.backend_reader.view());
        Ok(())
    }

    /// Every key with its value and revision.
    pub(crate) fn content(&self) -> BTreeMap<Bytes, (Bytes, i64)> {
        let all = mvcc::RangeOptions {
            key: Bytes::from_static(b"\0"),
            range_end: Bytes::from_static(b"\0"),
            ..Default::default()
        };
        let found = self.parts.reader.read().range(&all).unwrap();
        let pairs = found.kvs.iter().map(|kv| kv.decode());
        pairs.map(|kv| (kv.key, (kv.value, kv.mod_revision))).collect()
    }
}

pub(crate) fn put(n: u64) -> pb::PutRequest {
    pb::PutRequest {
        key: format!("k{}", n % 7).into(),
        value: format!("v{n}").into(),
        lease: if n.is_multiple_of(5) { 77 } else { 0 },
        ..Default::default()
    }
}

/// Puts, a lease, deletes and compactions, one at a time.
pub(crate) fn work(member: &mut Member, from: u64, to: u64) -> Result<(), Fault> {
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
