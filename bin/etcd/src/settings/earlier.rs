//! What earlier versions of etcd had: flags, which are refused with what to use instead, and keys of
//! the file, which are passed over.

/// Keys of the file that etcd has known since v3.4 and v3.7 knows no longer, or that only its sample
/// files had. Those with `experimental-` are told by [`is_earlier_key`].
const KEYS: &[&str] = &[
    "debug",
    "discovery",
    "discovery-fallback",
    "discovery-proxy",
    "enable-v2",
    "log-output",
    "log-package-levels",
    "next-cluster-version-compatible",
    "proxy",
    "proxy-dial-timeout",
    "proxy-failure-wait",
    "proxy-read-timeout",
    "proxy-refresh-interval",
    "proxy-write-timeout",
];

/// Names behind `experimental-`, in flags and keys; where it has another name now, that one.
const EXPERIMENTS: &[(&str, Option<&str>)] = &[
    ("backend-bbolt-freelist-type", Some("backend-bbolt-freelist-type")),
    ("bootstrap-defrag-threshold-megabytes", Some("bootstrap-defrag-threshold-megabytes")),
    ("compact-hash-check-enabled", Some("feature-gates=CompactHashCheck=true")),
    ("compact-hash-check-time", Some("compact-hash-check-time")),
    ("compaction-batch-limit", Some("compaction-batch-limit")),
    ("compaction-sleep-interval", Some("compaction-sleep-interval")),
    ("corrupt-check-time", Some("corrupt-check-time")),
    ("distributed-tracing-address", Some("distributed-tracing-address")),
    ("distributed-tracing-instance-id", Some("distributed-tracing-instance-id")),
    ("distributed-tracing-sampling-rate", Some("distributed-tracing-sampling-rate")),
    ("distributed-tracing-service-name", Some("distributed-tracing-service-name")),
    ("downgrade-check-time", Some("downgrade-check-time")),
    ("enable-distributed-tracing", Some("enable-distributed-tracing")),
    ("enable-lease-checkpoint", Some("feature-gates=LeaseCheckpoint=true")),
    ("enable-lease-checkpoint-persist", Some("feature-gates=LeaseCheckpointPersist=true")),
    ("enable-v2v3", None),
    ("initial-corrupt-check", Some("feature-gates=InitialCorruptCheck=true")),
    ("memory-mlock", Some("memory-mlock")),
    ("peer-skip-client-san-verification", Some("peer-skip-client-san-verification")),
    ("snapshot-catch-up-entries", Some("snapshot-catchup-entries")),
    ("snapshot-catchup-entries", Some("snapshot-catchup-entries")),
    ("stop-grpc-service-on-defrag", Some("feature-gates=StopGRPCServiceOnDefrag=true")),
    ("txn-mode-write-with-shared-buffer", Some("feature-gates=TxnModeWriteWithSharedBuffer=true")),
    ("warning-apply-duration", Some("warning-apply-duration")),
    ("warning-unary-request-duration", Some("warning-unary-request-duration")),
    ("watch-progress-notify-interval", Some("watch-progress-notify-interval")),
];

/// Flags that are gone, with what to use.
const FLAGS: &[(&str, &str)] = &[
    ("debug", "use --log-level=debug"),
    (
        "discovery",
        "the discovery service of v2 is gone; use --discovery-endpoints and --discovery-token",
    ),
    (
        "discovery-proxy",
        "the discovery service of v2 is gone; use --discovery-endpoints and --discovery-token",
    ),
    ("enable-v2", "the API of v2 is gone; leave it out"),
    ("log-output", "use --log-outputs"),
    ("log-package-levels", "use --log-level"),
    ("proxy", "the proxy of v2 is gone; leave it out"),
    ("proxy-dial-timeout", "the proxy of v2 is gone; leave it out"),
    ("proxy-failure-wait", "the proxy of v2 is gone; leave it out"),
    ("proxy-read-timeout", "the proxy of v2 is gone; leave it out"),
    ("proxy-refresh-interval", "the proxy of v2 is gone; leave it out"),
    ("proxy-write-timeout", "the proxy of v2 is gone; leave it out"),
];

/// Whether a key of the file meant something to an earlier version.
pub(super) fn is_earlier_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    KEYS.contains(&key.as_str()) || experiment(&key).is_some()
}

/// What to use instead of a flag that is gone; none where there never was one.
pub(super) fn replacement(flag: &str) -> Option<String> {
    if let Some((_, hint)) = FLAGS.iter().find(|(name, _)| *name == flag) {
        return Some((*hint).to_owned());
    }
    Some(match experiment(flag)? {
        Some(name) => format!("it has left the experiments; use --{name}"),
        None => "the API of v2 is gone; leave it out".to_owned(),
    })
}

fn experiment(name: &str) -> Option<Option<&'static str>> {
    let name = name.strip_prefix("experimental-")?;
    EXPERIMENTS.iter().find(|(known, _)| *known == name).map(|(_, now)| *now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::rows::ROWS;

    #[test]
    fn what_is_gone_is_told_with_what_to_use() {
        assert_eq!(replacement("debug").as_deref(), Some("use --log-level=debug"));
        let hint = replacement("experimental-initial-corrupt-check").unwrap();
        assert!(hint.ends_with("use --feature-gates=InitialCorruptCheck=true"), "{hint}");
        assert_eq!(replacement("nonsense").or(replacement("experimental-nonsense")), None);
        assert!(is_earlier_key("enable-v2") && is_earlier_key("Experimental-Enable-V2V3"));
        assert!(!is_earlier_key("name"));
    }

    #[test]
    fn what_replaces_a_flag_is_there() {
        for (_, now) in EXPERIMENTS {
            let Some(name) = now.map(|now| now.split('=').next().unwrap_or_default()) else {
                continue;
            };
            assert!(ROWS.iter().any(|row| row.name == name), "{name}");
        }
    }
}
