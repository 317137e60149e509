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
use replica::{Fault, LogWriter, Persist, SnapshotDue, Surplus};
use services::Calls;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

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

    /// Removes surplus files; writers do not wait for that.
    pub(crate) fn purge(&self) {
        let surplus = self.turn.lock().surplus();
        match surplus.and_then(Surplus::remove) {
            Ok(purged) => lines::purged(&purged),
            Err(fault) => (self.failed)(fault),
        }
    }

    /// Purges now and at every interval, until the mailbox is closed.
    pub(crate) fn run_purge(&self, interval: Duration, stop: &Mailbox<()>) {
        let mut nothing = Vec::new();
        loop {
            self.purge();
            if stop.drain(&mut nothing, Some(Instant::now() + interval), WakePolicy::Every)
                == Woken::Closed
            {
                return;
            }
            nothing.clear();
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
        let purged = turn.record(due, &mut effects)?;
        disk.snapshot_saved(begun.elapsed(), disk.snapshots.total() - busy);
        lines::snapshot_saved(index);
        lines::purged(&purged);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::config;
    use disk::sim::SimDisk;
    use disk::{Disk, Open};
    use std::path::Path;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn files_that_come_while_a_member_runs_are_purged_at_the_next_interval() {
        let (sim, dir) = (SimDisk::new(1), Path::new("m.etcd/member/snap"));
        let parts = replica::open(sim.disk(), &config().replica).unwrap();
        let failed: Failed = Arc::new(|fault| panic!("{fault}"));
        let (log, stop) = (LogHandle::new(parts.log_writer, failed), Mailbox::new());
        let (runs, stopped) = (Arc::clone(&log), stop.clone());
        let thread = std::thread::spawn(move || runs.run_purge(Duration::from_millis(1), &stopped));
        let left = || {
            let names = sim.list(dir).unwrap();
            names.into_iter().filter(|name| name.ends_with(".snap")).collect::<Vec<_>>()
        };
        for round in 0..3 {
            for n in 0..4 {
                let name = format!("{:016x}-{n:016x}.snap", round + 1);
                sim.open(&dir.join(name), Open::CREATE).unwrap();
            }
            let begun = Instant::now();
            while left().len() > config().replica.keep_snapshots {
                assert!(begun.elapsed() < PATIENCE, "{:?}", left());
                std::thread::yield_now();
            }
            let newest = [2, 3].map(|n| format!("{:016x}-{n:016x}.snap", round + 1));
            assert_eq!(left(), newest);
        }
        stop.close();
        thread.join().unwrap();
    }
}
