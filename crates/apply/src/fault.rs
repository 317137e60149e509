//! What this machine or its data got wrong: never retried, the member stops.

use thiserror::Error;

/// A fault while opening or applying.
#[derive(Debug, Error)]
pub enum Fault {
    /// The database file.
    #[error("database: {0}")]
    Backend(#[from] backend::Fault),
    /// The keys in it.
    /// A committed entry cannot be read.
    #[error("entry {index} of the log is not a request this version understands")]
    Entry {
        /// The entry's index.
        index: u64,
    },
    /// The data needs a part that this build does not have; going on would be unsafe.
    #[error("{0}")]
    Unsupported(String),
}
