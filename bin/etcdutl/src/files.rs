//! Where a member keeps its files, and opening those that others may have open.

use cli::go;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often it is tried to get a lock.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// The directory of the database and the snapshot files.
pub(crate) fn snap_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("member").join("snap")
}

/// The database.
pub(crate) fn db(data_dir: &Path) -> PathBuf {
    snap_dir(data_dir).join("db")
}

/// The log's directory.
pub(crate) fn wal_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("member").join("wal")
}

/// Whether a file is there at all. What is neither a file nor a link to one, such as a pipe, which would
/// be waited for, is none.
///
/// # Errors
/// `stat x: no such file or directory`, `invalid database`.
pub(crate) fn check_there(path: &Path) -> Result<(), Refused> {
    match std::fs::metadata(path) {
        Err(error) => Err(Refused(go::path_error("stat", path, &error))),
        Ok(found) if !found.is_file() => Err(Refused("invalid database".to_owned())),
        Ok(_) => Ok(()),
    }
}

/// Why nothing was done.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) String);

impl std::error::Error for Refused {}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Refused {
    /// The last word of a fault.
    pub(crate) fn because(fault: impl std::fmt::Display) -> Refused {
        Refused(fault.to_string())
    }
}

impl From<bolt::Error> for Refused {
    fn from(error: bolt::Error) -> Refused {
        Refused(match error {
            // Pages 0 and 1 say what the file is.
            bolt::Error::Corrupt { page: 0 | 1, .. } => "invalid database".to_owned(),
            bolt::Error::Corrupt { page, what, .. } => integrity(&[format!("page {page}: {what}")]),
            other => other.to_string(),
        })
    }
}

impl From<backend::Fault> for Refused {
    fn from(fault: backend::Fault) -> Refused {
        match fault {
            backend::Fault::Bolt(error) => error.into(),
            other => Refused::because(other),
        }
    }
}

/// What is said about a database with damaged pages.
pub(crate) fn integrity(findings: &[String]) -> String {
    let count = findings.len();
    format!("snapshot file integrity check failed. {count} errors found.\n{}", findings.join("\n"))
}

/// A fault that may be another process's lock.
pub(crate) trait MayBeLocked {
    /// Whether it is one.
    fn is_locked(&self) -> bool;
}

impl MayBeLocked for bolt::Error {
    fn is_locked(&self) -> bool {
        self.is_in_use()
    }
}

impl MayBeLocked for backend::Fault {
    fn is_locked(&self) -> bool {
        self.is_in_use()
    }
}

/// Opens a file as soon as no other process holds it; zero waits for ever.
///
/// # Errors
/// `timeout`, or what else keeps it from being opened.
pub(crate) fn open_within<T, E: MayBeLocked + Into<Refused>>(
    timeout: Duration,
    open: impl Fn() -> Result<T, E>,
) -> Result<T, Refused> {
    let start = Instant::now();
    loop {
        match open() {
            Err(fault) if fault.is_locked() => {
                if !timeout.is_zero() && start.elapsed() >= timeout {
                    return Err(Refused("timeout".into()));
                }
                sleep(RETRY_INTERVAL);
            }
            other => return other.map_err(Into::into),
        }
    }
}
