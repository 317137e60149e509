//! Faults of the log's files.

use std::io;
use std::path::Path;
use thiserror::Error;

/// What is wrong, and where.
#[derive(Debug, Error)]
pub enum Fault {
    /// The operating system refused.
    #[error("{path}: {what}: {source}")]
    Io {
        /// The file or directory.
        path: String,
        /// What was being done.
        what: &'static str,
        /// Its reason.
        source: io::Error,
    },
    /// Bytes that no sound member wrote.
    #[error("{path}: damaged at offset {offset}: {what}")]
    Corrupt {
        /// The file.
        path: String,
        /// The offset of the record, in bytes.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The directory's files do not belong together.
    #[error("{path}: {what}")]
    Inconsistent {
        /// The directory.
        path: String,
        /// What does not fit.
        what: String,
    },
    /// An earlier write or sync failed; nothing more is written.
    #[error("write-ahead log takes no writes after an earlier failure: {0}")]
    Poisoned(String),
}

impl Fault {
    /// Whether another process has the files.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Fault::Io { source, .. } if source.kind() == io::ErrorKind::WouldBlock)
    }

    pub(crate) fn io(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Fault {
        let path = path.display().to_string();
        move |source| Fault::Io { path, what, source }
    }

    pub(crate) fn corrupt(path: &Path, offset: u64, what: impl Into<String>) -> Fault {
        Fault::Corrupt { path: path.display().to_string(), offset, what: what.into() }
    }

    pub(crate) fn inconsistent(path: &Path, what: impl Into<String>) -> Fault {
        Fault::Inconsistent { path: path.display().to_string(), what: what.into() }
    }
}
