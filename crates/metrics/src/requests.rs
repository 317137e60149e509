//! How long requests and what they led to take, by their kinds.

use super::families::{Doubling, Families};
use apply::Kind;
use prometheus::{Histogram, HistogramVec};
use std::sync::OnceLock;
use std::time::Duration;

/// A tenth of a millisecond to almost a minute.
const APPLY: Doubling = Doubling(0.0001, 20);

/// Durations.
pub struct RequestMetrics {
    applied: ByKind,
    requested: ByKind,
    reads: [Outcomes; 2],
    ranges: Outcomes,
}

/// A read that does not go through the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// `Range`.
    Range,
    /// `Txn` without writes.
    Txn,
}

impl RequestMetrics {
    pub(super) fn new(f: &Families<'_>) -> RequestMetrics {
        let applied = f.histograms(
            "etcd_server_apply_duration_seconds",
            "The latency distributions of v2 apply called by backend.",
            APPLY,
            &["version", "op", "success"],
        );
        let requested = f.histograms(
            "etcd_server_request_duration_seconds",
            "Response latency distribution in seconds for each type.",
            Doubling(0.001, 14),
            &["type", "success"],
        );
        let ranges = f.histograms(
            "etcd_server_range_duration_seconds",
            "The latency distributions of txn.Range",
            APPLY,
            &["success"],
        );
        RequestMetrics {
            applied: ByKind::new(&applied, &["v3"]),
            reads: ["Range", "ReadonlyTxn"].map(|kind| Outcomes::new(&requested, &[kind])),
            requested: ByKind::new(&requested, &[]),
            ranges: Outcomes::new(&ranges, &[]),
        }
    }

    /// An entry was applied.
    pub fn applied(&self, kind: Kind, is_success: bool, took: Duration) {
        self.applied.of(kind).observe(is_success, took);
    }

    /// A proposal was answered.
    pub fn answered(&self, kind: Kind, is_success: bool, took: Duration) {
        self.requested.of(kind).observe(is_success, took);
    }

    /// A read was answered.
    pub fn read(&self, kind: Read, is_success: bool, took: Duration) {
        self.reads[kind as usize].observe(is_success, took);
        if kind == Read::Range {
            self.ranges.observe(is_success, took);
        }
    }
}

/// A family's children for each kind of entry.
struct ByKind([Outcomes; Kind::ALL.len()]);

impl ByKind {
    fn new(family: &HistogramVec, before: &[&'static str]) -> ByKind {
        ByKind(Kind::ALL.map(|kind| {
            let mut labels = before.to_vec();
            labels.push(kind.name());
            Outcomes::new(family, &labels)
        }))
    }

    fn of(&self, kind: Kind) -> &Outcomes {
        &self.0[kind.place()]
    }
}

/// Two children of a family, for failure and success. Each shows when it is first used, as in Go;
/// from then on it is found without a lock.
struct Outcomes {
    family: HistogramVec,
    labels: Vec<&'static str>,
    children: [OnceLock<Histogram>; 2],
}

impl Outcomes {
    fn new(family: &HistogramVec, labels: &[&'static str]) -> Outcomes {
        Outcomes { family: family.clone(), labels: labels.to_vec(), children: Default::default() }
    }

    fn observe(&self, is_success: bool, took: Duration) {
        let child = self.children[usize::from(is_success)].get_or_init(|| {
            let mut labels = self.labels.clone();
            labels.push(if is_success { "true" } else { "false" });
            self.family.with_label_values(&labels)
        });
        child.observe(took.as_secs_f64());
    }
}
