//! Metrics: etcd's families, by room, in Prometheus' text form.
//!
//! ```text
//! calls, requests     gRPC calls; durations by kind of request
//! disk, metered       what the disk takes, measured at the files
//! keys, leases, watchers, member, process
//! peers               other members, counted by the transport
//! absent              families that any v3 server leaves at zero
//! ```
//! Recording takes atomics alone; children of labels are looked up once. What changes all the time
//! is read when somebody asks.

mod absent;
mod calls;
mod disk;
mod families;
mod keys;
mod leases;
mod member;
mod metered;
mod peers;
pub(crate) mod process;
mod requests;
mod text;
mod watchers;

pub(crate) use calls::{MethodCounts, durations};
pub(crate) use disk::DiskMetrics;
pub(crate) use metered::MeteredDisk;
pub(crate) use process::fd_limit;
pub(crate) use requests::Read;

use crate::shared::Shared;
use apply::Outcome;
use families::Families;
use prometheus::{HistogramVec, IntCounterVec, IntGauge, Registry};
use std::sync::Arc;
use std::time::Duration;

/// An entry that takes longer to apply is counted as slow, as in etcd.
const SLOW_APPLY: Duration = Duration::from_millis(100);

/// Everything counted.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) calls: calls::CallMetrics,
    pub(crate) requests: requests::RequestMetrics,
    pub(crate) disk: Arc<disk::DiskMetrics>,
    pub(crate) keys: keys::KeyMetrics,
    pub(crate) leases: leases::LeaseMetrics,
    pub(crate) member: member::MemberMetrics,
    pub(crate) peers: peers::PeerMetrics,
    pub(crate) watchers: watchers::WatchMetrics,
    process: process::ProcessMetrics,
    scrapes: Scrapes,
}

/// What is known before the member's id is: the disk is used to find it.
pub(crate) struct Early {
    registry: Registry,
    pub(crate) disk: Arc<disk::DiskMetrics>,
}

impl Early {
    /// All at zero.
    pub(crate) fn new() -> Early {
        let registry = Registry::new();
        let disk = Arc::new(disk::DiskMetrics::new(&Families(&registry)));
        Early { registry, disk }
    }
}

impl Metrics {
    /// All at zero, but for what was recorded so far.
    pub(crate) fn new(early: Early, member_id: u64) -> Metrics {
        let Early { registry, disk } = early;
        let f = &Families(&registry);
        absent::register(f);
        Metrics {
            disk,
            calls: calls::CallMetrics::new(f),
            requests: requests::RequestMetrics::new(f),
            keys: keys::KeyMetrics::new(f),
            leases: leases::LeaseMetrics::new(f),
            member: member::MemberMetrics::new(f, member_id),
            peers: peers::PeerMetrics::new(f, member_id),
            watchers: watchers::WatchMetrics::new(f),
            process: process::ProcessMetrics::new(f),
            scrapes: Scrapes::new(f),
            registry,
        }
    }

    /// Enters durations of calls, which are not recorded unless asked for.
    pub(crate) fn add_durations(&self, durations: &HistogramVec) {
        self.registry.register(Box::new(durations.clone())).expect("registered once");
    }

    /// One entry was applied.
    pub(crate) fn count_applied(&self, outcome: &Outcome, took: Duration) {
        let Some(kind) = outcome.kind else { return };
        // A compaction that came too late is no failure to etcd.
        let is_success = matches!(&outcome.result, Ok(_) | Err(apply::Refusal::Compacted));
        self.requests.applied(kind, is_success, took);
        self.keys.count(&outcome.operations);
        self.leases.count(outcome);
        if took > SLOW_APPLY {
            self.member.slow_applies.inc();
        }
    }

    /// Everything in Prometheus' text form.
    pub(crate) fn text(&self, shared: &Shared, methods: &[MethodCounts]) -> String {
        let _scraping = self.scrapes.begin();
        self.keys.refresh(shared);
        self.member.refresh(shared);
        self.peers.refresh(&shared.roster);
        self.watchers.refresh(shared);
        self.calls.refresh();
        self.process.refresh();
        let mut families = self.registry.gather();
        families.extend(calls::collect(methods));
        text::encode(families)
    }
}

/// Scrapes themselves, as Go's handler counts them.
struct Scrapes {
    in_flight: IntGauge,
    total: IntCounterVec,
}

struct Scraping<'s>(&'s Scrapes);

impl Scrapes {
    fn new(f: &Families<'_>) -> Scrapes {
        let total = f.counters(
            "promhttp_metric_handler_requests_total",
            "Total number of scrapes by HTTP status code.",
            &["code"],
        );
        for code in ["200", "500", "503"] {
            total.with_label_values(&[code]);
        }
        let in_flight = f.gauge(
            "promhttp_metric_handler_requests_in_flight",
            "Current number of scrapes being served.",
        );
        Scrapes { in_flight, total }
    }

    fn begin(&self) -> Scraping<'_> {
        self.in_flight.inc();
        Scraping(self)
    }
}

impl Drop for Scraping<'_> {
    fn drop(&mut self) {
        self.0.in_flight.dec();
        self.0.total.with_label_values(&["200"]).inc();
    }
}
