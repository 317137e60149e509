//! What may be typed.

use clap::{Args, FromArgMatches, Subcommand};
use cli::exit::Exit;
use cli::go;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// A whole command line.
pub(crate) type Invocation = cli::args::Invocation<Global, Command>;

/// What may be typed, for clap.
pub(crate) fn program() -> clap::Command {
    cli::args::program::<Invocation>("etcdutl", "An administrative command line tool for etcd3.")
}

/// The flags of every command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// time to wait to obtain a file lock on db file, 0 to block indefinitely
    #[arg(long, global = true, default_value = "10s", value_parser = go::parse_duration)]
    pub(crate) timeout: Duration,
    /// set the output format (fields, json, protobuf, simple, table)
    #[arg(long, short = 'w', global = true, default_value = "simple")]
    pub(crate) write_out: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Defragments the storage of the etcd
    Defrag(Defrag),
    /// Manages etcd node snapshots
    Snapshot(Snapshot),
    /// Prints the KV history hash of a given file
    Hashkv(HashKv),
    /// Prints the version of etcdutl
    Version(Nothing),
    /// Generate completion script
    Completion {
        #[arg(value_name = "bash|zsh|fish|powershell")]
        args: Vec<String>,
    },
    /// Migrates schema of etcd data dir files to make them compatible with different etcd version
    Migrate(Migrate),
}

/// Arguments that a command takes and does not look at.
#[derive(Args, Debug)]
pub(crate) struct Nothing {
    #[arg(hide = true)]
    args: Vec<OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct Defrag {
    /// Required. Defragments a data directory not in use by etcd.
    #[arg(long)]
    pub(crate) data_dir: Option<OsString>,
    #[command(flatten)]
    nothing: Nothing,
}

#[derive(Args, Debug)]
pub(crate) struct Snapshot {
    #[command(subcommand)]
    pub(crate) command: Option<SnapshotCommand>,
    #[command(flatten)]
    nothing: Nothing,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Restores an etcd member snapshot to an etcd directory
    Restore(Restore),
    /// Gets backend snapshot status of a given file
    ///
    /// When --write-out is set to simple, this command prints out comma-separated status lists for
    /// each endpoint. The items in the lists are hash, revision, total keys, total size.
    Status {
        #[arg(value_name = "FILENAME")]
        args: Vec<PathBuf>,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Restore {
    #[arg(value_name = "FILENAME")]
    pub(crate) args: Vec<PathBuf>,
    /// Path to the output data directory
    #[arg(long, default_value = "")]
    pub(crate) data_dir: OsString,
    /// Path to the WAL directory (use --data-dir if none given)
    #[arg(long, default_value = "")]
    pub(crate) wal_dir: OsString,
    /// Initial cluster configuration for restore bootstrap
    #[arg(long, default_value = "default=http://localhost:2380")]
    pub(crate) initial_cluster: String,
    /// Initial cluster token for the etcd cluster during restore bootstrap
    #[arg(long, default_value = "etcd-cluster")]
    pub(crate) initial_cluster_token: String,
    /// List of this member's peer URLs to advertise to the rest of the cluster
    #[arg(long, default_value = "http://localhost:2380")]
    pub(crate) initial_advertise_peer_urls: String,
    /// Human-readable name for this member
    #[arg(long, default_value = "default")]
    pub(crate) name: String,
    /// Ignore snapshot integrity hash value (required if copied from data directory)
    #[arg(long)]
    pub(crate) skip_hash_check: bool,
    /// Initial memory map size of the database in bytes. It uses the default value if not defined or defined to 0
    #[arg(long, default_value = "10737418240", value_parser = go::parse_flag_unsigned)]
    pub(crate) initial_memory_map_size: u64,
    /// How much to increase the latest revision after restore
    #[arg(long, default_value = "0", value_parser = go::parse_flag_unsigned)]
    pub(crate) bump_revision: u64,
    /// Mark the latest revision after restore as the point of scheduled compaction (required if --bump-revision > 0, disallowed otherwise)
    #[arg(long)]
    pub(crate) mark_compacted: bool,
}

#[derive(Args, Debug)]
pub(crate) struct HashKv {
    #[arg(value_name = "FILENAME")]
    pub(crate) args: Vec<PathBuf>,
    /// maximum revision to hash (default: latest revision)
    #[arg(long, default_value = "0", value_parser = go::parse_flag_int)]
    pub(crate) rev: i64,
}

#[derive(Args, Debug)]
pub(crate) struct Migrate {
    /// Path to the etcd data dir
    #[arg(long)]
    pub(crate) data_dir: Option<OsString>,
    /// Target etcd version to migrate contents of data dir. Minimal value 3.5. Format "X.Y" for example 3.6.
    #[arg(long)]
    pub(crate) target_version: Option<String>,
    /// Ignore migration failure and forcefully override storage version. Not recommended.
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    nothing: Nothing,
}

/// Reads a command line.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Invocation, Exit> {
    let matches = cli::args::matches(program(), words)?;
    Ok(Invocation::from_arg_matches(&matches)?)
}

/// Refuses a command, and says how it is used.
pub(crate) fn misused(name: &str, message: impl ToString) -> Exit {
    let mut command = program();
    command.build();
    let used = command.find_subcommand_mut(name).map(|command| command.render_usage().to_string());
    Exit::usage(message, used.unwrap_or_default())
}
