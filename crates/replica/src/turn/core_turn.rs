//! The core's turn: what is proposed, held or refused; read rounds; who waits and until when; what others
//! see of raft.

use super::common::{Common, Waiter, Waiting};
use super::held_proposals::{HeldProposals, Proposal};
use super::lateness::Lateness;
use super::leadership_transfers::LeadershipTransfers;
use super::read_rounds::ReadRounds;
use super::{
    ApplyEvent, Caller, Company, CoreFigures, Failure, Moment, Note, Renewal, Renewed, Time,
    WakePolicy,
};
use crate::{Command, Core, Persist};
use bytes::Bytes;
use proto::raftpb::{ConfChange, Message, MessageType};
use raft::{Dropped, ReadState, Role};
use std::sync::Arc;

/// Election timeouts without a leader after which streams end that require one.
const LEADERLESS_ELECTIONS: u32 = 3;
/// Proposals made together, and bytes of them: what one message to another member may well carry.
const BATCH_MAX: usize = 4096;
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Entries that a core which is alone writes itself: with more, the next are better collected meanwhile.
const OWN_WRITE_ENTRIES_MAX: usize = 4;
/// How long others may take to be reached before the first wait is not shortened any more.
const ADVANCE_LIMIT: Time = Time::from_secs(5);

/// How fast raft's time goes.
#[derive(Clone, Copy, Debug)]
pub struct CorePace {
    /// Ticks without a leader before a member campaigns.
    pub election_ticks: u32,
    /// Whether a member that starts among others shortens its first wait for an election.
    pub advances: bool,
}

/// What waits for a read to be confirmed.
pub enum Read<C: Caller> {
    /// A caller.
    Caller(C::Ticket<Result<(), Failure>>),
    /// Leases that expired while this member led in this term: it must still lead to revoke them.
    Revoke {
        /// The leases.
        ids: Vec<i64>,
        /// The term.
        term: u64,
    },
}

/// For the core's turn.
pub enum CoreEvent<C: Caller> {
    /// A request whose waiter is kept under this id; see [`Common::propose`].
    Propose {
        /// The request's id.
        id: u64,
        /// What is proposed.
        proposal: Proposal,
    },
    /// Everything up to this write is durable.
    Persisted {
        /// The write's number.
        number: u64,
    },
    /// Entries were applied.
    Applied {
        /// The last one.
        index: u64,
        /// Changes of the configuration among them.
        conf_changes: Vec<ConfChange>,
    },
    /// A message of another member.
    Step(Box<Message>),
    /// A message to this member did not arrive.
    Unreachable(u64),
    /// A snapshot was delivered, or was not.
    SnapshotSent {
        /// To this member.
        to: u64,
        /// Whether it was.
        delivered: bool,
    },
    /// Another member is to lead.
    Transfer {
        /// This one.
        to: u64,
        /// Hears when it leads, or that it does not.
        ticket: Option<C::Ticket<Result<(), Failure>>>,
    },
    /// A read that the cluster must confirm.
    Read(Read<C>),
    /// Everything that raft knows is asked for.
    Status(C::Ticket<Box<raft::Status>>),
}

/// What follows from a turn of the core, in order.
pub enum CoreEffect<C: Caller> {
    /// The figures are these now: before anybody hears of what they rest on.
    Show(CoreFigures),
    /// For the log's turn. A core that is alone may have it written here and now, if nothing else waits
    /// for the core or the log; it hears [`CoreTurn::persisted`] then.
    Persist {
        /// The write.
        persist: Persist,
        /// Whether it may be written here.
        may_write_here: bool,
    },
    /// For the apply turn.
    Apply(ApplyEvent<C>),
    /// For other members; none is a snapshot.
    Send(Vec<Message>),
    /// Reads that are confirmed: what was acknowledged before they came is applied here.
    Serve(Vec<C::Ticket<Result<(), Failure>>>),
    /// Reads that are not served.
    RefuseReads(Vec<C::Ticket<Result<(), Failure>>>, Failure),
    /// A request that came to nothing.
    Fail(Failed<C>),
    /// The leadership has moved, or has not.
    Transferred(C::Ticket<Result<(), Failure>>, Result<(), Failure>),
    /// What raft knows.
    Status(C::Ticket<Box<raft::Status>>, Box<raft::Status>),
    /// There has been no leader for so long that streams end which require one.
    Leaderless,
}

/// A caller whose request came to nothing.
pub enum Failed<C: Caller> {
    /// A write.
    Write(C::Write, Failure),
    /// A renewal.
    Renewal(C::Ticket<Result<Renewed, Failure>>, Failure),
}

impl<C: Caller> Waiter<C> {
    /// Who must hear of a failure outside of the member; [`Waiter::NoSpaceAlarm`] is within.
    pub fn fail(self, failure: Failure) -> Option<Failed<C>> {
        match self {
            Waiter::Caller(write) | Waiter::InFile(write) => Some(Failed::Write(write, failure)),
            Waiter::Renewal(Renewal { ticket, .. }) => Some(Failed::Renewal(ticket, failure)),
            Waiter::NoSpaceAlarm | Waiter::Nobody => None,
        }
    }
}

/// The core with its callers. It never touches a disk or a log sink.
pub struct CoreTurn<C: Caller> {
    common: Arc<Common<C>>,
    core: Core,
    held: HeldProposals,
    /// Proposals of this turn; they are made together.
    batch: Vec<(u64, Bytes)>,
    batch_bytes: usize,
    reads: ReadRounds<Read<C>>,
    transfers: LeadershipTransfers<C::Ticket<Result<(), Failure>>>,
    commands: Vec<Command>,
    /// The leader that was last known, 0 for none.
    leader: u64,
    /// The role and the term that were last told.
    told: (Role, u64),
    shown: CoreFigures,
    pace: CorePace,
    /// Until when the first wait for an election may still be shortened.
    advance: Option<Time>,
    /// When there last was another leader than before.
    elected_at: Option<Time>,
    /// Since when there is none.
    leaderless_since: Option<Time>,
}

type At<'a, 'm, C> = &'a mut Moment<'m, CoreEffect<C>>;

impl<C: Caller> CoreTurn<C> {
    /// A core with nothing to do yet.
    pub fn new(common: Arc<Common<C>>, core: Core, pace: CorePace, now: Time) -> CoreTurn<C> {
        CoreTurn {
            common,
            core,
            held: HeldProposals::default(),
            batch: Vec::new(),
            batch_bytes: 0,
            reads: ReadRounds::default(),
            transfers: LeadershipTransfers::default(),
            commands: Vec::new(),
            leader: 0,
            told: (Role::Follower, 0),
            shown: CoreFigures::default(),
            pace,
            advance: pace.advances.then(|| now + ADVANCE_LIMIT),
            elected_at: None,
            leaderless_since: Some(now),
        }
    }

    /// The core, to look at.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// Whether this request waits here for a leader, and is in no log.
    pub fn holds(&self, id: u64) -> bool {
        self.held.contains(id)
    }

    /// How much waits here: proposals for a leader, reads, transfers of the leadership.
    pub fn waiting(&self) -> usize {
        self.held.len() + self.reads.len() + self.transfers.len()
    }

    /// What is worth waking up for: news of what was applied only if something here waits for it.
    pub fn wake_policy(&self) -> WakePolicy {
        let awaited = self.core.awaits_applied() || self.reads.awaits_applied();
        if awaited { WakePolicy::Every } else { WakePolicy::Urgent }
    }

    /// Takes an event. When all that came together were taken, [`CoreTurn::work`] follows.
    pub fn take(&mut self, event: CoreEvent<C>, at: At<'_, '_, C>) {
        match event {
            CoreEvent::Propose { id, proposal } => self.propose(id, proposal, at),
            CoreEvent::Persisted { number } => self.core.persisted(number),
            CoreEvent::Applied { index, conf_changes } => self.core.applied(index, &conf_changes),
            CoreEvent::Step(message) => {
                // What does not fit is not for this member; the sender finds out in time.
                let _ = self.core.step(*message);
            }
            CoreEvent::Unreachable(id) => self.core.report_unreachable(id),
            CoreEvent::SnapshotSent { to, delivered } => self.core.report_snapshot(to, delivered),
            CoreEvent::Transfer { to, ticket } => self.transfer(to, ticket, at),
            CoreEvent::Read(read) => self.read(read, at),
            CoreEvent::Status(ticket) => {
                at.out.push(CoreEffect::Status(ticket, Box::new(self.core.raft_status())));
            }
        }
    }

    /// Everything up to this write is durable; told in between effects, as [`CoreEffect::Persist`] says.
    pub fn persisted(&mut self, number: u64) {
        self.core.persisted(number);
    }

    /// Lets one heartbeat interval pass.
    pub fn tick(&mut self, company: &dyn Company, at: At<'_, '_, C>) {
        self.core.tick();
        self.advance(company, at);
        self.expire_proposals(company, at);
        for read in self.reads.tick(at.now) {
            at.observer.note(Note::ReadsFailed);
            if let Read::Caller(ticket) = read {
                at.out.push(CoreEffect::RefuseReads(vec![ticket], Failure::Timeout));
            }
        }
        let (now, out) = (at.now, &mut *at.out);
        self.transfers.expire(now, |ticket, result| {
            out.push(CoreEffect::Transferred(ticket, result));
        });
        let limit = LEADERLESS_ELECTIONS * self.common.limits.election_timeout;
        if self.leaderless_since.is_some_and(|since| at.now >= since + limit) {
            at.out.push(CoreEffect::Leaderless);
        }
    }

    /// Whoever has reached others and hears of no leader need not wait a whole election timeout:
    /// all but two ticks of it pass at once (reference: `EtcdServer.adjustTicks`).
    fn advance(&mut self, company: &dyn Company, at: At<'_, '_, C>) {
        let Some(until) = self.advance else { return };
        let active_peers = company.active_peers();
        if at.now > until {
            self.advance = None;
        } else if active_peers > 1 {
            self.advance = None;
            let ticks = self.pace.election_ticks.saturating_sub(2);
            (0..ticks).for_each(|_| self.core.tick());
            at.observer.note(Note::ElectionShortened { ticks, active_peers });
        }
    }

    /// What follows from the events so far, but for what raft asks for: [`CoreTurn::poll`] gives that.
    pub fn work(&mut self, at: At<'_, '_, C>) {
        self.propose_batch(at);
        self.follow_leader(at);
        self.propose_held(at);
        if self.reads.wants_round(self.leader != 0) {
            let id = self.common.ids.next();
            self.reads.begin_round(id, at.now);
            if self.leader != 0 {
                self.core.read_index(id.to_be_bytes().to_vec().into());
            }
        }
    }

    /// What raft asks for now. To be called again when its effects were carried out, until there are none.
    pub fn poll(&mut self, at: At<'_, '_, C>) {
        let mut commands = std::mem::take(&mut self.commands);
        self.core.poll(&mut commands);
        // Before anyone else hears of it: what this member may read alone depends on it.
        self.show(at);
        for command in commands.drain(..) {
            self.dispatch(command, at);
        }
        self.commands = commands;
        self.serve_reads(at);
    }

    /// What is still to be written when the core ends; nothing is written after it.
    pub fn take_unwritten(&mut self) -> Option<Persist> {
        self.core.take_unwritten()
    }

    /// Asserts what is always true between two turns.
    pub fn check(&self) {
        self.reads.check();
        self.held.check();
        assert!(self.batch.is_empty(), "{} proposals are left of a turn", self.batch.len());
        assert_eq!(self.batch_bytes, 0, "an empty batch has no bytes");
        assert_eq!(
            self.leader == 0,
            self.leaderless_since.is_some(),
            "it is known since when there is no leader, if and only if there is none"
        );
    }

    // ---- proposals -------------------------------------------------------------------------

    fn propose(&mut self, id: u64, proposal: Proposal, at: At<'_, '_, C>) {
        if !self.is_wanted(id, at) {
            return;
        }
        if let Proposal::AsLeader { .. } = proposal {
            // Here and now, or not at all: it must not reach another leader.
            if let Err(dropped) = self.give(proposal) {
                self.drop_proposal(id, dropped, at);
            }
            return;
        }
        if self.leader == 0 || !self.held.is_empty() {
            return self.hold(id, proposal, at);
        }
        match proposal {
            Proposal::Data(data) => self.collect(id, data, at),
            Proposal::Change(_) | Proposal::AsLeader { .. } => {
                self.propose_batch(at);
                self.propose_one(id, proposal, at);
            }
        }
    }

    /// Whoever asked may have gone, or may have been told that the time is over: then it is not proposed.
    fn is_wanted(&self, id: u64, at: At<'_, '_, C>) -> bool {
        match self.common.waiters.look(id, |waiting| waiting.is_wanted(at.now)) {
            Some(true) => true,
            Some(false) => {
                if let Some(waiting) = self.common.waiters.take(id) {
                    fail(waiting, Failure::NotProposed, at);
                }
                false
            }
            None => false,
        }
    }

    fn collect(&mut self, id: u64, data: Bytes, at: At<'_, '_, C>) {
        self.batch_bytes += data.len();
        self.batch.push((id, data));
        if self.batch.len() >= BATCH_MAX || self.batch_bytes >= BATCH_BYTES_MAX {
            self.propose_batch(at);
        }
    }

    fn hold(&mut self, id: u64, proposal: Proposal, at: At<'_, '_, C>) {
        if !self.held.push(id, proposal) {
            self.drop_proposal(id, Dropped::TooManyUncommitted, at);
        }
    }

    fn propose_one(&mut self, id: u64, proposal: Proposal, at: At<'_, '_, C>) {
        match self.give(proposal.clone()) {
            Ok(()) => {}
            Err(Dropped::NoLeader) => self.hold(id, proposal, at),
            Err(dropped) => self.drop_proposal(id, dropped, at),
        }
    }

    /// Makes the proposals of this turn together; where that is too much, one by one.
    fn propose_batch(&mut self, at: At<'_, '_, C>) {
        if self.batch.is_empty() {
            return;
        }
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        let together = self.core.propose_all(batch.iter().map(|(_, data)| data.clone()));
        if together.is_ok() {
            self.batch = batch;
            self.batch.clear();
            return;
        }
        for (id, data) in batch {
            self.propose_one(id, Proposal::Data(data), at);
        }
    }

    fn give(&mut self, proposal: Proposal) -> Result<(), Dropped> {
        match proposal {
            Proposal::Data(data) => self.core.propose(data),
            Proposal::AsLeader { term, data } => {
                let status = self.core.status();
                if status.role == Role::Leader && status.term == term {
                    self.core.propose(data)
                } else {
                    Err(Dropped::NoLeader)
                }
            }
            Proposal::Change(change) => self.core.propose_conf_change(&change),
        }
    }

    fn propose_held(&mut self, at: At<'_, '_, C>) {
        while self.leader != 0
            && let Some((id, proposal)) = self.held.pop()
        {
            if self.is_wanted(id, at)
                && let Err(dropped) = self.give(proposal)
            {
                self.drop_proposal(id, dropped, at);
            }
        }
    }

    fn drop_proposal(&self, id: u64, dropped: Dropped, at: At<'_, '_, C>) {
        if let Some(waiting) = self.common.waiters.take(id) {
            let failure = match dropped {
                Dropped::TooManyUncommitted => Failure::TooManyRequests,
                _ => Failure::NoLeader,
            };
            fail(waiting, failure, at);
        }
    }

    fn expire_proposals(&mut self, company: &dyn Company, at: At<'_, '_, C>) {
        let expired = self.common.waiters.expired(at.now);
        if expired.is_empty() {
            return;
        }
        let unproposed = self.held.retain(|id| self.common.waiters.contains(id));
        let members: Vec<u64> = self.common.members().list().map(|member| member.id).collect();
        let lateness = Lateness {
            members: &members,
            company,
            own_id: self.common.member_id,
            leader: self.leader,
            elected_at: self.elected_at,
            election_timeout: self.common.limits.election_timeout,
        };
        for (id, waiting) in expired {
            let is_unproposed = unproposed.contains(&id);
            let reason =
                if is_unproposed { Failure::NotProposed } else { lateness.reason(waiting.begun) };
            fail(waiting, reason, at);
        }
    }

    // ---- reads and transfers ---------------------------------------------------------------

    fn read(&mut self, read: Read<C>, at: At<'_, '_, C>) {
        let deadline = at.now + self.common.limits.request_timeout;
        if let Err(Read::Caller(ticket)) = self.reads.push(read, deadline) {
            at.out.push(CoreEffect::RefuseReads(vec![ticket], Failure::TooManyRequests));
        }
    }

    fn confirm(&mut self, state: &ReadState) {
        if let Ok(id) = <[u8; 8]>::try_from(&state.context[..]) {
            self.reads.confirm(u64::from_be_bytes(id), state.index);
        }
    }

    fn serve_reads(&mut self, at: At<'_, '_, C>) {
        if !self.reads.awaits_applied() {
            return;
        }
        let mut tickets = Vec::new();
        for read in self.reads.served_by(self.common.figures.applied()) {
            match read {
                Read::Caller(ticket) => tickets.push(ticket),
                Read::Revoke { ids, term } => {
                    at.out.push(CoreEffect::Apply(ApplyEvent::Revoke { ids, term }));
                }
            }
        }
        if !tickets.is_empty() {
            at.out.push(CoreEffect::Serve(tickets));
        }
    }

    fn transfer(
        &mut self,
        to: u64,
        ticket: Option<C::Ticket<Result<(), Failure>>>,
        at: At<'_, '_, C>,
    ) {
        self.core.transfer_leader(to);
        let Some(ticket) = ticket else { return };
        let deadline = at.now + self.common.limits.request_timeout;
        if let Err(ticket) = self.transfers.push(to, deadline, ticket) {
            at.out.push(CoreEffect::Transferred(ticket, Err(Failure::TooManyRequests)));
        }
        self.tell_transferred(at);
    }

    fn tell_transferred(&mut self, at: At<'_, '_, C>) {
        let out = &mut *at.out;
        self.transfers.follow(self.leader, |ticket, result| {
            out.push(CoreEffect::Transferred(ticket, result));
        });
    }

    // ---- what raft asks for ----------------------------------------------------------------

    fn dispatch(&mut self, command: Command, at: At<'_, '_, C>) {
        match command {
            Command::Persist(persist) => {
                let is_small = persist.entries.len() <= OWN_WRITE_ENTRIES_MAX;
                let may_write_here = is_small && self.core.is_alone();
                at.out.push(CoreEffect::Persist { persist, may_write_here });
            }
            Command::Apply(entries) => {
                at.out.push(CoreEffect::Apply(ApplyEvent::Entries(entries)));
            }
            Command::Restore(snapshot) => {
                at.out.push(CoreEffect::Apply(ApplyEvent::Restore(snapshot)));
            }
            Command::Send(messages) => send(messages, at),
            Command::Readable(states) => states.iter().for_each(|state| self.confirm(state)),
        }
    }

    // ---- what others see of raft -----------------------------------------------------------

    fn follow_leader(&mut self, at: At<'_, '_, C>) {
        let status = self.core.status();
        let leader = status.leader;
        if leader == self.leader {
            return;
        }
        at.observer.note(Note::Leader { before: self.leader, leader, term: status.term });
        self.leader = leader;
        if leader == 0 {
            self.leaderless_since = Some(at.now);
        } else {
            (self.leaderless_since, self.elected_at) = (None, Some(at.now));
        }
        self.tell_transferred(at);
        self.fail_reads_of_another_leader(at);
    }

    /// What waits over a change of the leader is told so, as soon as there is another one.
    fn fail_reads_of_another_leader(&mut self, at: At<'_, '_, C>) {
        if self.leader == 0 {
            return;
        }
        let failed = self.reads.leader_changed();
        if failed.is_empty() {
            return;
        }
        at.observer.note(Note::ReadsFailed);
        let tickets = failed.into_iter().filter_map(|read| match read {
            Read::Caller(ticket) => Some(ticket),
            // They are looked at again.
            Read::Revoke { .. } => None,
        });
        at.out.push(CoreEffect::RefuseReads(tickets.collect(), Failure::LeaderChanged));
    }

    fn show(&mut self, at: At<'_, '_, C>) {
        let status = self.core.status();
        if self.told != (status.role, status.term) {
            self.told = (status.role, status.term);
            at.observer.note(Note::Role { role: status.role, term: status.term });
        }
        let figures = CoreFigures {
            term: status.term,
            leader: status.leader,
            committed: status.committed,
            leads: status.role == Role::Leader,
            may_read: status.may_read,
        };
        if figures == self.shown {
            return;
        }
        let before = std::mem::replace(&mut self.shown, figures);
        at.out.push(CoreEffect::Show(figures));
        if (before.leads, before.may_read) != (figures.leads, figures.may_read) {
            at.out.push(CoreEffect::Apply(ApplyEvent::LeadershipChanged));
        }
    }
}

/// A snapshot waits for the database that belongs to it; all else goes at once.
fn send<C: Caller>(messages: Vec<Message>, at: At<'_, '_, C>) {
    let is_snapshot = |message: &Message| message.r#type() == MessageType::MsgSnap;
    let (snapshots, rest): (Vec<_>, Vec<_>) = messages.into_iter().partition(is_snapshot);
    if !rest.is_empty() {
        at.out.push(CoreEffect::Send(rest));
    }
    let ask = |message| CoreEffect::Apply(ApplyEvent::SendSnapshot(Box::new(message)));
    at.out.extend(snapshots.into_iter().map(ask));
}

fn fail<C: Caller>(waiting: Waiting<C>, failure: Failure, at: At<'_, '_, C>) {
    at.observer.note(Note::ProposalFailed { kind: waiting.kind, begun: waiting.begun });
    if matches!(waiting.waiter, Waiter::NoSpaceAlarm) {
        // The next write raises it.
        at.out.push(CoreEffect::Apply(ApplyEvent::NoSpaceRaised));
    }
    at.out.extend(waiting.waiter.fail(failure).map(CoreEffect::Fail));
}
