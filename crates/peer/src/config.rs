//! Who this member is, and what may be how large or take how long.

use std::time::Duration;
use tls::Connector;

/// The oldest version that members of today speak with.
pub const MIN_CLUSTER_VERSION: &str = "3.0.0";

/// What a transport is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// This member.
    pub member_id: u64,
    /// The cluster; requests from another one are refused.
    pub cluster_id: u64,
    /// The version this member claims, `major.minor.patch`.
    pub server_version: String,
    /// The lowest version whose members may talk to this one.
    pub min_cluster_version: String,
    /// Where other members find this one; sent along so that strangers can answer.
    pub local_urls: Vec<String>,
    /// How long a follower waits for its leader; a dial may take a second more.
    pub election_timeout: Duration,
    /// Who this member is to those it dials by https, and whom of them it believes.
    pub connector: Connector,
    /// Threads that move bytes.
    pub threads: usize,
    /// Everything that has a maximum.
    pub limits: Limits,
}

impl Config {
    /// A member of [`proto::VERSION`] with etcd's limits, that believes whom the system believes.
    pub fn new(member_id: u64, cluster_id: u64) -> Config {
        Config {
            member_id,
            cluster_id,
            server_version: proto::VERSION.to_owned(),
            min_cluster_version: MIN_CLUSTER_VERSION.to_owned(),
            local_urls: Vec::new(),
            election_timeout: Duration::from_secs(1),
            connector: Connector::usual(),
            threads: 1,
            limits: Limits::default(),
        }
    }

    /// How long making a connection may take.
    pub(crate) fn dial_timeout(&self) -> Duration {
        Duration::from_secs(1) + self.election_timeout
    }
}

/// Everything that has a maximum. The defaults are etcd's where etcd has one.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A connection that should bring bytes and brings none for so long is cut. Stream heartbeats
    /// go out three times as often.
    pub read_timeout: Duration,
    /// A connection that takes no bytes for so long is cut.
    pub write_timeout: Duration,
    /// A stream is dialed at most this often.
    pub dial_interval: Duration,
    /// How often each peer is probed, on each of two paths.
    pub probe_interval: Duration,
    /// How long the receiver of a database may take to answer once it has all of it.
    pub snapshot_answer_timeout: Duration,
    /// Messages that wait for a stream.
    pub stream_queue: usize,
    /// Messages that wait for the pipeline.
    pub pipeline_queue: usize,
    /// Posts under way at once to one peer.
    pub pipeline_workers: usize,
    /// The longest message of a stream.
    pub stream_message_bytes_max: usize,
    /// The longest message that is taken by post. It must be above the longest entry that the
    /// cluster accepts, plus the MiB that raft puts into one append.
    pub post_bytes_max: usize,
    /// Posted bytes in memory at once, of all senders together.
    pub posts_bytes_max: usize,
    /// The longest body of a request that is not about raft.
    pub http_body_bytes_max: usize,
    /// The longest raft message in front of a database.
    pub snapshot_message_bytes_max: usize,
    /// The largest database that is taken.
    pub database_bytes_max: u64,
    /// Databases that come in at once.
    pub snapshots_max: usize,
    /// Members that are answered though they are no peers yet.
    pub remotes_max: usize,
    /// Connections from others at once.
    pub connections_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        const MIB: usize = 1024 * 1024;
        Limits {
            read_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(5),
            dial_interval: Duration::from_millis(100),
            probe_interval: Duration::from_secs(4),
            snapshot_answer_timeout: Duration::from_secs(300),
            stream_queue: 4096,
            pipeline_queue: 64,
            pipeline_workers: 4,
            stream_message_bytes_max: 512 * MIB,
            post_bytes_max: 16 * MIB,
            posts_bytes_max: 256 * MIB,
            http_body_bytes_max: 2 * MIB,
            snapshot_message_bytes_max: 64 * MIB,
            database_bytes_max: 1 << 40,
            snapshots_max: 16,
            remotes_max: 64,
            connections_max: 4096,
        }
    }
}
