//! What can go wrong with a file.

use std::io;
use thiserror::Error as ThisError;

/// A fault of the file, the disk, or the caller's arguments.
#[derive(Debug, ThisError)]
pub enum Error {
    /// The operating system refused.
    #[error("{path}: {what}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What was being done.
        what: &'static str,
        /// Its reason.
        source: io::Error,
    },
    /// The bytes cannot be what a sound commit left.
    #[error("{path}: page {page} at offset {offset} is damaged: {what}")]
    Corrupt {
        /// The file.
        path: String,
        /// The page's number.
        page: u64,
        /// Its place in the file, in bytes.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// An earlier write or sync failed; what rests on the disk is not known any more.
    #[error("{path}: no writes after an earlier failure: {first}")]
    Poisoned {
        /// The file.
        path: String,
        /// That failure.
        first: String,
    },
    /// The database was opened for reading.
    #[error("database is open for reading only")]
    ReadOnly,
    /// Keys must not be empty.
    #[error("key required")]
    KeyRequired,
    /// The names of buckets must not be empty.
    #[error("bucket name required")]
    BucketNameRequired,
    /// The key is longer than [`crate::KEY_MAX`].
    #[error("key too large")]
    KeyTooLarge,
    /// The value is longer than [`crate::VALUE_MAX`].
    #[error("value too large")]
    ValueTooLarge,
    /// A key where a bucket was expected, or the reverse.
    #[error("incompatible value")]
    IncompatibleValue,
    /// There is a bucket of this name.
    #[error("bucket already exists")]
    BucketExists,
    /// There is no bucket of this name.
    #[error("bucket not found")]
    BucketNotFound,
}

impl Error {
    /// Whether another process has the file.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::WouldBlock)
    }
}
