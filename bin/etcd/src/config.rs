//! From settings to what the server needs, checked.

use crate::flags::Settings;
use crate::gates;
use server::apply::membership::InitialCluster;
use server::apply::{self, lease};
use server::{Beginning, ReplicaOptions, wal};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;
use url::{Host, Url};

const ELECTION_TIMEOUT_MAX_MS: u64 = 50_000;
/// Proposals are refused while this many bytes wait to be committed.
const UNCOMMITTED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Everything the program needs.
pub(crate) struct Config {
    pub(crate) server: server::Config,
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) listen_peers: Vec<SocketAddr>,
    /// Whether a member without data joins a cluster that runs.
    pub(crate) joins: bool,
    pub(crate) log_level: String,
}

impl Config {
    /// Checks and converts.
    ///
    /// # Errors
    /// What is wrong, and what to do about it.
    pub(crate) fn from_settings(settings: &Settings) -> Result<Config, String> {
        let heartbeat_ms: u64 = number(settings, "heartbeat-interval")?;
        let election_ms: u64 = number(settings, "election-timeout")?;
        if heartbeat_ms == 0 || election_ms < 5 * heartbeat_ms {
            return Err(format!(
                "--election-timeout[{election_ms}ms] should be at least as 5 times as \
                 --heartbeat-interval[{heartbeat_ms}ms]"
            ));
        }
        if election_ms > ELECTION_TIMEOUT_MAX_MS {
            return Err(format!(
                "--election-timeout[{election_ms}ms] is too long, and should be set less than \
                 {ELECTION_TIMEOUT_MAX_MS}ms"
            ));
        }
        if settings.is_given("listen-client-urls") && !settings.is_given("advertise-client-urls") {
            return Err("--advertise-client-urls is required when --listen-client-urls is set \
                        explicitly"
                .into());
        }
        one_of(settings, "initial-cluster-state", &["new", "existing"])?;
        one_of(settings, "backend-bbolt-freelist-type", &["map", "array"])?;
        one_of(settings, "metrics", &["basic", "extensive"])?;
        one_of(settings, "logger", &["zap"])?;
        one_of(settings, "log-format", &["json"])?;
        one_of(settings, "log-outputs", &["default", "stderr"])?;
        Ok(Config {
            server: server_config(settings, heartbeat_ms, election_ms)?,
            listen: listen_addresses(settings, "listen-client-urls")?,
            listen_peers: listen_addresses(settings, "listen-peer-urls")?,
            joins: settings.get("initial-cluster-state") == "existing",
            log_level: settings.get("log-level").to_owned(),
        })
    }
}

fn server_config(
    settings: &Settings,
    heartbeat_ms: u64,
    election_ms: u64,
) -> Result<server::Config, String> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    Ok(server::Config {
        replica: replica_options(settings, heartbeat_ms, election_ms)?,
        advertise_peer_urls: urls(settings.get("initial-advertise-peer-urls"))?,
        strict_changes: settings.get("strict-reconfig-check") == "true",
        advertise_client_urls: urls(settings.get("advertise-client-urls"))?,
        heartbeat_interval: Duration::from_millis(heartbeat_ms),
        election_timeout: Duration::from_millis(election_ms),
        batch_interval: duration(settings, "backend-batch-interval", Duration::from_millis(100))?,
        txn_ops_max: number(settings, "max-txn-ops")?,
        request_bytes_max: number(settings, "max-request-bytes")?,
        concurrent_streams_max: number(settings, "max-concurrent-streams")?,
        keepalive_interval: duration(settings, "grpc-keepalive-interval", Duration::MAX)?,
        keepalive_timeout: duration(settings, "grpc-keepalive-timeout", Duration::from_secs(20))?,
        keepalive_min_time: duration(settings, "grpc-keepalive-min-time", Duration::ZERO)?,
        progress_interval: duration(
            settings,
            "watch-progress-notify-interval",
            Duration::from_secs(600),
        )?
        .max(Duration::from_millis(100)),
        extensive_metrics: settings.get("metrics") == "extensive",
        net_threads: threads.min(4),
    })
}

fn replica_options(
    settings: &Settings,
    heartbeat_ms: u64,
    election_ms: u64,
) -> Result<ReplicaOptions, String> {
    let name = settings.get("name").to_owned();
    let data_dir = match settings.get("data-dir") {
        "" => PathBuf::from(format!("{name}.etcd")),
        dir => PathBuf::from(dir),
    };
    let wal_dir = Some(settings.get("wal-dir")).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let peers = urls(settings.get("initial-advertise-peer-urls"))?;
    let initial = match settings.get("initial-cluster") {
        "" => peers.iter().map(|url| format!("{name}={url}")).collect::<Vec<_>>().join(","),
        list => list.to_owned(),
    };
    let token = settings.get("initial-cluster-token");
    let initial = InitialCluster::parse(&initial, token)
        .map_err(|error| format!("--initial-cluster: {error}"))?;
    let no_sync = settings.get("unsafe-no-fsync") == "true";
    let mut backend = apply::backend::Options::default();
    backend.bolt.no_sync = no_sync;
    // As etcd: one and a half election timeouts, in whole seconds.
    let ticks = 3 * (election_ms / heartbeat_ms) / 2;
    let ttl_min_s = (ticks * heartbeat_ms).div_ceil(1000) as i64;
    let gates = gates::read(settings.get("feature-gates"))?;
    Ok(ReplicaOptions {
        data_dir,
        wal_dir,
        name,
        beginning: Beginning::New(initial),
        election_ticks: (election_ms / heartbeat_ms) as u32,
        pre_vote: settings.get("pre-vote") == "true",
        snapshot_count: number(settings, "snapshot-count")?,
        keep_files: number::<usize>(settings, "max-wals")?.max(1),
        wal: wal::Options { no_sync, ..wal::Options::default() },
        backend,
        lease: lease::Config {
            ttl_min_s,
            checkpoints: gates.lease_checkpoint,
            persist_checkpoints: true,
        },
        apply: apply::Config {
            quota_bytes: number(settings, "quota-backend-bytes")?,
            learners_max: number(settings, "max-learners")?,
        },
        uncommitted_bytes_max: UNCOMMITTED_BYTES_MAX,
    })
}

fn number<N: std::str::FromStr>(settings: &Settings, name: &str) -> Result<N, String> {
    let value = settings.get(name);
    value.parse().map_err(|_| format!("invalid value {value:?} for flag -{name}: not a number"))
}

fn one_of(settings: &Settings, name: &str, known: &[&str]) -> Result<(), String> {
    let value = settings.get(name);
    if known.contains(&value) {
        return Ok(());
    }
    Err(format!("--{name}={value} is not supported by this version; use one of {known:?}"))
}

/// A Go duration, or a number of nanoseconds as configuration files have it. 0 means `otherwise`.
fn duration(settings: &Settings, name: &str, otherwise: Duration) -> Result<Duration, String> {
    let text = settings.get(name);
    let parsed = parse_duration(text)
        .ok_or_else(|| format!("invalid value {text:?} for flag -{name}: not a duration"))?;
    Ok(if parsed.is_zero() { otherwise } else { parsed })
}

fn parse_duration(text: &str) -> Option<Duration> {
    if let Ok(nanos) = text.parse::<u64>() {
        return Some(Duration::from_nanos(nanos));
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let n: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let seconds = match &rest[..unit] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += n * seconds;
        rest = &rest[unit..];
    }
    Duration::try_from_secs_f64(total).ok()
}

fn urls(list: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        let url = Url::parse(text).map_err(|error| format!("URL {text:?}: {error}"))?;
        if url.port_or_known_default().is_none() || !matches!(url.path(), "" | "/") {
            return Err(format!("URL {text:?} must be a scheme, host and port only"));
        }
        found.push(text.trim_end_matches('/').to_owned());
    }
    found.sort();
    Ok(found)
}

/// Where to listen: addresses, or localhost; names could mean another machine tomorrow.
fn listen_addresses(settings: &Settings, flag: &str) -> Result<Vec<SocketAddr>, String> {
    let mut addresses = Vec::new();
    for text in urls(settings.get(flag))? {
        let url = Url::parse(&text).map_err(|error| format!("URL {text:?}: {error}"))?;
        if url.scheme() != "http" {
            return Err(format!("{text}: this version listens on http only"));
        }
        let port = url.port_or_known_default().unwrap_or(80);
        let ip = match url.host() {
            Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
            Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
            Some(Host::Domain("localhost")) => localhost(port),
            _ => {
                return Err(format!(
                    "expected IP in URL for binding ({text}); names are not accepted"
                ));
            }
        };
        addresses.push(SocketAddr::new(ip, port));
    }
    if addresses.is_empty() {
        return Err(format!("--{flag} is empty"));
    }
    Ok(addresses)
}

fn localhost(port: u16) -> IpAddr {
    let resolved = ("localhost", port).to_socket_addrs().ok();
    let v4 = resolved.and_then(|mut found| found.find(SocketAddr::is_ipv4));
    v4.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{self, Outcome};

    fn config(args: &[&str]) -> Result<Config, String> {
        let args: Vec<String> = args.iter().map(|&arg| arg.into()).collect();
        match flags::read(&args, std::iter::empty()) {
            Ok(Outcome::Run(settings)) => Config::from_settings(&settings),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults_are_those_of_etcd() {
        let config = config(&[]).unwrap();
        let replica = &config.server.replica;
        assert_eq!(replica.data_dir, PathBuf::from("default.etcd"));
        let Beginning::New(initial) = &replica.beginning else { panic!("it is new") };
        assert_eq!(format!("{:x}", initial.cluster_id), "cdf818194e3a8c32");
        assert_eq!(replica.lease.ttl_min_s, 2);
        assert_eq!(config.listen[0].port(), 2379);
    }

    #[test]
    fn contradictions_are_refused() {
        let refused = |args: &[&str], what: &str| {
            let error = config(args).err().unwrap();
            assert!(error.contains(what), "{error}");
        };
        refused(&["--election-timeout=400"], "5 times");
        refused(&["--listen-client-urls=http://127.0.0.1:1"], "--advertise-client-urls");
        refused(&["--initial-cluster=a=http://h:1,b=http://h:2"], "several members");
        let both =
            ["--advertise-client-urls=http://h:1", "--listen-client-urls=http://example.com:1"];
        refused(&both, "expected IP");
        refused(&["--max-wals=x"], "not a number");
    }

    #[test]
    fn durations_are_those_of_go() {
        assert_eq!(parse_duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_duration("100ms"), Some(Duration::from_millis(100)));
        assert_eq!(parse_duration("5000000"), Some(Duration::from_millis(5)));
        assert_eq!(parse_duration("5 apples"), None);
    }
}
