//! The line with which a member begins its log: every setting by etcd's name for it, and no secret.

use crate::config::Config;
use crate::listen::Listen;
use crate::origin::Way;
use apply::quota::DEFAULT_BYTES;
use cli::go;
use proto::VERSION;
use serde_json::{Value, json};
use server::AutoCompaction;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// Where a member's data lies within its directory.
const MEMBER: &str = "member";
/// Where earlier versions of etcd had the data of a proxy.
const PROXY: &str = "proxy";

/// The directory of the log.
fn wal_dir(config: &Config) -> PathBuf {
    let replica = &config.server.replica;
    let within = || replica.data_dir.join(MEMBER).join("wal");
    replica.wal_dir.clone().unwrap_or_else(within)
}

/// Whether the member has a log already.
fn is_initialized(config: &Config) -> bool {
    let files = std::fs::read_dir(wal_dir(config)).into_iter().flatten().flatten();
    files
        .into_iter()
        .any(|file| Path::new(&file.file_name()).extension().is_some_and(|e| e == "wal"))
}

/// Tells whether the data directory is one already, and of what else lies there.
///
/// # Errors
/// It is that of a proxy, or of both.
pub(crate) fn data_dir(dir: &Path) -> Result<(), String> {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = files.map(|file| file.file_name()).collect();
    names.sort();
    let has = |what: &str| names.iter().any(|name| name == what);
    let (is_member, is_proxy) = (has(MEMBER), has(PROXY));
    for name in names.iter().filter(|name| *name != MEMBER && *name != PROXY) {
        tracing::warn!(
            filename = %name.display(),
            data_dir = %dir.display(),
            "found invalid file under data directory"
        );
    }
    if is_proxy {
        return Err(match is_member {
            true => "invalid datadir; both member and proxy directories exist".into(),
            false => "v2 http proxy has already been deprecated in 3.6".into(),
        });
    }
    if !is_member {
        tracing::info!(
            data_dir = %dir.display(),
            dir_type = "empty",
            "Initialize and start etcd server"
        );
    } else {
        tracing::info!(
            data_dir = %dir.display(),
            dir_type = MEMBER,
            "server has already been initialized"
        );
    }
    Ok(())
}

/// `starting an etcd server` (reference: `print` of `server/embed/etcd.go`).
pub(crate) fn start(config: &Config) {
    let initialized = is_initialized(config);
    let parts =
        [program(), member(config, initialized), addresses(config), cluster(config, initialized)];
    let mut fields = serde_json::Map::new();
    for part in parts.into_iter().chain([limits(config), config.as_set.clone()]) {
        if let Value::Object(part) = part {
            fields.extend(part);
        }
    }
    let fields = Value::Object(fields).to_string();
    tracing::info!(fields = fields.as_bytes(), "starting an etcd server");
}

fn program() -> Value {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({
        "etcd-version": VERSION,
        "git-sha": concat!("Holdfast ", env!("CARGO_PKG_VERSION")),
        "go-version": "",
        "go-os": std::env::consts::OS,
        "go-arch": architecture,
        "max-cpu-set": processors,
        "max-cpu-available": processors,
    })
}

fn member(config: &Config, initialized: bool) -> Value {
    let (server, replica) = (&config.server, &config.server.replica);
    let dedicated = replica.wal_dir.as_deref().unwrap_or(Path::new(""));
    json!({
        "member-initialized": initialized,
        "name": replica.name,
        "data-dir": replica.data_dir.display().to_string(),
        "wal-dir": dedicated.display().to_string(),
        "wal-dir-dedicated": dedicated.display().to_string(),
        "member-dir": cleaned(&replica.data_dir.join(MEMBER)).display().to_string(),
        "force-new-cluster": replica.force_new_cluster,
        "heartbeat-interval": go::duration(server.heartbeat_interval),
        "election-timeout": go::duration(server.election_timeout),
        "initial-election-tick-advance": server.advance_first_election,
        "snapshot-catchup-entries": replica.catch_up.entries_max,
    })
}

/// As they were written.
pub(crate) fn urls(listen: &[Listen]) -> Vec<&str> {
    listen.iter().map(|listen| listen.url.as_str()).collect()
}

fn addresses(config: &Config) -> Value {
    json!({
        "initial-advertise-peer-urls": config.server.advertise_peer_urls,
        "listen-peer-urls": urls(&config.listen_peers),
        "advertise-client-urls": config.server.advertise_client_urls,
        "listen-client-urls": urls(&config.listen),
        "listen-metrics-urls": urls(&config.listen_metrics),
        "local-address": "",
        "cors": ["*"],
        "host-whitelist": ["*"],
    })
}

/// A member with a log does not look at what its cluster was to begin with.
fn cluster(config: &Config, initialized: bool) -> Value {
    use server::Source;
    let origin = &config.origin;
    let listed = match origin.way {
        Way::Listed(_) if !initialized => origin.cluster().map(|list| list.to_string()).ok(),
        _ => None,
    };
    let token = origin.token.display().to_string();
    json!({
        "initial-cluster": listed.unwrap_or_default(),
        "initial-cluster-state": if config.joins { "existing" } else { "new" },
        "initial-cluster-token": if initialized { "" } else { token.as_str() },
    })
}

fn limits(config: &Config) -> Value {
    let (server, replica) = (&config.server, &config.server.replica);
    let (mode, retention) = match server.auto_compaction {
        None => ("periodic", go::duration(Duration::ZERO)),
        Some(AutoCompaction::Period(period)) => ("periodic", go::duration(period)),
        // As in the reference, a number of revisions is shown as nanoseconds.
        Some(AutoCompaction::Revisions(count)) => {
            ("revision", go::duration(Duration::from_nanos(count.unsigned_abs())))
        }
    };
    let quota = match replica.apply.quota_bytes {
        0 => DEFAULT_BYTES,
        bytes => bytes,
    };
    json!({
        "quota-backend-bytes": quota,
        "max-request-bytes": server.request_bytes_max,
        "max-concurrent-streams": server.concurrent_streams_max,
        "pre-vote": replica.pre_vote,
        "initial-corrupt-check": false,
        "corrupt-check-time-interval": "0s",
        "auto-compaction-mode": mode,
        "auto-compaction-retention": retention,
        "auto-compaction-interval": retention,
    })
}

/// A path without what can be left out (Go's `path.Clean`).
fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match (part, clean.components().next_back()) {
            (Component::CurDir, _) | (Component::ParentDir, Some(Component::RootDir)) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                clean.pop();
            }
            (part, _) => clean.push(part),
        }
    }
    clean
}

/// `Running: ` with the command line, its secrets hidden.
pub(crate) fn command_line(args: impl Iterator<Item = OsString>) {
    let args = args.map(|arg| arg.to_string_lossy().into_owned());
    let shown = serde_json::Value::from(server::shown_arguments(args)).to_string();
    tracing::info!(args = shown.as_bytes(), "Running: ");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_proxies_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let look = || data_dir(dir.path());
        assert_eq!(look(), Ok(()));
        std::fs::create_dir(dir.path().join("proxy")).unwrap();
        assert_eq!(look(), Err("v2 http proxy has already been deprecated in 3.6".into()));
        std::fs::create_dir(dir.path().join("member")).unwrap();
        let both = "invalid datadir; both member and proxy directories exist";
        assert_eq!(look(), Err(both.into()));
        std::fs::remove_dir(dir.path().join("proxy")).unwrap();
        assert_eq!(look(), Ok(()));
    }

    #[test]
    fn paths_are_shown_as_go_joins_them() {
        for (path, clean) in [
            ("./member", "member"),
            ("/d/a/../b/./c/member", "/d/b/c/member"),
            ("../../x//y/", "../../x/y"),
            ("/../x", "/x"),
            ("a/../../x", "../x"),
        ] {
            assert_eq!(cleaned(Path::new(path)), Path::new(clean), "{path}");
        }
    }
}
