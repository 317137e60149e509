//! The log thread: everything waiting goes to the disk in one write with one sync.

use super::{CoreEvent, Failed, LogEvent};
use crate::mailbox::{Heed, Mailbox, Woken};
use crate::shared::Shared;
use replica::{Fault, LogWriter, Persist};
use std::sync::Arc;
use std::time::Instant;

/// Runs until its mailbox is closed or the disk fails.
pub(crate) fn run(
    shared: &Arc<Shared>,
    mut log: LogWriter,
    mailbox: &Mailbox<LogEvent>,
    failed: &Failed,
) {
    let mut events = Vec::new();
    loop {
        events.clear();
        if mailbox.drain(&mut events, None, Heed::Urgent) == Woken::Closed {
            return;
        }
        if let Err(fault) = work(shared, &mut log, &mut events) {
            failed(fault);
            return;
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
        }
    }
    if !batches.is_empty() {
        let done = log.persist(&batches)?;
        if done.number > 0 {
            shared.core.send(CoreEvent::Persisted { number: done.number });
        }
        log.prepare()?;
    }
    for due in snapshots {
        let (begun, disk) = (Instant::now(), &shared.metrics.disk);
        let busy = disk.snapshots.total();
        log.save_snapshot(due)?;
        disk.snapshot_saved(begun.elapsed(), disk.snapshots.total() - busy);
    }
    Ok(())
}
