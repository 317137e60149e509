//! Faults of the database.

use std::io;
use thiserror::Error;

/// The database file cannot be trusted or written; the member must stop.
#[derive(Debug, Error)]
pub enum Fault {
    /// The file itself.
    #[error(transparent)]
    Bolt(#[from] bolt::Error),
    /// Names around it.
    #[error("{path}: {what}: {source}")]
    Io {
        /// The file or directory.
        path: String,
        /// What was being done.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A value that no sound member wrote.
    #[error("table {table}: {what}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// What is wrong.
        what: String,
    },
}

impl Fault {
    /// Whether another process has the file.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Fault::Bolt(error) if error.is_in_use())
    }
}
