//! From settings to what the server needs, checked.

use crate::flags::Settings;
use crate::gates;
use crate::logs;
use crate::origin::{Discovery, Origin, Srv, Way};
use crate::secure::Tls;
use client::TlsFlags;
use server::apply::{self, lease};
use server::{Beginning, CatchUp, ReplicaOptions, wal};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;
use url::{Host, Url};

const ELECTION_TIMEOUT_MAX_MS: u64 = 50_000;
/// Proposals are refused while this many bytes wait to be committed.
const UNCOMMITTED_BYTES_MAX: usize = 256 * 1024 * 1024;

const HALF_DISCOVERY: &str = "both --discovery-token and --discovery-endpoints must be set";

/// Where to listen.
#[derive(Clone, Debug)]
pub(crate) struct Listen {
    /// As it was written.
    pub(crate) url: String,
    /// The host and port as they were written.
    pub(crate) host: String,
    pub(crate) address: SocketAddr,
    pub(crate) is_secure: bool,
}

/// Everything the program needs.
pub(crate) struct Config {
    pub(crate) server: server::Config,
    pub(crate) listen: Vec<Listen>,
    pub(crate) listen_peers: Vec<Listen>,
    /// For metrics and health alone.
    pub(crate) listen_metrics: Vec<Listen>,
    pub(crate) tls: Tls,
    /// Whether a member without data joins a cluster that runs.
    pub(crate) joins: bool,
    /// Where it learns of the first members.
    pub(crate) origin: Origin,
    pub(crate) log: logs::Options,
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
        Ok(Config {
            server: server_config(settings, heartbeat_ms, election_ms)?,
            listen: listen_addresses(settings, "listen-client-urls")?,
            listen_peers: listen_addresses(settings, "listen-peer-urls")?,
            listen_metrics: match settings.get("listen-metrics-urls") {
                "" => Vec::new(),
                _ => listen_addresses(settings, "listen-metrics-urls")?,
            },
            tls: Tls::from_settings(settings)?,
            joins: settings.get("initial-cluster-state") == "existing",
            origin: origin(settings)?,
            log: log_options(settings)?,
        })
    }
}

fn log_options(settings: &Settings) -> Result<logs::Options, String> {
    let level = settings.get("log-level");
    Ok(logs::Options {
        level: logs::Level::parse(level).ok_or_else(|| format!("unrecognized level: {level:?}"))?,
        outputs: settings.get("log-outputs").split(',').map(str::to_owned).collect(),
        format: logs::Format::parse(settings.get("log-format"))?,
    })
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
        advance_first_election: settings.get("initial-election-tick-advance") == "true",
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
        beginning: Beginning::Data,
        force_new_cluster: settings.get("force-new-cluster") == "true",
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
        catch_up: catch_up(settings, heartbeat_ms)?,
    })
}

/// Where the list of the first members comes from; one way only.
fn origin(settings: &Settings) -> Result<Origin, String> {
    let name = settings.get("name").to_owned();
    let advertised = urls(settings.get("initial-advertise-peer-urls"))?;
    let ways = ["initial-cluster", "discovery-srv", "discovery-endpoints"];
    if ways.iter().filter(|way| !settings.get(way).is_empty()).count() > 1 {
        return Err("multiple discovery or bootstrap flags are set. Choose one of \
                    \"initial-cluster\", \"discovery-endpoints\" or \"discovery-srv\""
            .into());
    }
    let token = settings.get("discovery-token");
    let way = match settings.get("discovery-endpoints") {
        "" if !token.is_empty() => return Err(HALF_DISCOVERY.into()),
        "" => match settings.get("discovery-srv") {
            "" => Way::Listed(listed(settings, &name, &advertised)),
            domain => Way::Srv(Srv {
                domain: domain.to_owned(),
                suffix: settings.get("discovery-srv-name").to_owned(),
            }),
        },
        _ if token.is_empty() => return Err(HALF_DISCOVERY.into()),
        endpoints => Way::Discovery(Box::new(discovery(settings, endpoints, token)?)),
    };
    let token = settings.get("initial-cluster-token").to_owned();
    Ok(Origin { way, token, name, advertised })
}

/// The list of the command line; without one, this member alone.
fn listed(settings: &Settings, name: &str, advertised: &[String]) -> String {
    match settings.get("initial-cluster") {
        "" => advertised.iter().map(|url| format!("{name}={url}")).collect::<Vec<_>>().join(","),
        list => list.to_owned(),
    }
}

fn discovery(settings: &Settings, endpoints: &str, token: &str) -> Result<Discovery, String> {
    let endpoints: Vec<String> = endpoints.split(',').map(|one| one.trim().to_owned()).collect();
    if endpoints.iter().any(String::is_empty) {
        return Err("--discovery-endpoints must not contain empty endpoints".into());
    }
    let time = |name, otherwise| duration(settings, name, Duration::from_secs(otherwise));
    let (user, password) = (settings.get("discovery-user"), settings.get("discovery-password"));
    let user = match user.split_once(':') {
        _ if user.is_empty() => None,
        Some((user, password)) => Some((user.to_owned(), password.to_owned())),
        None => Some((user.to_owned(), password.to_owned())),
    };
    Ok(Discovery {
        token: token.to_owned(),
        endpoints,
        dial_timeout: time("discovery-dial-timeout", 2)?,
        request_timeout: time("discovery-request-timeout", 5)?,
        keepalive_interval: time("discovery-keepalive-time", 2)?,
        keepalive_timeout: time("discovery-keepalive-timeout", 6)?,
        user,
        tls: TlsFlags {
            cert: settings.get("discovery-cert").to_owned(),
            key: settings.get("discovery-key").to_owned(),
            cacert: settings.get("discovery-cacert").to_owned(),
            domain: String::new(),
            insecure_transport: settings.get("discovery-insecure-transport") == "true",
            insecure_skip_verify: settings.get("discovery-insecure-skip-tls-verify") == "true",
        },
    })
}

/// How long a member has to catch up with the log when its database was delivered (reference:
/// `releaseDelayAfterSnapshot`).
const HELD_MS: u64 = 30_000;

/// No number of entries means as many as without the flag.
fn catch_up(settings: &Settings, heartbeat_ms: u64) -> Result<CatchUp, String> {
    let usual = CatchUp::default();
    let entries_max = match number(settings, "snapshot-catchup-entries")? {
        0 => usual.entries_max,
        some => some,
    };
    let shorten_entries = usual.shorten_entries.min(entries_max as u64);
    let held_ticks = HELD_MS.div_ceil(heartbeat_ms);
    Ok(CatchUp { entries_max, shorten_entries, held_ticks, ..usual })
}

pub(crate) fn number<N: std::str::FromStr>(settings: &Settings, name: &str) -> Result<N, String> {
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
    let nanos = text.parse().ok().map(Duration::from_nanos);
    nanos.or_else(|| cli::go::parse_duration(text).ok())
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
fn listen_addresses(settings: &Settings, flag: &str) -> Result<Vec<Listen>, String> {
    let mut addresses = Vec::new();
    for text in urls(settings.get(flag))? {
        let url = Url::parse(&text).map_err(|error| format!("URL {text:?}: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("{text}: this version listens on http and https only"));
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
        let host = text.split_once("://").map_or("", |(_, host)| host).to_owned();
        let (address, is_secure) = (SocketAddr::new(ip, port), url.scheme() == "https");
        addresses.push(Listen { url: text, host, address, is_secure });
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
    use server::Source;

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
        let initial = config.origin.cluster().unwrap();
        assert_eq!(format!("{:x}", initial.cluster_id), "cdf818194e3a8c32");
        assert_eq!(replica.lease.ttl_min_s, 2);
        assert_eq!(config.listen[0].address.port(), 2379);
    }

    #[test]
    fn contradictions_are_refused() {
        let refused = |args: &[&str], what: &str| {
            let error = config(args).err().unwrap();
            assert!(error.contains(what), "{error}");
        };
        refused(&["--election-timeout=400"], "5 times");
        refused(&["--listen-client-urls=http://127.0.0.1:1"], "--advertise-client-urls");
        refused(&["--discovery-token=t"], "both --discovery-token and --discovery-endpoints");
        refused(&["--discovery-endpoints=h:1"], "both --discovery-token");
        refused(&["--discovery-endpoints=h:1,", "--discovery-token=t"], "empty endpoints");
        refused(
            &["--discovery-srv=d", "--initial-cluster=default=http://h:1"],
            "multiple discovery or bootstrap flags are set",
        );
        let both =
            ["--advertise-client-urls=http://h:1", "--listen-client-urls=http://example.com:1"];
        refused(&both, "expected IP");
        refused(&["--max-wals=x"], "not a number");
        refused(&["--tls-min-version=TLS1.1"], "unexpected TLS version \"TLS1.1\"");
        refused(
            &["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
            "min version (TLS1.3) is greater than max version (TLS1.2)",
        );
        refused(
            &["--tls-min-version=TLS1.3", "--cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
            "cipher suites cannot be configured when only TLS1.3 is enabled",
        );
    }

    #[test]
    fn durations_are_those_of_go() {
        assert_eq!(parse_duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_duration("100ms"), Some(Duration::from_millis(100)));
        assert_eq!(parse_duration("5000000"), Some(Duration::from_millis(5)));
        assert_eq!(parse_duration("5 apples"), None);
    }
}
