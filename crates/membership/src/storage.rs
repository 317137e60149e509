//! The version of what is stored, and moving it up and down.
//!
//! ```text
//! meta/storageVersion   since 3.6: the version as text, "3.7.0"
//! meta/term             3.5 has this and no version; what has neither is older
//! ```
//! Nothing but the version itself has been added since 3.5, so a step up writes it, a step down to
//! 3.5 removes it, and 3.7 differs from 3.6 by name only. A step down is refused while the log
//! holds entries that the older version could not read.
//!
//! Reference: `server/storage/schema/{schema,migration}.go`.

use backend::{MaintenanceTxn, Table, View};
use bytes::Bytes;
use std::fmt;
use thiserror::Error;

const STORAGE_VERSION: &[u8] = b"storageVersion";
const TERM: &[u8] = b"term";

/// The versions in whose step up something changed.
const KNOWN_MINORS: std::ops::RangeInclusive<i64> = 6..=7;
/// The first version that is written down.
const WRITTEN_SINCE: Version = Version { major: 3, minor: 6, patch: 0 };

/// A version of etcd, or of what it stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // the names say it
pub struct Version {
    pub major: i64,
    pub minor: i64,
    pub patch: i64,
}

/// Why a version cannot be moved to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MigrationError {
    /// The database is older than 3.5.
    #[error("missing term information")]
    Unknown,
    /// There is no way from one to the other.
    #[error("cannot create migration plan: {0}")]
    NoPlan(String),
    /// Older versions could not read the log.
    #[error(
        "cannot downgrade storage, WAL contains newer entries, as the target version ({target}) \
         is lower than the version ({found}) detected from WAL logs"
    )]
    NewerLog {
        /// The version asked for.
        target: Version,
        /// The lowest that reads the log.
        found: Version,
    },
}

impl Version {
    /// The newest that is understood here.
    pub const NEWEST: Version = Version { major: 3, minor: 7, patch: 0 };
    /// That of a database which was written to and does not say what it stores.
    pub const UNWRITTEN: Version = Version { major: 3, minor: 5, patch: 0 };

    /// The version without its patch.
    pub fn minor_only(self) -> Version {
        Version { patch: 0, ..self }
    }

    /// Reads `major.minor.patch`.
    pub fn parse(text: &str) -> Option<Version> {
        let mut parts = text.splitn(3, '.').map(|part| part.parse::<i64>().ok());
        let mut next = || parts.next().flatten().filter(|part| *part >= 0);
        Some(Version { major: next()?, minor: next()?, patch: next()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The version of what a database says that it stores; nothing where that is older than 3.6.
pub fn written_storage_version(view: &View) -> Option<Version> {
    let text = view.get(Table::Meta, STORAGE_VERSION)?;
    Version::parse(std::str::from_utf8(&text).ok()?)
}

/// The version of what a database stores.
///
/// # Errors
/// [`MigrationError::Unknown`].
pub fn storage_version(view: &View) -> Result<Version, MigrationError> {
    if let Some(version) = written_storage_version(view) {
        return Ok(version);
    }
    let term = view.get(Table::Meta, TERM).unwrap_or_default();
    if term.iter().all(|byte| *byte == 0) {
        return Err(MigrationError::Unknown);
    }
    Ok(Version::UNWRITTEN)
}

/// Whether a database stores what this version understands. One that does not say what it stores
/// is older, or new.
///
/// # Errors
/// [`MigrationError::NoPlan`].
pub fn check_storage(view: &View) -> Result<(), MigrationError> {
    match storage_version(view) {
        Ok(current) => check_plan(current, Version::NEWEST).map_err(MigrationError::NoPlan),
        Err(_) => Ok(()),
    }
}

/// Makes what is stored that of another version. `log` is the lowest version that can read the
/// entries which a restart would apply again.
///
/// # Errors
/// See [`MigrationError`]; nothing is changed then.
pub fn migrate(
    view: &View,
    txn: &mut MaintenanceTxn<'_>,
    log: Option<Version>,
    target: Version,
) -> Result<(), MigrationError> {
    migrate_from(storage_version(view)?, txn, log, target)
}

/// The same where it is known what is stored.
///
/// # Errors
/// See [`migrate`].
pub fn migrate_from(
    current: Version,
    txn: &mut MaintenanceTxn<'_>,
    log: Option<Version>,
    target: Version,
) -> Result<(), MigrationError> {
    check_plan(current, target).map_err(MigrationError::NoPlan)?;
    if let Some(found) = log.filter(|found| target < current && target < *found) {
        return Err(MigrationError::NewerLog { target, found });
    }
    if (current.major, current.minor) != (target.major, target.minor) {
        set_storage_version(txn, target);
    }
    Ok(())
}

/// Whether every step of the way is known.
fn check_plan(current: Version, target: Version) -> Result<(), String> {
    if current.major != target.major {
        return Err("changing major storage version is not supported".into());
    }
    let unknown = |minor| format!("version \"{}.{minor}.0\" is not supported", current.major);
    let is_known = |minor| current.major == 3 && KNOWN_MINORS.contains(&minor);
    let first_unknown = if current.minor < target.minor {
        (current.minor + 1..=target.minor).find(|minor| !is_known(*minor))
    } else {
        (target.minor + 1..=current.minor).rev().find(|minor| !is_known(*minor))
    };
    first_unknown.map_or(Ok(()), |minor| Err(unknown(minor)))
}

/// Writes a version down, or none where it is one that knows of none.
pub fn set_storage_version(txn: &mut MaintenanceTxn<'_>, version: Version) {
    if version < WRITTEN_SINCE {
        txn.delete(Table::Meta, STORAGE_VERSION);
    } else {
        let text = version.minor_only().to_string();
        let read = Version::parse(&text);
        assert_eq!(read, Some(version.minor_only()), "a version that is written reads back");
        txn.put(Table::Meta, STORAGE_VERSION, Bytes::from(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backend::{Backend, EntryId, Options};
    use disk::sim::SimDisk;
    use std::path::Path;
    use std::sync::Arc;

    const fn v(minor: i64) -> Version {
        Version { major: 3, minor, patch: 0 }
    }

    fn try_to(backend: &mut Backend, log: Option<Version>, target: Version) -> String {
        let view = backend.reader().view();
        let mut txn = backend.begin_maintenance();
        match migrate(&view, &mut txn, log, target) {
            Ok(()) => txn.finish(),
            Err(error) => return error.to_string(),
        }
        let stored = backend.reader().view().get(Table::Meta, STORAGE_VERSION);
        String::from_utf8(stored.unwrap_or_default().to_vec()).unwrap()
    }

    #[test]
    fn versions_go_up_and_down() {
        let disk = Arc::new(SimDisk::new(1));
        let mut backend = Backend::open(disk, Path::new("db"), Options::default()).unwrap();
        assert_eq!(try_to(&mut backend, None, v(6)), "missing term information");
        backend.begin().finish(EntryId { term: 2, index: 9 });
        backend.commit().unwrap();
        assert_eq!(try_to(&mut backend, None, v(7)), "3.7.0");
        assert_eq!(storage_version(&backend.reader().view()), Ok(v(7)));
        assert_eq!(try_to(&mut backend, Some(v(4)), v(6)), "3.6.0");
        assert_eq!(try_to(&mut backend, Some(v(5)), v(5)), "");
        assert_eq!(storage_version(&backend.reader().view()), Ok(v(5)));
        let plan = "cannot create migration plan: ";
        let unsupported = format!("{plan}version \"3.8.0\" is not supported");
        assert_eq!(try_to(&mut backend, None, v(9)), unsupported);
        let major = Version { major: 4, minor: 0, patch: 0 };
        let refused = format!("{plan}changing major storage version is not supported");
        assert_eq!(try_to(&mut backend, None, major), refused);
        assert_eq!(try_to(&mut backend, None, v(6)), "3.6.0");
        assert!(try_to(&mut backend, Some(v(6)), v(5)).contains("(3.5.0) is lower than"));
    }

    #[test]
    fn versions_are_read_strictly() {
        assert_eq!(Version::parse("3.7.0"), Some(v(7)));
        for bad in ["", "3", "3.7", "3.x.0", "3.7.0.1", "3.-7.0", "3.7.0-rc"] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
    }
}
