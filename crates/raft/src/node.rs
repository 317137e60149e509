//! A node: what its owner calls.

use crate::confchange::ConfChangeError;
use crate::config::{Config, ConfigError};
use crate::raft::{Dropped, Raft, Role};
use crate::ready::{self, Ready, SoftState};
use crate::status::{BasicStatus, Status};
use crate::storage::Storage;
use crate::wire::{self, NONE};
use bytes::Bytes;
use prost::Message as _;
use proto::raftpb::{
    ConfChange, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType, HardState, Message,
    MessageType,
};
use thiserror::Error;

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StepError {
    /// Only a node itself says such things to itself, or says them without a term.
    #[error("raft: cannot step raft local message")]
    Local,
    /// It answers for a member that is not in the configuration.
    #[error("raft: cannot step as peer not found")]
    UnknownPeer,
    /// It proposed something.
    #[error(transparent)]
    Dropped(#[from] Dropped),
}

/// A Raft node over some storage, which it owns and only reads; its owner writes it through
/// [`Node::storage_mut`] as each [`Ready`] says.
#[derive(Debug)]
pub struct Node<S> {
    raft: Raft<S>,
    soft_state: SoftState,
    /// The hard state handed out last.
    hard_state: HardState,
    /// What the owner's next call of `advance` says.
    on_advance: Vec<Message>,
}

impl<S: Storage> Node<S> {
    /// A node as storage describes it, as a follower of nobody.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn new(config: Config, storage: S) -> Result<Node<S>, ConfigError> {
        let raft = Raft::new(config.validated()?, storage);
        let soft_state = SoftState { leader: raft.leader, role: raft.role };
        let hard_state = raft.hard_state();
        Ok(Node { raft, soft_state, hard_state, on_advance: Vec::new() })
    }

    /// Begins a cluster in empty storage: the log starts with one entry for each voter, which are
    /// committed. Every one of its first voters must begin with the same ones.
    pub fn bootstrap(&mut self, voters: &[(u64, Option<Bytes>)]) {
        assert_eq!(self.raft.log.last_index(), 0, "only an empty log can be begun");
        self.hard_state = HardState::default();
        self.raft.become_follower(1, NONE);
        let entries = voters.iter().zip(1..).map(|((id, context), index)| {
            let change = ConfChange { context: context.clone(), ..add_voter(*id) };
            let (term, index) = (Some(1), Some(index));
            Entry { term, index, ..conf_change_entry(&change) }
        });
        self.raft.log.append(entries.collect());
        self.raft.log.committed = voters.len() as u64;
        for (id, _) in voters {
            let change = wire::conf_change_v2(&add_voter(*id));
            self.raft.apply_conf_change(&change).expect("voters can be added one by one");
        }
    }

    /// Lets one tick pass.
    pub fn tick(&mut self) {
        self.raft.tick();
    }

    /// Tries to become leader now.
    pub fn campaign(&mut self) {
        self.raft.hup(self.raft.first_campaign());
    }

    /// Proposes an entry.
    ///
    /// # Errors
    /// The entry is in no log then. That it was taken does not mean that it will be committed.
    pub fn propose(&mut self, data: Bytes) -> Result<(), Dropped> {
        self.propose_all([data])
    }

    /// Proposes entries that stand one after the other: all of them or none. They share the messages
    /// to the other members.
    ///
    /// # Errors
    /// As of [`Node::propose`].
    pub fn propose_all(&mut self, data: impl IntoIterator<Item = Bytes>) -> Result<(), Dropped> {
        let entry = |data| Entry { data: Some(data), ..Entry::default() };
        self.propose_entries(data.into_iter().map(entry).collect())
    }

    /// Proposes a change of one member. If one is under way, an empty entry is proposed instead.
    ///
    /// # Errors
    /// As of [`Node::propose`].
    pub fn propose_conf_change(&mut self, change: &ConfChange) -> Result<(), Dropped> {
        self.propose_entries(vec![conf_change_entry(change)])
    }

    /// Proposes a change of several members, or, empty, to leave a joint configuration.
    ///
    /// # Errors
    /// As of [`Node::propose`].
    pub fn propose_conf_change_v2(&mut self, change: &ConfChangeV2) -> Result<(), Dropped> {
        self.raft.step(wire::conf_change(Some(change)))
    }

    fn propose_entries(&mut self, entries: Vec<Entry>) -> Result<(), Dropped> {
        let message = wire::local(MessageType::MsgProp, self.raft.config.id);
        self.raft.step(Message { entries, ..message })
    }

    /// Takes up a committed change of one member; see [`Node::apply_conf_change_v2`].
    ///
    /// # Errors
    /// The change does not fit; nothing has changed then.
    pub fn apply_conf_change(&mut self, change: &ConfChange) -> Result<ConfState, ConfChangeError> {
        self.raft.apply_conf_change(&wire::conf_change_v2(change))
    }

    /// Takes up a committed change when its entry is applied, before that is reported. A change
    /// that the owner refuses it passes on with its members set to 0, or not at all. The
    /// configuration that comes back belongs into snapshots.
    ///
    /// # Errors
    /// The change does not fit; nothing has changed then.
    pub fn apply_conf_change_v2(
        &mut self,
        change: &ConfChangeV2,
    ) -> Result<ConfState, ConfChangeError> {
        self.raft.apply_conf_change(change)
    }

    /// Takes a message, of another node or of a storage thread.
    ///
    /// # Errors
    /// See [`StepError`].
    pub fn step(&mut self, message: Message) -> Result<(), StepError> {
        let (kind, from) = (message.r#type(), message.from());
        if !wire::is_local_target(from) {
            // Within a node a message without a term is its own; from others it would be believed in
            // any term, and a candidate would go back to term 0 for it. Only what is passed on to the
            // leader travels without one.
            let travels_without = matches!(kind, MessageType::MsgProp | MessageType::MsgReadIndex);
            if wire::is_local(kind) || (message.term() == 0 && !travels_without) {
                return Err(StepError::Local);
            }
            if wire::is_response(kind) && self.raft.tracker.get(from).is_none() {
                return Err(StepError::UnknownPeer);
            }
        }
        Ok(self.raft.step(message)?)
    }

    /// Takes everything that there is to do. Without asynchronous storage writes,
    /// [`Node::advance`] must be called before the next time.
    pub fn ready(&mut self) -> Ready {
        assert!(self.on_advance.is_empty(), "advance comes before the next ready");
        let raft = &mut self.raft;
        let soft_state = SoftState { leader: raft.leader, role: raft.role };
        let hard_state = raft.hard_state();
        let entries = raft.log.unstable.next_entries();
        let promise = |state: &HardState| (state.term(), state.vote());
        let must_sync = !entries.is_empty() || promise(&hard_state) != promise(&self.hard_state);
        let mut ready = Ready {
            soft_state: (soft_state != self.soft_state).then_some(soft_state),
            hard_state: (hard_state != self.hard_state).then_some(hard_state),
            read_states: std::mem::take(&mut raft.read_states),
            entries,
            snapshot: raft.log.unstable.next_snapshot().cloned(),
            committed: raft.log.take_committed(!raft.config.async_storage_writes),
            messages: std::mem::take(&mut raft.messages),
            must_sync,
        };
        let waits = ready.snapshot.is_some() && !ready.committed.is_empty();
        assert!(!waits, "entries are to be applied before the snapshot that they follow");
        if raft.config.async_storage_writes {
            self.address_storage(&mut ready);
        } else {
            self.note_advance(&mut ready);
        }
        self.raft.log.unstable.accept_in_progress();
        (self.soft_state, self.hard_state) = (soft_state, hard_state);
        self.raft.log.check();
        ready
    }

    /// Asserts what is always true of a node, for tests and simulations: what each type inside says of
    /// itself. Costs a walk over the members.
    pub fn check(&self) {
        self.raft.check();
        let (handed_out, term) = (self.hard_state.term(), self.raft.term);
        assert!(handed_out <= term, "term {handed_out} was handed out in term {term}");
        let (before, now) = (self.hard_state.commit(), self.raft.log.committed);
        assert!(before <= now, "{before} was handed out as committed, and {now} is");
        let is_other_vote = handed_out == term
            && self.hard_state.vote() != NONE
            && self.hard_state.vote() != self.raft.vote;
        assert!(!is_other_vote, "a vote of term {term} was changed after it was handed out");
    }

    /// Moves what is for storage into messages.
    fn address_storage(&mut self, ready: &mut Ready) {
        let append = ready::storage_append(&mut self.raft, ready);
        ready.messages.extend(append);
        if !ready.committed.is_empty() {
            let committed = std::mem::take(&mut ready.committed);
            ready.messages.push(ready::storage_apply(self.raft.config.id, committed));
        }
    }

    /// Notes what is true once the owner has done everything.
    fn note_advance(&mut self, ready: &mut Ready) {
        let id = self.raft.config.id;
        for message in std::mem::take(&mut self.raft.messages_after_append) {
            let is_own = message.to() == id;
            let queue = if is_own { &mut self.on_advance } else { &mut ready.messages };
            queue.push(message);
        }
        self.on_advance.extend(ready::append_response(&self.raft, ready));
        if !ready.committed.is_empty() {
            self.on_advance.push(ready::apply_response(id, ready.committed.clone()));
        }
    }

    /// Whether there is anything to do.
    pub fn has_ready(&self) -> bool {
        let raft = &self.raft;
        let log = &raft.log;
        self.soft_state != SoftState { leader: raft.leader, role: raft.role }
            || self.hard_state != raft.hard_state()
            || log.unstable.next_snapshot().is_some()
            || !raft.messages.is_empty()
            || !raft.messages_after_append.is_empty()
            || log.unstable.has_next_entries()
            || log.has_next_committed(!raft.config.async_storage_writes)
            || !raft.read_states.is_empty()
    }

    /// The owner has done everything that the last [`Ready`] said.
    pub fn advance(&mut self) {
        assert!(!self.raft.config.async_storage_writes, "storage threads answer by messages");
        for message in std::mem::take(&mut self.on_advance) {
            // These are answers, which are never refused.
            let _ = self.raft.step(message);
        }
    }

    /// A message could not be delivered.
    pub fn report_unreachable(&mut self, id: u64) {
        self.tell(wire::local(MessageType::MsgUnreachable, id));
    }

    /// A snapshot was delivered, or not.
    pub fn report_snapshot(&mut self, id: u64, delivered: bool) {
        let message = wire::local(MessageType::MsgSnapStatus, id);
        self.tell(Message { reject: Some(!delivered), ..message });
    }

    /// Asks the leader to hand over to this member.
    pub fn transfer_leader(&mut self, to: u64) {
        self.tell(wire::local(MessageType::MsgTransferLeader, to));
    }

    /// Makes a follower wait for a leader as if none had been heard. It does not campaign, but may
    /// help to elect another leader before the election timeout has passed.
    pub fn forget_leader(&mut self) {
        self.tell(wire::local(MessageType::MsgForgetLeader, NONE));
    }

    /// Asks for an index that a read must wait for; it comes in [`Ready::read_states`] with the
    /// same context. Requests may get lost: whoever waits asks again, with another context.
    pub fn read_index(&mut self, context: Bytes) {
        let entry = Entry { data: Some(context), ..Entry::default() };
        let message = wire::local(MessageType::MsgReadIndex, NONE);
        self.tell(Message { entries: vec![entry], ..message });
    }

    /// Steps what is never refused.
    fn tell(&mut self, message: Message) {
        let _ = self.raft.step(message);
    }

    /// What the node knows of itself and, as leader, of others.
    pub fn status(&self) -> Status {
        Status::of(&self.raft)
    }

    /// What the node knows of itself, without copying anything.
    pub fn basic_status(&self) -> BasicStatus {
        BasicStatus::of(&self.raft)
    }

    /// Whether this member leads and a change of the configuration in its log may not be applied
    /// yet: an empty entry would take the place of another one.
    pub fn is_conf_change_pending(&self) -> bool {
        self.raft.role == Role::Leader && self.raft.pending_conf_index > self.raft.log.applied
    }

    /// The configuration in force.
    pub fn conf_state(&self) -> ConfState {
        self.raft.tracker.config.to_conf_state()
    }

    /// Whether this node is the only voter.
    pub fn is_sole_voter(&self) -> bool {
        self.raft.tracker.is_singleton()
            && self.raft.tracker.config.voters.contains(self.raft.config.id)
    }

    /// Whether this node leads and has applied an entry of its own term: with only one voter,
    /// everything ever acknowledged is applied here then (thesis, section 6.4).
    pub fn has_applied_own_term(&self) -> bool {
        let raft = &self.raft;
        raft.role == Role::Leader && raft.log.term(raft.log.applied) == Ok(raft.term)
    }

    /// Whether committed entries are handed out only once more of the earlier ones are applied.
    pub fn is_applying_held_up(&self) -> bool {
        self.raft.log.is_applying_held_up()
    }

    /// The term of an entry of the log, or of the one before its first; `None` where it is not there.
    pub fn term_of(&self, index: u64) -> Option<u64> {
        self.raft.log.term(index).ok()
    }

    /// What the node reads.
    pub fn storage(&self) -> &S {
        &self.raft.log.storage
    }

    /// What the node reads, to be written by its owner.
    pub fn storage_mut(&mut self) -> &mut S {
        &mut self.raft.log.storage
    }

    /// Takes chance out of the election timeout, until the role changes. For tests.
    pub fn set_randomized_election_ticks(&mut self, ticks: u32) {
        self.raft.randomized_election_ticks = ticks;
    }
}

fn add_voter(id: u64) -> ConfChange {
    let kind = ConfChangeType::ConfChangeAddNode as i32;
    ConfChange { r#type: Some(kind), node_id: Some(id), ..ConfChange::default() }
}

fn conf_change_entry(change: &ConfChange) -> Entry {
    let data = Some(change.encode_to_vec().into());
    Entry { r#type: Some(EntryType::EntryConfChange as i32), data, ..Entry::default() }
}
