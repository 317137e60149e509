//! The watch thread: gives the watch turn its events and its time.

use crate::mailbox::Woken;
use crate::shared::Shared;
use replica::turn::{WatchEvent, WatchStep, WatchTurn};
use services::Member;
use std::sync::Arc;
use std::time::Instant;

/// Runs until its queue is closed.
pub(crate) fn run(shared: &Arc<Shared>, mut turn: WatchTurn) {
    let mut events = Vec::new();
    loop {
        let deadline = shared.ports.started + turn.deadline(shared.ports.now());
        if shared.ports.hub.drain(&mut events, Some(deadline), turn.wake_policy()) == Woken::Closed
        {
            return;
        }
        events.drain(..).for_each(|event| take(shared, &mut turn, event));
        turn.catch_up();
        let now = shared.ports.now();
        if turn.is_tick_due(now) {
            let begun = Instant::now();
            if turn.tick(now) {
                shared.metrics.watchers.progress_loop.observe(begun.elapsed().as_secs_f64());
            }
        }
        if let Some(figures) = turn.figures() {
            shared.common().figures.show_watch(&figures);
            shared.metrics.watchers.sent(figures.events_sent);
        }
    }
}

fn take(shared: &Shared, turn: &mut WatchTurn, event: WatchEvent) {
    let begun = Instant::now();
    let metrics = &shared.metrics.watchers;
    match turn.take(event, shared.ports.hub.budget()) {
        WatchStep::Published(events) => metrics.published(events, begun.elapsed()),
        WatchStep::Requested => metrics.control_loop.observe(begun.elapsed().as_secs_f64()),
        WatchStep::Other => {}
    }
}
