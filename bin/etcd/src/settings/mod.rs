//! Settings: every flag, variable and key of the configuration file is read once, into a typed field.
//!
//! ```text
//! rows                  the table: name, help, field, key of the file, what of etcd's is not there yet
//! values, lists, words  the kinds of values: what each takes and refuses
//! command_line          flags
//! variables             ETCD_...
//! file, yaml            --config-file
//! gates                 --feature-gates
//! earlier               what earlier versions of etcd had
//! notes                 what the log is told of all this
//! ```
//! With a configuration file, flags and variables are looked at for mistakes and then not counted.
//! A wrong flag ends the program with code 2, anything else that is wrong with code 1, as in etcd.

mod command_line;
mod earlier;
mod file;
mod gates;
mod lists;
mod notes;
mod rows;
#[cfg(test)]
mod tests;
mod values;
mod variables;
mod words;
mod yaml;

pub(crate) use lists::Urls;
pub(crate) use notes::Note;
pub(crate) use rows::unsupported;
pub(crate) use values::{Nanos, Setting, Unfit, User};
pub(crate) use words::{ClusterState, LogFormat, LogLevel, LogOutput};
pub(crate) use yaml::Node;

use client::Secret;
use command_line::CommandLine;
use gates::FeatureGates;
use lists::{Allowed, Unique, UniqueBytes};
use server::AutoCompaction;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use values::{Checked, Choice, Ignored};
use words::{CompactionMode, Fallback, Logger, Retention, TlsVersion, V2Deprecations};

/// Everything that can be set, by what it is about.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) member: Member,
    pub(crate) cluster: Cluster,
    pub(crate) discovery: Discovery,
    /// Towards clients.
    pub(crate) client_tls: Side,
    /// Towards other members.
    pub(crate) peer_tls: Side,
    pub(crate) tls: Tls,
    pub(crate) logging: Logging,
    pub(crate) features: Features,
    pub(crate) absent: Absent,
    /// What was once a flag of etcd's.
    ignored: Ignored,
}

/// The member itself.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) wal_dir: PathBuf,
    pub(crate) snapshot_count: u64,
    pub(crate) snapshot_catchup_entries: u64,
    pub(crate) heartbeat_interval_ms: u64,
    pub(crate) election_timeout_ms: u64,
    pub(crate) initial_election_tick_advance: bool,
    pub(crate) listen_peer_urls: Urls,
    pub(crate) listen_client_urls: Urls,
    pub(crate) listen_metrics_urls: Urls,
    pub(crate) max_snapshots: u64,
    pub(crate) max_wals: u64,
    pub(crate) quota_backend_bytes: i64,
    pub(crate) freelist_type: String,
    pub(crate) backend_batch_interval: Nanos,
    pub(crate) max_learners: i64,
    pub(crate) max_txn_ops: u64,
    pub(crate) max_request_bytes: u64,
    pub(crate) max_concurrent_streams: u32,
    pub(crate) keepalive_min_time: Nanos,
    pub(crate) keepalive_interval: Nanos,
    pub(crate) keepalive_timeout: Nanos,
    pub(crate) force_new_cluster: bool,
    pub(crate) unsafe_no_fsync: bool,
}

impl Default for Member {
    fn default() -> Member {
        Member {
            name: "default".into(),
            data_dir: PathBuf::new(),
            wal_dir: PathBuf::new(),
            snapshot_count: 10_000,
            snapshot_catchup_entries: 5_000,
            heartbeat_interval_ms: 100,
            election_timeout_ms: 1_000,
            initial_election_tick_advance: true,
            listen_peer_urls: Urls::new("http://localhost:2380"),
            listen_client_urls: Urls::new("http://localhost:2379"),
            listen_metrics_urls: Urls::default(),
            max_snapshots: 5,
            max_wals: 5,
            quota_backend_bytes: 0,
            freelist_type: "map".into(),
            backend_batch_interval: Nanos(0),
            max_learners: 1,
            max_txn_ops: 128,
            max_request_bytes: 3 * 512 * 1024,
            max_concurrent_streams: u32::MAX,
            keepalive_min_time: Nanos::seconds(5),
            keepalive_interval: Nanos::seconds(2 * 3600),
            keepalive_timeout: Nanos::seconds(20),
            force_new_cluster: false,
            unsafe_no_fsync: false,
        }
    }
}

/// The cluster to begin or to join.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) initial_advertise_peer_urls: Urls,
    pub(crate) advertise_client_urls: Urls,
    /// Not given: this member alone.
    pub(crate) initial_cluster: Option<String>,
    pub(crate) state: Choice<ClusterState>,
    pub(crate) token: OsString,
    pub(crate) srv: String,
    pub(crate) srv_name: String,
    pub(crate) fallback: Choice<Fallback>,
    pub(crate) strict_reconfig_check: bool,
    pub(crate) pre_vote: bool,
}

impl Cluster {
    /// # Errors
    /// The word that the reference has for the proxy that is gone.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.fallback.value {
            Fallback::Exit => Ok(()),
            Fallback::Proxy => Err("v2 proxy is deprecated, and --discovery-fallback can't be \
                                    configured as \"proxy\""
                .into()),
        }
    }
}

impl Default for Cluster {
    fn default() -> Cluster {
        Cluster {
            initial_advertise_peer_urls: Urls::new("http://localhost:2380"),
            advertise_client_urls: Urls::new("http://localhost:2379"),
            initial_cluster: None,
            state: Choice::new("new"),
            token: "etcd-cluster".into(),
            srv: String::new(),
            srv_name: String::new(),
            fallback: Choice::new("exit"),
            strict_reconfig_check: true,
            pre_vote: true,
        }
    }
}

/// The service through which members find each other.
#[derive(Debug)]
pub(crate) struct Discovery {
    pub(crate) endpoints: Unique,
    pub(crate) token: String,
    pub(crate) dial_timeout: Nanos,
    pub(crate) request_timeout: Nanos,
    pub(crate) keepalive_time: Nanos,
    pub(crate) keepalive_timeout: Nanos,
    pub(crate) user: User,
    pub(crate) password: Secret,
    pub(crate) insecure_transport: bool,
    pub(crate) insecure_skip_verify: bool,
    pub(crate) cert: OsString,
    pub(crate) key: OsString,
    pub(crate) cacert: OsString,
}

impl Default for Discovery {
    fn default() -> Discovery {
        Discovery {
            endpoints: Unique::default(),
            token: String::new(),
            dial_timeout: Nanos::seconds(2),
            request_timeout: Nanos::seconds(5),
            keepalive_time: Nanos::seconds(2),
            keepalive_timeout: Nanos::seconds(6),
            user: User::default(),
            password: Secret::default(),
            insecure_transport: true,
            insecure_skip_verify: false,
            cert: OsString::new(),
            key: OsString::new(),
            cacert: OsString::new(),
        }
    }
}

/// TLS on one side.
#[derive(Debug, Default)]
pub(crate) struct Side {
    pub(crate) cert_file: OsString,
    pub(crate) key_file: OsString,
    pub(crate) client_cert_file: OsString,
    pub(crate) client_key_file: OsString,
    pub(crate) client_cert_auth: bool,
    pub(crate) crl_file: OsString,
    pub(crate) trusted_ca_file: OsString,
    pub(crate) auto_tls: bool,
    pub(crate) allowed_cns: Vec<String>,
    pub(crate) allowed_hostnames: Vec<String>,
    pub(crate) skip_client_sans: bool,
}

/// TLS on both sides.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) self_signed_cert_validity: u64,
    pub(crate) cipher_suites: Vec<String>,
    pub(crate) min_version: Checked<TlsVersion>,
    pub(crate) max_version: Checked<TlsVersion>,
}

impl Tls {
    /// The oldest and the newest version.
    ///
    /// # Errors
    /// Words that are no versions.
    pub(crate) fn versions(&self) -> Result<[Option<tls::Version>; 2], String> {
        Ok([self.min_version.get()?.0, self.max_version.get()?.0])
    }
}

impl Default for Tls {
    fn default() -> Tls {
        Tls {
            self_signed_cert_validity: 1,
            cipher_suites: Vec::new(),
            min_version: Checked::new("TLS1.2"),
            max_version: Checked::new(""),
        }
    }
}

/// The log.
#[derive(Debug)]
pub(crate) struct Logging {
    pub(crate) logger: Checked<Logger>,
    pub(crate) outputs: UniqueBytes,
    pub(crate) level: Checked<LogLevel>,
    pub(crate) format: Checked<LogFormat>,
}

/// What the log needs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) level: LogLevel,
    pub(crate) outputs: Vec<LogOutput>,
    pub(crate) format: LogFormat,
}

impl Default for Log {
    fn default() -> Log {
        let outputs = vec![LogOutput::Stderr];
        Log { level: LogLevel::Info, outputs, format: LogFormat::Json }
    }
}

impl Logging {
    /// # Errors
    /// What is wrong with it; a level that is none ends the program like a wrong flag, wherever it
    /// stands, as in the reference.
    pub(crate) fn check(&self) -> Result<Log, Refusal> {
        self.logger.get().map_err(Refusal::Verify)?;
        let outputs = LogOutput::list(&self.outputs.0).map_err(Refusal::Verify)?;
        let level = self.level.get().map_err(Refusal::Usage)?;
        let format = self.format.get().map_err(Refusal::Verify)?;
        Ok(Log { level, outputs, format })
    }
}

impl Default for Logging {
    fn default() -> Logging {
        Logging {
            logger: Checked::new("zap"),
            outputs: UniqueBytes(vec!["default".into()]),
            level: Checked::new("info"),
            format: Checked::new("json"),
        }
    }
}

/// What goes beside the core.
#[derive(Debug)]
pub(crate) struct Features {
    pub(crate) metrics: String,
    pub(crate) watch_progress_notify_interval: Nanos,
    pub(crate) gates: FeatureGates,
    pub(crate) compaction_mode: Checked<CompactionMode>,
    pub(crate) compaction_retention: Checked<Retention>,
}

impl Features {
    /// Whether durations of calls are recorded. Any other word is the same as `basic`.
    pub(crate) fn has_extensive_metrics(&self) -> bool {
        self.metrics == "extensive"
    }

    /// What the leader compacts of itself.
    ///
    /// # Errors
    /// Words that are none, and times that are too long or negative.
    pub(crate) fn auto_compaction(&self) -> Result<Option<AutoCompaction>, String> {
        let mode = self.compaction_mode.get()?;
        let retention = self.compaction_retention.get()?;
        if retention.is_off() {
            return Ok(None);
        }
        let found = match (mode, retention) {
            (CompactionMode::Revision, Retention::Number(count) | Retention::Nanos(count)) => {
                (count > 0).then_some(AutoCompaction::Revisions(count))
            }
            (CompactionMode::Periodic, Retention::Number(hours)) => hours
                .checked_mul(3600)
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map(|seconds| AutoCompaction::Period(Duration::from_secs(seconds))),
            (CompactionMode::Periodic, Retention::Nanos(nanos)) => {
                Nanos(nanos).positive().map(AutoCompaction::Period)
            }
        };
        let is_bounded = |rule: &AutoCompaction| match rule {
            AutoCompaction::Period(period) => *period <= AutoCompaction::PERIOD_MAX,
            AutoCompaction::Revisions(_) => true,
        };
        found.filter(is_bounded).map(Some).ok_or_else(|| {
            let text = self.compaction_retention.show();
            format!("--auto-compaction-retention={text} is negative, or longer than ten years")
        })
    }
}

impl Default for Features {
    fn default() -> Features {
        Features {
            metrics: "basic".into(),
            watch_progress_notify_interval: Nanos(0),
            gates: FeatureGates::default(),
            compaction_mode: Checked::new("periodic"),
            compaction_retention: Checked::new("0"),
        }
    }
}

/// What etcd has and this version has not: read like everything else, and taken where it asks for
/// nothing. `rows` says when that is.
#[derive(Debug)]
pub(crate) struct Absent {
    listen_client_http_urls: Urls,
    memory_mlock: bool,
    backend_batch_limit: i64,
    socket_reuse_port: bool,
    socket_reuse_address: bool,
    enable_grpc_gateway: bool,
    raft_read_timeout: Nanos,
    raft_write_timeout: Nanos,
    v2_deprecation: Choice<V2Deprecations>,
    cors: Allowed,
    host_whitelist: Allowed,
    auth_token: String,
    bcrypt_cost: u64,
    auth_token_ttl: u64,
    enable_pprof: bool,
    enable_log_rotation: bool,
    log_rotation_config: String,
    warning_apply: Nanos,
    warning_unary_request: Nanos,
    tracing: bool,
    tracing_address: String,
    tracing_service_name: String,
    tracing_instance_id: String,
    tracing_sampling_rate: i64,
    corrupt_check_time: Nanos,
    compact_hash_check_time: Nanos,
    compaction_batch_limit: i64,
    compaction_sleep_interval: Nanos,
    bootstrap_defrag_threshold_mb: u64,
    downgrade_check_time: Nanos,
    discovery_bytes_max: [i64; 2],
    discovery_server_name: String,
    discovery_auth_token: Secret,
    grpc_options: Vec<String>,
}

impl Default for Absent {
    fn default() -> Absent {
        Absent {
            listen_client_http_urls: Urls::default(),
            memory_mlock: false,
            backend_batch_limit: 0,
            socket_reuse_port: false,
            socket_reuse_address: false,
            enable_grpc_gateway: true,
            raft_read_timeout: Nanos::seconds(5),
            raft_write_timeout: Nanos::seconds(5),
            v2_deprecation: Choice::new("write-only"),
            cors: Allowed::anyone(true),
            host_whitelist: Allowed::anyone(false),
            auth_token: "simple".into(),
            bcrypt_cost: 10,
            auth_token_ttl: 300,
            enable_pprof: false,
            enable_log_rotation: false,
            log_rotation_config: "{\"maxsize\": 100, \"maxage\": 0, \"maxbackups\": 0, \
                                  \"localtime\": false, \"compress\": false}"
                .into(),
            warning_apply: Nanos::milliseconds(100),
            warning_unary_request: Nanos::milliseconds(300),
            tracing: false,
            tracing_address: "localhost:4317".into(),
            tracing_service_name: "etcd".into(),
            tracing_instance_id: String::new(),
            tracing_sampling_rate: 0,
            corrupt_check_time: Nanos(0),
            compact_hash_check_time: Nanos::seconds(60),
            compaction_batch_limit: 0,
            compaction_sleep_interval: Nanos(0),
            bootstrap_defrag_threshold_mb: 0,
            downgrade_check_time: Nanos::seconds(5),
            discovery_bytes_max: [0, 0],
            discovery_server_name: String::new(),
            discovery_auth_token: Secret::default(),
            grpc_options: Vec::new(),
        }
    }
}

impl Absent {
    /// How often hashes would be compared.
    pub(crate) fn compact_check_time(&self) -> Nanos {
        self.compact_hash_check_time
    }

    /// # Errors
    /// What is wrong with values that ask for nothing here; in the words of the reference.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.compact_hash_check_time <= Nanos(0) {
            let time = self.compact_hash_check_time;
            return Err(format!("--compact-hash-check-time must be >0 (set to {time})"));
        }
        Ok(())
    }
}

/// Why the program does not go on, and with which code it ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A wrong flag: said as it is, code 2.
    Usage(String),
    /// A wrong variable, file or combination: logged, code 1.
    Verify(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Usage(text) | Refusal::Verify(text) => f.write_str(text),
        }
    }
}

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// To run with these settings, after these have been said.
    Run(Box<Settings>, Vec<Note>),
    /// To print this and stop.
    Print(String),
}

/// Reads flags and variables, or the configuration file that they name.
///
/// # Errors
/// What is wrong with them; see [`Refusal`].
pub(crate) fn read(
    args: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Outcome, Refusal> {
    let line = match command_line::read(args)? {
        command_line::Asked::Run(line) => *line,
        command_line::Asked::Print(text) => return Ok(Outcome::Print(text)),
    };
    let variables = variables::Variables::new(variables);
    let CommandLine { mut settings, mut notes, given, special } = line;
    if let Some(path) = special.file_or(&variables) {
        let unknown = special.unknown_keys(&variables)?;
        let (settings, notes) = file::read(&path, unknown).map_err(Refusal::Verify)?;
        return Ok(Outcome::Run(Box::new(settings), notes));
    }
    variables.apply(&mut settings, &given, &mut notes).map_err(Refusal::Verify)?;
    Ok(Outcome::Run(Box::new(settings), notes))
}
