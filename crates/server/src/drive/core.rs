//! The core thread: raft, ticks, reads, and the time limits of waiters.

use super::{ApplyDriver, ApplyEvent, CoreEvent, LogEvent};
use crate::cluster::{Held, Reads};
use crate::mailbox::{Mailbox, Woken};
use crate::rpc::Error;
use crate::shared::Shared;
use proto::raftpb::{Message, MessageType};
use replica::raft::{Dropped, ReadState, Role};
use replica::{Command, Core};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The core with its callers. It never touches a disk or a log sink.
pub(crate) struct CoreDriver {
    shared: Arc<Shared>,
    core: Core,
    log: Mailbox<LogEvent>,
    held: Held,
    reads: Reads,
    commands: Vec<Command>,
    /// The leader that was last known, 0 for none.
    leader: u64,
}

/// Runs until the mailbox is closed.
pub(crate) fn run(shared: &Arc<Shared>, core: Core, log: &Mailbox<LogEvent>, tick: Duration) {
    let mut driver = CoreDriver {
        shared: Arc::clone(shared),
        core,
        log: log.clone(),
        held: Held::default(),
        reads: Reads::default(),
        commands: Vec::new(),
        leader: 0,
    };
    driver.run(tick);
}

impl CoreDriver {
    fn run(&mut self, tick: Duration) {
        let mut events = Vec::new();
        let mut next_tick = Instant::now();
        loop {
            self.work();
            events.clear();
            match self.shared.core.drain(&mut events, Some(next_tick)) {
                Woken::Closed => return,
                Woken::Deadline => {}
                Woken::Messages => events.drain(..).for_each(|event| self.handle(event)),
            }
            let now = Instant::now();
            if now >= next_tick {
                self.core.tick();
                // A thread that slept too long does not hurry after lost ticks.
                next_tick = now + tick;
                self.expire(now);
            }
        }
    }

    /// Everything that follows from the events so far.
    fn work(&mut self) {
        self.follow_leader();
        self.propose_held();
        if self.reads.wants_round() && self.leader != 0 {
            let id = self.shared.ids.next();
            self.reads.begin_round(id, Instant::now());
            self.core.read_index(id.to_be_bytes().to_vec().into());
        }
        let mut commands = std::mem::take(&mut self.commands);
        self.core.poll(&mut commands);
        // Before anyone else hears of it: what this member may read alone depends on it.
        self.publish();
        for command in commands.drain(..) {
            self.dispatch(command);
        }
        self.commands = commands;
        self.serve_reads();
    }

    fn handle(&mut self, event: CoreEvent) {
        match event {
            CoreEvent::Propose { id, data } => self.propose(id, data),
            CoreEvent::ProposeConfChange { id, change } => {
                if let Err(dropped) = self.core.propose_conf_change(&change) {
                    self.drop_proposal(id, dropped);
                }
            }
            CoreEvent::Persisted { number } => self.core.persisted(number),
            CoreEvent::Applied { index, conf_changes } => self.core.applied(index, &conf_changes),
            CoreEvent::Step(message) => {
                self.shared.inbound.taken(&message);
                // What does not fit is not for this member; the sender finds out in time.
                let _ = self.core.step(message);
            }
            CoreEvent::Unreachable(id) => self.core.report_unreachable(id),
            CoreEvent::SnapshotSent { to, delivered } => self.core.report_snapshot(to, delivered),
            CoreEvent::Transfer { to } => self.core.transfer_leader(to),
            CoreEvent::Read(read) => {
                self.reads.push(read, Instant::now() + self.shared.limits.request_timeout);
            }
            CoreEvent::Do(act) => act(&mut self.core),
        }
    }

    // ---- proposals -------------------------------------------------------------------------

    fn propose(&mut self, id: u64, data: bytes::Bytes) {
        if self.leader == 0 || !self.held.is_empty() {
            if !self.held.push(id, data) {
                self.drop_proposal(id, Dropped::TooManyUncommitted);
            }
            return;
        }
        if let Err(dropped) = self.core.propose(data.clone()) {
            let waits = dropped == Dropped::NoLeader && self.held.push(id, data);
            if !waits {
                self.drop_proposal(id, dropped);
            }
        }
    }

    fn propose_held(&mut self) {
        while self.leader != 0
            && let Some((id, data)) = self.held.pop()
        {
            if self.shared.waiters.contains(id)
                && let Err(dropped) = self.core.propose(data)
            {
                self.drop_proposal(id, dropped);
            }
        }
    }

    fn drop_proposal(&self, id: u64, dropped: Dropped) {
        if let Some(waiter) = self.shared.waiters.take(id) {
            let error = match dropped {
                Dropped::TooManyUncommitted => Error::TooManyRequests,
                _ => Error::NoLeader,
            };
            waiter.fail(&self.shared.metrics, error);
        }
    }

    fn expire(&mut self, now: Instant) {
        self.shared.answers.expire(now);
        let expired = self.shared.waiters.expired(now);
        if !expired.is_empty() {
            self.held.retain(|id| self.shared.waiters.contains(id));
        }
        for waiter in expired {
            waiter.fail(&self.shared.metrics, Error::Timeout);
        }
        for read in self.reads.tick(now) {
            read(Err(Error::Timeout));
        }
    }

    // ---- what raft asks for ----------------------------------------------------------------

    fn dispatch(&mut self, command: Command) {
        match command {
            Command::Persist(persist) => {
                self.log.send(LogEvent::Persist(persist));
            }
            Command::Apply(entries) => {
                self.shared.apply.send(ApplyEvent::Entries(entries));
            }
            Command::Restore(snapshot) => {
                self.shared.apply.send(ApplyEvent::Restore(snapshot));
            }
            Command::Send(messages) => self.send(messages),
            Command::Readable(states) => states.iter().for_each(|state| self.confirm(state)),
        }
    }

    /// A snapshot waits for the database that belongs to it; all else goes at once.
    fn send(&self, messages: Vec<Message>) {
        let Some(network) = self.shared.roster.network() else { return };
        let is_snapshot = |message: &Message| message.r#type() == MessageType::MsgSnap;
        let (snapshots, rest): (Vec<_>, Vec<_>) = messages.into_iter().partition(is_snapshot);
        if !rest.is_empty() {
            network.send(rest);
        }
        for message in snapshots {
            self.shared.on_apply(move |driver| driver.send_snapshot(message));
        }
    }

    fn confirm(&mut self, state: &ReadState) {
        if let Ok(id) = <[u8; 8]>::try_from(&state.context[..]) {
            self.reads.confirm(u64::from_be_bytes(id), state.index);
        }
    }

    fn serve_reads(&mut self) {
        let applied = self.shared.gauges.applied.load(Ordering::Acquire);
        let served = self.reads.served_by(applied);
        if !served.is_empty() {
            self.shared.in_pool(move || served.into_iter().for_each(|read| read(Ok(()))));
        }
    }

    // ---- what others see of raft -----------------------------------------------------------

    fn follow_leader(&mut self) {
        let leader = self.core.status().leader;
        if leader != self.leader {
            self.leader = leader;
            self.reads.leader_changed();
            self.shared.metrics.member.leader_seen(leader);
        }
    }

    fn publish(&self) {
        let status = self.core.status();
        let gauges = &self.shared.gauges;
        gauges.term.store(status.term, Ordering::Relaxed);
        gauges.leader.store(status.leader, Ordering::Relaxed);
        gauges.committed.store(status.committed, Ordering::Relaxed);
        let leads = status.role == Role::Leader;
        let changed = gauges.leads.swap(leads, Ordering::AcqRel) != leads;
        if gauges.may_read.swap(status.may_read, Ordering::AcqRel) != status.may_read || changed {
            self.shared.on_apply(ApplyDriver::follow_leadership);
        }
    }
}
