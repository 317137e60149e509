//! The member: who it is, whether it leads, what it has agreed to, how healthy it is.

use super::families::Families;
use crate::sources::Sources;
use apply::Alarms;
use parking_lot::Mutex;
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use proto::etcdserverpb::AlarmType;

/// What is known of the member.
pub struct MemberMetrics {
    pub health_successes: IntCounter,
    pub health_failures: IntCounter,
    pub proposals_failed: IntCounter,
    pub slow_applies: IntCounter,
    checks: IntGaugeVec,
    checks_total: IntCounterVec,
    cluster_version: IntGaugeVec,
    alarms: IntGaugeVec,
    alarms_shown: Mutex<Vec<(u64, i32)>>,
    has_leader: IntGauge,
    is_leader: IntGauge,
    is_learner: IntGauge,
    pub snapshot_applying: IntGauge,
    pub promotions: IntCounter,
    pub reads_failed: IntCounter,
    leader_changes: IntCounter,
    committed: IntGauge,
    applied: IntGauge,
    pending: IntGauge,
    quota: Gauge,
}

/// etcd's feature gates with their stages, and whether what they stand for is so here.
const FEATURES: [(&str, &str, bool); 11] = [
    ("AllAlpha", "ALPHA", false),
    ("AllBeta", "BETA", false),
    ("CompactHashCheck", "ALPHA", false),
    ("FastLeaseKeepAlive", "BETA", true),
    ("InitialCorruptCheck", "ALPHA", false),
    ("LeaseCheckpoint", "ALPHA", false),
    ("LeaseCheckpointPersist", "ALPHA", false),
    ("PriorityRequest", "ALPHA", false),
    ("SetMemberLocalAddr", "ALPHA", false),
    ("StopGRPCServiceOnDefrag", "ALPHA", false),
    ("TxnModeWriteWithSharedBuffer", "BETA", true),
];

impl MemberMetrics {
    pub(super) fn new(f: &Families<'_>, member_id: u64) -> MemberMetrics {
        identity(f, member_id);
        unused(f);
        let (is_learner, promotions) = learners(f);
        let (snapshot_applying, reads_failed) = among_others(f);
        MemberMetrics {
            health_successes: f.counter(
                "etcd_server_health_success",
                "The total number of successful health checks",
            ),
            health_failures: f
                .counter("etcd_server_health_failures", "The total number of failed health checks"),
            proposals_failed: f.counter(
                "etcd_server_proposals_failed_total",
                "The total number of failed proposals seen.",
            ),
            slow_applies: f.counter(
                "etcd_server_slow_apply_total",
                "The total number of slow apply requests (likely overloaded from slow disk).",
            ),
            checks: f.gauges(
                "etcd_server_healthcheck",
                "The result of each kind of healthcheck.",
                &["type", "name"],
            ),
            checks_total: f.counters(
                "etcd_server_healthchecks_total",
                "The total number of each kind of healthcheck.",
                &["type", "name", "status"],
            ),
            cluster_version: f.gauges(
                "etcd_cluster_version",
                "Which version is running. 1 for 'cluster_version' label with current cluster \
                 version",
                &["cluster_version"],
            ),
            alarms: f.gauges(
                "etcd_debugging_server_alarms",
                "Alarms for every member in cluster. 1 for 'server_id' label with current ID. 2 \
                 for 'alarm_type' label with type of this alarm",
                &["server_id", "alarm_type"],
            ),
            alarms_shown: Mutex::new(Vec::new()),
            has_leader: f.gauge(
                "etcd_server_has_leader",
                "Whether or not a leader exists. 1 is existence, 0 is not.",
            ),
            is_leader: f.gauge(
                "etcd_server_is_leader",
                "Whether or not this member is a leader. 1 if is, 0 otherwise.",
            ),
            is_learner,
            snapshot_applying,
            promotions,
            reads_failed,
            leader_changes: f.counter(
                "etcd_server_leader_changes_seen_total",
                "The number of leader changes seen.",
            ),
            committed: f.gauge(
                "etcd_server_proposals_committed_total",
                "The total number of consensus proposals committed.",
            ),
            applied: f.gauge(
                "etcd_server_proposals_applied_total",
                "The total number of consensus proposals applied.",
            ),
            pending: f.gauge(
                "etcd_server_proposals_pending",
                "The current number of pending proposals to commit.",
            ),
            quota: f.float_gauge(
                "etcd_server_quota_backend_bytes",
                "Current backend storage quota size in bytes.",
            ),
        }
    }

    /// Another leader is known, or none (0).
    pub fn leader_seen(&self, leader: u64) {
        if leader != 0 {
            self.leader_changes.inc();
        }
    }

    /// One of the checks of `/livez` and `/readyz` ended.
    pub fn checked(&self, kind: &str, name: &str, is_well: bool) {
        self.checks.with_label_values(&[kind, name]).set(i64::from(is_well));
        let status = if is_well { "success" } else { "error" };
        self.checks_total.with_label_values(&[kind, name, status]).inc();
    }

    /// The cluster has this version now.
    pub fn set_cluster_version(&self, version: &str) {
        self.cluster_version.reset();
        // Patch releases do not change what a cluster can do.
        let minor = version.match_indices('.').nth(1).map_or(version, |(at, _)| &version[..at]);
        self.cluster_version.with_label_values(&[minor]).set(1);
    }

    /// These alarms are raised; those that were and are not any more show 0.
    pub fn show_alarms(&self, alarms: &Alarms) {
        let now: Vec<(u64, i32)> =
            alarms.list(0).iter().map(|alarm| (alarm.member_id, alarm.alarm)).collect();
        let mut shown = self.alarms_shown.lock();
        if *shown == now {
            return;
        }
        for (set, value) in [(&*shown, 0), (&now, 1)] {
            for (member, kind) in set {
                let name = AlarmType::try_from(*kind).map_or("UNKNOWN", |kind| kind.as_str_name());
                self.alarms.with_label_values(&[&format!("{member:x}"), name]).set(value);
            }
        }
        *shown = now;
    }

    pub(super) fn refresh(&self, sources: &Sources<'_>) {
        let from = sources.figures;
        let int = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let leader = from.leader();
        self.has_leader.set(i64::from(leader != 0));
        self.is_leader.set(i64::from(leader == sources.member_id));
        self.is_learner.set(i64::from(sources.is_learner));
        self.committed.set(int(from.committed()));
        self.applied.set(int(from.applied()));
        self.pending.set(sources.proposals_pending as i64);
        self.quota.set(sources.quota_bytes as f64);
    }
}

fn identity(f: &Families<'_>, member_id: u64) {
    f.info(
        "etcd_server_id",
        "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
        "server_id",
        &format!("{member_id:x}"),
    );
    f.info(
        "etcd_server_version",
        "Which version is running. 1 for 'server_version' label with current version.",
        "server_version",
        proto::VERSION,
    );
    f.info(
        "etcd_server_go_version",
        "Which Go version server is running with. 1 for 'server_go_version' label with current \
         version.",
        "server_go_version",
        "none (Rust)",
    );
    let help = "Whether or not a feature is enabled. 1 is enabled, 0 is not.";
    let features = f.gauges("etcd_server_feature_enabled", help, &["name", "stage"]);
    for (name, stage, is_enabled) in FEATURES {
        features.with_label_values(&[name, stage]).set(i64::from(is_enabled));
    }
}

/// Whether it is one, and how many were promoted.
fn learners(f: &Families<'_>) -> (IntGauge, IntCounter) {
    let is_learner = f.gauge(
        "etcd_server_is_learner",
        "Whether or not this member is a learner. 1 if is, 0 otherwise.",
    );
    let promotions = f.counter(
        "etcd_server_learner_promote_successes",
        "The total number of successful learner promotions while this member is leader.",
    );
    (is_learner, promotions)
}

/// Whether a leader's snapshot is being installed, and reads that the cluster did not confirm.
fn among_others(f: &Families<'_>) -> (IntGauge, IntCounter) {
    let snapshot_applying = f.gauge(
        "etcd_server_snapshot_apply_in_progress_total",
        "1 if the server is applying the incoming snapshot. 0 if none.",
    );
    let reads_failed = f.counter(
        "etcd_server_read_indexes_failed_total",
        "The total number of failed read indexes seen.",
    );
    (snapshot_applying, reads_failed)
}

/// Families of rooms that a cluster of one does not have, or that this version does not have yet:
/// they stand as on a fresh etcd.
fn unused(f: &Families<'_>) {
    let auth = f.gauge("etcd_debugging_auth_revision", "The current revision of auth store.");
    auth.set(1);
    f.counters(
        "etcd_server_learner_promote_failures",
        "The total number of failed learner promotions (likely learner not ready) while this \
         member is leader.",
        &["Reason"],
    );
    f.counter(
        "etcd_server_heartbeat_send_failures_total",
        "The total number of leader heartbeat send failures (likely overloaded from slow disk).",
    );
    f.counter(
        "etcd_server_slow_read_indexes_total",
        "The total number of pending read indexes not in sync with leader's or timed out read \
         index requests.",
    );
}
