//! Settings that are one of a few words.

use super::values::Word;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// `--initial-cluster-state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClusterState {
    /// The member begins a cluster.
    New,
    /// It joins one that runs.
    Existing,
}

impl Word for ClusterState {
    fn parse(text: &str) -> Result<ClusterState, String> {
        match text {
            "new" => Ok(ClusterState::New),
            "existing" => Ok(ClusterState::Existing),
            _ => Err("invalid value".into()),
        }
    }

    fn parse_in_file(text: &str) -> Result<ClusterState, String> {
        let text = if text.is_empty() { "new" } else { text };
        let unexpected = |_| format!("unexpected clusterState {}", cli::go::quote(text.as_bytes()));
        ClusterState::parse(text).map_err(unexpected)
    }
}

/// `--discovery-fallback`, of which one word only is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fallback {
    Exit,
    Proxy,
}

impl Word for Fallback {
    fn parse(text: &str) -> Result<Fallback, String> {
        match text {
            "exit" => Ok(Fallback::Exit),
            "proxy" => Ok(Fallback::Proxy),
            _ => Err("invalid value".into()),
        }
    }
}

/// `--v2-deprecation`: any of the stages, and nothing follows from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct V2Deprecations;

impl Word for V2Deprecations {
    fn parse(text: &str) -> Result<V2Deprecations, String> {
        let stages = ["write-only", "write-only-skip-check", "write-only-drop-data", "gone"];
        match text.split(',').find(|stage| !stages.contains(stage)) {
            Some(stage) => Err(format!("invalid value {}", cli::go::quote(stage.as_bytes()))),
            None => Ok(V2Deprecations),
        }
    }

    fn parse_in_file(_: &str) -> Result<V2Deprecations, String> {
        Ok(V2Deprecations)
    }
}

/// A version of TLS, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TlsVersion(pub(crate) Option<tls::Version>);

impl Word for TlsVersion {
    fn parse(text: &str) -> Result<TlsVersion, String> {
        tls::Version::parse(text).map(TlsVersion).map_err(|error| error.to_string())
    }
}

/// `--auto-compaction-mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CompactionMode {
    Periodic,
    Revision,
}

impl Word for CompactionMode {
    fn parse(text: &str) -> Result<CompactionMode, String> {
        match text {
            "periodic" => Ok(CompactionMode::Periodic),
            "revision" => Ok(CompactionMode::Revision),
            "" => Err("undefined auto-compaction-mode".into()),
            _ => Err(format!("unknown auto-compaction-mode {}", cli::go::quote(text.as_bytes()))),
        }
    }
}

/// `--auto-compaction-retention`: a number of hours or revisions, or a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retention {
    Number(i64),
    Nanos(i64),
}

impl Retention {
    /// Whether nothing is compacted.
    pub(crate) fn is_off(self) -> bool {
        matches!(self, Retention::Number(0) | Retention::Nanos(0))
    }
}

impl Word for Retention {
    fn parse(text: &str) -> Result<Retention, String> {
        if text.is_empty() {
            return Ok(Retention::Number(0));
        }
        // A decimal number, whatever it begins with.
        let digits = text.strip_prefix('+').unwrap_or(text);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_number && let Ok(number) = digits.parse() {
            return Ok(Retention::Number(number));
        }
        cli::number::nanoseconds(text)
            .map(Retention::Nanos)
            .map_err(|error| format!("error parsing CompactionRetention: {error}"))
    }
}

/// `--logger`: there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Logger;

impl Word for Logger {
    fn parse(text: &str) -> Result<Logger, String> {
        match text {
            "zap" => Ok(Logger),
            "capnslog" => Err("--logger=capnslog is removed in v3.5".into()),
            _ => Err(format!("unknown logger option {}", cli::go::quote(text.as_bytes()))),
        }
    }
}

/// From which level on lines are logged; the levels of zap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
    DPanic,
    Panic,
    Fatal,
}

impl Word for LogLevel {
    fn parse(text: &str) -> Result<LogLevel, String> {
        match text.to_ascii_lowercase().as_str() {
            "debug" => Ok(LogLevel::Debug),
            "info" | "" => Ok(LogLevel::Info),
            "warn" | "warning" => Ok(LogLevel::Warn),
            "error" => Ok(LogLevel::Error),
            "dpanic" => Ok(LogLevel::DPanic),
            "panic" => Ok(LogLevel::Panic),
            "fatal" => Ok(LogLevel::Fatal),
            _ => Err(format!("unrecognized level: {}", cli::go::quote(text.as_bytes()))),
        }
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Json,
    Console,
}

impl Word for LogFormat {
    fn parse(text: &str) -> Result<LogFormat, String> {
        match text {
            "json" | "" => Ok(LogFormat::Json),
            "console" => Ok(LogFormat::Console),
            _ => Err(format!("unknown log format: {text}, supported values json, console")),
        }
    }
}

/// Where lines of the log go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogOutput {
    Stderr,
    Stdout,
    /// To the end of this file.
    File(PathBuf),
}

const DEFAULT: &str = "default";
const JOURNAL: &str = "systemd/journal";
const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";
const DEV_NULL: &str = "/dev/null";

impl LogOutput {
    /// All places that `--log-outputs` names, each once; `/dev/null` is for all of them.
    ///
    /// # Errors
    /// Combinations and places that there are not, in the words of the reference.
    pub(crate) fn list(names: &[OsString]) -> Result<Vec<LogOutput>, String> {
        if names.is_empty() {
            return Ok(vec![LogOutput::Stderr]);
        }
        if names.len() > 1 && names.iter().any(|name| name == DEFAULT) {
            return Err(format!("multi logoutput for \"{DEFAULT}\" is not supported yet"));
        }
        if names.iter().any(|name| name == JOURNAL) {
            return Err(no_journal(names));
        }
        if names.iter().any(|name| name == DEV_NULL) {
            return Ok(vec![LogOutput::File(DEV_NULL.into())]);
        }
        let mut outputs = Vec::new();
        for name in names {
            let output = LogOutput::one(name)?;
            if !outputs.contains(&output) {
                outputs.push(output);
            }
        }
        Ok(outputs)
    }

    fn one(name: &OsStr) -> Result<LogOutput, String> {
        // Other bytes are a path, for nothing else has a name with them.
        let Some(name) = name.to_str() else { return Ok(LogOutput::File(name.into())) };
        let bad = |what: &str| format!("open sink {}: {what}", cli::go::quote(name.as_bytes()));
        match name {
            DEFAULT | "stderr" => Ok(LogOutput::Stderr),
            "stdout" => Ok(LogOutput::Stdout),
            "" => Err(bad("open : no such file or directory")),
            path => match path.split_once("://") {
                None => Ok(LogOutput::File(path.into())),
                Some(("file", path)) if path.starts_with('/') => Ok(LogOutput::File(path.into())),
                Some(("file", _)) => Err(bad("file URLs must leave host empty or use localhost")),
                Some((scheme, _)) => Err(bad(&format!(
                    "no sink found for scheme {}",
                    cli::go::quote(scheme.as_bytes())
                ))),
            },
        }
    }
}

/// systemd's journal is not written to.
fn no_journal(names: &[OsString]) -> String {
    if names.len() > 1 {
        let names: Vec<String> =
            names.iter().map(|name| cli::go::quote(name.as_encoded_bytes())).collect();
        return format!(
            "running with systemd/journal but other '--log-outputs' values ([{}]) are configured \
             with 'default'; override 'default' value with something else",
            names.join(" ")
        );
    }
    match std::os::unix::net::UnixDatagram::unbound().and_then(|it| it.connect(JOURNAL_SOCKET)) {
        Ok(()) => format!(
            "--log-outputs={JOURNAL} is not supported by this version; systemd puts what goes to \
             stderr into its journal"
        ),
        Err(error) => {
            let text = error.to_string();
            let reason = text.split(" (os error").next().unwrap_or_default().to_lowercase();
            format!("can't find journal (dial unixgram {JOURNAL_SOCKET}: connect: {reason})")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn levels_are_those_of_zap() {
        for (text, level) in [
            ("debug", LogLevel::Debug),
            ("DEBUG", LogLevel::Debug),
            ("Warn", LogLevel::Warn),
            ("Warning", LogLevel::Warn),
            ("", LogLevel::Info),
            ("dpanic", LogLevel::DPanic),
            ("FATAL", LogLevel::Fatal),
        ] {
            assert_eq!(LogLevel::parse(text), Ok(level), "{text}");
        }
        for text in ["nonsense", "trace", "warnings", " info"] {
            let error = LogLevel::parse(text).unwrap_err();
            assert_eq!(error, format!("unrecognized level: {text:?}"));
        }
    }

    #[test]
    fn outputs_go_to_several_places() {
        let list = |names: &[&str]| {
            LogOutput::list(&names.iter().map(|&name| name.into()).collect::<Vec<_>>())
        };
        let file = |path: &str| LogOutput::File(path.into());
        assert_eq!(list(&["default"]), Ok(vec![LogOutput::Stderr]));
        assert_eq!(list(&[]), Ok(vec![LogOutput::Stderr]));
        assert_eq!(list(&["stderr", "stdout"]), Ok(vec![LogOutput::Stderr, LogOutput::Stdout]));
        assert_eq!(list(&["a.log", "a.log", "/b"]), Ok(vec![file("a.log"), file("/b")]));
        assert_eq!(list(&["stderr", "/dev/null"]), Ok(vec![file("/dev/null")]));
        let bytes = OsStr::from_bytes(b"/\xe9");
        assert_eq!(LogOutput::list(&[bytes.into()]), Ok(vec![LogOutput::File(bytes.into())]));
        assert_eq!(list(&["file:///tmp/x"]), Ok(vec![file("/tmp/x")]));
        let refused = |names: &[&str], what: &str| {
            let error = list(names).unwrap_err();
            assert!(error.contains(what), "{error}");
        };
        refused(&["default", "stderr"], "multi logoutput for \"default\" is not supported yet");
        refused(&[""], "open sink \"\": open : no such file or directory");
        refused(&["http://x"], "no sink found for scheme \"http\"");
        refused(&["stderr", "systemd/journal"], "values ([\"stderr\" \"systemd/journal\"])");
        refused(&["systemd/journal"], "journal");
    }
}
