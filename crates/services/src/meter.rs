//! Counting calls, their messages and their ends on the way between handlers and transport.

use bytes::Bytes;
use metrics::{MethodCounts, Metrics};
use net::rpc::{CallMeter, Code, ReplySink, Status, StreamHandler, StreamSender};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The counts of all methods, by number.
pub(crate) struct Meter {
    metrics: Arc<Metrics>,
    /// In the order of the methods' numbers.
    pub(crate) counts: Vec<MethodCounts>,
}

impl Meter {
    /// For methods in the order of their numbers.
    pub(crate) fn new(metrics: Arc<Metrics>, counts: Vec<MethodCounts>) -> Meter {
        Meter { metrics, counts }
    }

    fn of(&self, method: u16) -> &MethodCounts {
        &self.counts[usize::from(method)]
    }

    fn now(&self, method: u16) -> Option<Instant> {
        self.of(method).wants_durations().then(Instant::now)
    }

    /// A unary call begins, with a message of so many bytes.
    pub(crate) fn start(&self, method: u16, bytes: usize) -> Option<Instant> {
        self.of(method).start();
        self.received(method, bytes);
        self.now(method)
    }

    fn received(&self, method: u16, bytes: usize) {
        self.of(method).receive();
        self.metrics.calls.received_bytes.inc_by(bytes as u64);
    }

    fn sent(&self, method: u16, bytes: usize) {
        self.of(method).send();
        self.metrics.calls.sent_bytes.inc_by(bytes as u64);
    }

    /// A stream begins; what is sent on the new sender is counted.
    pub(crate) fn stream(
        self: &Arc<Self>,
        method: u16,
        out: StreamSender,
    ) -> (Arc<MeteredStream>, StreamSender) {
        self.of(method).start();
        let stream = Arc::new(MeteredStream {
            meter: Arc::clone(self),
            method,
            begun: self.now(method),
            has_ended: AtomicBool::new(false),
            is_received: AtomicBool::new(!self.of(method).is_bidirectional()),
        });
        let counted = Arc::clone(&stream);
        let out = out.through(|inner| Arc::new(MeteredSink { inner, stream: counted }));
        (stream, out)
    }
}

impl CallMeter for Meter {
    fn ended(&self, method: u16, begun: Option<Instant>, code: Code, bytes: usize) {
        self.of(method).handle(code);
        // etcd counts the attempt to send, whatever came of it.
        self.sent(method, bytes);
        if let Some(begun) = begun {
            self.of(method).took(begun.elapsed());
        }
    }
}

/// One stream. Its end is counted once, by the side that ends it first.
pub(crate) struct MeteredStream {
    meter: Arc<Meter>,
    method: u16,
    begun: Option<Instant>,
    has_ended: AtomicBool,
    /// The end of what comes in was counted.
    is_received: AtomicBool,
}

impl MeteredStream {
    /// Nothing more comes. Where a server waits for more, etcd counts that as a message.
    fn received_end(&self) {
        if !self.is_received.swap(true, Ordering::Relaxed) {
            self.meter.received(self.method, 0);
        }
    }

    /// The stream ended.
    pub(crate) fn end(&self, code: Code) {
        if self.has_ended.swap(true, Ordering::Relaxed) {
            return;
        }
        let counts = self.meter.of(self.method);
        counts.handle(code);
        if let Some(begun) = self.begun {
            counts.took(begun.elapsed());
        }
    }

    /// Counts what comes in on the way to `handler`.
    pub(crate) fn around(
        self: Arc<Self>,
        handler: Box<dyn StreamHandler>,
    ) -> Box<dyn StreamHandler> {
        Box::new(MeteredHandler { inner: handler, stream: self })
    }
}

struct MeteredSink {
    inner: Arc<dyn ReplySink>,
    stream: Arc<MeteredStream>,
}

impl ReplySink for MeteredSink {
    fn reply(&self, id: u64, result: Result<Bytes, Status>) {
        self.inner.reply(id, result);
    }

    fn message(&self, id: u64, pieces: Vec<Bytes>) {
        let bytes = pieces.iter().map(Bytes::len).sum();
        self.stream.meter.sent(self.stream.method, bytes);
        self.inner.message(id, pieces);
    }

    fn finish(&self, id: u64, status: Status) {
        self.stream.end(status.code);
        self.inner.finish(id, status);
    }

    fn queued(&self, id: u64) -> usize {
        self.inner.queued(id)
    }
}

struct MeteredHandler {
    inner: Box<dyn StreamHandler>,
    stream: Arc<MeteredStream>,
}

impl StreamHandler for MeteredHandler {
    fn message(&mut self, body: Bytes) {
        self.stream.meter.received(self.stream.method, body.len());
        self.inner.message(body);
    }

    fn half_close(&mut self) {
        self.stream.received_end();
        self.inner.half_close();
    }

    fn writable(&mut self) {
        self.inner.writable();
    }

    fn closed(&mut self) {
        self.stream.received_end();
        self.stream.end(Code::Canceled);
        self.inner.closed();
    }
}
