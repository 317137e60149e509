//! The apply thread: entries into the state machine, replies to their waiters, and what time asks
//! for: commits, compaction, leases.

use super::awaiting::Awaiting;
use super::{ApplyEvent, CoreEvent, Failed, LogDesk, Waiter, Waiting, for_client};
use crate::lines::{self, Sizes};
use crate::mailbox::{Heed, Woken};
use crate::rpc::Error;
use crate::shared::Shared;
use ::apply::backend::DefragResult;
use ::apply::mvcc::Progress;
use ::apply::{Effect, Kind, Machine, Outcome, Reply};
use net::rpc::{Code, Responder, Status};
use prost::Message;
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::{AlarmRequest, AlarmType, LeaseCheckpointRequest, LeaseRevokeRequest};
use proto::raftpb::{Entry, EntryType, Snapshot};
use replica::{Applier, Fault};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Changes that make a commit due at once.
const BATCH_OPS_MAX: usize = 10_000;
/// Buffered bytes that make a commit due at once.
const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How often expired leases are looked for.
const LEASE_SCAN: Duration = Duration::from_millis(500);
/// Leases revoked in one scan: 1000 in a second.
const REVOKES_MAX: usize = 500;
/// Leases noted in one entry of the log, and such entries proposed in one scan.
const CHECKPOINTS_MAX: usize = 1000;
const CHECKPOINT_ENTRIES_MAX: usize = 500;
/// A revoke that has not been applied after this long is proposed again, in milliseconds.
const REVOKE_RETRY_MS: u64 = 3000;

/// How the apply thread works.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) batch_interval: Duration,
    pub(crate) election_timeout: Duration,
}

type AfterCommit = Box<dyn FnOnce(&Arc<Shared>) + Send>;

/// The applier with its clock and its callers.
pub(crate) struct ApplyDriver {
    pub(crate) applier: Applier,
    pub(crate) shared: Arc<Shared>,
    log: Arc<LogDesk>,
    failed: Failed,
    timing: Timing,
    next_commit: Instant,
    next_lease_scan: Instant,
    /// To be run when a commit that began after they came is done.
    after_commit: Vec<AfterCommit>,
    after_this_commit: Vec<AfterCommit>,
    /// Who waits for a compaction to be done in the file.
    compaction_waiters: Vec<(Responder, i64)>,
    compacting_since: Option<Instant>,
    /// What the compaction under way has removed.
    compacted_rows: u64,
    defragment_waiters: Vec<Responder>,
    /// Who hears of a full disk once everyone does.
    no_space_waiters: Vec<Waiter>,
    /// The alarm is on its way.
    raises_no_space: bool,
    /// When the defragmentation under way began, and how large the file was.
    defragmenting: Option<(Instant, Sizes)>,
    /// The last snapshot that the log has, or is to have.
    pub(super) snapshot_index: u64,
    /// Entries that wait until the file has taken some of what is buffered.
    pub(super) held: Vec<Entry>,
    /// A leader's snapshot that waits until the file is not being written.
    pub(super) restoring: Option<Snapshot>,
    /// Lease -> when its revocation was proposed.
    revoking: HashMap<i64, u64>,
    pub(super) awaiting: VecDeque<Awaiting>,
    /// The storage takes the cluster's lower version when a snapshot up to here is recorded.
    pub(super) lowers_at: Option<u64>,
}

impl ApplyDriver {
    pub(crate) fn new(
        applier: Applier,
        shared: Arc<Shared>,
        log: Arc<LogDesk>,
        failed: Failed,
        timing: Timing,
    ) -> ApplyDriver {
        let (now, snapshot_index) = (Instant::now(), applier.snapshot_index());
        ApplyDriver {
            applier,
            shared,
            log,
            failed,
            timing,
            next_commit: now + timing.batch_interval,
            next_lease_scan: now,
            after_commit: Vec::new(),
            after_this_commit: Vec::new(),
            compaction_waiters: Vec::new(),
            compacting_since: None,
            compacted_rows: 0,
            defragment_waiters: Vec::new(),
            no_space_waiters: Vec::new(),
            raises_no_space: false,
            defragmenting: None,
            snapshot_index,
            held: Vec::new(),
            restoring: None,
            revoking: HashMap::new(),
            awaiting: VecDeque::new(),
            lowers_at: None,
        }
    }

    /// The state machine.
    pub(crate) fn machine(&mut self) -> &mut Machine {
        &mut self.applier.machine
    }

    /// Runs until the mailbox is closed; then commits what is left.
    pub(crate) fn run(mut self) {
        let mut events = Vec::new();
        loop {
            events.clear();
            let deadline = self.deadline();
            let woken = self.shared.apply.clone().drain(&mut events, Some(deadline), Heed::All);
            let result = match woken {
                Woken::Closed => {
                    if let Err(fault) = self.commit_last() {
                        (self.failed)(fault);
                    }
                    return;
                }
                Woken::Messages | Woken::Deadline => self.turn(&mut events),
            };
            if let Err(fault) = result {
                (self.failed)(fault);
                return;
            }
        }
    }

    fn deadline(&self) -> Instant {
        if self.applier.machine.store.is_compacting() {
            return Instant::now();
        }
        self.next_commit.min(self.next_lease_scan)
    }

    fn turn(&mut self, events: &mut Vec<ApplyEvent>) -> Result<(), Fault> {
        let mut entries: Vec<Entry> = Vec::new();
        for event in events.drain(..) {
            match event {
                ApplyEvent::Entries(more) => entries.extend(more),
                other => {
                    // Everything is done in the order it came.
                    self.apply(&std::mem::take(&mut entries))?;
                    self.other(other)?;
                }
            }
        }
        self.apply(&entries)?;
        self.compact();
        self.restore_if_ready()?;
        self.commit_if_due();
        self.apply_held()?;
        self.resume_awaiting();
        self.scan_leases();
        Ok(())
    }

    fn other(&mut self, event: ApplyEvent) -> Result<(), Fault> {
        match event {
            ApplyEvent::Entries(entries) => self.apply(&entries)?,
            ApplyEvent::Restore(snapshot) => self.restore(snapshot)?,
            ApplyEvent::Do(act) => act(self),
            ApplyEvent::Committed(done) => {
                if let Some(due) = self.applier.complete(done?) {
                    let count = self.applier.snapshot_count();
                    let before = std::mem::replace(&mut self.snapshot_index, due.index);
                    lines::triggers_snapshot(self.shared.member_id, &due, before, count);
                    self.log.save_snapshot(due);
                }
                self.publish_sizes();
                for act in std::mem::take(&mut self.after_this_commit) {
                    act(&self.shared);
                }
                self.begin_defragment();
            }
            ApplyEvent::Defragmented(done) => {
                let result = self.applier.complete_defragment(done)?;
                self.publish_sizes();
                if let Some((begun, before)) = self.defragmenting.take()
                    && matches!(result, DefragResult::Done)
                {
                    let db = self.applier.database();
                    lines::defragmented(&db, before, self.sizes(), begun.elapsed());
                }
                for reply in std::mem::take(&mut self.defragment_waiters) {
                    match &result {
                        DefragResult::Done => reply.reply(bytes::Bytes::new()),
                        DefragResult::NotDone(why) => {
                            reply.fail(Status::new(Code::Unknown, why.to_string()));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Shows in the metrics what was on the disk when the member started.
    pub(crate) fn publish_state(&mut self) {
        self.publish_sizes();
        self.publish_cluster_version();
        self.follow_cluster_version();
        self.shared.metrics.member.show_alarms(self.applier.machine.alarms());
    }

    pub(super) fn publish_alarms(&self) {
        let (alarms, gauges) = (self.applier.machine.alarms(), &self.shared.gauges);
        gauges.no_space.store(alarms.is_raised(AlarmType::Nospace), Ordering::Relaxed);
        gauges.corrupt.store(alarms.is_raised(AlarmType::Corrupt), Ordering::Relaxed);
    }

    fn publish_cluster_version(&self) {
        if let Some(version) = self.applier.machine.members.cluster_version() {
            self.shared.metrics.member.set_cluster_version(version);
        }
    }

    // ---- entries ---------------------------------------------------------------------------

    fn apply(&mut self, entries: &[Entry]) -> Result<(), Fault> {
        if entries.is_empty() {
            return Ok(());
        }
        let backend = &self.applier.machine.backend;
        let waits = !self.held.is_empty() || self.restoring.is_some();
        if waits || (backend.is_full() && backend.job_is_out()) {
            self.held.extend_from_slice(entries);
            return Ok(());
        }
        self.apply_now(entries)
    }

    /// Takes up what was held back, once the file has caught up.
    fn apply_held(&mut self) -> Result<(), Fault> {
        let backend = &self.applier.machine.backend;
        if self.held.is_empty()
            || self.restoring.is_some()
            || (backend.is_full() && backend.job_is_out())
        {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        self.apply_now(&held)
    }

    pub(super) fn apply_now(&mut self, entries: &[Entry]) -> Result<(), Fault> {
        let shared = Arc::clone(&self.shared);
        // Leases granted now count from now.
        self.follow_leadership();
        let mut before = Instant::now();
        let wanted = |id| shared.waiters.contains(id);
        let applied = self.applier.apply(entries, wanted, |outcome| {
            let now = Instant::now();
            shared.metrics.count_applied(outcome, now - before);
            before = now;
        })?;
        let (index, conf_changes) = (applied.index, applied.conf_changes);
        let of_members = |kind| {
            matches!(
                kind,
                Some(Kind::ClusterMemberAttrSet | Kind::ClusterVersionSet | Kind::DowngradeInfoSet)
            )
        };
        if !conf_changes.is_empty() || applied.outcomes.iter().any(|one| of_members(one.kind)) {
            let (members, ids) =
                (&self.applier.machine.members, (shared.member_id, shared.cluster_id));
            lines::members_changed(ids, &shared.roster.members(), members);
            shared.roster.publish(members.clone());
        }
        if !conf_changes.is_empty() {
            let state = self.applier.machine.members.conf_state();
            lines::configuration(shared.member_id, &state);
        }
        // After everything that a read which waits for this index looks at.
        let gauges = &shared.gauges;
        gauges.applied.store(index, Ordering::SeqCst);
        gauges.applied_term.store(applied.term, Ordering::Relaxed);
        let is_urgent = !conf_changes.is_empty();
        let event = CoreEvent::Applied { index, conf_changes };
        if is_urgent {
            shared.core.send(event);
        } else {
            shared.core.send_lazily(event);
        }
        if entries.iter().any(is_first_of_term) {
            // If this member leads, it can decide now what the cluster's version is.
            shared.monitor.send(());
        }
        let mut changes = Vec::new();
        let mut is_full = false;
        let mut answers = Vec::with_capacity(applied.outcomes.len());
        for mut outcome in applied.outcomes {
            match (&outcome.effect, outcome.kind) {
                (Effect::ClusterVersion { .. }, _) => {
                    self.publish_cluster_version();
                    self.follow_cluster_version();
                }
                (_, Some(Kind::Alarm)) => {
                    shared.metrics.member.show_alarms(self.applier.machine.alarms());
                }
                _ => {}
            }
            is_full |= outcome.effect == Effect::OutOfSpace;
            changes.extend(outcome.change.take());
            answers.push(outcome);
        }
        if !changes.is_empty() {
            // Watchers are on their way before the writer knows that it has written.
            shared.hub.publish(changes, applied.term);
        }
        self.publish_alarms();
        gauges.leases.store(self.applier.machine.lessor.len() as u64, Ordering::Relaxed);
        if is_full {
            self.raise_no_space();
        }
        // Whoever is answered finds what was answered, in every place.
        for outcome in answers {
            self.answer(outcome);
        }
        Ok(())
    }

    fn answer(&mut self, outcome: Outcome) {
        if outcome.id == 0 {
            return;
        }
        let Some(waiting) = self.shared.waiters.take(outcome.id) else { return };
        let took = waiting.begun.elapsed();
        self.shared.metrics.requests.answered(waiting.kind, true, took);
        let waiter = waiting.waiter;
        if outcome.effect == Effect::OutOfSpace && self.raises_no_space {
            return self.no_space_waiters.push(waiter);
        }
        self.tell(waiter, for_client(outcome.result));
    }

    fn tell(&mut self, waiter: Waiter, result: Result<Reply, Error>) {
        match (waiter, result) {
            (Waiter::Client(reply), Ok(result)) => self.reply(reply, &result),
            (Waiter::Physical(reply), Ok(Reply::Compaction { revision })) => {
                self.compaction_waiters.push((reply, revision));
            }
            (Waiter::NoSpace(reply), _) => reply.fail(Error::NoSpace),
            (Waiter::Own(act), result) => act(result),
            (Waiter::Physical(reply), Ok(result)) => self.reply(reply, &result),
            (waiter, Err(error)) => waiter.fail(error),
        }
    }

    /// A snapshot was installed: whoever waits for what it shows to be done need not wait for an entry.
    pub(crate) fn answer_contained(&mut self) {
        let machine = &self.applier.machine;
        let reply_of = |waiting: &Waiting| waiting.visible.as_ref()?.reply(machine);
        for (waiting, reply) in self.shared.waiters.take_those(reply_of) {
            let took = waiting.begun.elapsed();
            self.shared.metrics.requests.answered(waiting.kind, true, took);
            self.tell(waiting.waiter, Ok(reply));
        }
    }

    fn reply(&self, reply: Responder, result: &Reply) {
        let revision = result.revision().unwrap_or_else(|| self.shared.reader.revision());
        reply.reply(result.encode(&self.shared.header(revision)));
    }

    /// A write is applied that this member's quota has no room for, whoever waits for it: everyone must
    /// hear of it, and clients once everyone does.
    fn raise_no_space(&mut self) {
        if self.raises_no_space || self.applier.machine.alarms().is_raised(AlarmType::Nospace) {
            return;
        }
        self.raises_no_space = true;
        let shared = Arc::clone(&self.shared);
        let quota = shared.quota.limit_bytes().unwrap_or(0);
        lines::out_of_space(quota, Error::NoSpace.code_and_text().1);
        let alarm = AlarmRequest {
            action: AlarmAction::Activate as i32,
            member_id: shared.member_id,
            alarm: AlarmType::Nospace as i32,
        };
        let waiting = Arc::clone(&shared);
        let waiter = Waiter::Own(Box::new(move |_| waiting.on_apply(ApplyDriver::no_space_raised)));
        shared.propose(Kind::Alarm, &alarm.encode_to_vec(), waiter);
    }

    /// The alarm is raised, or cannot be: then the next write raises it.
    fn no_space_raised(&mut self) {
        self.raises_no_space = false;
        for waiter in std::mem::take(&mut self.no_space_waiters) {
            waiter.fail(Error::NoSpace);
        }
    }

    // ---- commits ---------------------------------------------------------------------------

    /// Runs `act` when everything applied so far is in the file.
    pub(crate) fn after_commit(&mut self, act: impl FnOnce(&Arc<Shared>) + Send + 'static) {
        self.after_commit.push(Box::new(act));
        self.next_commit = Instant::now();
    }

    fn commit_if_due(&mut self) {
        let backend = &self.applier.machine.backend;
        let full =
            backend.pending_ops() >= BATCH_OPS_MAX || backend.pending_bytes() >= BATCH_BYTES_MAX;
        let now = Instant::now();
        if now < self.next_commit && !full {
            return;
        }
        self.next_commit = now + self.timing.batch_interval;
        if backend.job_is_out() {
            return;
        }
        match self.applier.freeze() {
            Some(job) => {
                self.after_this_commit = std::mem::take(&mut self.after_commit);
                let shared = Arc::clone(&self.shared);
                self.shared.on_file(move || {
                    let (begun, disk) = (Instant::now(), &shared.metrics.disk);
                    let busy = disk.database.total();
                    let done = job.run();
                    disk.committed(begun.elapsed(), disk.database.total() - busy);
                    shared.apply.send(ApplyEvent::Committed(done));
                });
            }
            None => {
                for act in std::mem::take(&mut self.after_commit) {
                    act(&self.shared);
                }
            }
        }
    }

    fn commit_last(&mut self) -> Result<(), Fault> {
        if !self.applier.machine.backend.job_is_out() {
            self.applier.machine.backend.commit()?;
        }
        Ok(())
    }

    pub(crate) fn publish_sizes(&self) {
        self.publish_storage_version();
        let sizes = self.sizes();
        self.shared.gauges.db_size.store(sizes.total, Ordering::Relaxed);
        self.shared.gauges.db_size_in_use.store(sizes.in_use, Ordering::Relaxed);
    }

    fn sizes(&self) -> Sizes {
        let backend = &self.applier.machine.backend;
        Sizes { total: backend.size(), in_use: backend.size_in_use() }
    }

    /// Defragments as soon as no commit is under way; `reply` hears of it.
    pub(crate) fn defragment(&mut self, reply: Responder) {
        self.defragment_waiters.push(reply);
        self.begin_defragment();
    }

    fn begin_defragment(&mut self) {
        if self.defragment_waiters.is_empty() {
            return;
        }
        if let Some(job) = self.applier.defragment() {
            let sizes = self.sizes();
            self.defragmenting = Some((Instant::now(), sizes));
            lines::defragments(&self.applier.database(), sizes);
            let shared = Arc::clone(&self.shared);
            self.shared.on_file(move || {
                let begun = Instant::now();
                shared.metrics.disk.defragments.set(1);
                let done = job.run();
                shared.metrics.disk.defragments.set(0);
                shared.metrics.disk.defragment.observe(begun.elapsed().as_secs_f64());
                shared.apply.send(ApplyEvent::Defragmented(done));
            });
        }
    }

    /// A step of the compaction under way.
    fn compact(&mut self) {
        let store = &self.applier.machine.store;
        if !store.is_compacting() {
            return;
        }
        let (of_index, rows_before) = (store.compacts_index(), store.rows_removed());
        let begun = Instant::now();
        if self.compacting_since.is_none() {
            lines::compacts(store.compacted());
        }
        let compacting_since = *self.compacting_since.get_or_insert(begun);
        let progress = self.applier.compaction_step();
        let metrics = &self.shared.metrics.keys.compaction;
        metrics.step(of_index, begun.elapsed());
        let rows = self.applier.machine.store.rows_removed() - rows_before;
        self.compacted_rows += rows;
        if progress == Progress::Done {
            self.compacting_since = None;
            let revision = self.applier.machine.store.compacted();
            let rows = std::mem::take(&mut self.compacted_rows);
            lines::compacted(revision, compacting_since.elapsed(), rows, self.sizes());
            metrics.done(compacting_since.elapsed(), rows);
            self.compaction_done();
        }
    }

    /// Another state machine has taken the place of the one that was being compacted.
    pub(super) fn compaction_restored(&mut self) {
        if !self.applier.machine.store.is_compacting() {
            self.compacting_since = None;
            self.compaction_done();
        }
    }

    fn compaction_done(&mut self) {
        for (reply, revision) in std::mem::take(&mut self.compaction_waiters) {
            self.after_commit(move |shared| {
                let result = Reply::Compaction { revision };
                reply.reply(result.encode(&shared.header(revision)));
            });
        }
    }

    // ---- leases ----------------------------------------------------------------------------

    /// Lets leases expire here while this member may serve. Called before leases are looked at, so
    /// that nobody finds them as they were before the member's role changed.
    pub(crate) fn follow_leadership(&mut self) {
        let now_ms = self.shared.now_ms();
        let extend_ms = self.timing.election_timeout.as_millis() as u64;
        let lessor = &mut self.applier.machine.lessor;
        match (self.shared.gauges.leads.load(Ordering::Acquire), lessor.is_primary()) {
            (true, false) => lessor.promote(now_ms, extend_ms),
            (false, true) => lessor.demote(),
            _ => lessor.tick(now_ms),
        }
    }

    fn scan_leases(&mut self) {
        let now = Instant::now();
        if now < self.next_lease_scan {
            return;
        }
        self.next_lease_scan = now + LEASE_SCAN;
        self.follow_leadership();
        let now_ms = self.shared.now_ms();
        self.revoke_expired(now_ms);
        self.propose_checkpoints(now_ms);
    }

    /// A member that slept may have been replaced without knowing: the cluster confirms that it
    /// leads before it revokes what expired meanwhile.
    fn revoke_expired(&mut self, now_ms: u64) {
        self.revoking.retain(|_, since| now_ms < *since + REVOKE_RETRY_MS);
        let mut expired = self.applier.machine.lessor.expired(now_ms, REVOKES_MAX);
        expired.retain(|id| !self.revoking.contains_key(id));
        if expired.is_empty() {
            return;
        }
        self.revoking.extend(expired.iter().map(|id| (*id, now_ms)));
        let (shared, term) = (Arc::clone(&self.shared), self.term());
        self.shared.linearizable(move |confirmed| {
            if confirmed.is_ok() {
                shared.on_apply(move |driver| driver.revoke(&expired, term));
            }
        });
    }

    /// Revokes those that are still expired, if this member still leads in the same term.
    fn revoke(&mut self, ids: &[i64], term: u64) {
        self.follow_leadership();
        if !self.applier.machine.lessor.is_primary() || self.term() != term {
            return;
        }
        let now_ms = self.shared.now_ms();
        for id in self.applier.machine.lessor.expired(now_ms, REVOKES_MAX) {
            if ids.contains(&id) {
                let revoke = LeaseRevokeRequest { id }.encode_to_vec();
                self.shared.metrics.leases.expired.inc();
                self.shared.propose_as_leader(Kind::LeaseRevoke, &revoke, term);
            }
        }
    }

    fn term(&self) -> u64 {
        self.shared.gauges.term.load(Ordering::Acquire)
    }

    /// A note that is lost on the way is made again when the lease is due the next time.
    fn propose_checkpoints(&mut self, now_ms: u64) {
        for _ in 0..CHECKPOINT_ENTRIES_MAX {
            let checkpoints = self.applier.machine.lessor.due_checkpoints(now_ms, CHECKPOINTS_MAX);
            if checkpoints.is_empty() {
                return;
            }
            let request = LeaseCheckpointRequest { checkpoints }.encode_to_vec();
            self.shared.propose_as_leader(Kind::LeaseCheckpoint, &request, self.term());
        }
    }
}

/// Whether it is what a new leader begins with.
fn is_first_of_term(entry: &Entry) -> bool {
    entry.r#type() == EntryType::EntryNormal && entry.data().is_empty()
}
