//! Metrics under etcd's names. Counts on the hot path are plain atomics, put into Prometheus' form
//! when somebody asks.

use crate::shared::Shared;
use apply::mvcc::Change;
use net::rpc::Code;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};
use std::sync::atomic::{AtomicU64, Ordering};

/// Names and counts of one method's calls.
pub(crate) struct MethodCounts {
    pub(crate) service: &'static str,
    pub(crate) method: &'static str,
    pub(crate) kind: &'static str,
    started: AtomicU64,
    handled: [AtomicU64; Code::ALL.len()],
    received: AtomicU64,
    sent: AtomicU64,
}

impl MethodCounts {
    pub(crate) fn new(service: &'static str, method: &'static str, kind: &'static str) -> Self {
        MethodCounts {
            service,
            method,
            kind,
            started: AtomicU64::new(0),
            handled: Default::default(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        }
    }

    /// A call began and brought its message.
    pub(crate) fn start(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    /// A message came.
    pub(crate) fn receive(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    /// A call ended.
    pub(crate) fn handle(&self, code: Code) {
        self.handled[code as usize].fetch_add(1, Ordering::Relaxed);
        if code == Code::Ok {
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Everything counted.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) wal_fsync: Histogram,
    pub(crate) wal_bytes: Gauge,
    pub(crate) backend_commit: Histogram,
    pub(crate) leases_expired: IntCounter,
    pub(crate) puts: IntCounter,
    pub(crate) deletes: IntCounter,
    pub(crate) txns: IntCounter,
    pub(crate) ranges: IntCounter,
    pub(crate) events: IntCounter,
    pub(crate) health_successes: IntCounter,
    pub(crate) health_failures: IntCounter,
    gauges: Gauges,
}

struct Gauges {
    has_leader: IntGauge,
    is_leader: IntGauge,
    leader_changes: IntCounter,
    committed: IntGauge,
    applied: IntGauge,
    pending: IntGauge,
    db_size: Gauge,
    db_size_in_use: Gauge,
    quota: Gauge,
    keys: IntGauge,
    revision: IntGauge,
    compacted: IntGauge,
    watchers: IntGauge,
    slow_watchers: IntGauge,
    watch_streams: IntGauge,
}

fn histogram(registry: &Registry, name: &str, help: &str, start: f64) -> Histogram {
    let buckets = prometheus::exponential_buckets(start, 2.0, 14).expect("sound bucket bounds");
    let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))
        .expect("a sound name");
    registry.register(Box::new(histogram.clone())).expect("registered once");
    histogram
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    let counter = IntCounter::new(name, help).expect("a sound name");
    registry.register(Box::new(counter.clone())).expect("registered once");
    counter
}

fn int_gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    let gauge = IntGauge::new(name, help).expect("a sound name");
    registry.register(Box::new(gauge.clone())).expect("registered once");
    gauge
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::new(name, help).expect("a sound name");
    registry.register(Box::new(gauge.clone())).expect("registered once");
    gauge
}

fn info(registry: &Registry, name: &str, help: &str, label: &str, value: &str) {
    let gauge = IntGaugeVec::new(Opts::new(name, help), &[label]).expect("a sound name");
    gauge.with_label_values(&[value]).set(1);
    registry.register(Box::new(gauge)).expect("registered once");
}

impl Metrics {
    /// All at zero.
    pub(crate) fn new(member_id: u64) -> Metrics {
        let registry = Registry::new();
        let r = &registry;
        info(
            r,
            "etcd_server_id",
            "Server or member ID in hexadecimal format.",
            "server_id",
            &format!("{member_id:x}"),
        );
        info(
            r,
            "etcd_server_version",
            "Which version is running.",
            "server_version",
            crate::VERSION,
        );
        info(r, "etcd_cluster_version", "Which version the cluster has.", "cluster_version", "3.7");
        let gauges = Gauges {
            has_leader: int_gauge(r, "etcd_server_has_leader", "Whether there is a leader."),
            is_leader: int_gauge(r, "etcd_server_is_leader", "Whether this member leads."),
            leader_changes: counter(
                r,
                "etcd_server_leader_changes_seen_total",
                "Leader changes seen.",
            ),
            committed: int_gauge(r, "etcd_server_proposals_committed_total", "Entries committed."),
            applied: int_gauge(r, "etcd_server_proposals_applied_total", "Entries applied."),
            pending: int_gauge(r, "etcd_server_proposals_pending", "Proposals under way."),
            db_size: gauge(r, "etcd_mvcc_db_total_size_in_bytes", "Bytes the database spans."),
            db_size_in_use: gauge(
                r,
                "etcd_mvcc_db_total_size_in_use_in_bytes",
                "Bytes of the database in use.",
            ),
            quota: gauge(r, "etcd_server_quota_backend_bytes", "The database quota in bytes."),
            keys: int_gauge(r, "etcd_debugging_mvcc_keys_total", "Keys with a history."),
            revision: int_gauge(r, "etcd_debugging_mvcc_current_revision", "The current revision."),
            compacted: int_gauge(
                r,
                "etcd_debugging_mvcc_compact_revision",
                "The compacted revision.",
            ),
            watchers: int_gauge(r, "etcd_debugging_mvcc_watcher_total", "Watchers."),
            slow_watchers: int_gauge(
                r,
                "etcd_debugging_mvcc_slow_watcher_total",
                "Watchers that catch up.",
            ),
            watch_streams: int_gauge(r, "etcd_debugging_mvcc_watch_stream_total", "Watch streams."),
        };
        gauges.leader_changes.inc();
        Metrics {
            wal_fsync: histogram(r, "etcd_disk_wal_fsync_duration_seconds", "Log syncs.", 0.001),
            wal_bytes: gauge(r, "etcd_disk_wal_write_bytes_total", "Bytes written to the log."),
            backend_commit: histogram(
                r,
                "etcd_disk_backend_commit_duration_seconds",
                "Database commits.",
                0.001,
            ),
            leases_expired: counter(
                r,
                "etcd_debugging_server_lease_expired_total",
                "Leases expired.",
            ),
            puts: counter(r, "etcd_mvcc_put_total", "Puts seen by this member."),
            deletes: counter(r, "etcd_mvcc_delete_total", "Deletes seen by this member."),
            txns: counter(r, "etcd_mvcc_txn_total", "Transactions seen by this member."),
            ranges: counter(r, "etcd_mvcc_range_total", "Ranges seen by this member."),
            events: counter(r, "etcd_debugging_mvcc_events_total", "Events made."),
            health_successes: counter(r, "etcd_server_health_success", "Successful health checks."),
            health_failures: counter(r, "etcd_server_health_failures", "Failed health checks."),
            gauges,
            registry,
        }
    }

    /// Counts what was applied.
    pub(crate) fn count_changes(&self, changes: &[Change]) {
        let mut events = 0;
        let mut deletes = 0;
        for change in changes {
            events += change.events.len() as u64;
            deletes += change.events.iter().filter(|event| event.is_tombstone).count() as u64;
            if change.events.len() > 1 {
                self.txns.inc();
            }
        }
        self.events.inc_by(events);
        self.deletes.inc_by(deletes);
        self.puts.inc_by(events - deletes);
    }

    fn refresh(&self, shared: &Shared) {
        let (from, to) = (&shared.gauges, &self.gauges);
        let int = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let leader = from.leader.load(Ordering::Relaxed);
        to.has_leader.set(i64::from(leader != 0));
        to.is_leader.set(i64::from(leader == shared.member_id));
        to.committed.set(int(from.committed.load(Ordering::Relaxed)));
        to.applied.set(int(from.applied.load(Ordering::Relaxed)));
        to.pending.set(shared.waiters.len() as i64);
        to.db_size.set(from.db_size.load(Ordering::Relaxed) as f64);
        to.db_size_in_use.set(from.db_size_in_use.load(Ordering::Relaxed) as f64);
        to.quota.set(shared.quota.limit_bytes().unwrap_or(0) as f64);
        to.keys.set(shared.reader.keys() as i64);
        to.revision.set(shared.reader.revision());
        to.compacted.set(shared.reader.compacted());
        to.watchers.set(from.watchers.load(Ordering::Relaxed));
        to.slow_watchers.set(from.slow_watchers.load(Ordering::Relaxed));
        to.watch_streams.set(from.watch_streams.load(Ordering::Relaxed));
    }

    /// Everything in Prometheus' text form.
    pub(crate) fn text(&self, shared: &Shared, methods: &[MethodCounts]) -> Vec<u8> {
        self.refresh(shared);
        let mut families = self.registry.gather();
        families.extend(grpc_families(methods));
        let mut out = Vec::new();
        TextEncoder::new().encode(&families, &mut out).expect("memory takes every byte");
        out
    }
}

fn grpc_families(methods: &[MethodCounts]) -> Vec<prometheus::proto::MetricFamily> {
    let labels = ["grpc_method", "grpc_service", "grpc_type"];
    let with_code = ["grpc_code", "grpc_method", "grpc_service", "grpc_type"];
    let vec = |name: &str, help: &str, labels: &[&str]| {
        IntCounterVec::new(Opts::new(name, help), labels).expect("a sound name")
    };
    let started = vec("grpc_server_started_total", "RPCs started on the server.", &labels);
    let handled = vec("grpc_server_handled_total", "RPCs completed on the server.", &with_code);
    let received =
        vec("grpc_server_msg_received_total", "Messages received on the server.", &labels);
    let sent = vec("grpc_server_msg_sent_total", "Messages sent by the server.", &labels);
    for method in methods {
        let names = [method.method, method.service, method.kind];
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        started.with_label_values(&names).inc_by(load(&method.started));
        received.with_label_values(&names).inc_by(load(&method.received));
        sent.with_label_values(&names).inc_by(load(&method.sent));
        for code in Code::ALL {
            let code_name = format!("{code:?}").replace("Ok", "OK");
            let names = [code_name.as_str(), method.method, method.service, method.kind];
            handled.with_label_values(&names).inc_by(load(&method.handled[code as usize]));
        }
    }
    let registry = Registry::new();
    for vec in [started, handled, received, sent] {
        registry.register(Box::new(vec)).expect("registered once");
    }
    registry.gather()
}
