//! The log: everything waiting goes to the disk in one write with one sync.
//!
//! It has a thread of its own, for a core with company must never wait for a disk. A core that is alone
//! writes a few entries itself if that thread has nothing to do, and saves two wake-ups.

use super::{CoreEvent, Failed, LogEvent};
use crate::lines;
use crate::mailbox::{Heed, Mailbox, Woken};
use crate::shared::Shared;
use parking_lot::{Mutex, MutexGuard};
use replica::{Fault, LogWriter, Persist, SnapshotDue, Surplus};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The log writer and what waits for it.
pub(crate) struct LogDesk {
    writer: Mutex<LogWriter>,
    mailbox: Mailbox<LogEvent>,
    /// What was sent and is not done. Only the core sends what must be written in order.
    under_way: AtomicUsize,
    failed: Failed,
}

impl LogDesk {
    /// Nothing waits; `failed` hears why nothing more can be written.
    pub(crate) fn new(writer: LogWriter, failed: Failed) -> Arc<LogDesk> {
        let (writer, under_way) = (Mutex::new(writer), AtomicUsize::new(0));
        Arc::new(LogDesk { writer, mailbox: Mailbox::new(), under_way, failed })
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

    /// The writer, if the log's thread has nothing to do.
    pub(crate) fn idle_writer(&self) -> Option<MutexGuard<'_, LogWriter>> {
        let is_idle = self.under_way.load(Ordering::Acquire) == 0;
        if is_idle { self.writer.try_lock() } else { None }
    }

    /// Writes here and now; gives the number of what was written.
    pub(crate) fn persist_with(
        &self,
        mut writer: MutexGuard<'_, LogWriter>,
        persist: Persist,
    ) -> u64 {
        match writer.persist(&[persist]) {
            Ok(done) => {
                if writer.wants_prepare() {
                    self.send(LogEvent::Prepare);
                }
                done.number
            }
            Err(fault) => {
                (self.failed)(fault);
                // Nobody must believe that it was written.
                0
            }
        }
    }

    /// Removes files that are more than are kept, without holding up whoever writes.
    pub(crate) fn purge(&self) {
        let surplus = self.writer.lock().surplus();
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
            if stop.drain(&mut nothing, Some(Instant::now() + interval), Heed::All) == Woken::Closed
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

    /// Runs the log's thread until the desk is closed or the disk fails.
    pub(crate) fn run(&self, shared: &Shared) {
        let mut events = Vec::new();
        while self.mailbox.drain(&mut events, None, Heed::All) != Woken::Closed {
            let count = events.len();
            let mut writer = self.writer.lock();
            if let Err(fault) = work(shared, &mut writer, &mut events) {
                (self.failed)(fault);
                return;
            }
            drop(writer);
            self.under_way.fetch_sub(count, Ordering::AcqRel);
        }
    }
}

fn work(shared: &Shared, log: &mut LogWriter, events: &mut Vec<LogEvent>) -> Result<(), Fault> {
    let mut batches: Vec<Persist> = Vec::new();
    let mut snapshots = Vec::new();
    for event in events.drain(..) {
        match event {
            LogEvent::Persist(persist) => batches.push(persist),
            LogEvent::Snapshot(due) => snapshots.push(due),
            LogEvent::Prepare => {}
        }
    }
    if !batches.is_empty() {
        let done = log.persist(&batches)?;
        if done.number > 0 {
            shared.core.send(CoreEvent::Persisted { number: done.number });
        }
    }
    log.prepare()?;
    for due in snapshots {
        let (begun, disk) = (Instant::now(), &shared.metrics.disk);
        let (busy, index) = (disk.snapshots.total(), due.index);
        let purged = log.save_snapshot(due)?;
        disk.snapshot_saved(begun.elapsed(), disk.snapshots.total() - busy);
        lines::snapshot_saved(index);
        lines::purged(&purged);
        shared.on_apply(move |driver| driver.snapshot_recorded(index));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::config;
    use replica::disk::sim::SimDisk;
    use replica::disk::{Disk, Open};
    use std::path::Path;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn files_that_come_while_a_member_runs_are_purged_at_the_next_interval() {
        let (sim, dir) = (SimDisk::new(1), Path::new("m.etcd/member/snap"));
        let parts = replica::open(sim.disk(), &config().replica).unwrap();
        let failed: Failed = Arc::new(|fault| panic!("{fault}"));
        let (desk, stop) = (LogDesk::new(parts.log_writer, failed), Mailbox::new());
        let (runs, stopped) = (Arc::clone(&desk), stop.clone());
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
