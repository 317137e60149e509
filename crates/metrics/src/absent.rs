//! Rooms that etcd still has families for and no server uses: the proxy's cache, the old store.

use super::families::Families;

/// Enters the families, which stay at zero.
pub(super) fn register(f: &Families<'_>) {
    proxy(f);
    old_store(f);
}

fn proxy(f: &Families<'_>) {
    for (name, help) in [
        ("cache_hits_total", "Total number of cache hits"),
        ("cache_keys_total", "Total number of keys/ranges cached"),
        ("cache_misses_total", "Total number of cache misses"),
        ("watchers_coalescing_total", "Total number of current watchers coalescing"),
    ] {
        f.gauge(&format!("etcd_grpc_proxy_{name}"), help);
    }
    f.counter("etcd_grpc_proxy_events_coalescing_total", "Total number of events coalescing");
}

fn old_store(f: &Families<'_>) {
    let name = |what: &str| format!("etcd_debugging_store_{what}");
    f.counter(&name("expires_total"), "Total number of expired keys.");
    f.counter(
        &name("watch_requests_total"),
        "Total number of incoming watch requests (new or reestablished).",
    );
    f.gauge(&name("watchers"), "Count of currently active watchers.");
    for (what, help) in [
        (
            "reads_total",
            "Total number of reads action by (get/getRecursive), local to this member.",
        ),
        ("writes_total", "Total number of writes (e.g. set/compareAndDelete) seen by this member."),
        ("reads_failed_total", "Failed read actions by (get/getRecursive), local to this member."),
        (
            "writes_failed_total",
            "Failed write actions (e.g. set/compareAndDelete), seen by this member.",
        ),
    ] {
        f.counters(&name(what), help, &["action"]);
    }
}
