//! The core of a node: its state, the change of roles, time, and what terms decide.
//!
//! Each role has its own file: [`crate::follower`], [`crate::candidate`], [`crate::leader`].

use crate::confchange::{self, Changed, ConfChangeError};
use crate::config::{Chance, Config};
use crate::log::Log;
use crate::progress::Progress;
use crate::reads::Reads;
use crate::storage::Storage;
use crate::tracker::Tracker;
use crate::wire::{self, NONE};
use proto::raftpb::{ConfState, HardState, Message, MessageType};
use std::cmp::Ordering;
use std::fmt;
use thiserror::Error;

/// A node's part in the cluster (thesis, section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks for votes in a new term.
    Candidate,
    /// Takes proposals and replicates them.
    Leader,
    /// Asks whether it would get votes, before it takes up a new term (section 9.6).
    PreCandidate,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Follower => "StateFollower",
            Role::Candidate => "StateCandidate",
            Role::Leader => "StateLeader",
            Role::PreCandidate => "StatePreCandidate",
        })
    }
}

/// Why a proposal is not taken. All of them read alike, as clients of the reference know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("raft proposal dropped")]
pub enum Dropped {
    /// There is no leader to take it.
    NoLeader,
    /// It would have to be passed on to the leader, which is switched off.
    NotForwarded,
    /// The leader was removed from the configuration.
    Removed,
    /// The leader is handing over.
    Transferring,
    /// Too many bytes wait to be committed.
    TooManyUncommitted,
    /// It cannot be understood.
    Malformed,
}

/// A read that may be served once this index is applied here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadState {
    /// The index.
    pub index: u64,
    /// What the read was asked for with.
    pub context: bytes::Bytes,
}

/// Why a node asks for votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Campaign {
    /// To learn whether it would be elected.
    PreElection,
    /// To be elected.
    Election,
    /// Because the leader hands over to it.
    Transfer,
}

/// A node without its conversation with its owner.
///
/// Always true, and asserted by [`Raft::check`]:
/// 1. A leader knows itself as leader; a candidate has voted for itself and follows nobody.
/// 2. The last entry of a leader's log is of its term: it begins with one.
/// 3. To its leader nobody holds more than the leader, is sent more, or is told to commit more.
/// 4. A leader hands over to another member only.
/// 5. Nobody but a leader has proposals, pending changes, reads or a transfer under way, and nobody
///    but a candidate counts votes.
/// 6. Each part's own truths.
///
/// A term only rises, asserted where it changes.
#[derive(Debug)]
pub(crate) struct Raft<S> {
    pub(crate) config: Config,
    pub(crate) term: u64,
    pub(crate) vote: u64,
    pub(crate) role: Role,
    pub(crate) leader: u64,
    pub(crate) log: Log<S>,
    pub(crate) tracker: Tracker,
    /// To be sent at once.
    pub(crate) messages: Vec<Message>,
    /// To be sent when everything so far is persisted; to this node, too.
    pub(crate) messages_after_append: Vec<Message>,
    pub(crate) read_states: Vec<ReadState>,
    pub(crate) reads: Reads,
    /// Reads that came before this leader had committed an entry of its term.
    pub(crate) early_reads: Vec<Message>,
    /// Whom this leader hands over to, 0 for nobody.
    pub(crate) transferee: u64,
    /// No configuration change is in the log behind this index.
    pub(crate) pending_conf_index: u64,
    /// Bytes of proposals that this leader has not committed, estimated from below.
    pub(crate) uncommitted_bytes: u64,
    /// Ticks since the last election timeout, or since the leader was heard.
    pub(crate) election_elapsed: u32,
    pub(crate) heartbeat_elapsed: u32,
    pub(crate) randomized_election_ticks: u32,
    chance: Chance,
}

impl<S: Storage> Raft<S> {
    /// A follower of nobody, as storage describes it.
    pub(crate) fn new(config: Config, storage: S) -> Raft<S> {
        let (hard_state, conf_state) = storage.initial_state();
        let mut raft = Raft {
            config,
            term: 0,
            vote: NONE,
            role: Role::Follower,
            leader: NONE,
            log: Log::new(storage, config.applying_bytes_max),
            tracker: Tracker::new(config.inflight_count_max, config.inflight_bytes_max),
            messages: Vec::new(),
            messages_after_append: Vec::new(),
            read_states: Vec::new(),
            reads: Reads::default(),
            early_reads: Vec::new(),
            transferee: NONE,
            pending_conf_index: 0,
            uncommitted_bytes: 0,
            election_elapsed: 0,
            heartbeat_elapsed: 0,
            randomized_election_ticks: 0,
            chance: Chance(config.seed),
        };
        raft.restore_conf_state(&conf_state);
        if (hard_state.term(), hard_state.vote(), hard_state.commit()) != (0, 0, 0) {
            raft.load(hard_state);
        }
        if config.applied > 0 {
            raft.log.applied_to(config.applied, 0);
        }
        raft.become_follower(raft.term, NONE);
        raft
    }

    fn load(&mut self, state: HardState) {
        let (committed, last) = (self.log.committed, self.log.last_index());
        assert!(
            (committed..=last).contains(&state.commit()),
            "the hard state's commit index {} is out of range [{committed}, {last}]",
            state.commit()
        );
        self.log.committed = state.commit();
        self.term = state.term();
        self.vote = state.vote();
    }

    pub(crate) fn hard_state(&self) -> HardState {
        HardState { term: Some(self.term), vote: Some(self.vote), commit: Some(self.log.committed) }
    }

    /// Queues a message. An answer that promises something waits until what it promises is
    /// persisted (thesis, section 3.8); all else may go at once (section 10.2.1).
    pub(crate) fn send(&mut self, mut message: Message) {
        use MessageType::*;
        let kind = message.r#type();
        if message.from() == NONE {
            message.from = Some(self.config.id);
        }
        match kind {
            // Their terms say more than the own one: they may be of a term to come.
            MsgVote | MsgVoteResp | MsgPreVote | MsgPreVoteResp => {
                assert_ne!(message.term(), 0, "{} needs a term", kind.as_str_name());
            }
            // Passed on as if they came from here, whatever term this is.
            MsgProp | MsgReadIndex => message.term = None,
            _ => message.term = Some(self.term),
        }
        if matches!(kind, MsgAppResp | MsgVoteResp | MsgPreVoteResp) {
            self.messages_after_append.push(message);
        } else {
            assert_ne!(message.to(), self.config.id, "{} is for others", kind.as_str_name());
            self.messages.push(message);
        }
    }

    /// Calls back for every other member, in order.
    pub(crate) fn each_other(&mut self, mut visit: impl FnMut(&mut Raft<S>, u64)) {
        let mut last = NONE;
        while let Some(id) = self.tracker.next_after(last) {
            last = id;
            if id != self.config.id {
                visit(self, id);
            }
        }
    }

    /// Forgets everything that belongs to a role or an earlier term.
    fn reset(&mut self, term: u64) {
        assert!(term >= self.term, "term {} is followed by {term}", self.term);
        if self.term != term {
            self.term = term;
            self.vote = NONE;
        }
        self.leader = NONE;
        self.election_elapsed = 0;
        self.heartbeat_elapsed = 0;
        let spread = self.chance.below(self.config.election_ticks);
        self.randomized_election_ticks = self.config.election_ticks + spread;
        self.transferee = NONE;
        self.tracker.reset_votes();
        let (last, own_id, inflights) =
            (self.log.last_index(), self.config.id, self.tracker.inflights());
        for (id, progress) in &mut self.tracker.progress.0 {
            *progress = Progress::new(last + 1, inflights.clone(), progress.is_learner);
            progress.matched = if *id == own_id { last } else { 0 };
        }
        self.pending_conf_index = 0;
        self.uncommitted_bytes = 0;
        self.reads = Reads::default();
    }

    pub(crate) fn become_follower(&mut self, term: u64, leader: u64) {
        self.reset(term);
        self.leader = leader;
        self.role = Role::Follower;
    }

    /// A new term, with a vote for oneself (thesis, section 3.4).
    pub(crate) fn become_candidate(&mut self) {
        assert_ne!(self.role, Role::Leader, "a leader does not campaign");
        self.reset(self.term + 1);
        self.vote = self.config.id;
        self.role = Role::Candidate;
    }

    /// Neither term nor vote change: a node that is not electable disturbs nobody.
    pub(crate) fn become_pre_candidate(&mut self) {
        assert_ne!(self.role, Role::Leader, "a leader does not campaign");
        self.tracker.reset_votes();
        self.leader = NONE;
        self.role = Role::PreCandidate;
    }

    /// Lets one tick pass.
    pub(crate) fn tick(&mut self) {
        if self.role == Role::Leader {
            self.tick_leader();
        } else {
            self.tick_election();
        }
    }

    fn tick_election(&mut self) {
        self.election_elapsed += 1;
        if self.is_promotable() && self.election_elapsed >= self.randomized_election_ticks {
            self.election_elapsed = 0;
            self.hup(self.first_campaign());
        }
    }

    /// Takes a message, of another node or of this one. Only proposals are ever refused.
    pub(crate) fn step(&mut self, message: Message) -> Result<(), Dropped> {
        use MessageType::*;
        if !self.meet_term(&message) {
            return Ok(());
        }
        match message.r#type() {
            MsgHup => self.hup(self.first_campaign()),
            MsgStorageAppendResp => {
                if message.index() != 0 {
                    self.log.unstable.stable_to(message.index(), message.log_term());
                }
                self.snapshot_stored(&message);
            }
            MsgStorageApplyResp => self.entries_applied(&message),
            MsgVote | MsgPreVote => self.consider_vote(&message),
            _ => match self.role {
                Role::Leader => return self.step_leader(message),
                Role::Follower => return self.step_follower(message),
                Role::Candidate | Role::PreCandidate => return self.step_candidate(message),
            },
        }
        Ok(())
    }

    /// Takes up a higher term and answers a lower one (thesis, section 3.3); whether the message
    /// still matters. Messages without a term are this node's own.
    fn meet_term(&mut self, message: &Message) -> bool {
        if message.term() == 0 {
            return true;
        }
        match message.term().cmp(&self.term) {
            Ordering::Equal => true,
            Ordering::Greater => self.meet_higher_term(message),
            Ordering::Less => {
                self.answer_lower_term(message);
                false
            }
        }
    }

    fn meet_higher_term(&mut self, message: &Message) -> bool {
        use MessageType::*;
        let kind = message.r#type();
        if matches!(kind, MsgVote | MsgPreVote) && self.is_in_lease(message) {
            return false;
        }
        match kind {
            // The term of a pre-election is only proposed. If it is granted, the candidate takes
            // it up itself; if not, the answer carries the term of who refused.
            MsgPreVote => {}
            MsgPreVoteResp if !message.reject() => {}
            MsgApp | MsgHeartbeat | MsgSnap => {
                self.become_follower(message.term(), message.from());
            }
            _ => self.become_follower(message.term(), NONE),
        }
        true
    }

    /// Whether a leader was heard so lately that no campaign is listened to, except one that the
    /// leader itself asked for (thesis, sections 4.2.3 and 3.10).
    fn is_in_lease(&self, message: &Message) -> bool {
        let forced = message.context.as_deref() == Some(wire::CAMPAIGN_TRANSFER);
        let heard = self.leader != NONE && self.election_elapsed < self.config.election_ticks;
        self.config.check_quorum && heard && !forced
    }

    fn answer_lower_term(&mut self, message: &Message) {
        use MessageType::*;
        match message.r#type() {
            // With these options a node may be stuck with a term that is too high to follow and
            // that nobody listens to; the old leader must hear of it.
            MsgHeartbeat | MsgApp if self.config.check_quorum || self.config.pre_vote => {
                self.send(wire::message(MsgAppResp, message.from()));
            }
            // Silence could leave a candidate with a high term and a short log waiting for ever.
            MsgPreVote => self.send(Message {
                term: Some(self.term),
                reject: Some(true),
                ..wire::message(MsgPreVoteResp, message.from())
            }),
            // Entries may have been replaced since, but a snapshot is of no term.
            MsgStorageAppendResp => self.snapshot_stored(message),
            _ => {}
        }
    }

    fn snapshot_stored(&mut self, message: &Message) {
        if let Some(snapshot) = &message.snapshot {
            let index = crate::storage::snapshot_index(snapshot);
            self.log.unstable.stable_snapshot_to(index);
            self.applied_to(index, 0);
        }
    }

    fn entries_applied(&mut self, message: &Message) {
        if let Some(last) = message.entries.last() {
            self.applied_to(last.index(), wire::encoded_bytes(&message.entries));
            let bytes = wire::payload_bytes(&message.entries);
            self.uncommitted_bytes = self.uncommitted_bytes.saturating_sub(bytes);
        }
    }

    /// Everything up to this entry is applied. A leader that has applied a joint configuration
    /// leaves it now, if that was asked for.
    fn applied_to(&mut self, index: u64, bytes: u64) {
        let index = index.max(self.log.applied);
        self.log.applied_to(index, bytes);
        if self.tracker.config.auto_leave
            && index >= self.pending_conf_index
            && self.role == Role::Leader
        {
            // An empty change says so. While leadership is being handed over it is dropped, and
            // proposed again with what is applied next, here or by the new leader.
            let _ = self.step(crate::wire::conf_change(None));
        }
    }

    /// The configuration that storage or a snapshot describes.
    pub(crate) fn restore_conf_state(&mut self, state: &ConfState) {
        self.tracker = self.tracker.emptied();
        let changed = confchange::restore(&self.tracker, self.log.last_index(), state)
            .unwrap_or_else(|error| panic!("no configuration can be {state:?}: {error}"));
        let restored = self.switch_to(changed);
        assert!(confchange::is_equivalent(state, &restored), "{state:?} became {restored:?}");
    }

    /// Takes up a change that is committed and being applied.
    ///
    /// # Errors
    /// The change does not fit; nothing has changed then.
    pub(crate) fn apply_conf_change(
        &mut self,
        change: &proto::raftpb::ConfChangeV2,
    ) -> Result<ConfState, ConfChangeError> {
        let last_index = self.log.last_index();
        let changer = confchange::Changer { tracker: &self.tracker, last_index };
        let changed = match wire::transition(change) {
            wire::Transition::LeaveJoint => changer.leave_joint(),
            wire::Transition::Simple => changer.simple(&change.changes),
            wire::Transition::EnterJoint { auto_leave } => {
                changer.enter_joint(auto_leave, &change.changes)
            }
        };
        Ok(self.switch_to(changed?))
    }

    fn switch_to(&mut self, (config, progress): Changed) -> ConfState {
        self.tracker.config = config;
        self.tracker.progress = progress;
        let state = self.tracker.config.to_conf_state();
        if self.role == Role::Leader {
            self.lead_changed_configuration();
        }
        state
    }

    /// Whether this node may be elected: it votes, and it holds its whole log.
    pub(crate) fn is_promotable(&self) -> bool {
        self.tracker.get(self.config.id).is_some_and(|own| !own.is_learner)
            && self.log.unstable.snapshot().is_none()
    }

    /// Whether an entry of the own term is committed (thesis, section 6.4).
    pub(crate) fn has_committed_own_term(&self) -> bool {
        self.log.term(self.log.committed) == Ok(self.term)
    }
}
