//! The watch thread: the hub, its catch-up, its clock.

use super::hub_queue::HubEvent;
use crate::mailbox::{Heed, Woken};
use crate::shared::Shared;
use apply::mvcc::Change;
use replica::watch::Hub;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(100);

/// Runs until its queue is closed.
pub(crate) fn run(shared: &Arc<Shared>, mut hub: Hub) {
    let mut events = Vec::new();
    let mut next_tick = Instant::now() + TICK;
    let mut more = false;
    loop {
        events.clear();
        // With watchers to bring on there is no waiting, only looking.
        let deadline = if more { Instant::now() } else { next_tick };
        let heed = if hub.watchers().0 > 0 { Heed::All } else { Heed::Urgent };
        if shared.hub.drain(&mut events, Some(deadline), heed) == Woken::Closed {
            return;
        }
        for event in events.drain(..) {
            handle(shared, &mut hub, event);
        }
        more = hub.step();
        if Instant::now() >= next_tick {
            tick(shared, &mut hub);
            next_tick = Instant::now() + TICK;
        }
        publish_counts(shared, &hub);
    }
}

fn handle(shared: &Shared, hub: &mut Hub, event: HubEvent) {
    match event {
        HubEvent::Changes(batch) => {
            publish(shared, hub, &batch.changes, batch.term);
            shared.hub.done(&batch);
        }
        HubEvent::Overrun { revision, term } => {
            hub.set_term(term);
            hub.overrun(revision);
        }
        HubEvent::Do(act) => {
            let begun = Instant::now();
            act(hub);
            shared.metrics.watchers.control_loop.observe(begun.elapsed().as_secs_f64());
        }
    }
}

fn publish(shared: &Shared, hub: &mut Hub, changes: &[Change], term: u64) {
    hub.set_term(term);
    let (begun, sent) = (Instant::now(), hub.events_sent());
    for change in changes {
        hub.publish(change);
    }
    // Without watchers nothing was sent.
    if hub.watchers().0 > 0 {
        shared.metrics.watchers.published(hub.events_sent() - sent, begun.elapsed());
    }
}

fn tick(shared: &Shared, hub: &mut Hub) {
    let begun = Instant::now();
    hub.tick(shared.now_ms());
    if hub.watchers().0 > 0 {
        shared.metrics.watchers.progress_loop.observe(begun.elapsed().as_secs_f64());
    }
}

fn publish_counts(shared: &Shared, hub: &Hub) {
    let (all, slow) = hub.watchers();
    shared.gauges.watchers.store(all as i64, Ordering::Relaxed);
    shared.gauges.slow_watchers.store(slow as i64, Ordering::Relaxed);
    shared.metrics.watchers.sent(hub.events_sent());
    shared.gauges.watch_streams.store(hub.streams() as i64, Ordering::Relaxed);
}
