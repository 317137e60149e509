//! Keys, their history, and how it is given up.

use super::families::{Doubling, Families};
use crate::sources::Sources;
use mvcc::Operations;
use prometheus::{Gauge, Histogram, IntCounter, IntGauge};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is known of the store.
pub struct KeyMetrics {
    ranges: IntCounter,
    puts: IntCounter,
    deletes: IntCounter,
    txns: IntCounter,
    put_bytes: IntGauge,
    pub hash: Histogram,
    pub hash_kv: Histogram,
    pub compaction: CompactionMetrics,
    keys: IntGauge,
    revision: IntGauge,
    compacted: IntGauge,
    db_size: Gauge,
    db_size_in_use: Gauge,
}

/// How a compaction goes.
pub struct CompactionMetrics {
    index_pause: Histogram,
    pause: Histogram,
    total: Histogram,
    last: IntGauge,
    keys: IntCounter,
}

impl KeyMetrics {
    pub(super) fn new(f: &Families<'_>) -> KeyMetrics {
        // A read holds a view of what is committed, not a transaction of the file: only the newest
        // such view is open at any time, as etcd's one.
        f.gauge(
            "etcd_mvcc_db_open_read_transactions",
            "The number of currently open read transactions",
        )
        .set(1);
        KeyMetrics {
            ranges: f.counter("etcd_mvcc_range_total", &seen("ranges")),
            puts: f.counter("etcd_mvcc_put_total", &seen("puts")),
            deletes: f.counter("etcd_mvcc_delete_total", &seen("deletes")),
            txns: f.counter("etcd_mvcc_txn_total", &seen("txns")),
            put_bytes: f.gauge(
                "etcd_debugging_mvcc_total_put_size_in_bytes",
                "The total size of put kv pairs seen by this member.",
            ),
            hash: f.histogram(
                "etcd_mvcc_hash_duration_seconds",
                "The latency distribution of storage hash operation.",
                Doubling(0.01, 15),
            ),
            hash_kv: f.histogram(
                "etcd_mvcc_hash_rev_duration_seconds",
                "The latency distribution of storage hash by revision operation.",
                Doubling(0.01, 15),
            ),
            compaction: CompactionMetrics::new(f),
            keys: f.gauge("etcd_debugging_mvcc_keys_total", "Total number of keys."),
            revision: f
                .gauge("etcd_debugging_mvcc_current_revision", "The current revision of store."),
            compacted: f.gauge(
                "etcd_debugging_mvcc_compact_revision",
                "The revision of the last compaction in store.",
            ),
            db_size: f.float_gauge(
                "etcd_mvcc_db_total_size_in_bytes",
                "Total size of the underlying database physically allocated in bytes.",
            ),
            db_size_in_use: f.float_gauge(
                "etcd_mvcc_db_total_size_in_use_in_bytes",
                "Total size of the underlying database logically in use in bytes.",
            ),
        }
    }

    /// Reads of one transaction outside the log.
    pub fn count_reads(&self, ranges: u64) {
        self.count(&Operations { ranges, ..Operations::default() });
    }

    /// What one applied entry did.
    pub fn count(&self, operations: &Operations) {
        let Operations { ranges, puts, deletes, put_bytes } = *operations;
        if ranges + puts + deletes == 0 {
            return;
        }
        self.ranges.inc_by(ranges);
        self.puts.inc_by(puts);
        self.deletes.inc_by(deletes);
        self.put_bytes.add(put_bytes as i64);
        if ranges + puts + deletes > 1 {
            self.txns.inc();
        }
    }

    pub(super) fn refresh(&self, sources: &Sources<'_>) {
        self.keys.set(sources.reader.live_keys() as i64);
        self.revision.set(sources.reader.revision());
        self.compacted.set(sources.reader.compacted());
        self.db_size.set(sources.figures.db_size() as f64);
        self.db_size_in_use.set(sources.figures.db_size_in_use() as f64);
    }
}

fn seen(what: &str) -> String {
    format!("Total number of {what} seen by this member.")
}

impl CompactionMetrics {
    fn new(f: &Families<'_>) -> CompactionMetrics {
        CompactionMetrics {
            index_pause: f.histogram(
                "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds",
                "Bucketed histogram of index compaction pause duration.",
                Doubling(0.5, 14),
            ),
            pause: f.histogram(
                "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
                "Bucketed histogram of db compaction pause duration.",
                Doubling(1.0, 13),
            ),
            total: f.histogram(
                "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
                "Bucketed histogram of db compaction total duration.",
                Doubling(100.0, 14),
            ),
            last: f.gauge(
                "etcd_debugging_mvcc_db_compaction_last",
                "The unix time of the last db compaction. Resets to 0 on start.",
            ),
            keys: f.counter(
                "etcd_debugging_mvcc_db_compaction_keys_total",
                "Total number of db keys compacted.",
            ),
        }
    }

    /// One step, during which nothing else was applied.
    pub fn step(&self, of_index: bool, took: Duration) {
        let pause = if of_index { &self.index_pause } else { &self.pause };
        pause.observe(took.as_secs_f64() * 1000.0);
    }

    /// Everything up to the revision is gone.
    pub fn done(&self, took: Duration, rows: u64) {
        self.total.observe(took.as_secs_f64() * 1000.0);
        self.keys.inc_by(rows);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last.set(now.as_secs() as i64);
    }
}
