//! What may be typed.

use crate::environment;
use crate::exit::Exit;
use crate::go;
use clap::parser::ValueSource;
use clap::{ArgAction, Args, FromArgMatches, Subcommand};
pub(crate) use cli::args::parse_line;
use cli::args::{absent, innermost};
use client::Secret;
use std::ffi::OsString;
use std::time::Duration;

/// A whole command line.
pub(crate) type Invocation = cli::args::Invocation<Global, Command>;

/// What etcd's `etcdctl` has and this one has not.
const ABSENT: &[&str] =
    &["auth", "check", "completion", "elect", "lock", "make-mirror", "options", "role", "user"];

/// What may be typed, for clap.
pub(crate) fn program() -> clap::Command {
    let program =
        cli::args::program::<Invocation>("etcdctl", "A simple command line client for etcd3.");
    program.subcommands(ABSENT.iter().copied().map(absent))
}

/// The flags of every command; each is also read from `ETCDCTL_` and its name.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// gRPC endpoints
    #[arg(
        long,
        global = true,
        value_delimiter = ',',
        default_value = "127.0.0.1:2379",
        env = "ETCDCTL_ENDPOINTS"
    )]
    pub(crate) endpoints: Vec<String>,
    /// Enable client-side debug logging
    #[arg(long, global = true, env = "ETCDCTL_DEBUG")]
    pub(crate) debug: bool,
    /// Set the output format (fields, json, protobuf, simple, table)
    #[arg(long, short = 'w', global = true, default_value = "simple", env = "ETCDCTL_WRITE_OUT")]
    pub(crate) write_out: String,
    /// Print byte strings as hex encoded strings
    #[arg(long, global = true, env = "ETCDCTL_HEX")]
    pub(crate) hex: bool,
    /// Dial timeout for client connections
    #[arg(long, global = true, default_value = "2s", value_parser = go::parse_duration, env = "ETCDCTL_DIAL_TIMEOUT")]
    pub(crate) dial_timeout: Duration,
    /// Timeout for short running command (excluding dial timeout)
    #[arg(long, global = true, default_value = "5s", value_parser = go::parse_duration, env = "ETCDCTL_COMMAND_TIMEOUT")]
    pub(crate) command_timeout: Duration,
    /// Whether the command timeout was given.
    #[arg(skip)]
    pub(crate) has_command_timeout: bool,
    /// Keepalive time for client connections
    #[arg(long, global = true, default_value = "2s", value_parser = go::parse_duration, env = "ETCDCTL_KEEPALIVE_TIME")]
    pub(crate) keepalive_time: Duration,
    /// Keepalive timeout for client connections
    #[arg(long, global = true, default_value = "6s", value_parser = go::parse_duration, env = "ETCDCTL_KEEPALIVE_TIMEOUT")]
    pub(crate) keepalive_timeout: Duration,
    /// Client-side request send limit in bytes (if 0, it defaults to 2 MiB)
    #[arg(long, global = true, default_value = "0", value_parser = go::parse_flag_int, env = "ETCDCTL_MAX_REQUEST_BYTES")]
    pub(crate) max_request_bytes: i64,
    /// Client-side response receive limit in bytes (if 0, it defaults to 2 GiB)
    #[arg(long, global = true, default_value = "0", value_parser = go::parse_flag_int, env = "ETCDCTL_MAX_RECV_BYTES")]
    pub(crate) max_recv_bytes: i64,
    /// Disable transport security for client connections
    #[arg(long, global = true, default_value = "true", value_parser = go::parse_bool, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", env = "ETCDCTL_INSECURE_TRANSPORT")]
    pub(crate) insecure_transport: bool,
    /// Accept insecure SRV records describing cluster endpoints
    #[arg(long, global = true, default_value = "true", value_parser = go::parse_bool, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", env = "ETCDCTL_INSECURE_DISCOVERY")]
    pub(crate) insecure_discovery: bool,
    /// Skip server certificate verification (only for testing)
    #[arg(long, global = true, env = "ETCDCTL_INSECURE_SKIP_TLS_VERIFY")]
    pub(crate) insecure_skip_tls_verify: bool,
    /// Identify secure client using this TLS certificate file
    #[arg(long, global = true, default_value = "", env = "ETCDCTL_CERT")]
    pub(crate) cert: OsString,
    /// Identify secure client using this TLS key file
    #[arg(long, global = true, default_value = "", env = "ETCDCTL_KEY")]
    pub(crate) key: OsString,
    /// Verify certificates of TLS-enabled secure servers using this CA bundle
    #[arg(long, global = true, default_value = "", env = "ETCDCTL_CACERT")]
    pub(crate) cacert: OsString,
    /// JWT token used for authentication, instead of a user and a password
    #[arg(long, global = true, default_value = "", env = "ETCDCTL_AUTH_JWT_TOKEN")]
    pub(crate) auth_jwt_token: Secret,
    /// The name, and perhaps the password.
    #[arg(
        long,
        global = true,
        default_value = "",
        env = "ETCDCTL_USER",
        help = "username[:password] for authentication (prompts if there is no password)"
    )]
    pub(crate) user: Secret,
    /// Password for authentication (then --user holds no password)
    #[arg(long, global = true, default_value = "", env = "ETCDCTL_PASSWORD")]
    pub(crate) password: Secret,
    /// Domain name to query for SRV records describing cluster endpoints
    #[arg(long, short = 'd', global = true, default_value = "", env = "ETCDCTL_DISCOVERY_SRV")]
    pub(crate) discovery_srv: String,
    /// Service name to query when using DNS discovery
    #[arg(long, global = true, default_value = "", env = "ETCDCTL_DISCOVERY_SRV_NAME")]
    pub(crate) discovery_srv_name: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Gets the key or a range of keys
    Get(Get),
    /// Puts the given key into the store
    Put(Put),
    /// Removes the specified key or range of keys [key, range_end)
    Del(Del),
    /// Processes all the requests in one transaction, read from standard input
    Txn(Txn),
    /// Compacts the event history in etcd
    Compaction(Compaction),
    /// Watches events stream on keys or prefixes
    Watch(Watch),
    /// Lease related commands
    #[command(subcommand)]
    Lease(Lease),
    /// Endpoint related commands
    Endpoint(Endpoint),
    /// Membership related commands
    #[command(subcommand)]
    Member(Member),
    /// Alarm related commands
    #[command(subcommand)]
    Alarm(Alarm),
    /// Defragments the storage of the etcd members with given endpoints
    Defrag(Defrag),
    /// Manages etcd node snapshots
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// Transfers leadership to another etcd cluster member
    MoveLeader(MoveLeader),
    /// Downgrade related commands
    #[command(subcommand)]
    Downgrade(Downgrade),
    /// Prints the version of etcdctl
    Version,
}

#[derive(Args, Debug)]
pub(crate) struct Get {
    /// The key, and where a range ends
    #[arg(value_name = "KEY [RANGE_END]")]
    pub(crate) args: Vec<OsString>,
    /// Linearizable(l) or Serializable(s)
    #[arg(long, default_value = "l")]
    pub(crate) consistency: String,
    /// Order of results; ASCEND or DESCEND (ASCEND by default)
    #[arg(long, default_value = "")]
    pub(crate) order: String,
    /// Sort target; CREATE, KEY, MODIFY, VALUE, or VERSION
    #[arg(long, default_value = "")]
    pub(crate) sort_by: String,
    /// Maximum number of results
    #[arg(long, default_value = "0", value_parser = go::parse_flag_int)]
    pub(crate) limit: i64,
    /// Get keys with matching prefix
    #[arg(long)]
    pub(crate) prefix: bool,
    /// Get keys that are greater than or equal to the given key using byte compare
    #[arg(long)]
    pub(crate) from_key: bool,
    /// Specify the kv revision
    #[arg(long, default_value = "0", value_parser = go::parse_flag_int)]
    pub(crate) rev: i64,
    /// Get only the keys
    #[arg(long)]
    pub(crate) keys_only: bool,
    /// Get only the count
    #[arg(long)]
    pub(crate) count_only: bool,
    /// Only write values when using the "simple" output format
    #[arg(long)]
    pub(crate) print_value_only: bool,
    /// Minimum create revision
    #[arg(long, default_value = "0", value_parser = go::parse_flag_int)]
    pub(crate) min_create_rev: i64,
    /// Maximum create revision
    #[arg(long, default_value = "0", value_parser = go::parse_flag_int)]
    pub(crate) max_create_rev: i64,
    /// Minimum modification revision
    #[arg(long, default_value = "0", value_parser = go::parse_flag_int)]
    pub(crate) min_mod_rev: i64,
    /// Maximum modification revision
    #[arg(long, default_value = "0", value_parser = go::parse_flag_int)]
    pub(crate) max_mod_rev: i64,
    /// Use the RangeStream RPC
    #[arg(long)]
    pub(crate) stream: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Put {
    /// The key and its value, which is otherwise read from standard input
    #[arg(value_name = "KEY [VALUE]")]
    pub(crate) args: Vec<OsString>,
    /// Lease ID (in hexadecimal) to attach to the key
    #[arg(long, default_value = "0")]
    pub(crate) lease: String,
    /// Return the previous key-value pair before modification
    #[arg(long)]
    pub(crate) prev_kv: bool,
    /// Updates the key using its current value
    #[arg(long)]
    pub(crate) ignore_value: bool,
    /// Updates the key using its current lease
    #[arg(long)]
    pub(crate) ignore_lease: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Del {
    /// The key, and where a range ends
    #[arg(value_name = "KEY [RANGE_END]")]
    pub(crate) args: Vec<OsString>,
    /// Delete keys with matching prefix
    #[arg(long)]
    pub(crate) prefix: bool,
    /// Return deleted key-value pairs
    #[arg(long)]
    pub(crate) prev_kv: bool,
    /// Delete keys that are greater than or equal to the given key using byte compare
    #[arg(long)]
    pub(crate) from_key: bool,
    /// Delete range of keys
    #[arg(long)]
    pub(crate) range: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Txn {
    /// Input transaction in interactive mode
    #[arg(long, short)]
    pub(crate) interactive: bool,
    #[arg(hide = true)]
    pub(crate) args: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Compaction {
    #[arg(value_name = "REVISION")]
    pub(crate) args: Vec<String>,
    /// 'true' to wait for compaction to physically remove all old revisions
    #[arg(long)]
    pub(crate) physical: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Watch {
    /// The key or prefix, and where a range ends
    #[arg(value_name = "KEY [RANGE_END]")]
    pub(crate) args: Vec<OsString>,
    /// A command to run for every event, after --
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) exec: Vec<OsString>,
    /// Interactive mode
    #[arg(long, short)]
    pub(crate) interactive: bool,
    /// Watch on a prefix if prefix is set
    #[arg(long)]
    pub(crate) prefix: bool,
    /// Revision to start watching
    #[arg(long, default_value = "0", value_parser = go::parse_flag_int)]
    pub(crate) rev: i64,
    /// Get the previous key-value pair before the event happens
    #[arg(long)]
    pub(crate) prev_kv: bool,
    /// Get periodic watch progress notification from server
    #[arg(long)]
    pub(crate) progress_notify: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Lease {
    /// Creates leases
    Grant {
        #[arg(value_name = "TTL")]
        args: Vec<String>,
    },
    /// Revokes leases
    Revoke {
        #[arg(value_name = "LEASE_ID")]
        args: Vec<String>,
    },
    /// Get lease information
    Timetolive {
        #[arg(value_name = "LEASE_ID")]
        args: Vec<String>,
        /// Get keys attached to this lease
        #[arg(long)]
        keys: bool,
    },
    /// List all active leases
    List,
    /// Keeps leases alive (renew)
    KeepAlive {
        #[arg(value_name = "LEASE_ID")]
        args: Vec<String>,
        /// Resets the keep-alive time to its original value and exits immediately
        #[arg(long)]
        once: bool,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Endpoint {
    /// Use all endpoints from the cluster member list
    #[arg(long, global = true)]
    pub(crate) cluster: bool,
    #[command(subcommand)]
    pub(crate) command: EndpointCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EndpointCommand {
    /// Checks the healthiness of endpoints specified in `--endpoints` flag
    Health,
    /// Prints out the status of endpoints specified in `--endpoints` flag
    Status,
    /// Prints the KV history hash for each endpoint in --endpoints
    Hashkv {
        /// Maximum revision to hash (default: latest revision)
        #[arg(long, default_value = "0", value_parser = go::parse_flag_int)]
        rev: i64,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Member {
    /// Adds a member into the cluster
    Add {
        #[arg(value_name = "NAME")]
        args: Vec<String>,
        /// Comma separated peer URLs for the new member
        #[arg(long, default_value = "")]
        peer_urls: String,
        /// Indicates if the new member is raft learner
        #[arg(long)]
        learner: bool,
    },
    /// Removes a member from the cluster
    Remove {
        #[arg(value_name = "MEMBER_ID")]
        args: Vec<String>,
    },
    /// Updates a member in the cluster
    Update {
        #[arg(value_name = "MEMBER_ID")]
        args: Vec<String>,
        /// Comma separated peer URLs for the updated member
        #[arg(long, default_value = "")]
        peer_urls: String,
    },
    /// Lists all members in the cluster
    List {
        /// Linearizable(l) or Serializable(s)
        #[arg(long, default_value = "l")]
        consistency: String,
    },
    /// Promotes a non-voting member in the cluster
    Promote {
        #[arg(value_name = "MEMBER_ID")]
        args: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Alarm {
    /// Disarms all alarms
    Disarm {
        #[arg(hide = true)]
        args: Vec<String>,
    },
    /// Lists all alarms
    List {
        #[arg(hide = true)]
        args: Vec<String>,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Defrag {
    /// Use all endpoints from the cluster member list
    #[arg(long)]
    pub(crate) cluster: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Snapshot {
    /// Stores an etcd node backend snapshot to a given file
    Save {
        #[arg(value_name = "FILENAME")]
        args: Vec<OsString>,
    },
}

#[derive(Args, Debug)]
pub(crate) struct MoveLeader {
    #[arg(value_name = "MEMBER_ID")]
    pub(crate) args: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Downgrade {
    /// Validate downgrade capability before starting downgrade
    Validate {
        #[arg(value_name = "VERSION")]
        args: Vec<String>,
    },
    /// Start a downgrade action to cluster
    Enable {
        #[arg(value_name = "VERSION")]
        args: Vec<String>,
    },
    /// Cancel the ongoing downgrade action to cluster
    Cancel,
}

/// Reads a command line and then, for commands that speak to a server, the environment.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Invocation, Exit> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    let without_environment = || program().mut_args(|arg| arg.env(None::<&str>));
    let mut matches = cli::args::matches(without_environment(), words.iter().cloned())?;
    let speaks = !matches!(matches.subcommand_name(), None | Some("version"));
    if speaks {
        let flags = environment::flags(&program(), innermost(&matches), std::env::vars_os())?;
        if !flags.is_empty() {
            // They stand before everything that was typed.
            words.splice(1.min(words.len())..1.min(words.len()), flags);
            matches = cli::args::matches(without_environment(), words)?;
        }
    }
    let mut invocation = Invocation::from_arg_matches(&matches).map_err(Exit::error)?;
    let source = innermost(&matches).value_source("command_timeout");
    invocation.global.has_command_timeout = source != Some(ValueSource::DefaultValue);
    Ok(invocation)
}
