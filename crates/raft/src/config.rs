//! What a node is told once.

use crate::wire::{NO_LIMIT, NONE, is_local_target};
use thiserror::Error;

/// How a leader makes sure that nobody has replaced it before it answers a read (thesis, section
/// 6.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadOnly {
    /// A quorum answers a heartbeat.
    #[default]
    Safe,
    /// The leader trusts its lease: without votes for an election timeout nobody else is elected.
    /// Only as safe as clocks run alike (section 6.4.1).
    LeaseBased,
}

/// What a node is told once.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The node's id; not 0 and not one of the two that name threads.
    pub id: u64,
    /// Ticks without a leader before a node campaigns; each node waits up to twice as long.
    pub election_ticks: u32,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: u32,
    /// What the state machine has applied already.
    pub applied: u64,
    /// Whether storage is written in messages that are answered by messages, see [`crate::Ready`].
    pub async_storage_writes: bool,
    /// Bytes of entries in one append; one entry always goes.
    pub message_bytes_max: u64,
    /// Bytes of entries that are being applied at once; 0 for as many as in an append.
    pub applying_bytes_max: u64,
    /// Bytes of proposals that wait to be committed; 0 for no limit. One proposal always goes.
    pub uncommitted_bytes_max: u64,
    /// Appends on their way to one follower.
    pub inflight_count_max: usize,
    /// Bytes on their way to one follower; 0 for no limit.
    pub inflight_bytes_max: u64,
    /// Whether a leader steps down when it has not heard a quorum for an election timeout, and
    /// voters ignore campaigns while they hear a leader (thesis, sections 4.2.3 and 6.2).
    pub check_quorum: bool,
    /// Whether a node asks whether it would be elected before it disturbs others with a new term
    /// (thesis, section 9.6).
    pub pre_vote: bool,
    /// How reads are confirmed.
    pub read_only: ReadOnly,
    /// Whether proposals are refused by followers instead of passed on to the leader.
    pub disable_proposal_forwarding: bool,
    /// Whether configuration changes are proposed although they do not fit the configuration that
    /// is known here.
    pub disable_conf_change_validation: bool,
    /// Whether a leader that is removed, or made a learner, steps down when it applies that.
    pub step_down_on_removal: bool,
    /// Where the chance in election timeouts begins. Nodes must have different ones.
    pub seed: u64,
}

impl Default for Config {
    /// What the reference's server uses, for no node yet.
    fn default() -> Config {
        Config {
            id: NONE,
            election_ticks: 10,
            heartbeat_ticks: 1,
            applied: 0,
            async_storage_writes: false,
            message_bytes_max: 1 << 20,
            applying_bytes_max: 0,
            uncommitted_bytes_max: 0,
            inflight_count_max: 512,
            inflight_bytes_max: 0,
            check_quorum: false,
            pre_vote: false,
            read_only: ReadOnly::Safe,
            disable_proposal_forwarding: false,
            disable_conf_change_validation: false,
            step_down_on_removal: false,
            seed: 0,
        }
    }
}

/// Why a configuration is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)] // the messages say it
pub enum ConfigError {
    #[error("cannot use none as id")]
    NoId,
    #[error("cannot use local target as id")]
    LocalTarget,
    #[error("heartbeat tick must be greater than 0")]
    HeartbeatTicks,
    #[error("election tick must be greater than heartbeat tick")]
    ElectionTicks,
    #[error("max inflight messages must be greater than 0")]
    InflightCount,
    #[error("max inflight bytes must be >= max message size")]
    InflightBytes,
    #[error("CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased")]
    LeaseWithoutCheckQuorum,
}

impl Config {
    /// The same with every limit spelled out.
    pub(crate) fn validated(mut self) -> Result<Config, ConfigError> {
        let has_bytes_max = self.inflight_bytes_max != 0;
        let wrong = [
            (self.id == NONE, ConfigError::NoId),
            (is_local_target(self.id), ConfigError::LocalTarget),
            (self.heartbeat_ticks == 0, ConfigError::HeartbeatTicks),
            (self.election_ticks <= self.heartbeat_ticks, ConfigError::ElectionTicks),
            (self.inflight_count_max == 0, ConfigError::InflightCount),
            (
                has_bytes_max && self.inflight_bytes_max < self.message_bytes_max,
                ConfigError::InflightBytes,
            ),
            (
                self.read_only == ReadOnly::LeaseBased && !self.check_quorum,
                ConfigError::LeaseWithoutCheckQuorum,
            ),
        ];
        if let Some((_, error)) = wrong.into_iter().find(|(is_wrong, _)| *is_wrong) {
            return Err(error);
        }
        for limit in [&mut self.uncommitted_bytes_max, &mut self.inflight_bytes_max] {
            *limit = if *limit == 0 { NO_LIMIT } else { *limit };
        }
        if self.applying_bytes_max == 0 {
            self.applying_bytes_max = self.message_bytes_max.max(1);
        }
        Ok(self)
    }
}

/// Chance that can be repeated (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % u64::from(bound)) as u32
    }
}
