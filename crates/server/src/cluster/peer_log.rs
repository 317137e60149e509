//! What operators read of the ways to other members, in etcd's words
//! (reference: `server/etcdserver/api/rafthttp`).

use crate::lines::{hex, size};
use peer::{Note, Route};
use std::time::Duration;

/// A clock further off is told of.
const DRIFT_MAX: Duration = Duration::from_secs(1);

fn name(route: Route) -> &'static str {
    match route {
        Route::RaftMessage => "ROUND_TRIPPER_RAFT_MESSAGE",
        Route::Snapshot => "ROUND_TRIPPER_SNAPSHOT",
    }
}

/// The name that etcd has for a kind of stream.
fn stream_type(stream: &'static str) -> &'static str {
    if stream == "msgapp" { "stream MsgApp v2" } else { "stream Message" }
}

/// Logs what happened. Called from threads that move bytes; the log's sink does not block them.
pub(super) fn log(own_id: u64, note: &Note<'_>) {
    match note {
        Note::StreamOpened { .. } | Note::StreamLost { .. } => stream(own_id, note),
        Note::SnapshotSending { .. }
        | Note::SnapshotComing { .. }
        | Note::SnapshotSent { .. }
        | Note::SnapshotReceived { .. } => snapshot(own_id, note),
        _ => peer(own_id, note),
    }
}

fn peer(own_id: u64, note: &Note<'_>) {
    let hex = |id: &u64| format!("{id:x}");
    match note {
        Note::Active { id } => tracing::info!(peer_id = %hex(id), "peer became active"),
        Note::Inactive { id, why } => tracing::warn!(
            peer_id = %hex(id),
            error = why,
            "peer became inactive (message send to peer failed)"
        ),
        Note::SendDropped { id } => tracing::warn!(
            local_member_id = %hex(&own_id),
            remote_peer_id = %hex(id),
            "dropped internal Raft message since sending buffer is full"
        ),
        Note::ReceiveDropped { id } => tracing::warn!(
            local_member_id = %hex(&own_id),
            from = %hex(id),
            "dropped Raft message since receiving buffer is full (overloaded network)"
        ),
        Note::RoundTrip { id, route, rtt, clock_drift } if *clock_drift > DRIFT_MAX => {
            tracing::warn!(
                round_tripper_name = name(*route),
                remote_peer_id = %hex(id),
                clock_drift = ?clock_drift,
                rtt = ?rtt,
                "prober found high clock drift"
            );
        }
        Note::ProbeFailed { id, route, why } => tracing::warn!(
            round_tripper_name = name(*route),
            remote_peer_id = %hex(id),
            error = why,
            "prober detected unhealthy status"
        ),
        _ => {}
    }
}

fn stream(own_id: u64, note: &Note<'_>) {
    let local = format!("{own_id:x}");
    match note {
        Note::StreamOpened { id, stream } => tracing::info!(
            stream_reader_type = stream_type(stream),
            local_member_id = %local,
            remote_peer_id = %format!("{id:x}"),
            "established TCP streaming connection with remote peer"
        ),
        Note::StreamLost { id, stream, was_open: true, why } => tracing::warn!(
            stream_reader_type = stream_type(stream),
            local_member_id = %local,
            remote_peer_id = %format!("{id:x}"),
            error = why,
            "lost TCP streaming connection with remote peer"
        ),
        _ => {}
    }
}

fn snapshot(own_id: u64, note: &Note<'_>) {
    match note {
        Note::SnapshotSending { id, index, bytes } => tracing::info!(
            snapshot_index = index,
            remote_peer_id = hex(*id),
            bytes,
            size = size(*bytes),
            "sending database snapshot"
        ),
        Note::SnapshotSent { id, index, bytes, why: None, .. } => tracing::info!(
            snapshot_index = index,
            remote_peer_id = hex(*id),
            bytes,
            size = size(*bytes),
            "sent database snapshot"
        ),
        Note::SnapshotSent { id, index, bytes, why: Some(why), .. } => tracing::warn!(
            snapshot_index = index,
            remote_peer_id = hex(*id),
            bytes,
            size = size(*bytes),
            error = why,
            "failed to send database snapshot"
        ),
        _ => incoming(own_id, note),
    }
}

fn incoming(own_id: u64, note: &Note<'_>) {
    let local = hex(own_id);
    match note {
        Note::SnapshotComing { id, index, message_bytes } => tracing::info!(
            local_member_id = local,
            remote_snapshot_sender_id = hex(*id),
            incoming_snapshot_index = index,
            incoming_snapshot_message_size_bytes = message_bytes,
            incoming_snapshot_message_size = size(*message_bytes),
            "receiving database snapshot"
        ),
        Note::SnapshotReceived { id, index, bytes, took, why: None } => tracing::info!(
            local_member_id = local,
            remote_snapshot_sender_id = hex(*id),
            incoming_snapshot_index = index,
            incoming_snapshot_size_bytes = bytes,
            incoming_snapshot_size = size(*bytes),
            download_took = ?took,
            "received and saved database snapshot"
        ),
        Note::SnapshotReceived { id, index, why: Some(why), .. } => tracing::warn!(
            local_member_id = local,
            remote_snapshot_sender_id = hex(*id),
            incoming_snapshot_index = index,
            error = why,
            "failed to save incoming database snapshot"
        ),
        _ => {}
    }
}
