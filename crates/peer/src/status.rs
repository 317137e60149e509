//! What is known of a peer: whether bytes go to and fro, and how many went.

use crate::handler::{Handler, Note};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A peer, as metrics show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerStats {
    /// Since when the connection works; `None` while it does not.
    pub active_since: Option<Instant>,
    /// How often it stopped working.
    pub disconnected: u64,
    /// Bytes of messages sent.
    pub sent_bytes: u64,
    /// Bytes of messages received.
    pub received_bytes: u64,
    /// Messages that could not be sent.
    pub sent_failures: u64,
    /// Messages that came and could not be taken.
    pub received_failures: u64,
    /// How long a probe takes, smoothed; zero before the first answer.
    pub rtt: Duration,
    /// Whether the peer holds a stream of this member's appends.
    pub msgapp_stream: bool,
    /// Whether the peer holds a stream of this member's other messages.
    pub message_stream: bool,
}

/// Counts of one peer.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    disconnected: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    sent_failures: AtomicU64,
    received_failures: AtomicU64,
    rtt_ns: AtomicU64,
}

/// Whether a peer is active, and its counts.
pub(crate) struct Status {
    id: u64,
    handler: Arc<dyn Handler>,
    active_since: Mutex<Option<Instant>>,
    counters: Counters,
}

impl Status {
    pub(crate) fn new(id: u64, handler: Arc<dyn Handler>) -> Status {
        Status { id, handler, active_since: Mutex::new(None), counters: Counters::default() }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn active_since(&self) -> Option<Instant> {
        *self.active_since.lock()
    }

    pub(crate) fn activate(&self) {
        let mut active_since = self.active_since.lock();
        let was_inactive = active_since.is_none();
        active_since.get_or_insert_with(Instant::now);
        drop(active_since);
        if was_inactive {
            self.handler.note(&Note::Active { id: self.id });
        }
    }

    pub(crate) fn deactivate(&self, why: &str) {
        if self.active_since.lock().take().is_some() {
            self.counters.disconnected.fetch_add(1, Ordering::Relaxed);
            self.handler.note(&Note::Inactive { id: self.id, why });
        }
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.counters.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.counters.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn send_failed(&self) {
        self.counters.sent_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn send_dropped(&self) {
        self.send_failed();
        self.handler.note(&Note::SendDropped { id: self.id });
    }

    pub(crate) fn receive_failed(&self) {
        self.counters.received_failures.fetch_add(1, Ordering::Relaxed);
        self.handler.note(&Note::ReceiveDropped { id: self.id });
    }

    pub(crate) fn round_trip(&self, rtt: Duration) {
        let nanos = u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX);
        self.counters.rtt_ns.store(nanos, Ordering::Relaxed);
    }

    /// All but the streams.
    pub(crate) fn stats(&self) -> PeerStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PeerStats {
            active_since: self.active_since(),
            disconnected: read(&self.counters.disconnected),
            sent_bytes: read(&self.counters.sent_bytes),
            received_bytes: read(&self.counters.received_bytes),
            sent_failures: read(&self.counters.sent_failures),
            received_failures: read(&self.counters.received_failures),
            rtt: Duration::from_nanos(read(&self.counters.rtt_ns)),
            msgapp_stream: false,
            message_stream: false,
        }
    }
}
