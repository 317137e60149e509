//! Other members. A cluster of one knows itself alone; what has labels shows when it is first used.

use super::families::{Doubling, Families, SNAPSHOT};

/// Enters the families.
pub(super) fn register(f: &Families<'_>, member_id: u64) {
    let id = format!("{member_id:x}");
    let both = ["Local", "Remote"];
    f.gauges("etcd_network_known_peers", "The current number of known peers.", &both)
        .with_label_values(&[&id, &id])
        .set(1);
    f.gauges("etcd_network_active_peers", "The current number of active peer connections.", &both);
    f.counters(
        "etcd_network_disconnected_peers_total",
        "The total number of disconnected peers.",
        &both,
    );
    for (label, done, preposition) in [("To", "sent", "to"), ("From", "received", "from")] {
        f.float_counters(
            &format!("etcd_network_peer_{done}_bytes_total"),
            &format!("The total number of bytes {done} {preposition} peers."),
            &[label],
        );
    }
    for (label, done, act) in [("To", "sent", "send"), ("From", "received", "receive")] {
        f.counters(
            &format!("etcd_network_peer_{done}_failures_total"),
            &format!("The total number of {act} failures from peers."),
            &[label],
        );
        snapshots(f, act, label);
    }
    f.histograms(
        "etcd_network_peer_round_trip_time_seconds",
        "Round-Trip-Time histogram between peers",
        Doubling(0.0001, 16),
        &["To"],
    );
}

/// Databases on their way to or from another member.
fn snapshots(f: &Families<'_>, act: &str, label: &str) {
    let name = |what: &str| format!("etcd_network_snapshot_{act}_{what}");
    let help = |what: &str| format!("Total number of {what} snapshot {act}s");
    f.counters(&name("success"), &help("successful"), &[label]);
    f.gauges(&name("inflights_total"), &help("inflight"), &[label]);
    let failures = format!("Total number of snapshot {act} failures");
    f.counters(&name("failures"), &failures, &[label]);
    let total = format!("Total latency distributions of v3 snapshot {act}s");
    f.histograms(&name("total_duration_seconds"), &total, SNAPSHOT, &[label]);
}
