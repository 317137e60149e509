//! Other members. What the transport counts is read when somebody asks; what happens once is
//! recorded as it happens. What has labels shows when it is first used.

use super::families::{Doubling, Families, SNAPSHOT};
use crate::sources::Sources;
use parking_lot::Mutex;
use peer::{Note, PeerStats};
use prometheus::{CounterVec, HistogramVec, IntCounterVec, IntGaugeVec};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// What is known of other members.
pub struct PeerMetrics {
    own: String,
    known: IntGaugeVec,
    active: IntGaugeVec,
    disconnected: IntCounterVec,
    sent: Direction,
    received: Direction,
    rtt: HistogramVec,
    shown: Mutex<Shown>,
}

/// What was shown last: the transport's counts only grow, and so do those here.
#[derive(Default)]
struct Shown {
    known: BTreeSet<u64>,
    stats: HashMap<u64, PeerStats>,
}

/// To or from others.
struct Direction {
    bytes: CounterVec,
    failures: IntCounterVec,
    snapshots: IntCounterVec,
    snapshots_in_flight: IntGaugeVec,
    snapshots_failed: IntCounterVec,
    snapshot_seconds: HistogramVec,
}

impl PeerMetrics {
    pub(super) fn new(f: &Families<'_>, member_id: u64) -> PeerMetrics {
        let both = ["Local", "Remote"];
        PeerMetrics {
            own: format!("{member_id:x}"),
            known: f.gauges(
                "etcd_network_known_peers",
                "The current number of known peers.",
                &both,
            ),
            active: f.gauges(
                "etcd_network_active_peers",
                "The current number of active peer connections.",
                &both,
            ),
            disconnected: f.counters(
                "etcd_network_disconnected_peers_total",
                "The total number of disconnected peers.",
                &both,
            ),
            sent: Direction::new(f, "To", ["sent", "send"], "to"),
            received: Direction::new(f, "From", ["received", "receive"], "from"),
            rtt: f.histograms(
                "etcd_network_peer_round_trip_time_seconds",
                "Round-Trip-Time histogram between peers",
                Doubling(0.0001, 16),
                &["To"],
            ),
            shown: Mutex::default(),
        }
    }

    /// Something happened between here and another member.
    pub fn note(&self, note: &Note<'_>) {
        match note {
            Note::Active { id } => {
                self.active.with_label_values(&[&self.own, &hex(*id)]).set(1);
            }
            Note::Inactive { id, .. } => {
                self.active.with_label_values(&[&self.own, &hex(*id)]).set(0);
                self.disconnected.with_label_values(&[&self.own, &hex(*id)]).inc();
            }
            Note::RoundTrip { id, rtt, .. } => {
                self.rtt.with_label_values(&[&hex(*id)]).observe(rtt.as_secs_f64());
            }
            Note::SnapshotSending { id, .. } => self.sent.snapshot_begins(*id),
            Note::SnapshotComing { id, .. } => self.received.snapshot_begins(*id),
            Note::SnapshotSent { id, took, why, .. } => {
                self.sent.snapshot_ends(*id, *took, why.is_none());
            }
            Note::SnapshotReceived { id, took, why, .. } => {
                self.received.snapshot_ends(*id, *took, why.is_none());
            }
            _ => {}
        }
    }

    pub(super) fn refresh(&self, sources: &Sources<'_>) {
        let mut shown = self.shown.lock();
        let known: BTreeSet<u64> = sources.members.list().map(|member| member.id).collect();
        for (set, value) in [(&shown.known, 0), (&known, 1)] {
            for id in set {
                self.known.with_label_values(&[&self.own, &hex(*id)]).set(value);
            }
        }
        shown.known = known;
        for (id, now) in sources.peers.iter().cloned() {
            let before = shown.stats.entry(id).or_default();
            self.sent.count(
                id,
                now.sent_bytes.saturating_sub(before.sent_bytes),
                now.sent_failures.saturating_sub(before.sent_failures),
            );
            self.received.count(
                id,
                now.received_bytes.saturating_sub(before.received_bytes),
                now.received_failures.saturating_sub(before.received_failures),
            );
            *before = now;
        }
    }
}

impl Direction {
    fn new(f: &Families<'_>, label: &str, [done, act]: [&str; 2], way: &str) -> Direction {
        let name = |what: &str| format!("etcd_network_snapshot_{act}_{what}");
        let help = |what: &str| format!("Total number of {what} snapshot {act}s");
        Direction {
            bytes: f.float_counters(
                &format!("etcd_network_peer_{done}_bytes_total"),
                &format!("The total number of bytes {done} {way} peers."),
                &[label],
            ),
            failures: f.counters(
                &format!("etcd_network_peer_{done}_failures_total"),
                &format!("The total number of {act} failures from peers."),
                &[label],
            ),
            snapshots: f.counters(&name("success"), &help("successful"), &[label]),
            snapshots_in_flight: f.gauges(&name("inflights_total"), &help("inflight"), &[label]),
            snapshots_failed: f.counters(
                &name("failures"),
                &format!("Total number of snapshot {act} failures"),
                &[label],
            ),
            snapshot_seconds: f.histograms(
                &name("total_duration_seconds"),
                &format!("Total latency distributions of v3 snapshot {act}s"),
                SNAPSHOT,
                &[label],
            ),
        }
    }

    fn count(&self, id: u64, bytes: u64, failures: u64) {
        if bytes > 0 {
            self.bytes.with_label_values(&[&hex(id)]).inc_by(bytes as f64);
        }
        if failures > 0 {
            self.failures.with_label_values(&[&hex(id)]).inc_by(failures);
        }
    }

    fn snapshot_begins(&self, id: u64) {
        self.snapshots_in_flight.with_label_values(&[&hex(id)]).inc();
    }

    fn snapshot_ends(&self, id: u64, took: Duration, is_success: bool) {
        let label = [&hex(id)];
        self.snapshots_in_flight.with_label_values(&label).dec();
        if is_success {
            self.snapshots.with_label_values(&label).inc();
            self.snapshot_seconds.with_label_values(&label).observe(took.as_secs_f64());
        } else {
            self.snapshots_failed.with_label_values(&label).inc();
        }
    }
}

fn hex(id: u64) -> String {
    format!("{id:x}")
}
