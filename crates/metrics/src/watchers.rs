//! Watchers and the loop that serves them.

use super::families::{Families, MS_TO_8S};
use crate::sources::Sources;
use prometheus::{Histogram, IntCounter, IntGauge};
use std::time::Duration;

/// What is known of watching.
pub struct WatchMetrics {
    events: IntCounter,
    watchers: IntGauge,
    slow_watchers: IntGauge,
    streams: IntGauge,
    events_loop: Histogram,
    per_event: Histogram,
    pub control_loop: Histogram,
    pub progress_loop: Histogram,
}

impl WatchMetrics {
    pub(super) fn new(f: &Families<'_>) -> WatchMetrics {
        // Events are handed to their streams as they happen; nothing waits in between.
        f.gauge(
            "etcd_debugging_mvcc_pending_events_total",
            "Total number of pending events to be sent.",
        );
        let send_loop = |name: &str, help: &str| {
            let name = format!("etcd_debugging_server_watch_send_loop_{name}");
            f.histogram(&name, help, MS_TO_8S)
        };
        WatchMetrics {
            events: f.counter(
                "etcd_debugging_mvcc_events_total",
                "Total number of events sent by this member.",
            ),
            watchers: f.gauge("etcd_debugging_mvcc_watcher_total", "Total number of watchers."),
            slow_watchers: f.gauge(
                "etcd_debugging_mvcc_slow_watcher_total",
                "Total number of unsynced slow watchers.",
            ),
            streams: f
                .gauge("etcd_debugging_mvcc_watch_stream_total", "Total number of watch streams."),
            events_loop: send_loop(
                "watch_stream_duration_seconds",
                "The total duration in seconds of running through the send loop watch stream \
                 response all events.",
            ),
            per_event: send_loop(
                "watch_stream_duration_per_event_seconds",
                "The average duration in seconds of running through the send loop watch stream \
                 response, per event.",
            ),
            control_loop: send_loop(
                "control_stream_duration_seconds",
                "The total duration in seconds of running through the send loop control stream \
                 response.",
            ),
            progress_loop: send_loop(
                "progress_duration_seconds",
                "The total duration in seconds of running through the progress loop control \
                 stream response.",
            ),
        }
    }

    /// Changes went to all watchers that want them, as so many events.
    pub fn published(&self, events: u64, took: Duration) {
        self.events_loop.observe(took.as_secs_f64());
        self.per_event.observe(took.as_secs_f64() / events.max(1) as f64);
    }

    /// So many events went to watchers since the start.
    pub fn sent(&self, events: u64) {
        self.events.inc_by(events.saturating_sub(self.events.get()));
    }

    pub(super) fn refresh(&self, sources: &Sources<'_>) {
        let from = sources.figures;
        self.watchers.set(from.watchers());
        self.slow_watchers.set(from.slow_watchers());
        self.streams.set(from.watch_streams());
    }
}
