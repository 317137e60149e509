//! The watch thread: the hub, its catch-up, its clock.

use super::HubEvent;
use crate::mailbox::Woken;
use crate::shared::Shared;
use apply::mvcc::Change;
use replica::watch::Hub;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(100);

/// Runs until its mailbox is closed.
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
            match event {
                HubEvent::Changes(changes, term) => {
                    publish(shared, &mut hub, &changes, term);
                }
                HubEvent::Do(act) => {
                    let begun = Instant::now();
                    act(&mut hub);
                    shared.metrics.watchers.control_loop.observe(begun.elapsed().as_secs_f64());
                }
            }
        }
        more = hub.step();
        if Instant::now() >= next_tick {
            tick(shared, &mut hub);
            next_tick = Instant::now() + TICK;
        }
        let (all, slow) = hub.watchers();
        shared.gauges.watchers.store(all as i64, Ordering::Relaxed);
        shared.gauges.slow_watchers.store(slow as i64, Ordering::Relaxed);
        shared.gauges.watch_streams.store(hub.streams() as i64, Ordering::Relaxed);
    }
}

fn publish(shared: &Shared, hub: &mut Hub, changes: &[Change], term: u64) {
    hub.set_term(term);
    let begun = Instant::now();
    for change in changes {
        hub.publish(change);
    }
    // Without watchers nothing was sent.
    if hub.watchers().0 > 0 {
        shared.metrics.watchers.published(changes, begun.elapsed());
    }
}

fn tick(shared: &Shared, hub: &mut Hub) {
    let begun = Instant::now();
    hub.tick(shared.now_ms());
    if hub.watchers().0 > 0 {
        shared.metrics.watchers.progress_loop.observe(begun.elapsed().as_secs_f64());
    }
}
