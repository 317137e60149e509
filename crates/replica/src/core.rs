//! The core: raft, and which message goes where.
//!
//! The leader's entries go out while its own disk writes; what a follower promises goes out when
//! its disk has written (Raft thesis, section 10.2.1). So a write carries the messages that wait
//! for it, and [`Core::persisted`] lets them go. A candidate asks for votes when its own is written:
//! others might elect it before, and after a crash once more in the same term, with another log.
//!
//! A commit index alone is worth no write, since the next leader tells it again: it is written with what
//! comes next, at the latest at the next tick.

use crate::condense::{AckCoalescer, Appends, condense};
use crate::deferred::Deferred;
use crate::log_writer::Persist;
use crate::sending::Sending;
use bytes::Bytes;
use proto::raftpb::{
    ConfChange, ConfChangeV2, ConfState, Entry, HardState, Message, MessageType, Snapshot,
    SnapshotMetadata,
};
use raft::{Dropped, MemoryStorage, Node, ReadState, Role, StepError};
use std::collections::VecDeque;

/// What of the applied log stays in memory for members that lag behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatchUp {
    /// Applied entries that are kept.
    pub entries_max: usize,
    /// Bytes of them.
    pub bytes_max: usize,
    /// Applied entries between two times that the log is shortened.
    pub shorten_entries: u64,
    /// Applied entries that are kept while a member is sent a database.
    pub held_entries_max: usize,
    /// Bytes of them.
    pub held_bytes_max: usize,
    /// Ticks that a member has to catch up when its database was delivered.
    pub held_ticks: u64,
}

impl Default for CatchUp {
    fn default() -> CatchUp {
        CatchUp {
            entries_max: 5_000,
            bytes_max: 64 << 20,
            shorten_entries: 1_000,
            held_entries_max: 2_000_000,
            held_bytes_max: 512 << 20,
            held_ticks: 300,
        }
    }
}

/// What another part must do.
#[derive(Debug)]
pub enum Command {
    /// For the peers. A snapshot among them is only its place in the log: whoever sends it adds the
    /// database, and tells [`Core::report_snapshot`] what became of it.
    Send(Vec<Message>),
    /// For the log writer.
    Persist(Persist),
    /// For the applier: a snapshot that came from the leader is recorded, and the database that
    /// came with it takes the place of the own one, before anything else is applied.
    Restore(Snapshot),
    /// For the applier.
    Apply(Vec<Entry>),
    /// For whoever asked for them: reads that may be served once their index is applied.
    Readable(Vec<ReadState>),
}

/// What the core knows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The member's id.
    pub id: u64,
    /// Its term.
    pub term: u64,
    /// Its role.
    pub role: Role,
    /// The leader it knows, 0 for none.
    pub leader: u64,
    /// The last committed entry.
    pub committed: u64,
    /// The last applied entry.
    pub applied: u64,
    /// Whether what is applied here is all that was ever acknowledged: this member leads, is alone,
    /// and has applied an entry of its own term (thesis, section 6.4). Others, learners too, may
    /// apply and acknowledge what the leader has committed before the leader has applied it.
    pub may_read: bool,
}

/// A write under way, with what follows from it.
struct Write {
    number: u64,
    entries: Vec<Entry>,
    snapshot: Option<Snapshot>,
    responses: Vec<Message>,
    /// The tick at which it began.
    begun: u64,
}

/// The core of a member.
pub struct Core {
    node: Node<MemoryStorage>,
    /// In the order of their numbers.
    writes: VecDeque<Write>,
    writes_begun: u64,
    /// A hard state of which only the commit index is new.
    unwritten: Option<HardState>,
    /// Time has passed since the last poll.
    ticked: bool,
    /// What raft hears when entries are applied, with the last of them.
    applies: VecDeque<(u64, Message)>,
    /// To be sent; what waited for a write is among them.
    sends: Vec<Message>,
    acks: AckCoalescer,
    appends: Appends,
    restores: Vec<Snapshot>,
    catch_up: CatchUp,
    shortened_at: u64,
    sending: Sending,
    ticks: u64,
    /// A leader whose disk does not answer for so many ticks makes room for another.
    stall_ticks: u64,
    /// The tick from which a leader that makes room asks again.
    asks_again: u64,
    deferred: Deferred,
    /// What was committed when the others went; `None` while there are others.
    alone_since: Option<u64>,
    /// The last snapshot that raft has taken its configuration from.
    restored_to: u64,
}

impl Core {
    /// A core that waits so many ticks for its disk while it leads.
    pub(crate) fn new(node: Node<MemoryStorage>, catch_up: CatchUp, stall_ticks: u32) -> Core {
        let mut core = Core {
            node,
            writes: VecDeque::new(),
            writes_begun: 0,
            unwritten: None,
            ticked: false,
            applies: VecDeque::new(),
            sends: Vec::new(),
            acks: AckCoalescer::default(),
            appends: Appends::default(),
            restores: Vec::new(),
            catch_up,
            shortened_at: 0,
            sending: Sending::default(),
            ticks: 0,
            stall_ticks: u64::from(stall_ticks),
            asks_again: 0,
            deferred: Deferred::default(),
            alone_since: None,
            restored_to: 0,
        };
        core.note_company();
        core.shorten_log();
        core
    }

    /// Lets one heartbeat interval pass.
    pub fn tick(&mut self) {
        self.node.tick();
        (self.ticks, self.ticked) = (self.ticks + 1, true);
        self.step_aside();
        self.lead_alone();
    }

    /// A leader whose disk hangs would go on leading, for its heartbeats do not wait for the disk,
    /// and others may commit without it; but it can neither apply nor serve for long (etcd
    /// #13527). So it asks the follower that is closest to take over, and again until it does.
    fn step_aside(&mut self) {
        let Some(oldest) = self.writes.front() else { return };
        let due = (oldest.begun + self.stall_ticks).max(self.asks_again);
        if self.ticks < due {
            return;
        }
        let status = self.node.status();
        let own_id = status.basic.id;
        let able = status.progress.0.iter().filter(|(id, progress)| {
            **id != own_id && !progress.is_learner && progress.recent_active
        });
        // Empty unless this member leads, and just after it forgot whom it has heard.
        if let Some((id, _)) = able.max_by_key(|(_, progress)| progress.matched) {
            let id = *id;
            self.asks_again = self.ticks + self.stall_ticks;
            self.node.transfer_leader(id);
        }
    }

    /// The only voter waits for nobody.
    fn lead_alone(&mut self) {
        let status = self.node.basic_status();
        if status.leader == 0 && status.role == Role::Follower && self.node.is_sole_voter() {
            self.node.campaign();
        }
    }

    /// Takes a message of another member.
    ///
    /// # Errors
    /// It must not come from another member, or proposed what is not taken.
    pub fn step(&mut self, message: Message) -> Result<(), StepError> {
        // Nobody else speaks for this member, its log writer or its applier.
        let from = message.from();
        if raft::wire::is_local_target(from) || from == self.node.basic_status().id {
            return Err(StepError::Local);
        }
        match self.deferred.keep_others(&self.node, message) {
            Some(message) if message.r#type() == MessageType::MsgApp => self.step_append(message),
            Some(message) if message.r#type() == MessageType::MsgSnap => {
                self.step_snapshot(message)
            }
            Some(message) => self.node.step(message),
            None => Ok(()),
        }
    }

    /// Raft knows the members of a snapshot as soon as it takes it. One of what the log has already is not
    /// taken: it only says that those entries are committed, and the changes among them are to come.
    fn step_snapshot(&mut self, message: Message) -> Result<(), StepError> {
        let metadata = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
        let index = metadata.map_or(0, SnapshotMetadata::index);
        let is_known = self.node.term_of(index) == metadata.map(SnapshotMetadata::term);
        let committed = self.node.basic_status().committed;
        let result = self.node.step(message);
        if !is_known && committed < index && self.node.basic_status().committed == index {
            self.restored_to = index;
        }
        result
    }

    fn step_append(&mut self, message: Message) -> Result<(), StepError> {
        let is_empty = message.entries.is_empty();
        let committed = self.node.basic_status().committed;
        let result = self.node.step(message);
        let only_commit = is_empty && self.node.basic_status().committed > committed;
        self.acks.append_came(only_commit);
        result
    }

    /// Proposes an entry's data.
    ///
    /// # Errors
    /// The entry is not in the log then.
    pub fn propose(&mut self, data: Bytes) -> Result<(), Dropped> {
        self.node.propose(data)
    }

    /// Proposes the data of several entries: all of them or none. They share the messages to the other
    /// members.
    ///
    /// # Errors
    /// None of the entries is in the log then.
    pub fn propose_all(&mut self, data: impl IntoIterator<Item = Bytes>) -> Result<(), Dropped> {
        self.node.propose_all(data)
    }

    /// Proposes a change of one member. While another is under way, it waits.
    ///
    /// # Errors
    /// The entry is not in the log then.
    pub fn propose_conf_change(&mut self, change: &ConfChange) -> Result<(), Dropped> {
        if self.deferred.keep_own(&self.node, change) {
            return Ok(());
        }
        self.node.propose_conf_change(change)
    }

    /// Proposes a change of several members.
    ///
    /// # Errors
    /// The entry is not in the log then.
    pub fn propose_conf_change_v2(&mut self, change: &ConfChangeV2) -> Result<(), Dropped> {
        self.node.propose_conf_change_v2(change)
    }

    /// Asks what a read must wait for; the answer is [`Command::Readable`] with the same context,
    /// or nothing: then ask again with another context.
    pub fn read_index(&mut self, context: Bytes) {
        self.node.read_index(context);
    }

    /// Asks the leader to hand over to this member.
    pub fn transfer_leader(&mut self, to: u64) {
        self.node.transfer_leader(to);
    }

    /// A message could not be delivered to this member.
    pub fn report_unreachable(&mut self, id: u64) {
        self.node.report_unreachable(id);
    }

    /// A snapshot was delivered to this member, or not.
    pub fn report_snapshot(&mut self, id: u64, delivered: bool) {
        self.sending.end(id, delivered.then(|| self.ticks + self.catch_up.held_ticks));
        self.node.report_snapshot(id, delivered);
    }

    /// The log writer has written everything up to this number.
    pub fn persisted(&mut self, number: u64) {
        while let Some(write) = self.writes.pop_front_if(|write| write.number <= number) {
            let storage = self.node.storage_mut();
            if let Some(snapshot) = write.snapshot {
                // One that is older than what is here changes nothing.
                if storage.apply_snapshot(snapshot.clone()).is_ok() {
                    self.restores.push(snapshot);
                }
            }
            self.node.storage_mut().append(write.entries);
            self.respond(write.responses);
        }
    }

    /// Delivers what waited: to raft, or to others with what is sent next.
    fn respond(&mut self, responses: Vec<Message>) {
        let id = self.node.basic_status().id;
        for response in responses {
            if response.to() == id {
                // A member that has been removed no longer knows itself.
                let _ = self.node.step(response);
            } else {
                self.sends.extend(self.acks.pass(response));
            }
        }
    }

    /// The applier has come to this entry; configuration changes among what it applied take effect.
    pub fn applied(&mut self, index: u64, conf_changes: &[ConfChange]) {
        // What was changed before a snapshot is part of the configuration that came with it.
        let changes = if index > self.restored_to { conf_changes } else { &[] };
        for change in changes {
            // What does not fit the configuration fits no other member's either.
            let _ = self.node.apply_conf_change(change);
        }
        while let Some((_, response)) = self.applies.pop_front_if(|(last, _)| *last <= index) {
            self.respond(vec![response]);
        }
        self.note_company();
        self.lead_alone();
        self.shorten_log();
    }

    /// What is still to be written when the core ends.
    pub fn take_unwritten(&mut self) -> Option<Persist> {
        let hard_state = Some(self.unwritten.take()?);
        Some(Persist { hard_state, ..Persist::default() })
    }

    /// Whether something goes on here only once [`Core::applied`] is told: otherwise the news may wait
    /// for the next event.
    pub fn awaits_applied(&self) -> bool {
        let leads = self.node.basic_status().role == Role::Leader;
        self.node.is_applying_held_up()
            || self.node.is_conf_change_pending()
            || leads && !self.node.has_applied_own_term()
    }

    /// Whether there are no other members: nobody waits for this one but its clients.
    pub fn is_alone(&self) -> bool {
        self.alone_since.is_some()
    }

    fn note_company(&mut self) {
        let is_alone = self.node.is_sole_voter() && self.node.conf_state().learners.is_empty();
        let committed = self.node.basic_status().committed;
        self.alone_since = is_alone.then(|| self.alone_since.unwrap_or(committed));
    }

    /// Lets go of applied entries that nobody will ask for, and of more than members that lag
    /// behind may cost: they get a snapshot.
    fn shorten_log(&mut self) {
        let applied = self.node.basic_status().applied;
        let alone = self.is_alone();
        if !alone && applied < self.shortened_at + self.catch_up.shorten_entries {
            return;
        }
        self.shortened_at = applied;
        let conf_state = self.node.conf_state();
        let storage = self.node.storage_mut();
        // Without anything applied since, there is nothing to let go of.
        if storage.create_snapshot(applied, conf_state, None).is_ok() {
            let last = if alone { applied } else { self.excess().min(applied) };
            let _ = self.node.storage_mut().compact(last);
        }
    }

    /// The last entry that other members do not need, or that costs too much to keep for them.
    fn excess(&mut self) -> u64 {
        let conf_state = self.node.conf_state();
        let is_member = |id| conf_state.voters.contains(&id) || conf_state.learners.contains(&id);
        self.sending.expire(self.ticks, is_member);
        let storage = self.node.storage();
        let CatchUp { entries_max, bytes_max, held_entries_max, held_bytes_max, .. } =
            self.catch_up;
        let usual = storage.excess(entries_max, bytes_max);
        let Some(oldest) = self.sending.oldest() else { return usual };
        usual.min(oldest).max(storage.excess(held_entries_max, held_bytes_max))
    }

    /// What follows from everything so far; to be called when a batch of events was handed in.
    pub fn poll(&mut self, commands: &mut Vec<Command>) {
        let mut work = Vec::new();
        self.deferred.resume(&mut self.node);
        while self.node.has_ready() {
            let ready = self.node.ready();
            if !ready.read_states.is_empty() {
                work.push(Command::Readable(ready.read_states));
            }
            let mut votes = Vec::new();
            for mut message in ready.messages {
                match message.r#type() {
                    MessageType::MsgVote => votes.push(message),
                    MessageType::MsgStorageAppend => {
                        message.responses.append(&mut votes);
                        work.extend(self.begin_write(message, ready.must_sync));
                    }
                    MessageType::MsgStorageApply => work.push(self.begin_apply(message)),
                    MessageType::MsgSnap => self.begin_sending(message),
                    _ => self.sends.push(message),
                }
            }
            self.sends.append(&mut votes);
        }
        let ticked = std::mem::take(&mut self.ticked);
        self.acks.end_turn(ticked, &mut self.sends);
        condense(&mut self.sends);
        self.appends.drop_repeated(self.ticks, &mut self.sends);
        if ticked {
            work.extend(self.take_unwritten().map(Command::Persist));
        }
        // Others are given their work first.
        if !self.sends.is_empty() {
            commands.push(Command::Send(std::mem::take(&mut self.sends)));
        }
        commands.extend(self.restores.drain(..).map(Command::Restore));
        commands.append(&mut work);
    }

    fn begin_sending(&mut self, message: Message) {
        let metadata = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
        self.sending.begin(message.to(), metadata.map_or(0, SnapshotMetadata::index));
        self.sends.push(message);
    }

    /// Hands a write to the log writer; what only waits for earlier writes is no write.
    fn begin_write(&mut self, message: Message, sync: bool) -> Option<Command> {
        let Message { term, vote, commit, entries, snapshot, responses, .. } = message;
        let hard_state = term.map(|_| HardState { term, vote, commit });
        // What was promised before is on the disk.
        let is_new = |response: &Message| !self.acks.repeats(response);
        let (responses, repeated) = responses.into_iter().partition(is_new);
        self.respond(repeated);
        let is_empty = hard_state.is_none() && entries.is_empty() && snapshot.is_none();
        if is_empty && self.writes.is_empty() {
            self.respond(responses);
            return None;
        }
        let is_awaited = !responses.is_empty() || !entries.is_empty() || snapshot.is_some();
        if !is_awaited && !sync {
            self.unwritten = hard_state.or(self.unwritten);
            return None;
        }
        let hard_state = hard_state.or(self.unwritten);
        self.unwritten = None;
        let mut number = 0;
        if is_awaited {
            self.writes_begun += 1;
            number = self.writes_begun;
            let (entries, snapshot) = (entries.clone(), snapshot.clone());
            let begun = self.ticks;
            self.writes.push_back(Write { number, entries, snapshot, responses, begun });
        }
        Some(Command::Persist(Persist { number, hard_state, entries, snapshot, sync }))
    }

    fn begin_apply(&mut self, message: Message) -> Command {
        let last = message.entries.last().map_or(0, Entry::index);
        self.applies.extend(message.responses.into_iter().map(|response| (last, response)));
        Command::Apply(message.entries)
    }

    /// The voters and learners in force.
    pub fn conf_state(&self) -> ConfState {
        self.node.conf_state()
    }

    /// The term of an entry of the log, or of the one before its first; `None` where it is not there.
    pub fn term_of(&self, index: u64) -> Option<u64> {
        self.node.term_of(index)
    }

    /// Everything that raft knows, of other members as well where this one leads.
    pub fn raft_status(&self) -> raft::Status {
        self.node.status()
    }

    /// What the core knows of itself.
    pub fn status(&self) -> Status {
        let basic = self.node.basic_status();
        Status {
            id: basic.id,
            term: basic.term,
            role: basic.role,
            leader: basic.leader,
            committed: basic.committed,
            applied: basic.applied,
            may_read: self.alone_since.is_some_and(|since| basic.applied >= since)
                && self.node.has_applied_own_term(),
        }
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
