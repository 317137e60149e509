//! What the transport asks of the member it works for.

use net::http::{HttpRequest, HttpResponder};
use proto::raftpb::Message;
use std::io;
use std::time::Duration;

/// The member has no room for a message. Raft sends it again if it mattered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overloaded;

/// A database on its way in. Unless it is finished, nothing of it stays. Called on threads that may
/// block.
pub trait Intake: Send {
    /// Appends what came.
    ///
    /// # Errors
    /// It cannot be saved.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// All of it came. On return it is durable, and fit for the snapshot that it came with.
    ///
    /// # Errors
    /// It cannot be saved, or is not fit.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// The member behind a transport.
///
/// All but [`Handler::take_database`], [`Handler::snapshot_received`] and [`Handler::http`] are called on
/// the threads that move bytes and must not block. No lock of the transport is held meanwhile, so all may call it back.
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

    /// A snapshot comes; its database goes where this says. May block.
    ///
    /// # Errors
    /// There is no place for it.
    fn take_database(&self, message: &Message) -> io::Result<Box<dyn Intake>>;

    /// A snapshot came, and its database was finished. May block.
    ///
    /// # Errors
    /// [`Overloaded`] where the member cannot take it; the sender is told that it failed.
    fn snapshot_received(&self, message: Message) -> Result<(), Overloaded>;

    /// A request that is not about raft: `/version`, `/members`, `/leases` and so on. The answer may
    /// come later and from elsewhere; the call itself must not block.
    fn http(&self, request: HttpRequest, reply: HttpResponder);

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

/// What a peer refuses this member for, until one of them is started otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Their versions do not fit.
    Version,
    /// They are of different clusters.
    Cluster {
        /// The peer's, in its own writing.
        remote: String,
    },
    /// The peer does not know this member.
    Unknown,
    /// This member was removed.
    Removed,
    /// Any other reason.
    Other,
}

/// What another member's request was refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Versions do not fit.
    Version,
    /// Another cluster.
    Cluster,
    /// It was removed.
    Removed,
    /// It is not known here, perhaps not yet.
    Unknown,
    /// It meant another member.
    Misdirected,
    /// Its id is none.
    NoId,
    /// What it sent could not be read.
    Unread,
    /// What it sent makes no sense.
    Malformed,
    /// Its raft message was not taken.
    NotProcessed,
}

/// A request that was refused, as its sender described itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// Why.
    pub ground: Ground,
    /// Who sent it, 0 where it does not say.
    pub from: u64,
    /// Its version, as it says; empty where it does not.
    pub version: &'a str,
    /// The lowest version of a cluster it can live in, as it says.
    pub min_cluster_version: &'a str,
    /// Its cluster, as it says.
    pub cluster_id: &'a str,
    /// What it meant, or what is wrong in detail.
    pub detail: &'a str,
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
    /// What another member asked for was refused. Asked again, it is refused again.
    Refused(&'a Refused<'a>),
    /// The peer refused what was posted to it, for a reason that will not pass by itself.
    PostRefused {
        /// The peer.
        id: u64,
        /// Why.
        why: &'a Rejection,
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
        /// What it was refused for, if the peer said so.
        rejected: Option<&'a Rejection>,
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
