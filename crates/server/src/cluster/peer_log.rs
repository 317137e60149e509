//! What operators read of the ways to other members, in etcd's words
//! (reference: `server/etcdserver/api/rafthttp`).
//!
//! Whatever keeps members apart is said on both sides: at once, and then no more often than
//! [`REPEAT`], however often it happens.

use super::repeats::Repeats;
use peer::{Ground, Note, Refused, Rejection, Route};
use services::lines::{hex, size};
use std::time::{Duration, Instant};

/// A clock further off is told of.
const DRIFT_MAX: Duration = Duration::from_secs(1);
/// How often it is.
const DRIFT_REPEAT: Duration = Duration::from_secs(30);
/// How often the same is said of a member.
const REPEAT: Duration = Duration::from_secs(10);
/// How often it is said that a member does not answer.
const PROBE_REPEAT: Duration = Duration::from_secs(5);

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

/// The log of one member's ways to the others.
pub(crate) struct PeerLog {
    own_id: u64,
    cluster_id: u64,
    repeats: Repeats,
}

impl PeerLog {
    /// Of this member in this cluster.
    pub(crate) fn new(own_id: u64, cluster_id: u64) -> PeerLog {
        PeerLog { own_id, cluster_id, repeats: Repeats::default() }
    }

    /// Logs what happened. Called from threads that move bytes; the log's sink does not block them.
    pub(super) fn log(&self, note: &Note<'_>) {
        match note {
            Note::StreamOpened { .. } | Note::StreamLost { was_open: true, .. } => {
                stream(self.own_id, note);
            }
            Note::StreamLost { id, stream, why, rejected: Some(rejected), .. } => {
                self.stream_rejected(*id, stream, rejected, why);
            }
            Note::PostRefused { id, why } => self.post_rejected(*id, why),
            Note::Refused(refused) => self.refused(refused),
            Note::SnapshotSending { .. }
            | Note::SnapshotComing { .. }
            | Note::SnapshotSent { .. }
            | Note::SnapshotReceived { .. } => snapshot(self.own_id, note),
            _ => self.peer(note),
        }
    }

    fn admit(&self, id: u64, line: &'static str, interval: Duration) -> Option<u64> {
        self.repeats.admit(id, line, interval, Instant::now())
    }

    fn peer(&self, note: &Note<'_>) {
        match note {
            Note::Active { id } => tracing::info!(peer_id = %hex(*id), "peer became active"),
            Note::Inactive { id, why } => tracing::warn!(
                peer_id = %hex(*id),
                error = why,
                "peer became inactive (message send to peer failed)"
            ),
            Note::SendDropped { id } => self.send_dropped(*id),
            Note::ReceiveDropped { id } => self.receive_dropped(*id),
            Note::RoundTrip { id, route, rtt, clock_drift } if *clock_drift > DRIFT_MAX => {
                let name = name(*route);
                if self.admit(*id, name, DRIFT_REPEAT).is_some() {
                    tracing::warn!(
                        round_tripper_name = name,
                        remote_peer_id = %hex(*id),
                        clock_drift = ?clock_drift,
                        rtt = ?rtt,
                        "prober found high clock drift"
                    );
                }
            }
            Note::ProbeFailed { id, route, why } => self.probe_failed(*id, *route, why),
            _ => {}
        }
    }

    fn send_dropped(&self, id: u64) {
        let line = "dropped internal Raft message since sending buffer is full";
        let Some(left_out) = self.admit(id, line, REPEAT) else { return };
        tracing::warn!(
            local_member_id = %hex(self.own_id),
            remote_peer_id = %hex(id),
            left_out,
            "{line}"
        );
    }

    fn receive_dropped(&self, id: u64) {
        let line = "dropped Raft message since receiving buffer is full (overloaded network)";
        let Some(left_out) = self.admit(id, line, REPEAT) else { return };
        tracing::warn!(
            local_member_id = %hex(self.own_id),
            from = %hex(id),
            left_out,
            "{line}"
        );
    }

    fn probe_failed(&self, id: u64, route: Route, why: &str) {
        let name = name(route);
        // Probes come a little more often than this, as in etcd.
        if self.admit(id, name, PROBE_REPEAT).is_some() {
            tracing::warn!(
                round_tripper_name = name,
                remote_peer_id = %hex(id),
                error = why,
                "prober detected unhealthy status"
            );
        }
    }

    // ---- what this member is refused -------------------------------------------------------

    fn stream_rejected(&self, id: u64, stream: &'static str, rejected: &Rejection, why: &str) {
        let (local, remote) = (hex(self.own_id), hex(id));
        match rejected {
            Rejection::Version => {
                let line = "request sent was ignored by remote peer due to server version \
                            incompatibility";
                let Some(left_out) = self.admit(id, line, REPEAT) else { return };
                tracing::warn!(
                    local_member_id = %local,
                    remote_peer_id = %remote,
                    error = why,
                    left_out,
                    "{line}"
                );
            }
            Rejection::Cluster { remote: cluster } => {
                let line = "request sent was ignored by remote peer due to cluster ID mismatch";
                let Some(left_out) = self.admit(id, line, REPEAT) else { return };
                tracing::warn!(
                    remote_peer_id = %remote,
                    remote_peer_cluster_id = %cluster,
                    local_member_id = %local,
                    local_member_cluster_id = %hex(self.cluster_id),
                    error = why,
                    left_out,
                    "{line}"
                );
            }
            Rejection::Unknown | Rejection::Removed | Rejection::Other => {
                let stream = stream_type(stream);
                self.deactivated(
                    id,
                    stream,
                    format!("failed to dial {remote} on {stream} ({why})"),
                );
            }
        }
    }

    fn post_rejected(&self, id: u64, rejected: &Rejection) {
        let remote = hex(id);
        match rejected {
            Rejection::Version => {
                let line = "request sent was ignored by peer";
                let Some(left_out) = self.admit(id, line, REPEAT) else { return };
                tracing::error!(remote_peer_id = %remote, left_out, "{line}");
            }
            Rejection::Cluster { remote: cluster } => {
                let line = "request sent was ignored due to cluster ID mismatch";
                let Some(left_out) = self.admit(id, line, REPEAT) else { return };
                tracing::error!(
                    remote_peer_id = %remote,
                    remote_peer_cluster_id = %cluster,
                    local_member_cluster_id = %hex(self.cluster_id),
                    left_out,
                    "{line}"
                );
            }
            Rejection::Removed => {
                let why = format!("failed to write {remote} on pipeline (it says: removed member)");
                self.deactivated(id, "pipeline", why);
            }
            // What a member answers that does not know the sender yet is said of its streams.
            Rejection::Unknown | Rejection::Other => {}
        }
    }

    /// In etcd only the log's lowest level has it; but a member that is refused for good asks a person.
    fn deactivated(&self, id: u64, way: &'static str, why: String) {
        let Some(left_out) = self.admit(id, way, REPEAT) else { return };
        tracing::warn!(peer_id = %hex(id), error = why, left_out, "peer deactivated again");
    }

    // ---- what this member refuses ----------------------------------------------------------

    fn refused(&self, refused: &Refused<'_>) {
        match refused.ground {
            Ground::Version | Ground::Cluster => self.stranger_refused(refused),
            Ground::Removed | Ground::Unknown | Ground::Misdirected | Ground::NoId => {
                self.stream_refused(refused);
            }
            Ground::Unread | Ground::Malformed | Ground::NotProcessed => {
                let line = match refused.ground {
                    Ground::Unread => "failed to read Raft message",
                    Ground::Malformed => "failed to unmarshal Raft message",
                    _ => "failed to process Raft message",
                };
                let Some(left_out) = self.admit(refused.from, line, REPEAT) else { return };
                tracing::warn!(
                    local_member_id = %hex(self.own_id),
                    remote_peer_id = %hex(refused.from),
                    error = refused.detail,
                    left_out,
                    "{line}"
                );
            }
        }
    }

    /// The other member is of another cluster, or of a version that does not fit.
    fn stranger_refused(&self, refused: &Refused<'_>) {
        let is_version = refused.ground == Ground::Version;
        let line = match is_version {
            true => "failed version compatibility check",
            false => "request cluster ID mismatch",
        };
        let Some(left_out) = self.admit(refused.from, line, REPEAT) else { return };
        tracing::warn!(
            local_member_id = %hex(self.own_id),
            local_member_cluster_id = %hex(self.cluster_id),
            local_member_server_version = proto::VERSION,
            local_member_server_minimum_cluster_version = peer::MIN_CLUSTER_VERSION,
            remote_peer_server_name = %hex(refused.from),
            remote_peer_server_version = refused.version,
            remote_peer_server_minimum_cluster_version = refused.min_cluster_version,
            remote_peer_cluster_id = refused.cluster_id,
            error = is_version.then_some(refused.detail),
            left_out,
            "{line}"
        );
    }

    fn stream_refused(&self, refused: &Refused<'_>) {
        let line = match refused.ground {
            Ground::Removed => "rejected stream from remote peer because it was removed",
            Ground::Unknown => "failed to find remote peer in cluster",
            Ground::Misdirected => "ignored streaming request; ID mismatch",
            _ => "failed to parse path into ID",
        };
        let Some(left_out) = self.admit(refused.from, line, REPEAT) else { return };
        let own = hex(self.own_id);
        let is = |ground| refused.ground == ground;
        tracing::warn!(
            local_member_id = %own,
            remote_peer_id_stream_handler = %own,
            remote_peer_id_header = is(Ground::Misdirected).then_some(refused.detail),
            path = is(Ground::NoId).then_some(refused.detail),
            remote_peer_id_from = (!is(Ground::NoId)).then(|| hex(refused.from)),
            cluster_id = %hex(self.cluster_id),
            left_out,
            "{line}"
        );
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
        Note::StreamLost { id, stream, why, .. } => tracing::warn!(
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
