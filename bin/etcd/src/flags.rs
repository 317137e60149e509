//! One row for each setting: flag, environment variable and key of the configuration file follow.
//!
//! A flag may be written with one dash or two. The variable of `some-flag` is `ETCD_SOME_FLAG`.
//! With a configuration file, flags and variables are not looked at.

use clap::{Arg, ArgAction, Command};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// A setting.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    is_switch: bool,
    section: &'static str,
    help: &'static str,
}

const fn row(
    section: &'static str,
    name: &'static str,
    default: &'static str,
    help: &'static str,
) -> Row {
    Row { name, default, is_switch: false, section, help }
}

const fn switch(
    section: &'static str,
    name: &'static str,
    default: &'static str,
    help: &'static str,
) -> Row {
    Row { name, default, is_switch: true, section, help }
}

const MEMBER: &str = "Member";
const CLUSTERING: &str = "Clustering";
const SECURITY: &str = "Security";
const LOGGING: &str = "Logging";
const FEATURES: &str = "Features";
const UNSAFE: &str = "Unsafe";

/// Every setting that this version has.
#[rustfmt::skip]
pub(crate) const ROWS: &[Row] = &[
    row(MEMBER, "name", "default", "Human-readable name for this member."),
    row(MEMBER, "data-dir", "", "Path to the data directory; <name>.etcd where it is empty."),
    row(MEMBER, "wal-dir", "", "Path to a directory for the log alone."),
    row(MEMBER, "snapshot-count", "10000", "Applied entries between snapshots."),
    row(MEMBER, "snapshot-catchup-entries", "5000", "Entries kept for members that lag behind."),
    row(MEMBER, "heartbeat-interval", "100", "Time of a heartbeat interval, in milliseconds."),
    row(MEMBER, "election-timeout", "1000", "Time for an election to time out, in milliseconds."),
    row(MEMBER, "listen-peer-urls", "http://localhost:2380", "URLs to listen on for other members."),
    row(MEMBER, "listen-client-urls", "http://localhost:2379", "URLs to listen on for clients."),
    row(MEMBER, "listen-metrics-urls", "", "URLs to listen on for metrics and health alone, besides those for clients."),
    row(MEMBER, "max-snapshots", "5", "Snapshot files to keep."),
    row(MEMBER, "max-wals", "5", "Log files to keep."),
    row(MEMBER, "quota-backend-bytes", "0", "Database quota in bytes; 0 means 2 GiB, negative none."),
    row(MEMBER, "backend-bbolt-freelist-type", "map", "Accepted for etcd's sake; both types write the same file."),
    row(MEMBER, "backend-batch-interval", "0", "Longest time between database commits; 0 means 100ms."),
    row(MEMBER, "max-learners", "1", "Learners that the cluster may have at a time."),
    row(MEMBER, "max-txn-ops", "128", "Operations in a transaction."),
    row(MEMBER, "max-request-bytes", "1572864", "Bytes in a request."),
    row(MEMBER, "max-concurrent-streams", "4294967295", "Streams at once on a connection."),
    row(MEMBER, "grpc-keepalive-min-time", "5s", "How often a client may ask whether the server lives."),
    row(MEMBER, "grpc-keepalive-interval", "2h", "How often a silent connection is asked whether it lives; 0 never."),
    row(MEMBER, "grpc-keepalive-timeout", "20s", "How long it may take to answer."),
    row(CLUSTERING, "initial-advertise-peer-urls", "http://localhost:2380", "This member's peer URLs, for the cluster."),
    row(CLUSTERING, "advertise-client-urls", "http://localhost:2379", "This member's client URLs, for the public."),
    row(CLUSTERING, "initial-cluster", "", "Members to begin with, name=url,...; this member alone where it is empty."),
    row(CLUSTERING, "initial-cluster-state", "new", "'new', or 'existing' to join a cluster that runs."),
    row(CLUSTERING, "initial-cluster-token", "etcd-cluster", "Distinguishes clusters with the same members."),
    row(CLUSTERING, "discovery-srv", "", "DNS domain whose SRV records name the members to begin with."),
    row(CLUSTERING, "discovery-srv-name", "", "Suffix of the service's name in those records."),
    row(CLUSTERING, "discovery-endpoints", "", "Endpoints of a running cluster through which new members find each other."),
    row(CLUSTERING, "discovery-token", "", "The new cluster's place in the discovery service."),
    row(CLUSTERING, "discovery-dial-timeout", "2s", "How long connecting to the discovery service may take."),
    row(CLUSTERING, "discovery-request-timeout", "5s", "How long the discovery service may take to answer."),
    row(CLUSTERING, "discovery-keepalive-time", "2s", "How often it is asked whether it lives."),
    row(CLUSTERING, "discovery-keepalive-timeout", "6s", "How long that answer may take."),
    row(CLUSTERING, "discovery-user", "", "User of the discovery service, name[:password]."),
    row(CLUSTERING, "discovery-password", "", "That user's password."),
    switch(CLUSTERING, "discovery-insecure-transport", "true", "Speak to the discovery service without TLS, where its endpoints do not say."),
    switch(CLUSTERING, "discovery-insecure-skip-tls-verify", "false", "Believe any discovery service; for tests only."),
    row(CLUSTERING, "discovery-cert", "", "Certificate towards the discovery service, in PEM."),
    row(CLUSTERING, "discovery-key", "", "Its key."),
    row(CLUSTERING, "discovery-cacert", "", "Whose certificates of the discovery service are believed, in PEM."),
    switch(CLUSTERING, "initial-election-tick-advance", "true", "Shorten the first wait for an election when the member starts."),
    switch(CLUSTERING, "pre-vote", "true", "Ask whether an election would be won before a new term begins."),
    switch(CLUSTERING, "strict-reconfig-check", "true", "Refuse changes of the members that could cost the majority."),
    row(SECURITY, "cert-file", "", "Certificate towards clients, in PEM."),
    row(SECURITY, "key-file", "", "Its key."),
    row(SECURITY, "client-cert-file", "", "Certificate for connections to the client port; cert-file where it is empty."),
    row(SECURITY, "client-key-file", "", "Its key."),
    switch(SECURITY, "client-cert-auth", "false", "Have clients show a certificate."),
    row(SECURITY, "client-crl-file", "", "Revoked certificates of clients, in DER."),
    row(SECURITY, "client-cert-allowed-hostname", "", "Hosts for one of which a client's certificate must be valid, a,b,..."),
    row(SECURITY, "trusted-ca-file", "", "Whose certificates of clients are believed, in PEM."),
    switch(SECURITY, "auto-tls", "false", "Make a certificate towards clients, where there is none."),
    row(SECURITY, "peer-cert-file", "", "Certificate towards other members, in PEM."),
    row(SECURITY, "peer-key-file", "", "Its key."),
    row(SECURITY, "peer-client-cert-file", "", "Certificate for connections to other members; peer-cert-file where it is empty."),
    row(SECURITY, "peer-client-key-file", "", "Its key."),
    switch(SECURITY, "peer-client-cert-auth", "false", "Have members that connect show a certificate."),
    row(SECURITY, "peer-trusted-ca-file", "", "Whose certificates of members are believed, in PEM."),
    switch(SECURITY, "peer-auto-tls", "false", "Make a certificate towards other members, where there is none, and believe any."),
    row(SECURITY, "self-signed-cert-validity", "1", "Years for which made certificates are valid."),
    row(SECURITY, "peer-crl-file", "", "Revoked certificates of members, in DER."),
    row(SECURITY, "peer-cert-allowed-cn", "", "Common names of which a member's certificate must have one, a,b,..."),
    row(SECURITY, "peer-cert-allowed-hostname", "", "Hosts for one of which a member's certificate must be valid, a,b,..."),
    switch(SECURITY, "peer-skip-client-san-verification", "false", "Believe certificates of members that connect from other addresses than theirs."),
    row(SECURITY, "cipher-suites", "", "Cipher suites of TLS 1.2 by Go's names, a,b,...; all good ones where it is empty."),
    row(SECURITY, "tls-min-version", "TLS1.2", "Oldest version: TLS1.2, TLS1.3."),
    row(SECURITY, "tls-max-version", "", "Newest version: TLS1.2, TLS1.3."),
    row(LOGGING, "logger", "zap", "Accepted for etcd's sake; the shape of log lines is zap's."),
    row(LOGGING, "log-outputs", "default", "'default', 'stderr', 'stdout', or files, a,b,..."),
    row(LOGGING, "log-level", "info", "debug, info, warn, error, dpanic, panic, fatal."),
    row(LOGGING, "log-format", "json", "'json' or 'console'."),
    row(FEATURES, "metrics", "basic", "'basic', or 'extensive' with durations of calls."),
    row(FEATURES, "watch-progress-notify-interval", "0", "How often watchers hear of progress; 0 means 10m."),
    row(FEATURES, "feature-gates", "", "Features to switch, Name=true,...; LeaseCheckpoint is one that is off."),
    switch(UNSAFE, "force-new-cluster", "false", "Drop every other member and go on alone: what only they have is lost."),
    switch(UNSAFE, "unsafe-no-fsync", "false", "Never sync: a crash loses acknowledged writes."),
];

/// The common names of which a client's certificate must have one: a key of the file, and no flag.
pub(crate) const CLIENT_CNS: &str = "client-cert-allowed-cn";

/// Settings that etcd has and this version does not yet: told apart from mistyped ones.
const NOT_YET: &[&str] = &[
    "auth-token",
    "auth-token-ttl",
    "auto-compaction-mode",
    "auto-compaction-retention",
    "backend-batch-limit",
    "bcrypt-cost",
    "bootstrap-defrag-threshold-megabytes",
    "compact-hash-check-time",
    "compaction-batch-limit",
    "compaction-sleep-interval",
    "cors",
    "corrupt-check-time",
    "downgrade-check-time",
    "enable-distributed-tracing",
    "enable-grpc-gateway",
    "enable-pprof",
    "host-whitelist",
    "listen-client-http-urls",
    "log-rotation-config-json",
    "enable-log-rotation",
    "memory-mlock",
    "raft-read-timeout",
    "raft-write-timeout",
    "socket-reuse-address",
    "socket-reuse-port",
    "v2-deprecation",
    "warning-apply-duration",
    "warning-unary-request-duration",
];

/// The values in force.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    values: BTreeMap<String, String>,
    /// Names that were set by the user.
    given: Vec<String>,
    /// To be logged when the log is open.
    pub(crate) warnings: Vec<String>,
}

impl Settings {
    /// A setting's value.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.values.get(name).expect("every row has a value")
    }

    /// Whether the user set it.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.given.iter().any(|given| given == name)
    }
}

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// To run with these settings.
    Run(Settings),
    /// To print this and stop.
    Print(String),
}

/// What is wrong with it.
#[derive(Debug)]
pub(crate) struct FlagError(String);

impl fmt::Display for FlagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads flags and variables, or the configuration file that they name.
///
/// # Errors
/// Unknown flags, with a hint; a flag and its variable at once; an unreadable file.
pub(crate) fn read(
    args: &[String],
    env: impl Iterator<Item = (String, String)>,
) -> Result<Outcome, FlagError> {
    let env: BTreeMap<String, String> = env.filter(|(_, value)| !value.is_empty()).collect();
    let two_dashes = args.iter().map(|arg| normalize(arg));
    let matches =
        match command().try_get_matches_from(std::iter::once("etcd".into()).chain(two_dashes)) {
            Ok(matches) => matches,
            Err(error) => return explain(&error),
        };
    if matches.get_flag("version") {
        return Ok(Outcome::Print(version_text()));
    }
    let flag = |name: &str| matches.get_one::<String>(name).cloned();
    let file = flag("config-file").or_else(|| env.get("ETCD_CONFIG_FILE").cloned());
    let mut settings = Settings::default();
    for row in ROWS {
        settings.values.insert(row.name.into(), row.default.into());
    }
    settings.values.insert(CLIENT_CNS.into(), String::new());
    if let Some(path) = file {
        read_file(&path, &mut settings)?;
        return Ok(Outcome::Run(settings));
    }
    for row in ROWS {
        let variable = variable_of(row.name);
        let value = match (flag(row.name), env.get(&variable)) {
            (Some(_), Some(_)) => {
                return Err(FlagError(format!(
                    "conflicting environment variable {variable:?} is shadowed by corresponding \
                     command-line flag (either unset environment variable or disable flag)"
                )));
            }
            (Some(value), None) => value,
            (None, Some(value)) => value.clone(),
            (None, None) => continue,
        };
        settings.set(row.name, value);
    }
    for name in env.keys().filter(|name| name.starts_with("ETCD_")) {
        let known = ROWS.iter().any(|row| variable_of(row.name) == **name);
        if !known && name != "ETCD_CONFIG_FILE" {
            settings.warnings.push(format!("unrecognized environment variable {name}"));
        }
    }
    Ok(Outcome::Run(settings))
}

impl Settings {
    fn set(&mut self, name: &str, value: String) {
        self.values.insert(name.into(), value);
        self.given.push(name.into());
    }
}

fn variable_of(flag: &str) -> String {
    format!("ETCD_{}", flag.to_uppercase().replace('-', "_"))
}

/// Go takes `-flag` as well as `--flag`.
fn normalize(arg: &str) -> String {
    match arg.strip_prefix('-') {
        Some(rest) if rest.len() > 1 && !rest.starts_with('-') => format!("--{rest}"),
        _ => arg.to_owned(),
    }
}

fn command() -> Command {
    let mut command = Command::new("etcd")
        .about("A durable key-value store: etcd's APIs, files and command line.")
        .disable_version_flag(true)
        .arg(
            Arg::new("version")
                .long("version")
                .action(ArgAction::SetTrue)
                .help("Print the version and exit."),
        )
        .arg(Arg::new("config-file").long("config-file").help(
            "Path to a configuration file in YAML; other flags and variables are ignored then.",
        ));
    for row in ROWS {
        let mut arg = Arg::new(row.name)
            .long(row.name)
            .help(format!(
                "{} [default: {}]",
                row.help,
                if row.default.is_empty() { "''" } else { row.default }
            ))
            .help_heading(row.section)
            .allow_hyphen_values(true)
            .overrides_with(row.name);
        if row.is_switch {
            arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true");
        }
        command = command.arg(arg);
    }
    command
}

fn explain(error: &clap::Error) -> Result<Outcome, FlagError> {
    use clap::error::{ContextKind, ErrorKind};
    if error.kind() == ErrorKind::DisplayHelp {
        return Ok(Outcome::Print(error.to_string()));
    }
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(name) = error.get(ContextKind::InvalidArg).map(ToString::to_string)
    {
        let bare = name.trim_start_matches('-').split('=').next().unwrap_or_default().to_owned();
        let hint = if NOT_YET.contains(&bare.as_str()) {
            "etcd has this flag, this version does not yet; leave it out".to_owned()
        } else {
            match error.get(ContextKind::SuggestedArg) {
                Some(near) => format!("did you mean {near}? See 'etcd --help'"),
                None => "see 'etcd --help'".to_owned(),
            }
        };
        return Err(FlagError(format!("flag provided but not defined: -{bare}\n{hint}")));
    }
    Err(FlagError(error.to_string()))
}

fn version_text() -> String {
    format!("etcd Version: {}\nHoldfast: {}", server::VERSION, env!("CARGO_PKG_VERSION"))
}

/// The keys of the file are the flags' names; lists may be written as lists.
fn read_file(path: &str, settings: &mut Settings) -> Result<(), FlagError> {
    let bad = |what: String| FlagError(format!("error loading configuration file {path}: {what}"));
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    let file: BTreeMap<String, Value> =
        serde_saphyr::from_str(&text).map_err(|error| bad(error.to_string()))?;
    for (key, value) in file {
        if let Some(flag_of) = section_of(&key) {
            let Value::Object(section) = value else { return Err(bad(format!("invalid {key}"))) };
            for (inner, value) in section {
                settings.read_key(&flag_of(&inner), value).map_err(bad)?;
            }
            continue;
        }
        settings.read_key(&key, value).map_err(bad)?;
    }
    Ok(())
}

/// How the keys of a section are called as flags; none where the key is no section.
fn section_of(key: &str) -> Option<fn(&str) -> String> {
    match key {
        "client-transport-security" => Some(|key| match key {
            "allowed-hostname" => "client-cert-allowed-hostname".into(),
            "allowed-cn" => CLIENT_CNS.into(),
            key => key.into(),
        }),
        "peer-transport-security" => Some(|key| match key {
            "allowed-hostname" | "allowed-cn" => format!("peer-cert-{key}"),
            key => format!("peer-{key}"),
        }),
        _ => None,
    }
}

impl Settings {
    fn read_key(&mut self, key: &str, value: Value) -> Result<(), String> {
        if !self.values.contains_key(key) {
            return Err(format!("unknown key {key:?}; keys are the names of flags"));
        }
        let value = match value {
            Value::String(text) => text,
            Value::Array(items) => {
                let items = items.iter().map(|item| item.as_str().unwrap_or_default());
                items.collect::<Vec<_>>().join(",")
            }
            Value::Null => return Ok(()),
            other => other.to_string(),
        };
        self.set(key, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str], env: &[(&str, &str)]) -> Result<Settings, String> {
        let args: Vec<String> = args.iter().map(|&arg| arg.into()).collect();
        let env = env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        match read(&args, env) {
            Ok(Outcome::Run(settings)) => Ok(settings),
            Ok(Outcome::Print(text)) => Err(text),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn flags_come_in_every_form_of_go() {
        let settings = run(
            &["-name", "a", "--data-dir=d", "-max-wals=3", "--pre-vote", "--unsafe-no-fsync=true"],
            &[],
        )
        .unwrap();
        assert_eq!(settings.get("name"), "a");
        assert_eq!((settings.get("data-dir"), settings.get("max-wals")), ("d", "3"));
        assert_eq!(settings.get("unsafe-no-fsync"), "true");
        assert_eq!(settings.get("heartbeat-interval"), "100");
        let negative = run(&["--quota-backend-bytes", "-1"], &[]).unwrap();
        assert_eq!(negative.get("quota-backend-bytes"), "-1");
    }

    #[test]
    fn variables_count_and_conflicts_are_told() {
        let settings = run(&[], &[("ETCD_NAME", "x"), ("ETCD_DATA_DIR", ""), ("ETCD_FOO", "1")]);
        let settings = settings.unwrap();
        assert_eq!((settings.get("name"), settings.get("data-dir")), ("x", ""));
        assert_eq!(settings.warnings, ["unrecognized environment variable ETCD_FOO"]);
        let both = run(&["--name", "a"], &[("ETCD_NAME", "b")]).unwrap_err();
        assert!(both.contains("shadowed"), "{both}");
    }

    #[test]
    fn unknown_flags_get_a_hint() {
        let near = run(&["--data-dirr", "x"], &[]).unwrap_err();
        assert!(near.contains("-data-dirr") && near.contains("--data-dir"), "{near}");
        let known = run(&["--cors", "x"], &[]).unwrap_err();
        assert!(known.contains("does not yet"), "{known}");
        assert!(run(&["--help"], &[]).unwrap_err().contains("--listen-client-urls"));
    }

    #[test]
    fn a_file_replaces_flags() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.yml");
        std::fs::write(&path, "name: f\nmax-wals: 7\nlog-outputs: [stderr]\n").unwrap();
        let path = path.to_str().unwrap();
        let settings = run(&["--config-file", path, "--name", "ignored"], &[]).unwrap();
        assert_eq!((settings.get("name"), settings.get("max-wals")), ("f", "7"));
        let sections = "client-transport-security:\n  cert-file: c\n  allowed-cn: [a, b]\n\
                        peer-transport-security:\n  client-cert-auth: true\n  allowed-cn: [m]\n";
        std::fs::write(path, sections).unwrap();
        let settings = run(&["--config-file", path], &[]).unwrap();
        assert_eq!((settings.get("cert-file"), settings.get(CLIENT_CNS)), ("c", "a,b"));
        assert_eq!(settings.get("peer-client-cert-auth"), "true");
        assert_eq!(settings.get("peer-cert-allowed-cn"), "m");
        std::fs::write(path, "peer-transport-security: true\n").unwrap();
        let refused = run(&["--config-file", path], &[]).unwrap_err();
        assert!(refused.ends_with("invalid peer-transport-security"), "{refused}");
        std::fs::write(path, "nmae: f\n").unwrap();
        assert!(run(&["--config-file", path], &[]).unwrap_err().contains("nmae"));
    }
}
