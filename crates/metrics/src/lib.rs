//! etcd's metrics, by family, in Prometheus' text form: each figure is recorded where it arises and read by one owner.
//!
//! ```text
//! calls, requests     gRPC calls; durations by kind of request
//! disk_metrics, metered       what the disk takes, measured at the files
//! keys, leases, watchers, member, process
//! peers               other members, counted by the transport
//! absent              families that any v3 server leaves at zero
//! ```
//! Recording takes atomics alone; children of labels are looked up once. What changes all the time
//! is read when somebody asks.

#![allow(missing_docs)] // a figure's help text in its family says what it is

mod absent;
mod calls;
mod disk_metrics;
mod families;
mod keys;
mod leases;
mod member;
mod metered;
mod peers;
pub mod process;
mod requests;
mod sources;
mod text;
mod watchers;

pub use calls::{CallMetrics, MethodCounts, durations};
pub use disk_metrics::DiskMetrics;
pub use keys::{CompactionMetrics, KeyMetrics};
pub use leases::LeaseMetrics;
pub use member::MemberMetrics;
pub use metered::MeteredDisk;
pub use peers::PeerMetrics;
pub use process::fd_limit;
pub use requests::{Read, RequestMetrics};
pub use sources::Sources;
pub use watchers::WatchMetrics;

use apply::Outcome;
use families::Families;
use prometheus::{HistogramVec, IntCounterVec, IntGauge, Registry};
use std::sync::Arc;
use std::time::Duration;

/// An entry that takes longer to apply is counted as slow, as in etcd.
const SLOW_APPLY: Duration = Duration::from_millis(100);

/// Everything counted.
pub struct Metrics {
    registry: Registry,
    pub calls: calls::CallMetrics,
    pub requests: requests::RequestMetrics,
    pub disk: Arc<DiskMetrics>,
    pub keys: keys::KeyMetrics,
    pub leases: leases::LeaseMetrics,
    pub member: member::MemberMetrics,
    pub peers: peers::PeerMetrics,
    pub watchers: watchers::WatchMetrics,
    process: process::ProcessMetrics,
    scrapes: Scrapes,
}

/// What is known before the member's id is: the disk is used to find it.
pub struct Early {
    registry: Registry,
    pub disk: Arc<DiskMetrics>,
}

/// All at zero.
impl Default for Early {
    fn default() -> Early {
        let registry = Registry::new();
        let disk = Arc::new(DiskMetrics::new(&Families(&registry)));
        Early { registry, disk }
    }
}

impl Metrics {
    /// All at zero, but for what was recorded so far.
    pub fn new(early: Early, member_id: u64) -> Metrics {
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
    pub fn add_durations(&self, durations: &HistogramVec) {
        self.registry.register(Box::new(durations.clone())).expect("registered once");
    }

    /// One entry was applied.
    pub fn count_applied(&self, outcome: &Outcome, took: Duration) {
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
    pub fn text(&self, sources: &Sources<'_>, methods: &[MethodCounts]) -> String {
        let _scraping = self.scrapes.begin();
        self.keys.refresh(sources);
        self.member.refresh(sources);
        self.peers.refresh(sources);
        self.watchers.refresh(sources);
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
