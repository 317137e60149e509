//! What stops a member.

use thiserror::Error;

/// A fault of this machine or its data; it is never retried.
#[derive(Debug, Error)]
pub enum Fault {
    /// The write-ahead log or a snapshot file.
    #[error("write-ahead log: {0}")]
    Wal(#[from] wal::Fault),
    /// The state machine or its database.
    #[error("state machine: {0}")]
    Apply(#[from] apply::Fault),
    /// The database file.
    #[error("database: {0}")]
    Backend(#[from] backend::Fault),
    /// The data directory.
    #[error("{path}: {what}: {source}")]
    Io {
        /// The file or directory.
        path: String,
        /// What was being done.
        what: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The configuration and the data do not fit each other.
    #[error("{0}")]
    Config(String),
}

impl Fault {
    /// Whether another process has the files: what it is, it may not be for long.
    pub fn is_in_use(&self) -> bool {
        match self {
            Fault::Wal(fault) => fault.is_in_use(),
            Fault::Backend(fault) => fault.is_in_use(),
            _ => false,
        }
    }
}
