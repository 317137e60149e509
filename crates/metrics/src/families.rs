//! Making families: one line for each name, registered as it is made.

use prometheus::core::Collector;
use prometheus::{
    CounterVec, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, exponential_buckets,
};

/// Bounds of buckets that double: the first, and how many there are.
#[derive(Clone, Copy)]
pub(super) struct Doubling(pub(super) f64, pub(super) usize);

/// A millisecond to eight seconds: what most of etcd's histograms have.
pub(super) const MS_TO_8S: Doubling = Doubling(0.001, 14);
/// A tenth of a second to almost a minute: transfers of whole snapshots.
pub(super) const SNAPSHOT: Doubling = Doubling(0.1, 10);

impl Doubling {
    fn bounds(self) -> Vec<f64> {
        exponential_buckets(self.0, 2.0, self.1).expect("sound bucket bounds")
    }
}

/// Makes families and enters them into a registry.
pub(super) struct Families<'r>(pub(super) &'r Registry);

impl Families<'_> {
    fn add<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let family = made.expect("a sound name");
        self.0.register(Box::new(family.clone())).expect("registered once");
        family
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn float_counters(&self, name: &str, help: &str, labels: &[&str]) -> CounterVec {
        self.add(CounterVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    pub(super) fn float_gauge(&self, name: &str, help: &str) -> Gauge {
        self.add(Gauge::new(name, help))
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    /// A gauge that is 1 and says something by its label.
    pub(super) fn info(&self, name: &str, help: &str, label: &str, value: &str) {
        self.gauges(name, help, &[label]).with_label_values(&[value]).set(1);
    }

    pub(super) fn histogram(&self, name: &str, help: &str, buckets: Doubling) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(buckets.bounds());
        self.add(Histogram::with_opts(options))
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        buckets: Doubling,
        labels: &[&str],
    ) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(buckets.bounds());
        self.add(HistogramVec::new(options, labels))
    }
}
