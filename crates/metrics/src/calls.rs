//! gRPC calls: counted by method and code, with plain atomics that a scrape reads.

use super::families::Families;
use net::rpc::Code;
use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Client versions told apart, beyond those of [`KNOWN_VERSIONS`]; the rest counts as unknown, so
/// that clients cannot fill the memory.
const OTHER_VERSIONS_MAX: usize = 32;
/// Client versions that are counted without a lock; the last is for clients that tell none.
const KNOWN_VERSIONS: [&str; 9] =
    ["3.7", "3.6", "3.5", "3.4", "3.3", "3.8", proto::VERSION, "3.2", "unknown"];

/// Names and counts of one method's calls.
pub struct MethodCounts {
    service: &'static str,
    method: &'static str,
    kind: &'static str,
    /// Shown before its first call too.
    is_shown: bool,
    started: AtomicU64,
    handled: [AtomicU64; Code::ALL.len()],
    received: AtomicU64,
    sent: AtomicU64,
    /// With `--metrics=extensive`.
    handling: Option<Histogram>,
}

impl MethodCounts {
    /// All at zero.
    pub fn new(service: &'static str, method: &'static str, kind: &'static str) -> Self {
        MethodCounts {
            service,
            method,
            kind,
            // etcd does not serve it, so nobody expects its zeros.
            is_shown: !service.starts_with("grpc.reflection"),
            started: AtomicU64::new(0),
            handled: Default::default(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            handling: None,
        }
    }

    /// Durations are recorded from now on.
    pub fn record_durations(&mut self, durations: &HistogramVec) {
        let labels = [self.method, self.service, self.kind];
        self.handling = Some(durations.with_label_values(&labels));
    }

    /// A call began.
    pub fn start(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    /// A message came.
    pub fn receive(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    /// A message went.
    pub fn send(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// A call ended.
    pub fn handle(&self, code: Code) {
        self.handled[code as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A call took this long.
    pub fn took(&self, time: Duration) {
        if let Some(handling) = &self.handling {
            handling.observe(time.as_secs_f64());
        }
    }

    /// Whether both sides send as they like.
    pub fn is_bidirectional(&self) -> bool {
        self.kind == "bidi_stream"
    }

    /// Whether somebody wants durations.
    pub fn wants_durations(&self) -> bool {
        self.handling.is_some()
    }
}

/// What is known of all calls together.
pub struct CallMetrics {
    pub sent_bytes: IntCounter,
    pub received_bytes: IntCounter,
    stream_failures: IntCounterVec,
    versions: IntCounterVec,
    unary: Versions,
    streams: Versions,
}

impl CallMetrics {
    pub(super) fn new(f: &Families<'_>) -> CallMetrics {
        CallMetrics {
            sent_bytes: f.counter(
                "etcd_network_client_grpc_sent_bytes_total",
                "The total number of bytes sent to grpc clients.",
            ),
            received_bytes: f.counter(
                "etcd_network_client_grpc_received_bytes_total",
                "The total number of bytes received from grpc clients.",
            ),
            stream_failures: f.counters(
                "etcd_network_server_stream_failures_total",
                "The total number of stream failures from the local server.",
                &["Type", "API"],
            ),
            versions: f.counters(
                "etcd_server_client_requests_total",
                "The total number of client requests per client version.",
                &["type", "client_api_version"],
            ),
            unary: Versions::default(),
            streams: Versions::default(),
        }
    }

    /// A call came from a client of this version.
    pub fn count_client(&self, is_stream: bool, version: Option<&str>) {
        let versions = if is_stream { &self.streams } else { &self.unary };
        versions.count(version.unwrap_or("unknown"));
    }

    /// A stream of `api` ended because `kind` ("receive" or "send") failed.
    pub fn stream_failed(&self, kind: &str, api: &str) {
        self.stream_failures.with_label_values(&[kind, api]).inc();
    }

    pub(super) fn refresh(&self) {
        for (kind, versions) in [("unary", &self.unary), ("stream", &self.streams)] {
            for (version, count) in versions.counts() {
                let child = self.versions.with_label_values(&[kind, &version]);
                child.inc_by(count.saturating_sub(child.get()));
            }
        }
    }
}

/// Calls by the client's version.
#[derive(Default)]
struct Versions {
    known: [AtomicU64; KNOWN_VERSIONS.len()],
    others: Mutex<BTreeMap<String, u64>>,
}

impl Versions {
    fn count(&self, version: &str) {
        let known = KNOWN_VERSIONS.iter().position(|known| *known == version);
        if let Some(place) = known {
            self.known[place].fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut others = self.others.lock();
        if let Some(count) = others.get_mut(version) {
            *count += 1;
        } else if others.len() < OTHER_VERSIONS_MAX {
            others.insert(version.to_owned(), 1);
        } else {
            self.known[KNOWN_VERSIONS.len() - 1].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counts(&self) -> Vec<(String, u64)> {
        let known = KNOWN_VERSIONS.iter().zip(&self.known);
        let known = known.map(|(name, count)| ((*name).to_owned(), count.load(Ordering::Relaxed)));
        let others = self.others.lock().clone();
        known.chain(others).filter(|(_, count)| *count > 0).collect()
    }
}

/// Where durations of calls go, with `--metrics=extensive`.
pub fn durations() -> HistogramVec {
    let options = HistogramOpts::new(
        "grpc_server_handling_seconds",
        "Histogram of response latency (seconds) of gRPC that had been application-level handled \
         by the server.",
    );
    HistogramVec::new(options, &["grpc_method", "grpc_service", "grpc_type"]).expect("a sound name")
}

/// The `grpc_server_*` families.
pub(super) fn collect(methods: &[MethodCounts]) -> Vec<MetricFamily> {
    let labels = ["grpc_method", "grpc_service", "grpc_type"];
    let with_code = ["grpc_code", "grpc_method", "grpc_service", "grpc_type"];
    let vec = |name: &str, help: &str, labels: &[&str]| {
        IntCounterVec::new(Opts::new(name, help), labels).expect("a sound name")
    };
    let started =
        vec("grpc_server_started_total", "Total number of RPCs started on the server.", &labels);
    let handled = vec(
        "grpc_server_handled_total",
        "Total number of RPCs completed on the server, regardless of success or failure.",
        &with_code,
    );
    let received = vec(
        "grpc_server_msg_received_total",
        "Total number of RPC stream messages received on the server.",
        &labels,
    );
    let sent = vec(
        "grpc_server_msg_sent_total",
        "Total number of gRPC stream messages sent by the server.",
        &labels,
    );
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    for method in methods.iter().filter(|method| method.is_shown || load(&method.started) > 0) {
        let names = [method.method, method.service, method.kind];
        started.with_label_values(&names).inc_by(load(&method.started));
        received.with_label_values(&names).inc_by(load(&method.received));
        sent.with_label_values(&names).inc_by(load(&method.sent));
        for code in Code::ALL {
            let code_name = format!("{code:?}").replace("Ok", "OK");
            let names = [code_name.as_str(), method.method, method.service, method.kind];
            handled.with_label_values(&names).inc_by(load(&method.handled[code as usize]));
        }
    }
    [started, handled, received, sent].iter().flat_map(Collector::collect).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_clients_are_bounded() {
        let versions = Versions::default();
        versions.count("3.7");
        for n in 0..100 {
            versions.count(&format!("x{n}"));
        }
        let counts = versions.counts();
        assert_eq!(counts.len(), OTHER_VERSIONS_MAX + 2);
        assert_eq!(counts[0], ("3.7".to_owned(), 1));
        assert!(counts.contains(&("unknown".to_owned(), 68)));
    }
}
