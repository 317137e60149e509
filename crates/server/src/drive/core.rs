//! The core: raft, ticks, reads, and the time limits of waiters.
//!
//! It is a task, on a thread that it shares with the streams of other members: what they send is handed
//! over, and what they are sent is written, without waking another thread.

use super::{ApplyDriver, ApplyEvent, CoreEvent, LogDesk};
use crate::cluster::{Held, Lateness, Proposal, Reads, Transfers};
use crate::lines;
use crate::mailbox::{Heed, Woken};
use crate::rpc::Error;
use crate::shared::Shared;
use bytes::Bytes;
use proto::raftpb::{Message, MessageType};
use replica::raft::{Dropped, ReadState, Role};
use replica::{Command, Core, Persist};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Election timeouts without a leader after which streams end that require one.
const LEADERLESS_ELECTIONS: u32 = 3;
/// Proposals made together, and bytes of them: what one message to another member may well carry.
const BATCH_MAX: usize = 4096;
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// The core with its callers. It never touches a disk or a log sink.
pub(crate) struct CoreDriver {
    core: Core,
    log: Arc<LogDesk>,
    held: Held,
    /// Proposals of this turn; they are made together.
    batch: Vec<(u64, Bytes)>,
    batch_bytes: usize,
    reads: Reads,
    transfers: Transfers,
    commands: Vec<Command>,
    /// The leader that was last known, 0 for none.
    leader: u64,
    /// The role and the term that were last told.
    shown: (Role, u64),
    pace: Pace,
    /// Until when the first wait for an election may still be shortened.
    advance: Option<Instant>,
    /// When there last was another leader than before.
    elected_at: Option<Instant>,
    /// Since when there is none.
    leaderless_since: Option<Instant>,
}

/// How fast raft's time goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) tick: Duration,
    pub(crate) election_ticks: u32,
    /// Whether a member that starts among others shortens its first wait for an election.
    pub(crate) advances: bool,
}

/// Entries that a core which is alone writes itself: with more, the next are better collected meanwhile.
const OWN_WRITE_ENTRIES_MAX: usize = 4;
/// How long others may take to be reached before the first wait is not shortened any more.
const ADVANCE_LIMIT: Duration = Duration::from_secs(5);

/// Runs until the mailbox is closed.
pub(crate) async fn run(shared: Arc<Shared>, mut driver: CoreDriver) {
    let mut events = Vec::new();
    let mut next_tick = Instant::now();
    let mut alarm = pin!(tokio::time::sleep_until(next_tick.into()));
    loop {
        let heed = driver.heed();
        let next = poll_fn(|context| match shared.core.poll_drain(context, &mut events, heed) {
            Poll::Pending => alarm.as_mut().poll(context).map(|()| Woken::Deadline),
            ready => ready,
        });
        if next.await == Woken::Closed {
            return;
        }
        events.drain(..).for_each(|event| driver.handle(&shared, event));
        let now = Instant::now();
        if now >= next_tick {
            driver.core.tick();
            driver.advance(&shared, now);
            // A thread that slept too long does not hurry after lost ticks.
            next_tick = now + driver.pace.tick;
            alarm.as_mut().reset(next_tick.into());
            driver.expire(&shared, now);
        }
        driver.work(&shared);
        if !shared.core.is_empty() {
            // What was just given to the streams goes first.
            tokio::task::yield_now().await;
        }
    }
}

impl CoreDriver {
    /// A core with nothing to do yet.
    pub(crate) fn new(core: Core, log: Arc<LogDesk>, pace: Pace) -> CoreDriver {
        CoreDriver {
            core,
            log,
            held: Held::default(),
            batch: Vec::new(),
            batch_bytes: 0,
            reads: Reads::default(),
            transfers: Transfers::default(),
            commands: Vec::new(),
            leader: 0,
            shown: (Role::Follower, 0),
            pace,
            advance: pace.advances.then(|| Instant::now() + ADVANCE_LIMIT),
            elected_at: None,
            leaderless_since: Some(Instant::now()),
        }
    }

    /// Whoever has reached others and hears of no leader need not wait a whole election timeout:
    /// all but two ticks of it pass at once (reference: `EtcdServer.adjustTicks`).
    fn advance(&mut self, shared: &Shared, now: Instant) {
        let Some(until) = self.advance else { return };
        let Some(network) = shared.roster.network() else { return };
        if now > until {
            self.advance = None;
        } else if network.active_peers() > 1 {
            self.advance = None;
            let ticks = self.pace.election_ticks.saturating_sub(2);
            (0..ticks).for_each(|_| self.core.tick());
            tracing::info!(
                local_member_id = lines::hex(shared.member_id),
                forward_ticks = ticks,
                forward_duration = ?(self.pace.tick * ticks),
                election_ticks = self.pace.election_ticks,
                election_timeout = ?(self.pace.tick * self.pace.election_ticks),
                active_remote_members = network.active_peers(),
                "initialized peer connections; fast-forwarding election ticks"
            );
        }
    }

    /// Whether news of what was applied is worth waking up for.
    fn heed(&self) -> Heed {
        let awaited = self.core.awaits_applied() || self.reads.awaits_applied();
        if awaited { Heed::All } else { Heed::Urgent }
    }

    /// Everything that follows from the events so far.
    fn work(&mut self, shared: &Shared) {
        self.propose_batch(shared);
        self.follow_leader(shared);
        self.propose_held(shared);
        if self.reads.wants_round(self.leader != 0) {
            let id = shared.ids.next();
            self.reads.begin_round(id, Instant::now());
            if self.leader != 0 {
                self.core.read_index(id.to_be_bytes().to_vec().into());
            }
        }
        let mut commands = std::mem::take(&mut self.commands);
        loop {
            self.core.poll(&mut commands);
            if commands.is_empty() {
                break;
            }
            // Before anyone else hears of it: what this member may read alone depends on it.
            self.publish(shared);
            for command in commands.drain(..) {
                self.dispatch(shared, command);
            }
        }
        self.commands = commands;
        self.publish(shared);
        self.serve_reads(shared);
    }

    fn handle(&mut self, shared: &Shared, event: CoreEvent) {
        match event {
            CoreEvent::Propose { id, proposal } => self.propose(shared, id, proposal),
            CoreEvent::Persisted { number } => self.core.persisted(number),
            CoreEvent::Applied { index, conf_changes } => self.core.applied(index, &conf_changes),
            CoreEvent::Step(message) => {
                shared.inbound.taken(&message);
                // What does not fit is not for this member; the sender finds out in time.
                let _ = self.core.step(*message);
            }
            CoreEvent::Unreachable(id) => self.core.report_unreachable(id),
            CoreEvent::SnapshotSent { to, delivered } => self.core.report_snapshot(to, delivered),
            CoreEvent::Transfer { to, then } => {
                self.core.transfer_leader(to);
                if let Some(then) = then {
                    let deadline = Instant::now() + shared.limits.request_timeout;
                    self.transfers.push(to, deadline, then);
                    self.transfers.follow(self.leader);
                }
            }
            CoreEvent::Read(read) => {
                self.reads.push(read, Instant::now() + shared.limits.request_timeout);
            }
            CoreEvent::Do(act) => act(&mut self.core),
        }
    }

    // ---- proposals -------------------------------------------------------------------------

    fn propose(&mut self, shared: &Shared, id: u64, proposal: Proposal) {
        if let Proposal::AsLeader { .. } = proposal {
            return self.propose_as_leader(shared, id, proposal);
        }
        if self.leader == 0 || !self.held.is_empty() {
            return self.hold(shared, id, proposal);
        }
        match proposal {
            Proposal::Data(data) => self.collect(shared, id, data),
            Proposal::Change(_) | Proposal::AsLeader { .. } => {
                self.propose_batch(shared);
                self.propose_one(shared, id, proposal);
            }
        }
    }

    /// Here and now, or not at all: it must not reach another leader.
    fn propose_as_leader(&mut self, shared: &Shared, id: u64, proposal: Proposal) {
        if let Err(dropped) = self.give(proposal) {
            self.drop_proposal(shared, id, dropped);
        }
    }

    fn collect(&mut self, shared: &Shared, id: u64, data: Bytes) {
        self.batch_bytes += data.len();
        self.batch.push((id, data));
        if self.batch.len() >= BATCH_MAX || self.batch_bytes >= BATCH_BYTES_MAX {
            self.propose_batch(shared);
        }
    }

    fn hold(&mut self, shared: &Shared, id: u64, proposal: Proposal) {
        if !self.held.push(id, proposal) {
            self.drop_proposal(shared, id, Dropped::TooManyUncommitted);
        }
    }

    fn propose_one(&mut self, shared: &Shared, id: u64, proposal: Proposal) {
        match self.give(proposal.clone()) {
            Ok(()) => {}
            Err(Dropped::NoLeader) => self.hold(shared, id, proposal),
            Err(dropped) => self.drop_proposal(shared, id, dropped),
        }
    }

    /// Makes the proposals of this turn together; where that is too much, one by one.
    fn propose_batch(&mut self, shared: &Shared) {
        if self.batch.is_empty() {
            return;
        }
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        let together = self.core.propose_all(batch.iter().map(|(_, data)| data.clone()));
        if together.is_ok() {
            self.batch = batch;
            self.batch.clear();
            return;
        }
        for (id, data) in batch {
            self.propose_one(shared, id, Proposal::Data(data));
        }
    }

    fn give(&mut self, proposal: Proposal) -> Result<(), Dropped> {
        match proposal {
            Proposal::Data(data) => self.core.propose(data),
            Proposal::AsLeader { term, data } => {
                let status = self.core.status();
                if status.role == Role::Leader && status.term == term {
                    self.core.propose(data)
                } else {
                    Err(Dropped::NoLeader)
                }
            }
            Proposal::Change(change) => self.core.propose_conf_change(&change),
        }
    }

    fn propose_held(&mut self, shared: &Shared) {
        while self.leader != 0
            && let Some((id, proposal)) = self.held.pop()
        {
            if shared.waiters.contains(id)
                && let Err(dropped) = self.give(proposal)
            {
                self.drop_proposal(shared, id, dropped);
            }
        }
    }

    fn drop_proposal(&self, shared: &Shared, id: u64, dropped: Dropped) {
        if let Some(waiter) = shared.waiters.take(id) {
            let error = match dropped {
                Dropped::TooManyUncommitted => Error::TooManyRequests,
                _ => Error::NoLeader,
            };
            waiter.fail(&shared.metrics, error);
        }
    }

    fn expire(&mut self, shared: &Shared, now: Instant) {
        shared.answers.expire(now);
        self.expire_proposals(shared, now);
        for read in self.reads.tick(now) {
            shared.metrics.member.reads_failed.inc();
            read(Err(Error::Timeout));
        }
        self.transfers.expire(now);
        let due = shared.later.take_due(now);
        if !due.is_empty() {
            shared.in_pool(move || due.into_iter().for_each(|due| due(Ok(()))));
        }
        self.end_led_streams(shared, now);
    }

    fn expire_proposals(&mut self, shared: &Shared, now: Instant) {
        let expired = shared.waiters.expired(now);
        if expired.is_empty() {
            return;
        }
        let unproposed = self.held.retain(|id| shared.waiters.contains(id));
        let lateness = Lateness {
            roster: &shared.roster,
            own_id: shared.member_id,
            leader: self.leader,
            elected_at: self.elected_at,
            election_timeout: shared.limits.election_timeout,
        };
        for (id, waiter) in expired {
            let is_unproposed = unproposed.contains(&id);
            let reason =
                if is_unproposed { Error::NotProposed } else { lateness.reason(waiter.begun) };
            waiter.fail(&shared.metrics, reason);
        }
    }

    /// Without a leader for long, streams end whose clients asked for that.
    fn end_led_streams(&self, shared: &Shared, now: Instant) {
        let limit = LEADERLESS_ELECTIONS * shared.limits.election_timeout;
        let is_long = self.leaderless_since.is_some_and(|since| now >= since + limit);
        if is_long && !shared.led_streams.is_empty() {
            let streams = Arc::clone(&shared.led_streams);
            shared.in_pool(move || streams.end_all());
        }
    }

    // ---- what raft asks for ----------------------------------------------------------------

    fn dispatch(&mut self, shared: &Shared, command: Command) {
        match command {
            Command::Persist(persist) => self.persist(shared, persist),
            Command::Apply(entries) => {
                shared.apply.send(ApplyEvent::Entries(entries));
            }
            Command::Restore(snapshot) => {
                shared.apply.send(ApplyEvent::Restore(snapshot));
            }
            Command::Send(messages) => self.send(shared, messages),
            Command::Readable(states) => states.iter().for_each(|state| self.confirm(state)),
        }
    }

    fn persist(&mut self, shared: &Shared, persist: Persist) {
        let is_small = persist.entries.len() <= OWN_WRITE_ENTRIES_MAX;
        if is_small
            && self.core.is_alone()
            && shared.core.is_empty()
            && let Some(writer) = self.log.idle_writer()
        {
            let number = self.log.persist_with(writer, persist);
            return self.core.persisted(number);
        }
        self.log.persist(persist);
    }

    /// A snapshot waits for the database that belongs to it; all else goes at once.
    fn send(&self, shared: &Shared, messages: Vec<Message>) {
        let Some(network) = shared.roster.network() else { return };
        let is_snapshot = |message: &Message| message.r#type() == MessageType::MsgSnap;
        let (snapshots, rest): (Vec<_>, Vec<_>) = messages.into_iter().partition(is_snapshot);
        if !rest.is_empty() {
            network.send(rest);
        }
        for message in snapshots {
            shared.on_apply(move |driver| driver.send_snapshot(message));
        }
    }

    fn confirm(&mut self, state: &ReadState) {
        if let Ok(id) = <[u8; 8]>::try_from(&state.context[..]) {
            self.reads.confirm(u64::from_be_bytes(id), state.index);
        }
    }

    fn serve_reads(&mut self, shared: &Shared) {
        let applied = shared.gauges.applied.load(Ordering::SeqCst);
        let served = self.reads.served_by(applied);
        if !served.is_empty() {
            shared.in_pool(move || served.into_iter().for_each(|read| read(Ok(()))));
        }
    }

    // ---- what others see of raft -----------------------------------------------------------

    fn follow_leader(&mut self, shared: &Shared) {
        let status = self.core.status();
        let leader = status.leader;
        if leader != self.leader {
            lines::leader(status.id, self.leader, leader, status.term);
            self.leader = leader;
            let now = Instant::now();
            if leader == 0 {
                self.leaderless_since = Some(now);
            } else {
                (self.leaderless_since, self.elected_at) = (None, Some(now));
            }
            self.transfers.follow(leader);
            self.fail_reads_of_another_leader(shared);
            shared.metrics.member.leader_seen(leader);
        }
    }

    /// What waits over a change of the leader is told so, as soon as there is another one.
    fn fail_reads_of_another_leader(&mut self, shared: &Shared) {
        if self.leader == 0 {
            return;
        }
        let failed = self.reads.leader_changed();
        if failed.is_empty() {
            return;
        }
        shared.metrics.member.reads_failed.inc();
        shared.in_pool(move || {
            failed.into_iter().for_each(|read| read(Err(Error::LeaderChanged)));
        });
    }

    fn publish(&mut self, shared: &Shared) {
        let status = self.core.status();
        if self.shown != (status.role, status.term) {
            self.shown = (status.role, status.term);
            lines::role(status.id, status.role, status.term);
        }
        let gauges = &shared.gauges;
        gauges.term.store(status.term, Ordering::Relaxed);
        gauges.leader.store(status.leader, Ordering::Relaxed);
        gauges.committed.store(status.committed, Ordering::Release);
        let leads = status.role == Role::Leader;
        let changed = gauges.leads.swap(leads, Ordering::AcqRel) != leads;
        if gauges.may_read.swap(status.may_read, Ordering::AcqRel) != status.may_read || changed {
            shared.on_apply(ApplyDriver::follow_leadership);
        }
    }
}

/// Nothing is written after what the core has to write.
impl Drop for CoreDriver {
    fn drop(&mut self) {
        if let Some(rest) = self.core.take_unwritten() {
            self.log.persist(rest);
        }
        self.log.close();
    }
}
