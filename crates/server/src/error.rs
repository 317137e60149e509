//! Why a member does not start.

use replica::Fault;
use thiserror::Error as ThisError;

/// File descriptors that are kept for the member's own files and for other members.
pub(crate) const OWN_FDS: u64 = 150;

/// Why a member did not start.
#[derive(Debug, ThisError)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Replica(#[from] Fault),
    /// A socket or thread cannot be made.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Too few file descriptors to serve anyone.
    #[error(
        "file descriptor limit of etcd process is too low; please set higher: it is {limit}, more \
         than {OWN_FDS} are needed"
    )]
    FewFds {
        /// The limit.
        limit: u64,
    },
    /// The member was stopped while another process had its data.
    #[error("it was stopped while another process had its data")]
    Stopped,
    /// The cluster did not take the member's name and URLs.
    #[error("the member could not publish itself: {0}")]
    Publish(&'static str),
}
