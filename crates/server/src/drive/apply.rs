//! The apply thread: gives the apply turn its events, and carries out what follows.

use super::notes::Notes;
use super::{Failed, LogHandle};
use crate::lines;
use crate::mailbox::Woken;
use crate::shared::Shared;
use backend::{CommitJob, DefragJob};
use membership::Members;
use proto::raftpb::Message;
use replica::Fault;
use replica::turn::{ApplyEffect, ApplyTurn, MembersChange, Moment, WakePolicy, WatchEvent};
use services::{ApplyEvent, Calls, CoreEvent, Member, forward};
use std::sync::Arc;
use std::time::Instant;

/// The apply turn with its callers.
pub(crate) struct ApplyDriver {
    turn: ApplyTurn<Calls>,
    shared: Arc<Shared>,
    log: Arc<LogHandle>,
    failed: Failed,
    notes: Notes,
    effects: Vec<ApplyEffect<Calls>>,
}

impl ApplyDriver {
    /// An applier that has shown what it found on the disk.
    pub(crate) fn new(
        turn: ApplyTurn<Calls>,
        shared: Arc<Shared>,
        log: Arc<LogHandle>,
        failed: Failed,
    ) -> ApplyDriver {
        let notes = Notes::new(Arc::clone(&shared));
        let mut driver = ApplyDriver { turn, shared, log, failed, notes, effects: Vec::new() };
        driver.with_turn(ApplyTurn::begin);
        driver
    }

    /// Runs until the mailbox is closed; then commits what is left.
    pub(crate) fn run(mut self) {
        let mut events = Vec::new();
        let mailbox = self.shared.ports.apply.clone();
        loop {
            let deadline = self.shared.ports.started + self.turn.deadline(self.shared.ports.now());
            let woken = mailbox.drain(&mut events, Some(deadline), WakePolicy::Every);
            let result = match woken {
                Woken::Closed => {
                    if let Err(fault) = self.turn.close() {
                        (self.failed)(fault);
                    }
                    return;
                }
                Woken::Messages | Woken::Deadline => self.work(&mut events),
            };
            if let Err(fault) = result {
                (self.failed)(fault);
                return;
            }
        }
    }

    fn work(&mut self, events: &mut Vec<ApplyEvent>) -> Result<(), Fault> {
        let mut result = Ok(());
        self.with_turn(|turn, at| result = turn.turn(events, at));
        result
    }

    fn with_turn(
        &mut self,
        act: impl FnOnce(&mut ApplyTurn<Calls>, &mut Moment<'_, ApplyEffect<Calls>>),
    ) {
        let mut effects = std::mem::take(&mut self.effects);
        let (now, out) = (self.shared.ports.now(), &mut effects);
        let mut at = Moment { now, out, observer: &mut self.notes };
        act(&mut self.turn, &mut at);
        effects.drain(..).for_each(|effect| self.carry_out(effect));
        self.effects = effects;
    }

    fn carry_out(&mut self, effect: ApplyEffect<Calls>) {
        let shared = &self.shared;
        match effect {
            ApplyEffect::Core(event, urgency) => {
                shared.ports.core.send_with(event, urgency);
            }
            ApplyEffect::ShowMembers(members, change) => show_members(shared, *members, change),
            ApplyEffect::ShowApplied(figures) => shared.common().figures.show_applied(figures),
            ApplyEffect::ShowState(figures) => shared.common().figures.show_state(figures),
            ApplyEffect::ShowSizes(figures, storage_version) => {
                shared.common().figures.show_sizes(figures);
                *shared.storage_version.write() = storage_version;
            }
            ApplyEffect::ShowDatabase(reader) => shared.ports.exchange_database(reader),
            ApplyEffect::TermBegun => {
                shared.ports.monitor.send(());
            }
            ApplyEffect::Publish(changes) => shared.ports.hub.publish(changes),
            ApplyEffect::Restored(reader, revision) => {
                shared.ports.hub.send(WatchEvent::Restored { reader, revision });
            }
            ApplyEffect::Answer(answer) => answer.write.answer(answer.result, shared.common()),
            ApplyEffect::Commit(job) => commit(shared, job),
            ApplyEffect::Defragment(job) => defragment(shared, job),
            ApplyEffect::Record(due) => self.log.save_snapshot(due),
            ApplyEffect::SendSnapshot(message) => send_snapshot(shared, *message),
            ApplyEffect::Renewed(ticket, result) => ticket(result),
            ApplyEffect::RenewElsewhere(renewal, revision) => {
                forward::renew(&shared.services, renewal, revision);
            }
            ApplyEffect::TimeToLive(ticket, found) => ticket(found),
            ApplyEffect::Leases(ticket, leases) => ticket(leases),
            ApplyEffect::Reached(ticket) | ApplyEffect::Durable(ticket) => ticket(()),
            ApplyEffect::Defragmented(ticket, result) => ticket(result),
            ApplyEffect::Status(ticket, report) => ticket(*report),
        }
    }
}

fn show_members(shared: &Shared, members: Members, change: MembersChange) {
    let state = members.conf_state();
    if change != MembersChange::Restored {
        let ids = (shared.member_id, shared.cluster_id);
        lines::members_changed(ids, &shared.ports.roster.members(), &members);
    }
    shared.ports.roster.publish(members);
    if change == MembersChange::Configuration {
        lines::configuration(shared.member_id, &state);
    }
}

fn commit(shared: &Arc<Shared>, job: CommitJob) {
    let inner = Arc::clone(shared);
    shared.ports.on_file(move || {
        let (begun, disk) = (Instant::now(), &inner.metrics.disk);
        let busy = disk.database.total();
        let done = job.run();
        disk.committed(begun.elapsed(), disk.database.total() - busy);
        inner.ports.apply.send(ApplyEvent::Committed(done));
    });
}

fn defragment(shared: &Arc<Shared>, job: DefragJob) {
    let inner = Arc::clone(shared);
    shared.ports.on_file(move || {
        let begun = Instant::now();
        inner.metrics.disk.defragments.set(1);
        let done = job.run();
        inner.metrics.disk.defragments.set(0);
        inner.metrics.disk.defragment.observe(begun.elapsed().as_secs_f64());
        inner.ports.apply.send(ApplyEvent::Defragmented(done));
    });
}

/// Sends a snapshot with the database as it is in the file now.
fn send_snapshot(shared: &Arc<Shared>, message: Message) {
    let to = message.to();
    let Some(network) = shared.ports.roster.network() else {
        shared.ports.core.send(CoreEvent::SnapshotSent { to, delivered: false });
        return;
    };
    let database = shared.ports.database().snapshot();
    lines::sends_snapshot(shared.member_id, to, database.size());
    network.send_snapshot(message, database);
}
