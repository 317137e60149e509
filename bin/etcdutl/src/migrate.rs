//! `migrate`: makes a data directory fit for another version of etcd.

use crate::files::{self, Refused, open_within};
use crate::log::{self, Level};
use crate::log_version;
use backend::{Backend, Options};
use cli::go;
use cli::secret::shown;
use disk::RealDisk;
use membership::{Version, migrate, set_storage_version, storage_version};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// No version before this one can be migrated to.
const OLDEST: Version = Version { major: 3, minor: 5, patch: 0 };
/// Databases say their version since this one.
const WRITTEN_SINCE: Version = Version { major: 3, minor: 6, patch: 0 };

/// Reads the version to go to.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse_target(text: &str) -> Result<Version, String> {
    let quoted = go::quote(shown(text).as_bytes());
    let parts: Vec<&str> = text.split('.').collect();
    let [major, minor] = parts.as_slice() else {
        return Err(format!("wrong target version format, expected \"X.Y\", got {quoted}"));
    };
    let number = |part: &str| {
        go::parse_int(part).map_err(|why| format!("failed to parse target version: {why}"))
    };
    let target = Version { major: number(major)?, minor: number(minor)?, patch: 0 };
    if target < OLDEST {
        let short = short(target);
        return Err(format!("target version \"{short}\" not supported. Minimal \"3.5\""));
    }
    Ok(target)
}

fn short(version: Version) -> String {
    format!("{}.{}", version.major, version.minor)
}

/// Moves the storage of a member that is not running to a version.
///
/// # Errors
/// There is no way to that version, or the log holds what it could not read (unless forced); there
/// is no sound database or log, or they are in use.
pub(crate) fn run(
    data_dir: &Path,
    target: Version,
    force: bool,
    timeout: Duration,
) -> Result<(), Refused> {
    let path = files::db(data_dir);
    files::check_there(&path)?;
    let open = || Backend::open(RealDisk::new(), &path, Options::default());
    let mut backend = open_within(timeout, open)?;
    let current = storage_version(&backend.reader().view()).map_err(|why| {
        let text = "failed to detect storage version. Please make sure you are using data dir \
                    from etcd v3.5 and older";
        log::line(Level::Error, text, &[]);
        Refused::because(why)
    })?;
    if current == target {
        log::info("storage version up-to-date", &version_field(current));
        return Ok(());
    }
    let log = log_version::lowest(&RealDisk, &files::wal_dir(data_dir)).map_err(|why| {
        log::line(Level::Error, "Failed to finalize config", &[("error", json!(why))]);
        Refused(why)
    })?;
    change(&mut backend, log, target, force)?;
    Ok(backend.commit()?)
}

fn change(
    backend: &mut Backend,
    log: Option<Version>,
    target: Version,
    force: bool,
) -> Result<(), Refused> {
    let view = backend.reader().view();
    let mut txn = backend.begin_maintenance();
    match migrate(&view, &mut txn, log, target) {
        Ok(()) => {
            // This line says all of it, as the reference's does; the others leave the patch out.
            let fields = [("new-storage-version", json!(target.to_string()))];
            log::info("updated storage version", &fields);
        }
        Err(why) if !force => return Err(Refused::because(why)),
        Err(why) => {
            let fields = [("error", json!(why.to_string()))];
            log::info("normal migrate failed, trying with force", &fields);
            set_storage_version(&mut txn, target);
            if target < WRITTEN_SINCE {
                log::line(Level::Warn, "forcefully cleared storage version", &[]);
            } else {
                let text = "forcefully set storage version";
                log::line(Level::Warn, text, &version_field(target));
            }
        }
    }
    txn.finish();
    Ok(())
}

fn version_field(version: Version) -> [(&'static str, Value); 1] {
    [("storage-version", json!(short(version)))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_two_numbers_from_3_5_on() {
        assert_eq!(parse_target("3.7"), Ok(Version { major: 3, minor: 7, patch: 0 }));
        let refusals = [
            ("3", "wrong target version format, expected \"X.Y\", got \"3\""),
            ("3.6.1", "wrong target version format, expected \"X.Y\", got \"3.6.1\""),
            (
                "3.x",
                "failed to parse target version: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            ("3.4", "target version \"3.4\" not supported. Minimal \"3.5\""),
        ];
        for (text, refusal) in refusals {
            assert_eq!(parse_target(text).unwrap_err(), refusal);
        }
    }
}
