//! From settings to what the server needs, checked.

use crate::as_set;
use crate::default_host::{self, DefaultHost};
use crate::listen::Listen;
use crate::origin::{Discovery, Origin, Srv, Way};
use crate::secure::Tls;
use crate::settings::{self, ClusterState, Nanos, Settings, Urls};
use address::Url;
use client::TlsFlags;
use server::{Beginning, CatchUp, ReplicaOptions};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

const ELECTION_TIMEOUT_MAX_MS: u64 = 50_000;
/// Proposals are refused while this many bytes wait to be committed.
const UNCOMMITTED_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Applied entries between snapshots, where the setting leaves it open.
const SNAPSHOT_COUNT: u64 = 10_000;
/// The shortest time between commits of the database.
const BATCH_INTERVAL_MIN: Duration = Duration::from_millis(1);
/// The shortest time between notifications of progress.
const PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);

const DEFAULT_NAME: &str = "default";
/// The list of first members where nothing is said of it.
const DEFAULT_CLUSTER: &str = "default=http://localhost:2380";

const HALF_DISCOVERY: &str = "both --discovery-token and --discovery-endpoints must be set";

/// Everything the program needs, besides its log.
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
    /// What the log shows as it was set.
    pub(crate) as_set: serde_json::Value,
}

impl Config {
    /// Checks and converts.
    ///
    /// # Errors
    /// What is wrong, and what to do about it.
    pub(crate) fn from_settings(settings: &mut Settings) -> Result<Config, String> {
        let host = DefaultHost::advertise(settings, default_host::find());
        let member = &settings.member;
        let listen_peers = listen_addresses(&member.listen_peer_urls, "listen-peer-urls")?;
        let listen = listen_addresses(&member.listen_client_urls, "listen-client-urls")?;
        let listen_metrics = listen_addresses(&member.listen_metrics_urls, "listen-metrics-urls")?;
        let origin = origin(settings)?;
        check_times(member)?;
        let advertised = settings.cluster.advertise_client_urls.is_given;
        if member.listen_client_urls.is_given && !advertised {
            return Err("--advertise-client-urls is required when --listen-client-urls is set \
                        explicitly"
                .into());
        }
        settings.absent.check()?;
        settings.cluster.check()?;
        if let Some(refusal) = settings::unsupported(settings) {
            return Err(refusal);
        }
        warn(settings)?;
        host.log();
        Ok(Config {
            server: server_config(settings)?,
            listen,
            listen_peers,
            listen_metrics,
            tls: Tls::from_settings(settings)?,
            joins: settings.cluster.state.value == ClusterState::Existing,
            origin,
            as_set: as_set::as_set(settings),
        })
    }
}

/// What is allowed and seldom meant.
fn warn(settings: &Settings) -> Result<(), String> {
    let gates = settings.features.gates.check()?;
    if gates.lease_checkpoint && !gates.lease_checkpoint_persist {
        tracing::warn!(
            "Detected that checkpointing is enabled without persistence. Consider enabling \
             feature gate LeaseCheckpointPersist"
        );
    }
    let name = &settings.member.name;
    if name == DEFAULT_NAME {
        tracing::warn!(
            name,
            "it isn't recommended to use default name, please set a value for --name. Note that \
             etcd might run into issue when multiple members have the same default name"
        );
    }
    Ok(())
}

/// The data directory, which is called after the member where nothing is said of it.
fn data_dir(member: &settings::Member) -> PathBuf {
    if !member.data_dir.as_os_str().is_empty() {
        return member.data_dir.clone();
    }
    let dir = format!("{}.etcd", member.name);
    tracing::warn!(data_dir = dir, "'data-dir' was empty; using default");
    PathBuf::from(dir)
}

fn check_times(member: &settings::Member) -> Result<(), String> {
    let (heartbeat_ms, election_ms) = (member.heartbeat_interval_ms, member.election_timeout_ms);
    for (name, time_ms) in [("heartbeat-interval", heartbeat_ms), ("election-timeout", election_ms)]
    {
        if time_ms == 0 {
            return Err(format!("--{name} must be >0 (set to 0ms)"));
        }
    }
    if election_ms < heartbeat_ms.saturating_mul(5) {
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
    Ok(())
}

fn server_config(settings: &Settings) -> Result<server::Config, String> {
    let (member, cluster) = (&settings.member, &settings.cluster);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let or = |time: Nanos, otherwise| time.positive().unwrap_or(otherwise);
    let batch_interval = match member.backend_batch_interval {
        Nanos(0) => Duration::from_millis(100),
        time => or(time, BATCH_INTERVAL_MIN),
    };
    let progress_interval = match settings.features.watch_progress_notify_interval {
        Nanos(0) => Duration::from_secs(600),
        time => or(time, PROGRESS_INTERVAL_MIN),
    };
    Ok(server::Config {
        replica: replica_options(settings)?,
        advertise_peer_urls: advertised(
            &cluster.initial_advertise_peer_urls,
            "initial-advertise-peer-urls",
        )?,
        strict_changes: cluster.strict_reconfig_check,
        advertise_client_urls: advertised(&cluster.advertise_client_urls, "advertise-client-urls")?,
        heartbeat_interval: Duration::from_millis(member.heartbeat_interval_ms),
        election_timeout: Duration::from_millis(member.election_timeout_ms),
        advance_first_election: member.initial_election_tick_advance,
        batch_interval,
        txn_ops_max: size(member.max_txn_ops),
        request_bytes_max: size(member.max_request_bytes),
        concurrent_streams_max: member.max_concurrent_streams,
        keepalive_interval: or(member.keepalive_interval, Duration::MAX),
        keepalive_timeout: or(member.keepalive_timeout, Duration::from_secs(20)),
        keepalive_min_time: or(member.keepalive_min_time, Duration::ZERO),
        progress_interval: progress_interval.max(PROGRESS_INTERVAL_MIN),
        extensive_metrics: settings.features.has_extensive_metrics(),
        auto_compaction: settings.features.auto_compaction()?,
        net_threads: threads.min(4),
    })
}

/// A number of things that are in memory: no more than there can be.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A number of files to keep, of which 0 means all.
fn kept(number: u64) -> usize {
    if number == 0 { usize::MAX } else { size(number) }
}

fn replica_options(settings: &Settings) -> Result<ReplicaOptions, String> {
    let member = &settings.member;
    let (heartbeat_ms, election_ms) = (member.heartbeat_interval_ms, member.election_timeout_ms);
    let name = member.name.clone();
    let data_dir = data_dir(member);
    let wal_dir = Some(member.wal_dir.clone()).filter(|dir| !dir.as_os_str().is_empty());
    let no_sync = member.unsafe_no_fsync;
    let mut backend = backend::Options::default();
    backend.bolt.no_sync = no_sync;
    // As etcd: one and a half election timeouts, in whole seconds.
    let ticks = 3 * (election_ms / heartbeat_ms) / 2;
    let ttl_min_s = (ticks * heartbeat_ms).div_ceil(1000) as i64;
    let gates = settings.features.gates.check()?;
    let learners_max = usize::try_from(member.max_learners)
        .map_err(|_| "membership: too many learner members in cluster")?;
    Ok(ReplicaOptions {
        data_dir,
        wal_dir,
        name,
        beginning: Beginning::Data,
        force_new_cluster: member.force_new_cluster,
        election_ticks: (election_ms / heartbeat_ms) as u32,
        pre_vote: settings.cluster.pre_vote,
        snapshot_count: match member.snapshot_count {
            0 => SNAPSHOT_COUNT,
            count => count,
        },
        keep_wals: kept(member.max_wals),
        keep_snapshots: kept(member.max_snapshots),
        wal: wal::Options { no_sync, ..wal::Options::default() },
        backend,
        lease: lease::Config {
            ttl_min_s,
            checkpoints: gates.lease_checkpoint,
            persist_checkpoints: true,
            checkpoint_interval_ms: lease::CHECKPOINT_MS,
        },
        apply: apply::Config { quota_bytes: member.quota_backend_bytes, learners_max },
        uncommitted_bytes_max: UNCOMMITTED_BYTES_MAX,
        catch_up: catch_up(member.snapshot_catchup_entries, heartbeat_ms),
    })
}

/// Where the list of the first members comes from; one way only.
fn origin(settings: &Settings) -> Result<Origin, String> {
    let (cluster, discovery) = (&settings.cluster, &settings.discovery);
    let name = settings.member.name.clone();
    let advertised = cluster.initial_advertise_peer_urls.list.texts();
    let is_listed = cluster.initial_cluster.as_ref().is_some_and(|list| !list.is_empty());
    let is_discovered = !discovery.endpoints.0.is_empty();
    let ways = [is_listed, !cluster.srv.is_empty(), is_discovered];
    if ways.iter().filter(|way| **way).count() > 1 {
        return Err("multiple discovery or bootstrap flags are set. Choose one of \
                    \"initial-cluster\", \"discovery-endpoints\" or \"discovery-srv\""
            .into());
    }
    if is_discovered == discovery.token.is_empty() {
        return Err(HALF_DISCOVERY.into());
    }
    let way = if is_discovered {
        Way::Discovery(Box::new(discovered(discovery)?))
    } else if cluster.srv.is_empty() {
        Way::Listed(listed(cluster, &name, &advertised))
    } else {
        Way::Srv(Srv { domain: cluster.srv.clone(), suffix: cluster.srv_name.clone() })
    };
    Ok(Origin { way, token: cluster.token.clone(), name, advertised })
}

/// The list of the command line; without one, this member alone. Only a name makes another list of the
/// default one: a member of the default name that advertises something else is not on its list, so that
/// two of them cannot take each other for the same member.
fn listed(cluster: &settings::Cluster, name: &str, advertised: &[String]) -> String {
    let list = cluster.initial_cluster.as_deref().unwrap_or(DEFAULT_CLUSTER);
    if list != DEFAULT_CLUSTER || name == DEFAULT_NAME {
        return list.to_owned();
    }
    let name = if name.is_empty() { DEFAULT_NAME } else { name };
    let pairs: Vec<_> = advertised.iter().map(|url| format!("{name}={url}")).collect();
    pairs.join(",")
}

fn discovered(settings: &settings::Discovery) -> Result<Discovery, String> {
    let endpoints: Vec<String> =
        settings.endpoints.0.iter().map(|one| one.trim().to_owned()).collect();
    if endpoints.iter().any(String::is_empty) {
        return Err("--discovery-endpoints must not contain empty endpoints".into());
    }
    let time = |time: Nanos, otherwise| time.positive().unwrap_or(Duration::from_secs(otherwise));
    let password = settings.user.password.as_ref().unwrap_or(&settings.password);
    let user = Some(settings.user.name.clone()).filter(|name| !name.is_empty());
    Ok(Discovery {
        token: settings.token.clone(),
        endpoints,
        dial_timeout: time(settings.dial_timeout, 2),
        request_timeout: time(settings.request_timeout, 5),
        keepalive_interval: time(settings.keepalive_time, 2),
        keepalive_timeout: time(settings.keepalive_timeout, 6),
        user: user.map(|name| (name, password.clone())),
        tls: TlsFlags {
            cert: settings.cert.clone(),
            key: settings.key.clone(),
            cacert: settings.cacert.clone(),
            domain: String::new(),
            insecure_transport: settings.insecure_transport,
            insecure_skip_verify: settings.insecure_skip_verify,
        },
    })
}

/// How long a member has to catch up with the log when its database was delivered (reference:
/// `releaseDelayAfterSnapshot`).
const HELD_MS: u64 = 30_000;

/// No number of entries means as many as without the flag.
fn catch_up(entries: u64, heartbeat_ms: u64) -> CatchUp {
    let usual = CatchUp::default();
    let entries_max = match entries {
        0 => usual.entries_max,
        some => size(some),
    };
    let shorten_entries = usual.shorten_entries.min(entries_max as u64);
    let held_ticks = HELD_MS.div_ceil(heartbeat_ms);
    CatchUp { entries_max, shorten_entries, held_ticks, ..usual }
}

/// URLs by which others reach this member.
fn advertised(urls: &Urls, flag: &str) -> Result<Vec<String>, String> {
    let urls = &urls.list;
    urls.check_hosts().map_err(|error| {
        let form = match flag {
            "initial-advertise-peer-urls" => "must be \"host:port\"",
            _ => {
                "must be in the format \"host:port\", \"unix:/path/to/socket\" or \
                 \"unixs:/path/to/socket\""
            }
        };
        format!(
            "--{flag} {} {form} ({error})",
            address::quote(address::redacted(&urls.to_string()).as_bytes())
        )
    })?;
    Ok(urls.texts())
}

/// Where to listen: addresses, or localhost; names could mean another machine tomorrow.
fn listen_addresses(urls: &Urls, flag: &str) -> Result<Vec<Listen>, String> {
    let urls = &urls.list;
    urls.check_binding().map_err(|error| error.to_string())?;
    let listen = |url: &Url| {
        if url.is_unix() {
            return Err(format!("--{flag}: this version does not listen on unix sockets ({url})"));
        }
        let address = url.listen_address(localhost).map_err(|error| error.to_string())?;
        let (url, host, is_secure) = (url.to_string(), url.host().to_owned(), url.is_secure());
        Ok(Listen { url, host, address, is_secure })
    };
    urls.iter().map(listen).collect()
}

fn localhost() -> IpAddr {
    let resolved = ("localhost", 0).to_socket_addrs().ok();
    let v4 = resolved.and_then(|mut found| found.find(SocketAddr::is_ipv4));
    v4.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Outcome, Refusal};
    use server::{AutoCompaction, Source};

    fn config(args: &[&str]) -> Result<Config, String> {
        match settings::read(args.iter().map(Into::into), std::iter::empty()) {
            Ok(Outcome::Run(mut settings, _)) => Config::from_settings(&mut settings),
            Err(Refusal::Usage(text) | Refusal::Verify(text)) => Err(text),
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
        assert_eq!((replica.keep_wals, replica.keep_snapshots), (5, 5));
    }

    #[test]
    fn the_default_list_follows_the_name_alone() {
        let peer = "--initial-advertise-peer-urls=http://h:1";
        let list = |args: &[&str]| {
            let args = [args, &[peer]].concat();
            config(&args).unwrap().origin.cluster().unwrap().to_string()
        };
        assert_eq!(list(&[]), "default=http://localhost:2380");
        assert_eq!(list(&["--name=default"]), "default=http://localhost:2380");
        assert_eq!(list(&["--name=m"]), "m=http://h:1");
        assert_eq!(list(&["--name="]), "default=http://h:1");
        let written = "--initial-cluster=default=http://localhost:2380";
        assert_eq!(list(&["--name=m", written]), "m=http://h:1");
        assert_eq!(list(&["--name=m", "--initial-cluster=m=http://i:1"]), "m=http://i:1");
    }

    #[test]
    fn nothing_is_what_etcd_takes_it_for() {
        let args = ["--max-wals=0", "--max-snapshots=0", "--snapshot-count=0", "--data-dir="];
        let config = config(&args).unwrap();
        let replica = &config.server.replica;
        assert_eq!((replica.keep_wals, replica.keep_snapshots), (usize::MAX, usize::MAX));
        assert_eq!(replica.snapshot_count, 10_000);
        assert_eq!(replica.data_dir, PathBuf::from("default.etcd"));
        let times = ["--backend-batch-interval=-1s", "--grpc-keepalive-interval=0"];
        let config = self::config(&times).unwrap();
        assert_eq!(config.server.batch_interval, BATCH_INTERVAL_MIN);
        assert_eq!(config.server.keepalive_interval, Duration::MAX);
    }

    #[test]
    fn history_is_kept_for_hours_a_time_or_a_number_of_revisions() {
        let rule = |args: &[&str]| config(args).unwrap().server.auto_compaction;
        for off in ["0", "", "0s", "00"] {
            assert_eq!(rule(&[&format!("--auto-compaction-retention={off}")]), None, "{off}");
        }
        let period = |seconds| Some(AutoCompaction::Period(Duration::from_secs(seconds)));
        assert_eq!(rule(&["--auto-compaction-retention=1"]), period(3600));
        assert_eq!(rule(&["--auto-compaction-retention=5m"]), period(300));
        let revisions = ["--auto-compaction-mode=revision", "--auto-compaction-retention=1000"];
        assert_eq!(rule(&revisions), Some(AutoCompaction::Revisions(1000)));
    }

    #[test]
    fn contradictions_are_refused() {
        let refused = |args: &[&str], what: &str| {
            let error = config(args).err().unwrap();
            assert!(error.contains(what), "{error}");
        };
        refused(&["--election-timeout=400"], "5 times");
        refused(&["--election-timeout=0"], "--election-timeout must be >0 (set to 0ms)");
        refused(&["--heartbeat-interval=0"], "--heartbeat-interval must be >0 (set to 0ms)");
        refused(&["--heartbeat-interval=18446744073709551615"], "5 times");
        refused(&["--election-timeout=50001"], "too long");
        refused(&["--listen-client-urls=http://127.0.0.1:1"], "--advertise-client-urls");
        refused(&["--listen-client-urls="], "--advertise-client-urls");
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
        refused(&["--auto-compaction-mode=foo"], "unknown auto-compaction-mode \"foo\"");
        refused(&["--auto-compaction-mode="], "undefined auto-compaction-mode");
        refused(&["--auto-compaction-retention=x"], "error parsing CompactionRetention: time: ");
        refused(&["--auto-compaction-retention=-1"], "time: missing unit in duration \"-1\"");
        refused(&["--auto-compaction-retention=-1h"], "negative");
        refused(&["--auto-compaction-retention=87601"], "longer than ten years");
        refused(&["--max-learners=-1"], "too many learner members");
        refused(&["--discovery-fallback=proxy"], "can't be configured as \"proxy\"");
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
    fn addresses_are_those_of_etcd() {
        let read = |args: &[&str]| config(args).map_err(|error| error.to_string());
        let listen = |list: &str| {
            let flag = format!("--listen-client-urls={list}");
            let config = read(&[&flag, "--advertise-client-urls=http://h:1"])?;
            Ok::<_, String>(
                config.listen.iter().map(|at| at.address.to_string()).collect::<Vec<_>>(),
            )
        };
        let twice = "http://[0::1]:2,HTTP://127.0.0.1:1,http://127.0.0.1:1";
        assert_eq!(listen(twice).unwrap(), ["127.0.0.1:1", "[::1]:2"]);
        assert_eq!(listen("http://[::ffff:10.0.0.1]:1").unwrap(), ["10.0.0.1:1"]);
        for (list, why) in [
            ("http://:1", "expected IP in URL for binding (http://:1)"),
            ("http://127.0.0.010:1", "expected IP in URL for binding (http://127.0.0.010:1)"),
            (
                "http://10.0.0.1",
                "URL address does not have the form \"host:port\": http://10.0.0.1",
            ),
            ("http://10.0.0.1:1/", "URL must not contain a path: http://10.0.0.1:1/"),
            (
                "127.0.0.1:1",
                "parse \"127.0.0.1:1\": first path segment in URL cannot contain colon",
            ),
            ("http://127.0.0.1:65536", "listen tcp: address 65536: invalid port"),
            ("http://127.0.0.1:1,", "URL scheme must be http, https, unix, or unixs: "),
            (
                "unix:///tmp/x",
                "--listen-client-urls: this version does not listen on unix sockets (unix:///tmp/x)",
            ),
        ] {
            let refusal = listen(list).unwrap_err();
            assert!(refusal.contains(why.trim_end()), "{refusal}");
        }
        assert_eq!(
            read(&["--initial-advertise-peer-urls=http://:1"]).err().unwrap(),
            "--initial-advertise-peer-urls \"http://:1\" must be \"host:port\" \
             (unexpected empty host (http://:1))"
        );
        let peer = "--initial-advertise-peer-urls=HTTP://[FD00:0::1]:1";
        let config = read(&["--name=m", peer]).unwrap();
        assert_eq!(config.server.advertise_peer_urls, ["http://[FD00:0::1]:1"]);
        assert_eq!(config.origin.cluster().unwrap().to_string(), "m=http://[FD00:0::1]:1");
    }
}
