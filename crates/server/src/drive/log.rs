//! The log thread: everything that waits goes to the disk in one write with one sync.
//!
//! A core with company must never wait for a disk. A core that is alone writes a few entries itself if
//! this thread has nothing to do, and saves two wake-ups.

use super::Failed;
use crate::lines;
use crate::mailbox::{Mailbox, Woken};
use crate::shared::Shared;
use parking_lot::{Mutex, MutexGuard};
use replica::turn::{LogEffect, LogEvent, LogTurn, WakePolicy};
use replica::{Fault, LogWriter, Persist, SnapshotDue};
use services::Calls;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// A handle to the log: its turn, and what waits for it.
pub(crate) struct LogHandle {
    turn: Mutex<LogTurn>,
    mailbox: Mailbox<LogEvent>,
    /// What was sent and is not done. Only the core sends what must be written in order.
    under_way: AtomicUsize,
    failed: Failed,
}

impl LogHandle {
    /// Nothing waits; `failed` hears why nothing more can be written.
    pub(crate) fn new(writer: LogWriter, failed: Failed) -> Arc<LogHandle> {
        let (turn, under_way) = (Mutex::new(LogTurn::new(writer)), AtomicUsize::new(0));
        Arc::new(LogHandle { turn, mailbox: Mailbox::new(), under_way, failed })
    }

    /// Has the log's thread write; the core hears of it.
    pub(crate) fn persist(&self, persist: Persist) {
        self.send(LogEvent::Persist(persist));
    }

    /// Has the log's thread record a snapshot and let go of the log before it.
    pub(crate) fn save_snapshot(&self, due: SnapshotDue) {
        self.send(LogEvent::Snapshot(due));
    }

    fn send(&self, event: LogEvent) {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        self.mailbox.send(event);
    }

    /// The turn, if the log's thread has nothing to do.
    pub(crate) fn idle_turn(&self) -> Option<MutexGuard<'_, LogTurn>> {
        let is_idle = self.under_way.load(Ordering::Acquire) == 0;
        if is_idle { self.turn.try_lock() } else { None }
    }

    /// Writes here and now; gives the number of what was written.
    pub(crate) fn persist_with(&self, mut turn: MutexGuard<'_, LogTurn>, persist: Persist) -> u64 {
        match turn.write_one(persist) {
            Ok(number) => {
                if turn.wants_prepare() {
                    self.send(LogEvent::Prepare);
                }
                number
            }
            Err(fault) => {
                (self.failed)(fault);
                // Nobody must believe that it was written.
                0
            }
        }
    }

    /// Refuses more; what is there is still written.
    pub(crate) fn close(&self) {
        self.mailbox.close();
    }

    /// Runs the log's thread until the handle is closed or the disk fails.
    pub(crate) fn run(&self, shared: &Shared) {
        let mut events = Vec::new();
        while self.mailbox.drain(&mut events, None, WakePolicy::Every) != Woken::Closed {
            let count = events.len();
            let mut turn = self.turn.lock();
            if let Err(fault) = work(shared, &mut turn, &mut events) {
                (self.failed)(fault);
                return;
            }
            drop(turn);
            self.under_way.fetch_sub(count, Ordering::AcqRel);
        }
    }
}

fn work(shared: &Shared, turn: &mut LogTurn, events: &mut Vec<LogEvent>) -> Result<(), Fault> {
    let mut effects = Vec::new();
    let snapshots = turn.write(events, &mut effects)?;
    effects.drain(..).for_each(|effect| carry_out(shared, effect));
    for due in snapshots {
        let (begun, disk) = (Instant::now(), &shared.metrics.disk);
        let (busy, index) = (disk.snapshots.total(), due.index);
        turn.record(due, &mut effects)?;
        disk.snapshot_saved(begun.elapsed(), disk.snapshots.total() - busy);
        lines::snapshot_saved(index);
        effects.drain(..).for_each(|effect| carry_out(shared, effect));
    }
    Ok(())
}

fn carry_out(shared: &Shared, effect: LogEffect<Calls>) {
    match effect {
        LogEffect::Core(event) => shared.ports.core.send(event),
        LogEffect::Apply(event) => shared.ports.apply.send(event),
    };
}
