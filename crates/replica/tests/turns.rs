//! The turns of a member's state machine, where an order could be wrong.
#![allow(clippy::unwrap_used)] // the helpers of tests too

mod common;

use backend::CommitJob;
use common::{Member, options, work};
use disk::sim::SimDisk;
use proto::raftpb::{Entry, Snapshot, SnapshotMetadata};
use replica::Intake;
use replica::turn::{
    ApplyEffect, ApplyEvent, ApplyTiming, ApplyTurn, Caller, Common, CoreEvent, CoreFigures,
    Moment, Note, Observer, RequestIds, RequestLimits, Time,
};
use std::sync::Arc;

enum Nobody {}

impl Caller for Nobody {
    type Write = u64;
    type Ticket<A: Send + 'static> = u64;
}

/// The entries that were applied.
#[derive(Default)]
struct Applied(Vec<u64>);

impl Observer for Applied {
    fn note(&mut self, note: Note<'_>) {
        if let Note::Applied { entry, .. } = note {
            self.0.push(entry.index());
        }
    }
}

/// A state machine with its turn.
struct Bench {
    turn: ApplyTurn<Nobody>,
    common: Arc<Common<Nobody>>,
    applied: Applied,
}

impl Bench {
    fn open(sim: &SimDisk) -> Bench {
        let parts = replica::open(sim.disk(), &options()).unwrap();
        let limits = RequestLimits {
            entry_bytes_max: 1 << 20,
            request_timeout: Time::from_secs(1),
            election_timeout: Time::from_secs(1),
        };
        let members = parts.applier.machine.members.clone();
        let ids = RequestIds::new(1, 1);
        let common = Arc::new(Common::new((1, 1), limits, ids, parts.reader, members));
        let timing = ApplyTiming {
            batch_interval: Time::from_millis(100),
            election_timeout: Time::from_secs(1),
        };
        let turn = ApplyTurn::new(Arc::clone(&common), parts.applier, timing, Time::ZERO);
        Bench { turn, common, applied: Applied::default() }
    }

    fn turn(&mut self, ms: u64, event: ApplyEvent<Nobody>) -> Vec<ApplyEffect<Nobody>> {
        let mut out = Vec::new();
        let mut at =
            Moment { now: Time::from_millis(ms), out: &mut out, observer: &mut self.applied };
        self.turn.turn(&mut vec![event], &mut at).unwrap();
        self.turn.check();
        out
    }
}

fn commit_in(effects: Vec<ApplyEffect<Nobody>>) -> CommitJob {
    let job = |effect| match effect {
        ApplyEffect::Commit(job) => Some(job),
        _ => None,
    };
    effects.into_iter().find_map(job).expect("a commit was due")
}

/// A leader's database as of all that it has applied, given to a member that lags behind.
fn give(leader: &mut Member, to: &SimDisk) -> Snapshot {
    if let Some(job) = leader.parts.applier.freeze() {
        leader.parts.applier.complete(job.run().unwrap());
    }
    let applied = leader.parts.applier.machine.backend.durable();
    let metadata = SnapshotMetadata {
        index: Some(applied.index),
        term: Some(applied.term),
        conf_state: Some(leader.parts.core.conf_state()),
    };
    let snapshot = Snapshot { data: None, metadata: Some(metadata) };
    let file = leader.parts.backend_reader.snapshot();
    let mut database = vec![0; file.size() as usize];
    let mut at = 0;
    while at < database.len() {
        at += file.read_at(at as u64, &mut database[at..]);
    }
    let mut incoming = Intake::new(to.disk(), &options()).begin(&snapshot).unwrap();
    incoming.write(&database).unwrap();
    incoming.finish().unwrap();
    snapshot
}

fn index_of(snapshot: &Snapshot) -> u64 {
    snapshot.metadata.as_ref().unwrap().index()
}

#[test]
fn what_came_between_two_snapshots_that_wait_is_not_applied_without_the_first() {
    let (leader_disk, sim) = (SimDisk::new(1), SimDisk::new(2));
    let mut leader = Member::open(&leader_disk).unwrap();
    let mut bench = Bench::open(&sim);
    work(&mut leader, 1, 6).unwrap();
    let early = leader.entries.len();
    work(&mut leader, 6, 9).unwrap();
    let first = give(&mut leader, &sim);
    work(&mut leader, 9, 12).unwrap();
    let second = give(&mut leader, &sim);
    work(&mut leader, 12, 15).unwrap();
    let part = |from: u64, to: u64| -> Vec<Entry> {
        let is_in = |entry: &&Entry| (from..=to).contains(&entry.index());
        leader.entries.iter().filter(is_in).cloned().collect()
    };

    // A commit is under way while two snapshots come, with entries after each.
    bench.turn(1, ApplyEvent::Entries(leader.entries[..early].to_vec()));
    let job = commit_in(bench.turn(200, ApplyEvent::LeadershipChanged));
    let (one, two) = (index_of(&first), index_of(&second));
    bench.turn(201, ApplyEvent::Restore(first));
    bench.turn(202, ApplyEvent::Entries(part(one + 1, two)));
    bench.turn(203, ApplyEvent::Restore(second));
    bench.turn(204, ApplyEvent::Entries(part(two + 1, u64::MAX)));
    bench.turn(205, ApplyEvent::Committed(job.run()));

    let gap = early as u64 + 1..=two;
    assert!(!bench.applied.0.iter().any(|index| gap.contains(index)), "{:?}", bench.applied.0);
    let last = leader.entries.last().unwrap().index();
    assert_eq!(bench.turn.applier().machine.backend.applied().index, last);
    assert_eq!(bench.common.reader.revision(), leader.parts.reader.revision());
}

#[test]
fn a_member_that_starts_shows_what_is_applied() {
    let sim = SimDisk::new(1);
    let mut member = Member::open(&sim).unwrap();
    work(&mut member, 1, 6).unwrap();
    if let Some(job) = member.parts.applier.freeze() {
        member.parts.applier.complete(job.run().unwrap());
    }
    let last = member.entries.last().unwrap().index();
    drop(member);
    let mut bench = Bench::open(&sim);
    let mut out = Vec::new();
    bench.turn.begin(&mut Moment { now: Time::ZERO, out: &mut out, observer: &mut bench.applied });
    let shown = |effect: &ApplyEffect<Nobody>| match effect {
        ApplyEffect::ShowApplied(figures) => Some(figures.index),
        _ => None,
    };
    assert_eq!(out.iter().find_map(shown), Some(last));
}

/// Leads in this term, alone.
fn leads(bench: &Bench, term: u64) {
    let figures = CoreFigures { term, leader: 1, leads: true, may_read: true, committed: 0 };
    bench.common.figures.show_core(&figures);
}

#[test]
fn who_leads_again_without_having_looked_meanwhile_gives_leases_their_time_anew() {
    let mut leader = Member::open(&SimDisk::new(1)).unwrap();
    work(&mut leader, 1, 6).unwrap();
    let mut bench = Bench::open(&SimDisk::new(2));
    let proposes = |effects: Vec<ApplyEffect<Nobody>>| {
        let is_proposal = |effect: &ApplyEffect<Nobody>| {
            matches!(effect, ApplyEffect::Core(CoreEvent::Propose { .. }, _))
        };
        effects.iter().any(is_proposal)
    };
    // A lease of 100 s.
    leads(&bench, 2);
    bench.turn(1, ApplyEvent::Entries(leader.entries.clone()));
    // Another member has led in term 3, and may have renewed the lease.
    leads(&bench, 4);
    assert!(!proposes(bench.turn(50_000, ApplyEvent::LeadershipChanged)));
    assert!(!proposes(bench.turn(110_000, ApplyEvent::LeadershipChanged)));
    assert!(proposes(bench.turn(160_000, ApplyEvent::LeadershipChanged)));
}
