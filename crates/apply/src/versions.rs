//! The cluster's version and that of what is stored, which follows it.
//!
//! ```text
//! cluster version   in the log: what every member understands
//! storage version   this member's own: what its database stores, for whoever opens it next
//! ```
//! Reference: `server/etcdserver/version/{downgrade,monitor}.go`.

use crate::Fault;
use backend::View;
use membership::{Members, MigrationError, Version};

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
