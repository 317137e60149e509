//! The core thread: raft, ticks, and the time limits of waiters.

use super::{ApplyDriver, ApplyEvent, CoreEvent, LogEvent};
use crate::mailbox::{Mailbox, Woken};
use crate::rpc::Error;
use crate::shared::Shared;
use replica::{Command, Core};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Runs until its mailbox is closed. It never touches a disk or a log sink.
pub(crate) fn run(shared: &Arc<Shared>, mut core: Core, log: &Mailbox<LogEvent>, tick: Duration) {
    let mut events = Vec::new();
    let mut commands = Vec::new();
    let mut next_tick = Instant::now();
    loop {
        core.poll(&mut commands);
        dispatch(&mut commands, log, shared);
        publish(&core, shared);
        events.clear();
        match shared.core.drain(&mut events, Some(next_tick)) {
            Woken::Closed => return,
            Woken::Deadline => {}
            Woken::Messages => {
                for event in events.drain(..) {
                    handle(&mut core, event, shared);
                }
            }
        }
        let now = Instant::now();
        if now >= next_tick {
            core.tick();
            // A thread that slept too long does not hurry after lost ticks.
            next_tick = now + tick;
            for waiter in shared.waiters.expired(now) {
                waiter.fail(&shared.metrics, Error::Timeout);
            }
        }
    }
}

fn handle(core: &mut Core, event: CoreEvent, shared: &Shared) {
    match event {
        CoreEvent::Propose { id, data } => {
            if let Err(dropped) = core.propose(data)
                && let Some(waiter) = shared.waiters.take(id)
            {
                let error = match dropped {
                    replica::raft::Dropped::NoLeader => Error::NoLeader,
                    _ => Error::TooManyRequests,
                };
                waiter.fail(&shared.metrics, error);
            }
        }
        CoreEvent::Persisted { number } => core.persisted(number),
        CoreEvent::Applied { index, conf_changes } => core.applied(index, &conf_changes),
    }
}

fn dispatch(commands: &mut Vec<Command>, log: &Mailbox<LogEvent>, shared: &Shared) {
    for command in commands.drain(..) {
        match command {
            Command::Persist(persist) => log.send(LogEvent::Persist(persist)),
            Command::Apply(entries) => shared.apply.send(ApplyEvent::Entries(entries)),
            // There is no peer port yet: what is sent is lost, and nothing comes of it.
            Command::Send(_) | Command::Restore(_) | Command::Readable(_) => true,
        };
    }
}

fn publish(core: &Core, shared: &Shared) {
    let status = core.status();
    let gauges = &shared.gauges;
    gauges.term.store(status.term, Ordering::Relaxed);
    gauges.leader.store(status.leader, Ordering::Relaxed);
    gauges.committed.store(status.committed, Ordering::Relaxed);
    if gauges.may_read.swap(status.may_read, Ordering::AcqRel) != status.may_read {
        shared.on_apply(ApplyDriver::follow_leadership);
    }
}
