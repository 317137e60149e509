//! The watch thread: the hub, its catch-up, its clock.

use super::hub_queue::HubEvent;
use crate::mailbox::Woken;
use crate::shared::Shared;
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
        if shared.hub.drain(&mut events, Some(deadline)) == Woken::Closed {
            return;
        }
        for event in events.drain(..) {
            handle(shared, &mut hub, event);
        }
        more = hub.step();
        if Instant::now() >= next_tick {
            hub.tick(shared.now_ms());
            next_tick = Instant::now() + TICK;
        }
        publish_counts(shared, &hub);
    }
}

fn handle(shared: &Shared, hub: &mut Hub, event: HubEvent) {
    match event {
        HubEvent::Changes(batch) => {
            hub.set_term(batch.term);
            for change in &batch.changes {
                hub.publish(change);
            }
            shared.hub.done(&batch);
        }
        HubEvent::Overrun { revision, term } => {
            hub.set_term(term);
            hub.overrun(revision);
        }
        HubEvent::Do(act) => act(hub),
    }
}

fn publish_counts(shared: &Shared, hub: &Hub) {
    let (all, slow) = hub.watchers();
    shared.gauges.watchers.store(all as i64, Ordering::Relaxed);
    shared.gauges.slow_watchers.store(slow as i64, Ordering::Relaxed);
    shared.gauges.watch_streams.store(hub.streams() as i64, Ordering::Relaxed);
}
