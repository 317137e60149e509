//! The cluster's version and that of what is stored, which follows it.
//!
//! ```text
//! cluster version   in the log: what every member understands
//! storage version   this member's own: what its database stores, for whoever opens it next
//! ```
//! Reference: `server/etcdserver/version/{downgrade,monitor}.go`.

use crate::{Fault, Machine};
use backend::View;
use membership::{Members, MigrationError, Version};

/// The version of a cluster whose members have not all spoken.
const UNDECIDED: Version = Version { major: 3, minor: 0, patch: 0 };

/// Whether this version may open what a database holds.
///
/// # Errors
/// Its storage or its cluster has a version above this one.
pub(crate) fn check(view: &View, members: &Members) -> Result<(), Fault> {
    membership::check_storage(view).map_err(|error| match error {
        MigrationError::NoPlan(why) => Fault::Unsupported(why),
        other => Fault::Unsupported(other.to_string()),
    })?;
    members.cluster_version().map_or(Ok(()), check_cluster)
}

/// Whether this version may be in a cluster of that version.
///
/// # Errors
/// It may not.
pub(crate) fn check_cluster(version: &str) -> Result<(), Fault> {
    let Some(found) = Version::parse(version).filter(|found| *found > Version::NEWEST) else {
        return Ok(());
    };
    Err(Fault::Unsupported(format!(
        "invalid downgrade; server version is lower than determined cluster version \
         (current-server-version: {}, determined-cluster-version: {}.{})",
        Version::NEWEST,
        found.major,
        found.minor
    )))
}

/// Whether one version of the cluster is below another.
pub(crate) fn is_below(version: &str, other: Option<&str>) -> bool {
    let parse = |text| Version::parse(text);
    parse(version).zip(other.and_then(parse)).is_some_and(|(version, other)| version < other)
}

impl Machine {
    /// The version of what is stored, as far as it is known.
    pub fn storage_version(&self) -> Option<Version> {
        membership::storage_version(&self.backend.reader().view()).ok()
    }

    /// The version that what is stored should have, where it has another.
    pub fn next_storage_version(&self) -> Option<Version> {
        let cluster = Version::parse(self.members.cluster_version()?)?.minor_only();
        let stored = self.storage_version().map(Version::minor_only);
        (cluster != UNDECIDED && stored != Some(cluster)).then_some(cluster)
    }

    /// Gives what is stored the cluster's version, if it has another.
    ///
    /// # Errors
    /// There is no way from one to the other; nothing is changed then.
    pub fn migrate_storage(&mut self) -> Result<(), MigrationError> {
        let Some(target) = self.next_storage_version() else { return Ok(()) };
        let view = self.backend.reader().view();
        let mut txn = self.backend.begin_maintenance();
        // No entry of the log is newer than the versions that are known here.
        let result = membership::migrate(&view, &mut txn, None, target);
        txn.finish();
        result
    }
}
