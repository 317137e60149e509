//! What the transport asks of the member it works for.

use net::http::{HttpRequest, HttpResponse};
use proto::raftpb::Message;
use std::path::PathBuf;
use std::time::Duration;

/// The member has no room for a message. Raft sends it again if it mattered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overloaded;

/// The member behind a transport.
///
/// All but [`Handler::snapshot_received`] and [`Handler::http`] are called on the threads that move
/// bytes and must not block. No lock of the transport is held meanwhile, so all may call it back.
pub trait Handler: Send + Sync + 'static {
    /// A raft message came. It is from no removed member and to this one.
    ///
    /// # Errors
    /// [`Overloaded`] where the member's queue is full; the message is then dropped.
    fn process(&self, message: Message) -> Result<(), Overloaded>;

    /// Whether `id` was a member once and is none now.
    fn is_removed(&self, id: u64) -> bool;

    /// Messages to `id` may have been lost.
    fn unreachable(&self, id: u64);

    /// A snapshot to `id` has arrived, or has not.
    fn snapshot_done(&self, id: u64, ok: bool);

    /// A snapshot came; its database rests, synced, at `database`. May block.
    ///
    /// # Errors
    /// [`Overloaded`] where the member cannot take it; the sender is told that it failed.
    fn snapshot_received(&self, message: Message, database: PathBuf) -> Result<(), Overloaded>;

    /// A request that is not about raft: `/version`, `/members`, `/leases` and so on. May block.
    fn http(&self, request: HttpRequest) -> HttpResponse;

    /// `by` says that this member was removed from the cluster for good: it should stop. Told again
    /// and again until it does.
    fn expelled(&self, by: u64);

    /// Something that a log or a histogram may want.
    fn note(&self, note: &Note<'_>) {
        let _ = note;
    }
}

/// Which of the two ways to a peer was probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `ROUND_TRIPPER_RAFT_MESSAGE`: a fresh connection, as streams have.
    RaftMessage,
    /// `ROUND_TRIPPER_SNAPSHOT`: a kept connection, as the pipeline has.
    Snapshot,
}

/// Something that happened and needs no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Note<'a> {
    /// Bytes go between here and the peer again.
    Active {
        /// The peer.
        id: u64,
    },
    /// They do no longer.
    Inactive {
        /// The peer.
        id: u64,
        /// What failed.
        why: &'a str,
    },
    /// A peer gave a stream of its messages.
    StreamOpened {
        /// The peer.
        id: u64,
        /// `msgapp` or `message`.
        stream: &'static str,
    },
    /// A stream was refused or broke.
    StreamLost {
        /// The peer.
        id: u64,
        /// `msgapp` or `message`.
        stream: &'static str,
        /// It was open before.
        was_open: bool,
        /// What failed.
        why: &'a str,
    },
    /// A message to a peer was dropped, for its queue was full.
    SendDropped {
        /// The peer.
        id: u64,
    },
    /// A message from a peer was dropped, for the member had no room.
    ReceiveDropped {
        /// The peer.
        id: u64,
    },
    /// A peer answered a probe.
    RoundTrip {
        /// The peer.
        id: u64,
        /// Which way.
        route: Route,
        /// How long it took, smoothed.
        rtt: Duration,
        /// How far its clock seems to be from ours.
        clock_drift: Duration,
    },
    /// A peer did not answer a probe.
    ProbeFailed {
        /// The peer.
        id: u64,
        /// Which way.
        route: Route,
        /// What failed.
        why: &'a str,
    },
    /// A database is on its way to a peer.
    SnapshotSending {
        /// The peer.
        id: u64,
        /// The last entry that it holds.
        index: u64,
        /// How long it is, with the raft message.
        bytes: u64,
    },
    /// A database comes from a peer.
    SnapshotComing {
        /// The peer.
        id: u64,
        /// The last entry that it holds.
        index: u64,
        /// How long the raft message is that comes before it.
        message_bytes: u64,
    },
    /// A database was sent, or was not.
    SnapshotSent {
        /// The peer.
        id: u64,
        /// The last entry that it holds.
        index: u64,
        /// How long it is, with the raft message.
        bytes: u64,
        /// How long it took.
        took: Duration,
        /// What failed, if it did.
        why: Option<&'a str>,
    },
    /// A database came and was saved, or was not.
    SnapshotReceived {
        /// The peer.
        id: u64,
        /// The last entry that it holds.
        index: u64,
        /// How much of it was saved.
        bytes: u64,
        /// How long it took.
        took: Duration,
        /// What failed, if it did.
        why: Option<&'a str>,
    },
}
