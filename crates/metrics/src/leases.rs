//! Leases.

use super::families::{Doubling, Families};
use apply::{Outcome, Reply};
use prometheus::{Histogram, IntCounter};

/// What is known of leases.
pub struct LeaseMetrics {
    pub expired: IntCounter,
    pub renewed: IntCounter,
    granted: IntCounter,
    revoked: IntCounter,
    ttl: Histogram,
}

impl LeaseMetrics {
    pub(super) fn new(f: &Families<'_>) -> LeaseMetrics {
        LeaseMetrics {
            expired: f.counter(
                "etcd_debugging_server_lease_expired_total",
                "The total number of expired leases.",
            ),
            renewed: f.counter(
                "etcd_debugging_lease_renewed_total",
                "The number of renewed leases seen by the leader.",
            ),
            granted: f.counter(
                "etcd_debugging_lease_granted_total",
                "The total number of granted leases.",
            ),
            revoked: f.counter(
                "etcd_debugging_lease_revoked_total",
                "The total number of revoked leases.",
            ),
            ttl: f.histogram(
                "etcd_debugging_lease_ttl_total",
                "Bucketed histogram of lease TTLs.",
                Doubling(1.0, 24),
            ),
        }
    }

    /// Counts what an applied entry did to leases.
    pub(super) fn count(&self, outcome: &Outcome) {
        match &outcome.result {
            Ok(Reply::LeaseGrant { ttl, .. }) => {
                self.granted.inc();
                self.ttl.observe(*ttl as f64);
            }
            Ok(Reply::LeaseRevoke { .. }) => self.revoked.inc(),
            _ => {}
        }
    }
}
