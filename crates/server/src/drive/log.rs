//! The log: everything waiting goes to the disk in one write with one sync.
//!
//! It has a thread of its own, for a core with company must never wait for a disk. A core that is alone
//! writes a few entries itself if that thread has nothing to do, and saves two wake-ups.

use super::{CoreEvent, Failed, LogEvent};
use crate::lines;
use crate::mailbox::{Heed, Mailbox, Woken};
use crate::shared::Shared;
use parking_lot::{Mutex, MutexGuard};
use replica::{Fault, LogWriter, Persist, SnapshotDue};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

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
        log.save_snapshot(due)?;
        disk.snapshot_saved(begun.elapsed(), disk.snapshots.total() - busy);
        lines::snapshot_saved(index);
        shared.on_apply(move |driver| driver.snapshot_recorded(index));
    }
    Ok(())
}
