//! The apply turn: entries into the state machine, answers to their waiters, and what time asks for:
//! commits, compaction, leases.

mod answers;
mod asks;
mod commits;
mod entries;
mod leases;
mod snapshots;
mod storage_version;

pub use asks::{Ask, Renewal, Renewed, StatusReport};

use self::asks::AwaitsCommitted;
use super::common::Common;
use super::{
    AppliedFigures, Caller, Changes, CoreEvent, Failure, Moment, Note, SizeFigures, StateFigures,
    Time, Urgency,
};
use crate::{Applier, Fault, SnapshotDue};
use apply::{Kind, Machine, Reply};
use backend::{self, CommitJob, Committed, DefragJob, Defragmented, EntryId};
use lease::TimeToLive;
use membership::Members;
use proto::etcdserverpb::AlarmType;
use proto::raftpb::{Entry, Message, Snapshot, SnapshotMetadata};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// How often expired leases are looked for.
const LEASE_SCAN: Time = Time::from_millis(500);

/// How the apply turn works.
#[derive(Clone, Copy, Debug)]
pub struct ApplyTiming {
    /// How often what was applied is committed to the database file.
    pub batch_interval: Time,
    /// Added to each lease when this member begins to lead.
    pub election_timeout: Time,
}

/// For the apply turn.
pub enum ApplyEvent<C: Caller> {
    /// Entries that are committed.
    Entries(Vec<Entry>),
    /// A leader's snapshot takes the place of everything.
    Restore(Snapshot),
    /// A commit is done, or has failed.
    Committed(Result<Committed, backend::Fault>),
    /// A defragmentation is done.
    Defragmented(Defragmented),
    /// This member leads now, or may read alone, or does not any more.
    LeadershipChanged,
    /// A snapshot is to be sent: the message that raft made.
    SendSnapshot(Box<Message>),
    /// The log begins behind this entry if the member starts again.
    SnapshotRecorded(u64),
    /// The cluster has confirmed that this member leads: leases that expired in this term may be revoked.
    Revoke {
        /// The leases.
        ids: Vec<i64>,
        /// The term.
        term: u64,
    },
    /// The alarm of a full database is raised, or cannot be: then the next write raises it.
    NoSpaceRaised,
    /// A caller asks.
    Ask(Ask<C>),
}

/// An applied request, for its waiter.
pub struct Answer<C: Caller> {
    /// Who waits.
    pub write: C::Write,
    /// What was asked.
    pub kind: Kind,
    /// The reply, or why there is none.
    pub result: Result<Reply, Failure>,
}

/// How the members came to be others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembersChange {
    /// Names, URLs or versions were set.
    Attributes,
    /// Raft's configuration changes with them.
    Configuration,
    /// A leader's snapshot brought them.
    Restored,
}

/// What follows from a turn of the applier, in order.
pub enum ApplyEffect<C: Caller> {
    /// For the core.
    Core(CoreEvent<C>, Urgency),
    /// These are the members now.
    ShowMembers(Box<Members>, MembersChange),
    /// So much is applied now.
    ShowApplied(AppliedFigures),
    /// The state's figures are these now.
    ShowState(StateFigures),
    /// The database file takes this now, and the storage says this version.
    ShowSizes(SizeFigures, Option<String>),
    /// Another database is read from now on.
    ShowDatabase(backend::Reader),
    /// A new leader's first entry was applied: if this member leads, it can decide what the cluster's
    /// version is.
    TermBegun,
    /// For the watch turn, by way of its budget.
    Publish(Changes),
    /// For the watch turn: the store was replaced, as of this revision.
    Restored(mvcc::Reader, i64),
    /// A waiter's answer.
    Answer(Answer<C>),
    /// For the file's thread; the result comes back as [`ApplyEvent::Committed`].
    Commit(CommitJob),
    /// For the file's thread; the result comes back as [`ApplyEvent::Defragmented`].
    Defragment(DefragJob),
    /// For the log's turn.
    Record(SnapshotDue),
    /// A snapshot for another member: its message, and the database as it is in the file now.
    SendSnapshot(Box<Message>),
    /// A lease was renewed, or was not.
    Renewed(C::Ticket<Result<Renewed, Failure>>, Result<Renewed, Failure>),
    /// The leader is to renew a lease, for this member does not lead; the revision is for the header.
    RenewElsewhere(Renewal<C>, i64),
    /// How long a lease lives; `None` where it is unknown.
    TimeToLive(C::Ticket<Result<Option<TimeToLive>, Failure>>, Result<Option<TimeToLive>, Failure>),
    /// The leases.
    Leases(C::Ticket<Vec<i64>>, Vec<i64>),
    /// Everything asked before was worked on.
    Reached(C::Ticket<()>),
    /// Everything applied before it was asked is in the database file now.
    Durable(C::Ticket<()>),
    /// A defragmentation is done, or why not.
    Defragmented(C::Ticket<Result<(), String>>, Result<(), String>),
    /// How the member stands.
    Status(C::Ticket<StatusReport>, Box<StatusReport>),
}

/// Who waits until everything applied so far is in the file.
enum AfterCommit<C: Caller> {
    Caller(C::Ticket<()>),
    SendSnapshot(Box<Message>),
    /// A compaction that is done in the file.
    Compaction(C::Write, i64),
}

/// The applier with its clock and its callers.
///
/// Invariants: entries are held back only while something keeps them from being applied; nobody waits
/// for the alarm of a full database unless it is on its way; what waits for committed entries waits in
/// the order of their indexes.
pub struct ApplyTurn<C: Caller> {
    common: Arc<Common<C>>,
    applier: Applier,
    timing: ApplyTiming,
    next_commit: Time,
    next_lease_scan: Time,
    /// Who waits for the commit after the one under way, and for that one.
    after_commit: Vec<AfterCommit<C>>,
    after_this_commit: Vec<AfterCommit<C>>,
    /// Who waits for a compaction to be done in the file.
    compaction_waiters: Vec<(C::Write, i64)>,
    is_compacting: bool,
    /// What the compaction under way has removed.
    compacted_rows: u64,
    defragment_waiters: Vec<C::Ticket<Result<(), String>>>,
    is_defragmenting: bool,
    /// Who hears of a full disk once everyone does.
    no_space_waiters: Vec<(C::Write, Kind)>,
    /// The alarm is on its way.
    raises_no_space: bool,
    /// The last snapshot that the log has, or is to have.
    snapshot_index: u64,
    /// Entries that wait until the file has taken some of what is buffered.
    held: Vec<Entry>,
    /// A leader's snapshot that waits until the file is not being written.
    restoring: Option<Snapshot>,
    /// The term for which leases got their time here.
    led_term: u64,
    /// Lease -> when its revocation was proposed.
    revoking: HashMap<i64, Time>,
    awaits_committed: VecDeque<AwaitsCommitted<C>>,
    /// The storage takes the cluster's lower version when a snapshot up to here is recorded.
    lowers_at: Option<u64>,
    shown_state: StateFigures,
}

type At<'a, 'm, C> = &'a mut Moment<'m, ApplyEffect<C>>;

impl<C: Caller> ApplyTurn<C> {
    /// An applier with nothing to do yet.
    pub fn new(
        common: Arc<Common<C>>,
        applier: Applier,
        timing: ApplyTiming,
        now: Time,
    ) -> ApplyTurn<C> {
        let snapshot_index = applier.snapshot_index();
        ApplyTurn {
            common,
            applier,
            timing,
            next_commit: now + timing.batch_interval,
            next_lease_scan: now,
            after_commit: Vec::new(),
            after_this_commit: Vec::new(),
            compaction_waiters: Vec::new(),
            is_compacting: false,
            compacted_rows: 0,
            defragment_waiters: Vec::new(),
            is_defragmenting: false,
            no_space_waiters: Vec::new(),
            raises_no_space: false,
            snapshot_index,
            held: Vec::new(),
            restoring: None,
            led_term: 0,
            revoking: HashMap::new(),
            awaits_committed: VecDeque::new(),
            lowers_at: None,
            shown_state: StateFigures::default(),
        }
    }

    /// The applier, to look at.
    pub fn applier(&self) -> &Applier {
        &self.applier
    }

    /// How much waits here: entries, a snapshot, and callers of whatever kind.
    pub fn waiting(&self) -> usize {
        let entries = self.held.len() + usize::from(self.restoring.is_some());
        let for_commit = self.after_commit.len() + self.after_this_commit.len();
        let for_file = self.compaction_waiters.len() + self.defragment_waiters.len();
        entries + for_commit + for_file + self.no_space_waiters.len() + self.awaits_committed.len()
    }

    fn machine(&mut self) -> &mut Machine {
        &mut self.applier.machine
    }

    /// Shows what was on the disk when the member started.
    pub fn begin(&mut self, at: At<'_, '_, C>) {
        // A read may be confirmed at what is applied already: it waits for no other entry.
        self.show_applied(at);
        self.show_state(at);
        self.show_everything(at);
    }

    /// Until when the turn may wait for events.
    pub fn deadline(&self, now: Time) -> Time {
        if self.applier.machine.store.is_compacting() {
            return now;
        }
        self.next_commit.min(self.next_lease_scan)
    }

    /// Works on everything that came, in its order, and on what is due.
    ///
    /// # Errors
    /// The member must stop.
    pub fn turn(
        &mut self,
        events: &mut Vec<ApplyEvent<C>>,
        at: At<'_, '_, C>,
    ) -> Result<(), Fault> {
        let mut entries: Vec<Entry> = Vec::new();
        for event in events.drain(..) {
            match event {
                ApplyEvent::Entries(more) if entries.is_empty() => entries = more,
                ApplyEvent::Entries(more) => entries.extend(more),
                other => {
                    // Everything is done in the order in which it came.
                    self.apply(&std::mem::take(&mut entries), at)?;
                    self.take(other, at)?;
                }
            }
        }
        self.apply(&entries, at)?;
        self.compact(at);
        self.restore_if_ready(at)?;
        self.commit_if_due(at);
        self.apply_held(at)?;
        self.resume_awaiting(at);
        self.scan_leases(at);
        Ok(())
    }

    fn take(&mut self, event: ApplyEvent<C>, at: At<'_, '_, C>) -> Result<(), Fault> {
        match event {
            ApplyEvent::Entries(entries) => self.apply(&entries, at)?,
            ApplyEvent::Restore(snapshot) => self.restore(snapshot, at)?,
            ApplyEvent::Committed(done) => self.committed(done?, at),
            ApplyEvent::Defragmented(done) => self.defragmented(done, at)?,
            ApplyEvent::LeadershipChanged => self.follow_leadership(at),
            ApplyEvent::SendSnapshot(message) => {
                self.after_commit(AfterCommit::SendSnapshot(message), at);
            }
            ApplyEvent::SnapshotRecorded(index) => self.snapshot_recorded(index, at),
            ApplyEvent::Revoke { ids, term } => self.revoke(&ids, term, at),
            ApplyEvent::NoSpaceRaised => self.no_space_raised(at),
            ApplyEvent::Ask(ask) => self.ask(ask, at),
        }
        Ok(())
    }

    /// Commits what is left when the member stops.
    ///
    /// # Errors
    /// The disk.
    pub fn close(&mut self) -> Result<(), Fault> {
        if !self.applier.machine.backend.job_is_out() {
            self.applier.machine.backend.commit()?;
        }
        Ok(())
    }

    /// Asserts what is always true between two turns.
    pub fn check(&self) {
        let backend = &self.applier.machine.backend;
        let is_kept = self.restoring.is_some() || backend.job_is_out();
        assert!(
            self.held.is_empty() || is_kept,
            "{} entries are held back for nothing",
            self.held.len()
        );
        // What comes after a snapshot that waits follows it.
        let restoring = self.restoring.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
        let restored = restoring.map(SnapshotMetadata::index);
        let follow = |pair: (&Entry, &Entry)| {
            let next = pair.1.index();
            pair.0.index() + 1 == next || restored.is_some_and(|index| index + 1 == next)
        };
        assert!(
            self.held.iter().zip(self.held.iter().skip(1)).all(follow),
            "entries held back follow each other"
        );
        if let Some(first) = self.held.first() {
            let before = backend.applied().index.max(restored.unwrap_or(0));
            assert!(
                first.index() <= before + 1,
                "entry {} is held back, {before} is applied or restored",
                first.index()
            );
        }
        assert!(
            self.restoring.is_none() || backend.job_is_out(),
            "a snapshot waits for a file that is not being written"
        );
        assert!(
            self.no_space_waiters.is_empty() || self.raises_no_space,
            "{} wait for an alarm that nobody raises",
            self.no_space_waiters.len()
        );
        let waiting = &self.awaits_committed;
        assert!(
            waiting.iter().zip(waiting.iter().skip(1)).all(|(one, next)| one.index <= next.index),
            "what waits for committed entries is in their order"
        );
        assert!(
            self.after_this_commit.is_empty() || backend.job_is_out(),
            "{} wait for a commit that is not under way",
            self.after_this_commit.len()
        );
        assert!(
            self.compaction_waiters.is_empty() || self.applier.machine.store.is_compacting(),
            "{} wait for a compaction that is not under way",
            self.compaction_waiters.len()
        );
    }

    // ---- what others see -------------------------------------------------------------------

    fn show_everything(&mut self, at: At<'_, '_, C>) {
        self.show_sizes(at);
        self.show_cluster_version(at);
        self.follow_cluster_version(at);
        at.observer.note(Note::Alarms(self.applier.machine.alarms()));
    }

    /// What is there, not what was handed in last: entries that the database has are handed in again when
    /// a member starts.
    fn show_applied(&self, at: At<'_, '_, C>) {
        let EntryId { term, index } = self.applier.machine.backend.applied();
        at.out.push(ApplyEffect::ShowApplied(AppliedFigures { index, term }));
    }

    fn show_state(&mut self, at: At<'_, '_, C>) {
        let (machine, alarms) = (&self.applier.machine, self.applier.machine.alarms());
        let figures = StateFigures {
            no_space: alarms.is_raised(AlarmType::Nospace),
            corrupt: alarms.is_raised(AlarmType::Corrupt),
            leases: machine.lessor.len() as u64,
        };
        if figures != self.shown_state {
            self.shown_state = figures;
            at.out.push(ApplyEffect::ShowState(figures));
        }
    }

    fn show_cluster_version(&self, at: At<'_, '_, C>) {
        if let Some(version) = self.applier.machine.members.cluster_version() {
            at.observer.note(Note::ClusterVersion(version));
        }
    }

    fn show_sizes(&self, at: At<'_, '_, C>) {
        let version = self.applier.machine.storage_version();
        let version = version.map(|version| version.to_string());
        at.out.push(ApplyEffect::ShowSizes(self.sizes(), version));
    }

    fn sizes(&self) -> SizeFigures {
        let backend = &self.applier.machine.backend;
        SizeFigures { total: backend.size(), in_use: backend.size_in_use() }
    }
}
