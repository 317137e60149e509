//! The settings that the log shows at the start as they were set, whatever is made of them.

use crate::settings::{Setting, Settings};
use serde_json::{Value, json};

/// These settings by the names of their flags.
pub(crate) fn as_set(settings: &Settings) -> Value {
    let (member, discovery) = (&settings.member, &settings.discovery);
    let (features, absent) = (&settings.features, &settings.absent);
    json!({
        "snapshot-count": member.snapshot_count,
        "max-wals": member.max_wals,
        "max-snapshots": member.max_snapshots,
        "max-learners": member.max_learners,
        "feature-gates": features.gates.show(),
        "compact-check-time-interval": absent.compact_check_time().to_string(),
        "discovery-token": discovery.token,
        "discovery-endpoints": discovery.endpoints.0.join(","),
        "discovery-dial-timeout": discovery.dial_timeout.to_string(),
        "discovery-request-timeout": discovery.request_timeout.to_string(),
        "discovery-keepalive-time": discovery.keepalive_time.to_string(),
        "discovery-keepalive-timeout": discovery.keepalive_timeout.to_string(),
        "discovery-insecure-transport": discovery.insecure_transport,
        "discovery-insecure-skip-tls-verify": discovery.insecure_skip_verify,
        "discovery-cert": discovery.cert.display().to_string(),
        "discovery-key": discovery.key.display().to_string(),
        "discovery-cacert": discovery.cacert.display().to_string(),
        "discovery-user": discovery.user.name,
        "downgrade-check-interval": "5s",
        "v2-deprecation": "write-only",
    })
}
