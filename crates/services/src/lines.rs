//! What operators read in the log of what clients asked, and how ids, lists and sizes are shown in it: messages,
//! levels and names of fields are etcd's.
//!
//! A field given as bytes is JSON.

use crate::Error;
use std::time::Duration;

/// An id as etcd shows it.
pub fn hex(id: u64) -> String {
    format!("{id:x}")
}

/// A list as JSON.
pub fn list(items: &[String]) -> Vec<u8> {
    serde_json::Value::from(items).to_string().into_bytes()
}

/// Bytes as people say them, in powers of 1000: `25 kB`, `2.1 GB` (go-humanize's `Bytes`).
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let unit = (bytes.ilog10() / 3) as usize;
    let scaled = bytes as f64 / 1000f64.powi(unit as i32);
    let rounded = (scaled * 10.0 + 0.5).floor() / 10.0;
    let decimals = usize::from(rounded < 10.0);
    format!("{rounded:.decimals$} {}", UNITS[unit])
}

/// A change of the membership that was asked for here has been applied.
pub(crate) fn changed_through_raft(own_id: u64, kind: &str, id: u64) {
    tracing::info!(
        local_member_id = hex(own_id),
        raft_conf_change = kind,
        raft_conf_change_node_id = hex(id),
        "applied a configuration change through raft"
    );
}

/// What was asked of the membership and is refused.
#[derive(Clone, Copy)]
pub(crate) enum Asked<'a> {
    /// To add one with these URLs.
    Add(&'a [String]),
    /// To remove one.
    Remove(u64),
    /// To give a learner a vote, with the share of the leader's log that it has.
    Promote {
        id: u64,
        share: f64,
        /// The share that a learner needs.
        ready_share: f64,
    },
}

/// A change of the membership is refused before it is proposed.
pub(crate) fn rejects(own_id: u64, asked: Asked<'_>, why: &Error) {
    let (_, error) = why.code_and_text();
    let local = hex(own_id);
    let is_unhealthy = matches!(why, Error::Unhealthy);
    match asked {
        Asked::Add(urls) => {
            let text = if is_unhealthy { UNCONNECTED_TO_MAJORITY } else { FEW_HEALTHY };
            let add = &list(urls)[..];
            tracing::warn!(
                local_member_id = local,
                requested_member_add = add,
                error,
                "rejecting member add request; {text}"
            );
        }
        Asked::Remove(id) if is_unhealthy => tracing::warn!(
            local_member_id = local,
            requested_member_remove = hex(id),
            error,
            "rejecting member remove request; {UNCONNECTED_TO_ALL}"
        ),
        Asked::Remove(id) => tracing::warn!(
            local_member_id = local,
            requested_member_remove_id = hex(id),
            error,
            "rejecting member remove request; {FEW_HEALTHY}"
        ),
        Asked::Promote { share, ready_share, .. } if matches!(why, Error::LearnerNotReady) => {
            tracing::error!(
                learner_ready_percent = share,
                ready_percent_threshold = ready_share,
                "rejecting promote learner: learner is not ready"
            )
        }
        Asked::Promote { id, .. } => tracing::warn!(
            local_member_id = local,
            requested_member_remove_id = hex(id),
            error,
            "rejecting member promote request; {FEW_HEALTHY}"
        ),
    }
}

/// Another member asked in vain for a learner's vote.
pub fn not_promoted(id: u64, why: &Error) {
    let (_, error) = why.code_and_text();
    tracing::warn!(member_id = hex(id), error, "failed to promote a member");
}

const FEW_HEALTHY: &str = "not enough healthy members";
const UNCONNECTED_TO_MAJORITY: &str =
    "local member has not been connected to majority peers, reconfigure breaks active quorum";
const UNCONNECTED_TO_ALL: &str =
    "local member has not been connected to all peers, reconfigure breaks active quorum";

/// A client is sent the database.
pub(crate) fn snapshot_to_client(bytes: u64, version: &str) {
    tracing::info!(
        total_bytes = bytes,
        size = size(bytes),
        storage_version = version,
        "sending database snapshot to client"
    );
}

/// It was; what is left is its hash.
pub(crate) fn snapshot_sent_to_client(bytes: u64, version: &str, hash: usize, took: Duration) {
    tracing::info!(
        total_bytes = bytes,
        checksum_size = hash,
        "sending database sha256 checksum to client"
    );
    tracing::info!(
        total_bytes = bytes,
        size = size(bytes),
        ?took,
        storage_version = version,
        "successfully sent database snapshot to client"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_as_etcd_does() {
        let sizes = [
            (9, "9 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (24_576, "25 kB"),
            (2_732_032, "2.7 MB"),
            (2_147_483_648, "2.1 GB"),
            (u64::MAX, "18 EB"),
        ];
        for (bytes, shown) in sizes {
            assert_eq!(size(bytes), shown);
        }
    }
}
