//! What a run is like: all of it follows from its seed.

use crate::Rng;
use membership::InitialCluster;

use replica::turn::Time;
use replica::{Beginning, CatchUp, Options};

/// One heartbeat interval, in microseconds.
pub(crate) const TICK_US: u64 = 100_000;
/// Ticks without a leader before a member campaigns.
pub(crate) const ELECTION_TICKS: u32 = 5;
/// After how long a silent leader is given up.
pub(crate) const ELECTION_TIMEOUT: Time = Time::from_micros(TICK_US * ELECTION_TICKS as u64);
/// The longest lease that clients ask for, in seconds.
pub(crate) const LEASE_TTL_MAX_S: u64 = 3;

/// A mistake built into the members of a run on purpose, to see it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// The log writer does not sync.
    SkipSync,
    /// Raft hears that entries are written before they are.
    AcknowledgeEarly,
    /// Entries are applied as soon as they are in the log.
    ApplyUncommitted,
    /// Reads are served without asking the cluster.
    ReadLocally,
    /// Votes are given without being written.
    ForgetVote,
    /// A received database gets its name without being synced.
    UnsyncedSnapshot,
    /// Clients are answered before watchers are on their way.
    AnswerBeforeWatchers,
    /// The applied index is shown before the members.
    IndexBeforeMembers,
    /// The hub takes the revision that the store has when it comes to a restore.
    RestoreAsksLate,
    /// Expired leases are revoked without asking whether this member still leads.
    RevokeUnconfirmed,
    /// The applied index is shown when entries are handed over to be applied.
    IndexBeforeApply,
    /// A client that leaves does not take its waiter along.
    ProposeForTheDeparted,
    /// Whoever waits while the leader changes is forgotten.
    LoseWaiters,
    /// Now and then a message wakes nobody.
    SleepOnUrgent,
    /// Checkpoints of leases are proposed twice.
    CheckpointTwice,
    /// A database is sent as it is in the file, without a commit.
    SendUncommitted,
    /// Watchers are not told how far a leader's snapshot has brought the store.
    AnchorWatchersWrong,
}

impl Mistake {
    /// Every mistake.
    pub const ALL: [Mistake; 17] = [
        Mistake::SkipSync,
        Mistake::AcknowledgeEarly,
        Mistake::ApplyUncommitted,
        Mistake::ReadLocally,
        Mistake::ForgetVote,
        Mistake::UnsyncedSnapshot,
        Mistake::AnswerBeforeWatchers,
        Mistake::IndexBeforeMembers,
        Mistake::RestoreAsksLate,
        Mistake::RevokeUnconfirmed,
        Mistake::IndexBeforeApply,
        Mistake::ProposeForTheDeparted,
        Mistake::LoseWaiters,
        Mistake::SleepOnUrgent,
        Mistake::CheckpointTwice,
        Mistake::SendUncommitted,
        Mistake::AnchorWatchersWrong,
    ];

    /// The mistake of this name.
    pub fn named(name: &str) -> Option<Mistake> {
        Mistake::ALL.into_iter().find(|mistake| format!("{mistake:?}") == name)
    }
}

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Chance.
    pub seed: u64,
    /// Members at first.
    pub members: usize,
    /// How long things go wrong, in simulated milliseconds.
    pub trouble_ms: u64,
    /// A mistake on purpose.
    pub mistake: Option<Mistake>,
}

impl Plan {
    /// How many members a run begins with where nobody says: three or five, now and then one.
    pub fn members_of(seed: u64) -> usize {
        [3, 5, 3, 5, 1][(seed % 5) as usize]
    }

    /// A run of a seed as the program makes it.
    pub fn new(seed: u64, members: usize) -> Plan {
        Plan { seed, members, trouble_ms: 20_000, mistake: None }
    }
}

/// How the world treats the members of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Messages lost, in a thousand.
    pub drop: u64,
    /// Messages delivered twice, in a thousand.
    pub duplicate: u64,
    /// Messages that take a long way, in a thousand.
    pub straggle: u64,
    /// The least and most a message takes, in microseconds.
    pub delay_us: (u64, u64),
    /// The longest that a write to the log takes, in microseconds.
    pub log_us: u64,
    /// The longest that a commit of the database takes, in microseconds.
    pub file_us: u64,
    /// Time between two troubles, at most, in milliseconds.
    pub trouble_every_ms: u64,
    /// Weights of troubles: crashes, network, slowness, membership, transfers, maintenance.
    pub weights: [u64; 6],
    /// The longest a client thinks between two requests, in milliseconds.
    pub think_ms: u64,
    /// Clients.
    pub clients: usize,
    /// Keys they use.
    pub keys: u64,
    /// Watchers.
    pub watchers: usize,
    /// Between two effects of a turn others come in, so many times in a thousand.
    pub cut: u64,
    /// Clients that leave while they wait, in a thousand.
    pub leave: u64,
    /// Options of the members.
    pub tuning: Tuning,
    /// How the turns of the members work.
    pub rules: Rules,
}

/// How the turns of members work, with limits small enough to be met.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// How long a request may take.
    pub request_timeout: Time,
    /// How often changes are committed to the database file.
    pub batch_interval: Time,
    /// How often watchers hear of progress.
    pub progress_interval_ms: u64,
    /// Bytes of changes that may wait for the hub.
    pub hub_bytes_max: usize,
    /// Whether a member that starts among others shortens its first wait for an election.
    pub advances_election: bool,
}

/// Limits of the members, small enough to be met.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    /// Applied entries between snapshots.
    pub snapshot_count: u64,
    /// What stays in memory for members that lag behind.
    pub catch_up: CatchUp,
    /// When a segment of the log is full.
    pub segment_bytes: u64,
    /// Whether members ask before they campaign.
    pub pre_vote: bool,
    /// Database bytes not yet written that make the applier wait.
    pub pending_bytes_max: usize,
    /// The database quota; negative for none.
    pub quota_bytes: i64,
    /// Options of leases.
    pub lease: lease::Config,
}

impl Weather {
    /// The weather of a seed.
    pub(crate) fn new(rng: &mut Rng) -> Weather {
        let mut some = |values: &[u64]| *rng.pick(values).expect("there are values");
        let slow = some(&[2_000, 5_000, 30_000]);
        Weather {
            drop: some(&[0, 0, 5, 50, 150]),
            duplicate: some(&[0, 10, 100]),
            straggle: some(&[0, 10, 100]),
            delay_us: (100, slow),
            log_us: some(&[500, 3_000, 20_000, 80_000]),
            file_us: some(&[500, 20_000, 200_000]),
            trouble_every_ms: some(&[300, 800, 2_500]),
            weights: std::array::from_fn(|_| some(&[0, 1, 1, 2, 5])),
            think_ms: some(&[20, 60, 300]),
            clients: some(&[2, 4, 8]) as usize,
            keys: some(&[3, 8, 30]),
            watchers: some(&[0, 2, 5]) as usize,
            cut: some(&[0, 50, 400]),
            leave: some(&[0, 20, 200]),
            tuning: Tuning {
                snapshot_count: some(&[5, 20, 100, 10_000]),
                catch_up: CatchUp {
                    entries_max: some(&[1, 10, 50, 5000]) as usize,
                    bytes_max: some(&[200, 2_000, 1 << 20]) as usize,
                    shorten_entries: some(&[1, 7, 30, 1000]),
                    held_entries_max: some(&[1, 40, 5000]) as usize,
                    held_bytes_max: some(&[500, 1 << 20]) as usize,
                    held_ticks: some(&[0, 5, 50]),
                },
                segment_bytes: some(&[1 << 11, 1 << 14, 1 << 20]),
                pre_vote: some(&[0, 1, 1, 1]) == 1,
                pending_bytes_max: some(&[1_000, 1 << 20]) as usize,
                quota_bytes: [-1, 14_000, 24_000][some(&[0, 0, 0, 1, 2]) as usize],
                lease: lease::Config {
                    ttl_min_s: 1,
                    checkpoints: some(&[0, 0, 1]) == 1,
                    persist_checkpoints: some(&[0, 1]) == 1,
                    checkpoint_interval_ms: 400,
                },
            },
            rules: Rules {
                request_timeout: Time::from_millis(some(&[1_000, 2_500])),
                batch_interval: Time::from_millis(some(&[5, 100, 100])),
                progress_interval_ms: some(&[200, 2_000]),
                hub_bytes_max: some(&[600, 5_000, 1 << 20]) as usize,
                advances_election: some(&[0, 1]) == 1,
            },
        }
    }
}

impl Tuning {
    /// The options of a member.
    pub(crate) fn options(&self, name: &str, beginning: Beginning) -> Options {
        let mut backend = backend::Options::default();
        backend.bolt.page_size = 1024;
        backend.bolt.growth_bytes = 4096;
        backend.bolt.initial_map_bytes = 0;
        backend.pending_bytes_max = self.pending_bytes_max;
        Options {
            force_new_cluster: false,
            data_dir: "m.etcd".into(),
            wal_dir: None,
            name: name.into(),
            beginning,
            election_ticks: ELECTION_TICKS,
            pre_vote: self.pre_vote,
            snapshot_count: self.snapshot_count,
            keep_wals: 2,
            keep_snapshots: 2,
            wal: wal::Options { segment_bytes: self.segment_bytes, no_sync: false },
            backend,
            lease: self.lease,
            apply: apply::Config { quota_bytes: self.quota_bytes, learners_max: 3 },
            uncommitted_bytes_max: 1 << 20,
            catch_up: self.catch_up,
        }
    }
}

/// The name of the member at a place.
pub(crate) fn name_of(place: usize) -> String {
    format!("m{place}")
}

/// The URL of the member at a place.
pub(crate) fn url_of(place: usize) -> String {
    format!("http://m{place}:2380")
}

/// The members that a cluster begins with.
pub(crate) fn initial_cluster(members: usize) -> InitialCluster {
    let pairs: Vec<String> =
        (0..members).map(|place| format!("{}={}", name_of(place), url_of(place))).collect();
    InitialCluster::parse(&pairs.join(","), "sim").expect("the list is well-formed")
}
