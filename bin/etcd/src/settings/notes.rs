//! What is to be said of the settings once the log is open.

use std::path::PathBuf;

/// A line for the log. Values of variables are not in it: some of them are secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// The configuration file counts.
    File(PathBuf),
    /// A variable counts.
    Used(String),
    /// A variable that belongs to nothing.
    Unrecognized(String),
    /// A variable that etcd does not let anyone set.
    Special(String),
    /// A key of the file that earlier versions of etcd knew.
    Earlier(String),
    /// A key that nobody knows, which is passed over on request.
    Unknown(String),
    /// A warning about a setting.
    Warning(&'static str),
}

impl Note {
    /// Logs it.
    pub(crate) fn log(&self) {
        match self {
            Note::File(path) => tracing::info!(
                path = %path.display(),
                "loaded server configuration, other configuration command line flags and \
                 environment variables will be ignored if provided"
            ),
            Note::Used(name) => tracing::info!(
                variable_name = %name,
                "recognized and used environment variable"
            ),
            Note::Unrecognized(name) => tracing::warn!(
                environment_variable = %name,
                "unrecognized environment variable"
            ),
            Note::Special(name) => tracing::warn!(
                key = %name,
                "cannot set special environment variable"
            ),
            Note::Earlier(key) => tracing::warn!(
                key = %key,
                "a key of earlier versions in the configuration file has no effect"
            ),
            Note::Unknown(key) => tracing::warn!(
                key = %key,
                "an unknown key in the configuration file has no effect"
            ),
            Note::Warning(text) => tracing::warn!("{text}"),
        }
    }
}
