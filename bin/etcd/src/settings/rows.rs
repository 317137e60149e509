//! The table: one row for each setting. Flag, variable, key of the file and help follow from it.
//!
//! A flag may be written with one dash or two. The variable of `some-flag` is `ETCD_SOME_FLAG`.

use super::values::Setting;
use super::{Absent, Nanos, Settings};

/// How a row finds its field.
type Field = fn(&mut Settings) -> &mut dyn Setting;

/// A setting.
pub(super) struct Row {
    /// The flag; empty where there is none.
    pub(super) name: &'static str,
    /// The way to its value in the file, with points between keys; empty where there is none.
    pub(super) key: &'static str,
    pub(super) section: &'static str,
    pub(super) help: &'static str,
    pub(super) field: Field,
    /// What is said when it is set.
    warning: Option<Warning>,
    /// Whether it is something that this version has not.
    absent: Option<Missing>,
}

/// What is said of a setting, and whether it is.
struct Warning {
    text: &'static str,
    is_said: fn(&Absent) -> bool,
}

/// What is absent, and whether the settings ask for it.
struct Missing {
    what: &'static str,
    is_asked: fn(&Absent) -> bool,
}

impl Row {
    /// Its variable.
    pub(super) fn variable(&self) -> String {
        variable_of(self.name)
    }

    /// How it is called where something is wrong with it.
    pub(super) fn title(&self) -> &'static str {
        if self.name.is_empty() { self.key } else { self.name }
    }

    /// What is to be said now that it is set.
    pub(super) fn warning(&self, settings: &Settings) -> Option<&'static str> {
        let warning = self.warning.as_ref()?;
        (warning.is_said)(&settings.absent).then_some(warning.text)
    }

    const fn key(self, key: &'static str) -> Row {
        Row { key, ..self }
    }

    const fn warns(self, text: &'static str) -> Row {
        self.warns_if(text, |_| true)
    }

    const fn warns_if(self, text: &'static str, is_said: fn(&Absent) -> bool) -> Row {
        Row { warning: Some(Warning { text, is_said }), ..self }
    }

    const fn absent(self, what: &'static str, is_asked: fn(&Absent) -> bool) -> Row {
        Row { absent: Some(Missing { what, is_asked }), ..self }
    }
}

/// The variable of a flag.
pub(super) fn variable_of(flag: &str) -> String {
    format!("ETCD_{}", flag.to_uppercase().replace('-', "_"))
}

const fn row(section: &'static str, name: &'static str, help: &'static str, field: Field) -> Row {
    Row { name, key: name, section, help, field, warning: None, absent: None }
}

/// A key of the file without a flag.
const fn key_only(key: &'static str, help: &'static str, field: Field) -> Row {
    row("", "", help, field).key(key)
}

/// What was a flag once and is still taken.
const fn ignored(name: &'static str) -> Row {
    row("", name, "", |s| &mut s.ignored).key("")
}

/// What is wrong with settings that ask for what this version has not.
pub(crate) fn unsupported(settings: &mut Settings) -> Option<String> {
    let row = ROWS.iter().find(|row| {
        row.absent.as_ref().is_some_and(|missing| (missing.is_asked)(&settings.absent))
    })?;
    let missing = row.absent.as_ref()?;
    let (title, value) = (row.title(), (row.field)(settings).show());
    let dashes = if row.name.is_empty() { "" } else { "--" };
    Some(format!(
        "{dashes}{title}={value} is not supported by this version, which has no {}; leave it out",
        missing.what
    ))
}

/// The row of a key, which may be written in any case.
pub(super) fn of_key(key: &str) -> Option<&'static Row> {
    let rows = || ROWS.iter().filter(|row| !row.key.is_empty());
    rows()
        .find(|row| row.key == key)
        .or_else(|| rows().find(|row| row.key.eq_ignore_ascii_case(key)))
}

/// Whether rows lie below a key.
pub(super) fn is_section(key: &str) -> bool {
    ROWS.iter().any(|row| {
        let head = row.key.get(..key.len()).is_some_and(|head| head.eq_ignore_ascii_case(key));
        head && row.key.as_bytes().get(key.len()) == Some(&b'.')
    })
}

/// How a flag's value is written in the file, by the flag's name: a key, or an empty one where there is
/// none. None for what is no flag.
pub(super) fn key_of_flag(name: &str) -> Option<&'static str> {
    let row = ROWS.iter().find(|row| !row.name.is_empty() && row.name.eq_ignore_ascii_case(name));
    row.map(|row| row.key).or_else(|| super::command_line::is_special(name).then_some(""))
}

/// The rows whose key is this or ends with it, below any section.
pub(super) fn by_end_of_key(name: &str) -> impl Iterator<Item = &'static Row> {
    let last = |row: &Row| {
        row.key
            .rsplit('.')
            .next()
            .is_some_and(|last| !last.is_empty() && last.eq_ignore_ascii_case(name))
    };
    ROWS.iter()
        .filter(move |row| last(row) || !row.key.is_empty() && row.key.eq_ignore_ascii_case(name))
}

/// The names of keys and sections right below a section, or of those that are in none.
pub(super) fn names_below(section: &str) -> impl Iterator<Item = &'static str> {
    let keys = ROWS.iter().map(|row| row.key).filter(|key| !key.is_empty());
    let below = keys.filter_map(move |key| match section {
        "" => Some(key),
        _ => key.strip_prefix(section)?.strip_prefix('.'),
    });
    below.filter_map(|key| key.split('.').next())
}

const MEMBER: &str = "Member";
const CLUSTERING: &str = "Clustering";
const SECURITY: &str = "Security";
const LOGGING: &str = "Logging";
const FEATURES: &str = "Features";
const UNSAFE: &str = "Unsafe";
/// Flags of etcd that are taken where they ask for nothing.
const ABSENT: &str = "Not in this version, and refused where they ask for something";

const GATEWAY: &str =
    "the JSON gateway is not in this version: --enable-grpc-gateway has no effect";
const PPROF: &str = "profiles of Go are not in this version: --enable-pprof has no effect";
const MAX_SNAPSHOTS: &str =
    "--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.";
const V2_DEPRECATION: &str = "--v2-deprecation is deprecated and scheduled for removal in v3.8. The default \
                              value is enforced, ignoring user input.";

/// Every setting.
#[rustfmt::skip]
pub(super) static ROWS: &[Row] = &[
    row(MEMBER, "name", "Human-readable name for this member.", |s| &mut s.member.name),
    row(MEMBER, "data-dir", "Path to the data directory; <name>.etcd where it is empty.", |s| &mut s.member.data_dir),
    row(MEMBER, "wal-dir", "Path to a directory for the log alone.", |s| &mut s.member.wal_dir),
    row(MEMBER, "snapshot-count", "Applied entries between snapshots; 0 means 10000.", |s| &mut s.member.snapshot_count),
    row(MEMBER, "snapshot-catchup-entries", "Entries kept for members that lag behind.", |s| &mut s.member.snapshot_catchup_entries),
    row(MEMBER, "heartbeat-interval", "Time of a heartbeat interval, in milliseconds.", |s| &mut s.member.heartbeat_interval_ms),
    row(MEMBER, "election-timeout", "Time for an election to time out, in milliseconds.", |s| &mut s.member.election_timeout_ms),
    row(MEMBER, "listen-peer-urls", "URLs to listen on for other members.", |s| &mut s.member.listen_peer_urls),
    row(MEMBER, "listen-client-urls", "URLs to listen on for clients.", |s| &mut s.member.listen_client_urls),
    row(MEMBER, "listen-metrics-urls", "URLs to listen on for metrics and health alone, besides those for clients.", |s| &mut s.member.listen_metrics_urls),
    row(MEMBER, "max-snapshots", "Snapshot files to keep; 0 keeps all.", |s| &mut s.member.max_snapshots).warns(MAX_SNAPSHOTS),
    row(MEMBER, "max-wals", "Log files to keep; 0 keeps all.", |s| &mut s.member.max_wals),
    row(MEMBER, "quota-backend-bytes", "Database quota in bytes; 0 means 2 GiB, negative none.", |s| &mut s.member.quota_backend_bytes),
    row(MEMBER, "backend-bbolt-freelist-type", "Accepted for etcd's sake; all types write the same file.", |s| &mut s.member.freelist_type),
    row(MEMBER, "backend-batch-interval", "Longest time between database commits; 0 means 100ms.", |s| &mut s.member.backend_batch_interval),
    row(MEMBER, "max-learners", "Learners that the cluster may have at a time.", |s| &mut s.member.max_learners),
    row(MEMBER, "max-txn-ops", "Operations in a transaction.", |s| &mut s.member.max_txn_ops),
    row(MEMBER, "max-request-bytes", "Bytes in a request.", |s| &mut s.member.max_request_bytes),
    row(MEMBER, "max-concurrent-streams", "Streams at once on a connection.", |s| &mut s.member.max_concurrent_streams),
    row(MEMBER, "grpc-keepalive-min-time", "How often a client may ask whether the server lives.", |s| &mut s.member.keepalive_min_time),
    row(MEMBER, "grpc-keepalive-interval", "How often a silent connection is asked whether it lives; 0 never.", |s| &mut s.member.keepalive_interval),
    row(MEMBER, "grpc-keepalive-timeout", "How long it may take to answer.", |s| &mut s.member.keepalive_timeout),
    row(CLUSTERING, "initial-advertise-peer-urls", "This member's peer URLs, for the cluster.", |s| &mut s.cluster.initial_advertise_peer_urls),
    row(CLUSTERING, "advertise-client-urls", "This member's client URLs, for the public.", |s| &mut s.cluster.advertise_client_urls),
    row(CLUSTERING, "initial-cluster", "Members to begin with, name=url,...; this member alone where it is not given.", |s| &mut s.cluster.initial_cluster),
    row(CLUSTERING, "initial-cluster-state", "'new', or 'existing' to join a cluster that runs.", |s| &mut s.cluster.state),
    row(CLUSTERING, "initial-cluster-token", "Distinguishes clusters with the same members.", |s| &mut s.cluster.token),
    row(CLUSTERING, "discovery-srv", "DNS domain whose SRV records name the members to begin with.", |s| &mut s.cluster.srv),
    row(CLUSTERING, "discovery-srv-name", "Suffix of the service's name in those records.", |s| &mut s.cluster.srv_name),
    row(CLUSTERING, "discovery-endpoints", "Endpoints of a running cluster through which new members find each other.", |s| &mut s.discovery.endpoints).key("discovery-config.client.endpoints"),
    row(CLUSTERING, "discovery-token", "The new cluster's place in the discovery service.", |s| &mut s.discovery.token).key("discovery-config.token"),
    row(CLUSTERING, "discovery-dial-timeout", "How long connecting to the discovery service may take.", |s| &mut s.discovery.dial_timeout).key("discovery-config.client.dial-timeout"),
    row(CLUSTERING, "discovery-request-timeout", "How long the discovery service may take to answer.", |s| &mut s.discovery.request_timeout).key("discovery-config.client.request-timeout"),
    row(CLUSTERING, "discovery-keepalive-time", "How often it is asked whether it lives.", |s| &mut s.discovery.keepalive_time).key("discovery-config.client.keepalive-time"),
    row(CLUSTERING, "discovery-keepalive-timeout", "How long that answer may take.", |s| &mut s.discovery.keepalive_timeout).key("discovery-config.client.keepalive-timeout"),
    row(CLUSTERING, "discovery-user", "User of the discovery service, name[:password].", |s| &mut s.discovery.user).key("discovery-config.client.auth.username"),
    row(CLUSTERING, "discovery-password", "That user's password.", |s| &mut s.discovery.password).key("discovery-config.client.auth.password"),
    row(CLUSTERING, "discovery-insecure-transport", "Speak to the discovery service without TLS, where its endpoints do not say.", |s| &mut s.discovery.insecure_transport).key("discovery-config.client.secure.insecure-transport"),
    row(CLUSTERING, "discovery-insecure-skip-tls-verify", "Believe any discovery service; for tests only.", |s| &mut s.discovery.insecure_skip_verify).key("discovery-config.client.secure.insecure-skip-tls-verify"),
    row(CLUSTERING, "discovery-cert", "Certificate towards the discovery service, in PEM.", |s| &mut s.discovery.cert).key("discovery-config.client.secure.cert"),
    row(CLUSTERING, "discovery-key", "Its key.", |s| &mut s.discovery.key).key("discovery-config.client.secure.key"),
    row(CLUSTERING, "discovery-cacert", "Whose certificates of the discovery service are believed, in PEM.", |s| &mut s.discovery.cacert).key("discovery-config.client.secure.cacert"),
    row(CLUSTERING, "discovery-fallback", "'exit': there is nothing to fall back to.", |s| &mut s.cluster.fallback).key(""),
    row(CLUSTERING, "initial-election-tick-advance", "Shorten the first wait for an election when the member starts.", |s| &mut s.member.initial_election_tick_advance),
    row(CLUSTERING, "pre-vote", "Ask whether an election would be won before a new term begins.", |s| &mut s.cluster.pre_vote),
    row(CLUSTERING, "strict-reconfig-check", "Refuse changes of the members that could cost the majority.", |s| &mut s.cluster.strict_reconfig_check),
    row(SECURITY, "cert-file", "Certificate towards clients, in PEM.", |s| &mut s.client_tls.cert_file).key("client-transport-security.cert-file"),
    row(SECURITY, "key-file", "Its key.", |s| &mut s.client_tls.key_file).key("client-transport-security.key-file"),
    row(SECURITY, "client-cert-file", "Certificate for connections to the client port; cert-file where it is empty.", |s| &mut s.client_tls.client_cert_file).key("client-transport-security.client-cert-file"),
    row(SECURITY, "client-key-file", "Its key.", |s| &mut s.client_tls.client_key_file).key("client-transport-security.client-key-file"),
    row(SECURITY, "client-cert-auth", "Have clients show a certificate.", |s| &mut s.client_tls.client_cert_auth).key("client-transport-security.client-cert-auth"),
    row(SECURITY, "client-crl-file", "Revoked certificates of clients, in DER.", |s| &mut s.client_tls.crl_file).key(""),
    row(SECURITY, "client-cert-allowed-hostname", "Hosts for one of which a client's certificate must be valid, a,b,...", |s| &mut s.client_tls.allowed_hostnames).key("client-transport-security.allowed-hostname"),
    row(SECURITY, "trusted-ca-file", "Whose certificates of clients are believed, in PEM.", |s| &mut s.client_tls.trusted_ca_file).key("client-transport-security.trusted-ca-file"),
    row(SECURITY, "auto-tls", "Make a certificate towards clients, where there is none.", |s| &mut s.client_tls.auto_tls).key("client-transport-security.auto-tls"),
    key_only("client-transport-security.allowed-cn", "Common names of which a client's certificate must have one.", |s| &mut s.client_tls.allowed_cns),
    key_only("client-transport-security.skip-client-san-verification", "Believe certificates of clients from other addresses than theirs.", |s| &mut s.client_tls.skip_client_sans),
    row(SECURITY, "peer-cert-file", "Certificate towards other members, in PEM.", |s| &mut s.peer_tls.cert_file).key("peer-transport-security.cert-file"),
    row(SECURITY, "peer-key-file", "Its key.", |s| &mut s.peer_tls.key_file).key("peer-transport-security.key-file"),
    row(SECURITY, "peer-client-cert-file", "Certificate for connections to other members; peer-cert-file where it is empty.", |s| &mut s.peer_tls.client_cert_file).key("peer-transport-security.client-cert-file"),
    row(SECURITY, "peer-client-key-file", "Its key.", |s| &mut s.peer_tls.client_key_file).key("peer-transport-security.client-key-file"),
    row(SECURITY, "peer-client-cert-auth", "Have members that connect show a certificate.", |s| &mut s.peer_tls.client_cert_auth).key("peer-transport-security.client-cert-auth"),
    row(SECURITY, "peer-trusted-ca-file", "Whose certificates of members are believed, in PEM.", |s| &mut s.peer_tls.trusted_ca_file).key("peer-transport-security.trusted-ca-file"),
    row(SECURITY, "peer-auto-tls", "Make a certificate towards other members, where there is none, and believe any.", |s| &mut s.peer_tls.auto_tls).key("peer-transport-security.auto-tls"),
    row(SECURITY, "self-signed-cert-validity", "Years for which made certificates are valid.", |s| &mut s.tls.self_signed_cert_validity),
    row(SECURITY, "peer-crl-file", "Revoked certificates of members, in DER.", |s| &mut s.peer_tls.crl_file).key(""),
    row(SECURITY, "peer-cert-allowed-cn", "Common names of which a member's certificate must have one, a,b,...", |s| &mut s.peer_tls.allowed_cns).key("peer-transport-security.allowed-cn"),
    row(SECURITY, "peer-cert-allowed-hostname", "Hosts for one of which a member's certificate must be valid, a,b,...", |s| &mut s.peer_tls.allowed_hostnames).key("peer-transport-security.allowed-hostname"),
    row(SECURITY, "peer-skip-client-san-verification", "Believe certificates of members that connect from other addresses than theirs.", |s| &mut s.peer_tls.skip_client_sans).key("peer-transport-security.skip-client-san-verification"),
    row(SECURITY, "cipher-suites", "Cipher suites of TLS 1.2 by Go's names, a,b,...; all good ones where it is empty.", |s| &mut s.tls.cipher_suites),
    row(SECURITY, "tls-min-version", "Oldest version: TLS1.2, TLS1.3.", |s| &mut s.tls.min_version),
    row(SECURITY, "tls-max-version", "Newest version: TLS1.2, TLS1.3.", |s| &mut s.tls.max_version),
    row(LOGGING, "logger", "Accepted for etcd's sake; the shape of log lines is zap's.", |s| &mut s.logging.logger),
    row(LOGGING, "log-outputs", "Where the log goes, a,b,...: 'default' alone, 'stderr', 'stdout', files.", |s| &mut s.logging.outputs),
    row(LOGGING, "log-level", "debug, info, warn, error, dpanic, panic, fatal.", |s| &mut s.logging.level),
    row(LOGGING, "log-format", "'json' or 'console'.", |s| &mut s.logging.format),
    row(FEATURES, "metrics", "'extensive' adds durations of calls.", |s| &mut s.features.metrics),
    row(FEATURES, "watch-progress-notify-interval", "How often watchers hear of progress; 0 means 10m.", |s| &mut s.features.watch_progress_notify_interval),
    row(FEATURES, "feature-gates", "Features to switch, Name=true,...; LeaseCheckpoint is one that is off.", |s| &mut s.features.gates),
    row(FEATURES, "auto-compaction-mode", "'periodic' or 'revision': what auto-compaction-retention counts.", |s| &mut s.features.compaction_mode),
    row(FEATURES, "auto-compaction-retention", "History that is kept: hours, or a duration, or a number of revisions; 0 keeps all.", |s| &mut s.features.compaction_retention),
    row(UNSAFE, "force-new-cluster", "Drop every other member and go on alone: what only they have is lost.", |s| &mut s.member.force_new_cluster),
    row(UNSAFE, "unsafe-no-fsync", "Never sync: a crash loses acknowledged writes.", |s| &mut s.member.unsafe_no_fsync),

    row(ABSENT, "listen-client-http-urls", "", |s| &mut s.absent.listen_client_http_urls).absent("addresses for HTTP alone", |a| a.listen_client_http_urls.list.iter().len() > 0),
    row(ABSENT, "memory-mlock", "", |s| &mut s.absent.memory_mlock).absent("locking of memory", |a| a.memory_mlock),
    row(ABSENT, "backend-batch-limit", "0 and 10000 ask for nothing.", |s| &mut s.absent.backend_batch_limit).absent("commits by number of operations", |a| !matches!(a.backend_batch_limit, 0 | 10_000)),
    row(ABSENT, "socket-reuse-port", "", |s| &mut s.absent.socket_reuse_port).key("socket-options.reuse-port").absent("sharing of ports", |a| a.socket_reuse_port),
    row(ABSENT, "socket-reuse-address", "Always so.", |s| &mut s.absent.socket_reuse_address).key("socket-options.reuse-address"),
    row(ABSENT, "enable-grpc-gateway", "Taken either way.", |s| &mut s.absent.enable_grpc_gateway).warns_if(GATEWAY, |a| a.enable_grpc_gateway),
    row(ABSENT, "raft-read-timeout", "Up to 5s it is 5s.", |s| &mut s.absent.raft_read_timeout).key("").absent("longer timeouts between members", |a| a.raft_read_timeout > PEER_TIMEOUT),
    row(ABSENT, "raft-write-timeout", "Up to 5s it is 5s.", |s| &mut s.absent.raft_write_timeout).key("").absent("longer timeouts between members", |a| a.raft_write_timeout > PEER_TIMEOUT),
    row(ABSENT, "v2-deprecation", "Every stage of etcd's is taken.", |s| &mut s.absent.v2_deprecation).warns(V2_DEPRECATION),
    row(ABSENT, "cors", "", |s| &mut s.absent.cors).absent("rules for origins", |a| !a.cors.is_anyone()),
    row(ABSENT, "host-whitelist", "", |s| &mut s.absent.host_whitelist).absent("rules for host names", |a| !a.host_whitelist.is_anyone()),
    row(ABSENT, "auth-token", "'simple' and '' ask for nothing.", |s| &mut s.absent.auth_token).absent("authentication", |a| !matches!(a.auth_token.as_str(), "" | "simple")),
    row(ABSENT, "bcrypt-cost", "", |s| &mut s.absent.bcrypt_cost).absent("authentication", |a| matches!(a.bcrypt_cost, 4..=9 | 11..=31)),
    row(ABSENT, "auth-token-ttl", "", |s| &mut s.absent.auth_token_ttl).absent("authentication", |a| a.auth_token_ttl != 300),
    row(ABSENT, "enable-pprof", "Taken either way.", |s| &mut s.absent.enable_pprof).warns_if(PPROF, |a| a.enable_pprof),
    row(ABSENT, "enable-log-rotation", "", |s| &mut s.absent.enable_log_rotation).absent("rotation of logs", |a| a.enable_log_rotation),
    row(ABSENT, "log-rotation-config-json", "Without enable-log-rotation it asks for nothing.", |s| &mut s.absent.log_rotation_config),
    row(ABSENT, "warning-apply-duration", "", |s| &mut s.absent.warning_apply).absent("warnings of slow requests", |a| a.warning_apply != WARNING_APPLY),
    row(ABSENT, "warning-unary-request-duration", "", |s| &mut s.absent.warning_unary_request).absent("warnings of slow requests", |a| !matches!(a.warning_unary_request, WARNING_UNARY | Nanos(0))),
    row(ABSENT, "enable-distributed-tracing", "", |s| &mut s.absent.tracing).absent("distributed tracing", |a| a.tracing),
    row(ABSENT, "distributed-tracing-address", TRACING, |s| &mut s.absent.tracing_address),
    row(ABSENT, "distributed-tracing-service-name", TRACING, |s| &mut s.absent.tracing_service_name),
    row(ABSENT, "distributed-tracing-instance-id", TRACING, |s| &mut s.absent.tracing_instance_id),
    row(ABSENT, "distributed-tracing-sampling-rate", TRACING, |s| &mut s.absent.tracing_sampling_rate),
    row(ABSENT, "corrupt-check-time", "", |s| &mut s.absent.corrupt_check_time).absent("corruption checks of its own", |a| a.corrupt_check_time != Nanos(0)),
    row(ABSENT, "compact-hash-check-time", "Without the gate CompactHashCheck it asks for nothing.", |s| &mut s.absent.compact_hash_check_time),
    row(ABSENT, "compaction-batch-limit", "0 and 1000 ask for nothing.", |s| &mut s.absent.compaction_batch_limit).absent("batches in compactions", |a| !matches!(a.compaction_batch_limit, 0 | 1000)),
    row(ABSENT, "compaction-sleep-interval", "0 and 10ms ask for nothing.", |s| &mut s.absent.compaction_sleep_interval).absent("batches in compactions", |a| !matches!(a.compaction_sleep_interval, Nanos(0) | COMPACTION_SLEEP)),
    row(ABSENT, "bootstrap-defrag-threshold-megabytes", "", |s| &mut s.absent.bootstrap_defrag_threshold_mb).absent("defragmentation at the start", |a| a.bootstrap_defrag_threshold_mb != 0),
    row(ABSENT, "downgrade-check-time", "", |s| &mut s.absent.downgrade_check_time).absent("choice of that time", |a| a.downgrade_check_time != DOWNGRADE_CHECK),
    key_only("discovery-config.client.max-request-bytes", "", |s| &mut s.absent.discovery_bytes_max[0]).absent("limit of its own for that", |a| a.discovery_bytes_max[0] != 0),
    key_only("discovery-config.client.max-recv-bytes", "", |s| &mut s.absent.discovery_bytes_max[1]).absent("limit of its own for that", |a| a.discovery_bytes_max[1] != 0),
    key_only("discovery-config.client.secure.server-name", "", |s| &mut s.absent.discovery_server_name).absent("choice of that name", |a| !a.discovery_server_name.is_empty()),
    key_only("discovery-config.client.auth.token", "", |s| &mut s.absent.discovery_auth_token).absent("use for that token", |a| !a.discovery_auth_token.is_empty()),
    key_only("grpc-additional-server-options", "", |s| &mut s.absent.grpc_options).absent("such options", |a| !a.grpc_options.is_empty()),

    ignored("cluster-active-size"), ignored("cluster-remove-delay"), ignored("cluster-sync-interval"), ignored("config"),
    ignored("force"), ignored("max-result-buffer"), ignored("max-retry-attempts"), ignored("peer-heartbeat-interval"),
    ignored("peer-election-timeout"), ignored("retry-interval"), ignored("snapshot"), ignored("v"), ignored("vv"),
    ignored("test.coverprofile"), ignored("test.outputdir"),
];

const TRACING: &str = "Without enable-distributed-tracing it asks for nothing.";
const PEER_TIMEOUT: Nanos = Nanos::seconds(5);
const WARNING_APPLY: Nanos = Nanos::milliseconds(100);
const WARNING_UNARY: Nanos = Nanos::milliseconds(300);
const COMPACTION_SLEEP: Nanos = Nanos::milliseconds(10);
const DOWNGRADE_CHECK: Nanos = Nanos::seconds(5);
