//! Why something asked of a peer failed.

use crate::codec::CodecError;
use crate::handler::Rejection;
use crate::headers::{CLUSTER_ID, CLUSTER_ID_MISMATCH, INCOMPATIBLE_VERSION};
use http::{HeaderMap, StatusCode};
use std::io;

/// Why something asked of a peer failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// No connection, or a broken one.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The connection broke within a request or an answer.
    #[error("{}", cause(.0))]
    Http(#[from] hyper::Error),
    /// Nothing came for too long.
    #[error("timed out {0}")]
    TimedOut(&'static str),
    /// The peer ended a stream between two messages; it may be had again.
    #[error("EOF")]
    Closed,
    /// The peer's addresses changed.
    #[error("the peer has other addresses now")]
    Moved,
    /// The peer is too old.
    #[error("unsupported stream type")]
    Unsupported,
    /// This member was removed.
    #[error("the member has been permanently removed from the cluster")]
    Removed,
    /// The peer does not know this member.
    #[error("peer {peer:x} failed to find local node {own:x}")]
    Unknown {
        /// The peer.
        peer: u64,
        /// This member.
        own: u64,
    },
    /// Versions do not fit.
    #[error("{INCOMPATIBLE_VERSION}")]
    IncompatibleVersion,
    /// Another cluster.
    #[error("{CLUSTER_ID_MISMATCH}")]
    ClusterIdMismatch {
        /// The peer's, in its own writing.
        remote: String,
    },
    /// Any other answer.
    #[error("unexpected http status {status}: {text:?}")]
    Status { status: StatusCode, text: String },
    /// The answer is longer than answers are.
    #[error("the answer is too long")]
    TooLong,
    /// What came over a stream makes no sense.
    #[error("{0}")]
    Codec(#[from] CodecError),
    /// A probe was answered with something else.
    #[error("the answer to a probe makes no sense")]
    Probe,
}

/// What lies behind an error of a connection says more than where it was met.
fn cause(error: &hyper::Error) -> String {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    source.map_or_else(|| error.to_string(), io::Error::to_string)
}

impl Failure {
    /// What an answer with status 412 means.
    pub(crate) fn of_precondition(headers: &HeaderMap, text: &str) -> Failure {
        match text.trim_end_matches('\n') {
            INCOMPATIBLE_VERSION => Failure::IncompatibleVersion,
            CLUSTER_ID_MISMATCH => {
                let remote = headers.get(CLUSTER_ID).and_then(|value| value.to_str().ok());
                Failure::ClusterIdMismatch { remote: remote.unwrap_or_default().to_owned() }
            }
            _ => Failure::of_status(StatusCode::PRECONDITION_FAILED, text),
        }
    }

    pub(crate) fn of_status(status: StatusCode, text: &str) -> Failure {
        Failure::Status { status, text: text.trim_end().to_owned() }
    }

    /// What the peer refuses, rather than the way to it.
    pub(crate) fn rejection(&self) -> Option<Rejection> {
        match self {
            Failure::IncompatibleVersion | Failure::Unsupported => Some(Rejection::Version),
            Failure::ClusterIdMismatch { remote } => {
                Some(Rejection::Cluster { remote: remote.clone() })
            }
            Failure::Unknown { .. } => Some(Rejection::Unknown),
            Failure::Removed => Some(Rejection::Removed),
            Failure::Status { .. } => Some(Rejection::Other),
            _ => None,
        }
    }
}
