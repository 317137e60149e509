//! The log, the database file and the snapshot files: how long the disk takes.

use super::families::{Doubling, Families, MS_TO_8S, SNAPSHOT};
use prometheus::{Gauge, Histogram, IntGauge};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What is measured at files. The disk's wrapper fills most of it ([`super::MeteredDisk`]).
pub struct DiskMetrics {
    pub wal_fsync: Histogram,
    pub wal_write: Histogram,
    pub wal_bytes: Gauge,
    pub snap_fsync: Histogram,
    pub snap_save: Histogram,
    pub snap_marshal: Histogram,
    pub defragment: Histogram,
    pub defragments: IntGauge,
    pub backend_snapshot: Histogram,
    received_save: Histogram,
    backend_commit: Histogram,
    commit_rebalance: Histogram,
    commit_spill: Histogram,
    commit_write: Histogram,
    /// Time spent in the database file and in snapshot files; see `Busy`.
    pub database: Busy,
    pub snapshots: Busy,
}

/// Nanoseconds that the disk was at work for one kind of file.
#[derive(Default)]
pub struct Busy(AtomicU64);

impl Busy {
    /// Some more.
    pub fn add(&self, time: Duration) {
        self.0.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// All of it until now.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

impl DiskMetrics {
    pub(super) fn new(f: &Families<'_>) -> DiskMetrics {
        DiskMetrics {
            received_save: received_databases(f),
            wal_fsync: f.histogram(
                "etcd_disk_wal_fsync_duration_seconds",
                "The latency distributions of fsync called by WAL.",
                MS_TO_8S,
            ),
            wal_write: f.histogram(
                "etcd_disk_wal_write_duration_seconds",
                "The latency distributions of write called by WAL.",
                MS_TO_8S,
            ),
            wal_bytes: f.float_gauge(
                "etcd_disk_wal_write_bytes_total",
                "Total number of bytes written in WAL.",
            ),
            snap_fsync: f.histogram(
                "etcd_snap_fsync_duration_seconds",
                "The latency distributions of fsync called by snap.",
                MS_TO_8S,
            ),
            snap_save: f.histogram(
                "etcd_debugging_snap_save_total_duration_seconds",
                "The total latency distributions of save called by snapshot.",
                MS_TO_8S,
            ),
            snap_marshal: f.histogram(
                "etcd_debugging_snap_save_marshalling_duration_seconds",
                "The marshalling cost distributions of save called by snapshot.",
                MS_TO_8S,
            ),
            defragment: f.histogram(
                "etcd_disk_backend_defrag_duration_seconds",
                "The latency distribution of backend defragmentation.",
                Doubling(0.1, 13),
            ),
            defragments: f.gauge(
                "etcd_disk_defrag_inflight",
                "Whether or not defrag is active on the member. 1 means active, 0 means not.",
            ),
            backend_snapshot: f.histogram(
                "etcd_disk_backend_snapshot_duration_seconds",
                "The latency distribution of backend snapshots.",
                Doubling(0.01, 17),
            ),
            backend_commit: f.histogram(
                "etcd_disk_backend_commit_duration_seconds",
                "The latency distributions of commit called by backend.",
                MS_TO_8S,
            ),
            commit_rebalance: commit_part(f, "rebalance"),
            commit_spill: commit_part(f, "spill"),
            commit_write: commit_part(f, "write"),
            database: Busy::default(),
            snapshots: Busy::default(),
        }
    }

    /// A leader's database came, and took this long.
    pub fn database_received(&self, took: Duration) {
        self.received_save.observe(took.as_secs_f64());
    }

    /// A commit took this long, and the disk so much of it. Pages are balanced while they are
    /// spilled, so nothing is left for balancing alone.
    pub fn committed(&self, total: Duration, writing: Duration) {
        self.backend_commit.observe(total.as_secs_f64());
        self.commit_write.observe(writing.as_secs_f64());
        self.commit_spill.observe(total.saturating_sub(writing).as_secs_f64());
        self.commit_rebalance.observe(0.0);
    }

    /// A snapshot was recorded; the disk took this much of it.
    pub fn snapshot_saved(&self, total: Duration, writing: Duration) {
        self.snap_save.observe(total.as_secs_f64());
        self.snap_marshal.observe(total.saturating_sub(writing).as_secs_f64());
    }
}

fn commit_part(f: &Families<'_>, part: &str) -> Histogram {
    f.histogram(
        &format!("etcd_debugging_disk_backend_commit_{part}_duration_seconds"),
        &format!("The latency distributions of commit.{part} called by bboltdb backend."),
        MS_TO_8S,
    )
}

/// Databases that come from a leader; a cluster of one has none.
fn received_databases(f: &Families<'_>) -> Histogram {
    f.histogram(
        "etcd_snap_db_fsync_duration_seconds",
        "The latency distributions of fsyncing .snap.db file",
        MS_TO_8S,
    );
    f.histogram(
        "etcd_snap_db_save_total_duration_seconds",
        "The total latency distributions of v3 snapshot save",
        SNAPSHOT,
    )
}
