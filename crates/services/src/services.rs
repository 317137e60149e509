//! All services of a member: what its handlers need beside the member itself.

use crate::caller::{self, Calls, Common, CoreEvent, Ticket, Waiter, fail, ticket};
use crate::later::Later;
use crate::led_streams::LedStreams;
use crate::member::{Job, Lane, Member};
use crate::response_memory::{HELD_BYTES_MAX, ResponseMemory};
use crate::{Call, Error, lines};
use apply::Kind;
use apply::quota::Quota;
use apply::{Header, Reply};
use bytes::Bytes;
use metrics::Metrics;
use net::rpc::Responder;
use proto::etcdserverpb::ResponseHeader;
use proto::raftpb::{ConfChange, ConfChangeType};
use replica::turn::{self, Ask, Failure, Figures, NotTaken, Time, WatchEvent};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Hashes of the whole database that may wait for their turn.
const HASHES_MAX: usize = 1000;

/// Limits on requests.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Operations in a transaction.
    pub txn_ops_max: usize,
    /// Bytes in a request.
    pub request_bytes_max: usize,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// Whether changes of the membership are refused that could cost the majority.
    pub strict_changes: bool,
}

/// The services of a member.
pub struct Services {
    member: Arc<dyn Member>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Limits on requests.
    pub limits: Limits,
    /// Bytes that the database may take.
    pub quota: Quota,
    /// The identity of this member.
    pub member_id: u64,
    /// The keys.
    pub reader: mvcc::Reader,
    pub(crate) later: Later,
    pub(crate) led_streams: Arc<LedStreams>,
    pub(crate) memory: Arc<ResponseMemory>,
    pub(crate) next_stream: AtomicU64,
    /// Bytes of long responses to watchers that are not on the wire.
    pub(crate) long_responses: Arc<AtomicUsize>,
    hashes_waiting: AtomicUsize,
}

impl Services {
    /// The services of this member.
    pub fn new(
        member: Arc<dyn Member>,
        metrics: Arc<Metrics>,
        limits: Limits,
        quota: Quota,
    ) -> Arc<Services> {
        let (member_id, reader) = (member.common().member_id, member.common().reader.clone());
        let lane = Arc::clone(&member);
        let run = move |job| lane.run(Lane::Scan, job);
        let memory = ResponseMemory::new(HELD_BYTES_MAX, limits.request_timeout, run);
        Arc::new(Services {
            member,
            metrics,
            limits,
            quota,
            member_id,
            reader,
            later: Later::default(),
            led_streams: Arc::default(),
            memory,
            next_stream: AtomicU64::new(1),
            long_responses: Arc::default(),
            hashes_waiting: AtomicUsize::new(0),
        })
    }

    /// The member behind the services.
    pub fn member(&self) -> &Arc<dyn Member> {
        &self.member
    }

    /// What the member's turns share with its callers.
    pub fn common(&self) -> &Common {
        self.member.common()
    }

    /// What the member shows of itself.
    pub fn figures(&self) -> &Figures {
        &self.common().figures
    }

    /// The time since the member started.
    pub fn now(&self) -> Time {
        self.member.now()
    }

    /// Whether nobody waits for the answer to a call any more.
    pub(crate) fn is_over(&self, call: &Call) -> bool {
        call.deadline.is_some() && call.is_over(self.now())
    }

    /// Lets time pass: for answers that wait for room, and for what is tried again.
    pub fn tick(&self, now: Instant) {
        self.memory.expire(now);
        let due = self.later.take_due(now);
        if !due.is_empty() {
            self.in_pool(move || due.into_iter().for_each(|due| due(Ok(()))));
        }
    }

    /// There has been no leader for long: streams end whose clients asked for that.
    pub fn end_led_streams(&self) {
        if !self.led_streams.is_empty() {
            let streams = Arc::clone(&self.led_streams);
            self.in_pool(move || streams.end_all());
        }
    }

    /// Where a member is reached by others.
    pub fn peer_urls(&self, id: u64) -> Vec<String> {
        self.common().members().get(id).map(|member| member.peer_urls.clone()).unwrap_or_default()
    }

    // ---- headers ---------------------------------------------------------------------------

    /// A response's header with this revision.
    pub fn header(&self, revision: i64) -> Header {
        caller::header(self.common(), revision)
    }

    /// The header as a message.
    pub fn header_message(&self, revision: i64) -> ResponseHeader {
        let header = self.header(revision);
        ResponseHeader {
            cluster_id: header.cluster_id,
            member_id: header.member_id,
            revision: header.revision,
            raft_term: header.term,
        }
    }

    // ---- writes ----------------------------------------------------------------------------

    /// Proposes a request; `waiter` hears what became of it.
    pub fn propose(&self, call: &Call, kind: Kind, request: &[u8], waiter: Waiter) {
        self.propose_for(call, kind, request, turn::Waiter::Caller(waiter));
    }

    /// Proposes a compaction; `waiter` hears when it is done in the file as well.
    pub(crate) fn compact(&self, call: &Call, request: &[u8], waiter: Waiter) {
        self.propose_for(call, Kind::Compaction, request, turn::Waiter::InFile(waiter));
    }

    fn propose_for(&self, call: &Call, kind: Kind, request: &[u8], waiter: turn::Waiter<Calls>) {
        let now = self.now();
        self.give(self.common().propose(kind, request, &call.author(), waiter, now));
    }

    /// Hands a request to the core, or tells its waiter why it was not taken.
    fn give(&self, taken: Result<CoreEvent, NotTaken<Calls>>) {
        let (waiter, failure) = match taken {
            Err(NotTaken { waiter, failure }) => (Some(waiter), failure),
            Ok(event) => {
                let id = match &event {
                    CoreEvent::Propose { id, .. } => *id,
                    _ => 0,
                };
                if self.member.tell_core(event) {
                    return;
                }
                (self.common().waiters.take(id).map(|waiting| waiting.waiter), Failure::Stopped)
            }
        };
        if let Some(failed) = waiter.and_then(|waiter| waiter.fail(failure)) {
            fail(failed);
        }
    }

    /// Proposes a change of the membership; `act` hears what became of it.
    pub(crate) fn propose_conf_change(
        &self,
        call: &Call,
        change: ConfChange,
        act: impl FnOnce(Result<Reply, Error>) + Send + 'static,
    ) {
        let kind = change.r#type.and_then(|kind| ConfChangeType::try_from(kind).ok());
        let kind = kind.map_or("", |kind| kind.as_str_name());
        let (own_id, node_id) = (self.member_id, change.node_id());
        let waiter = Waiter::Own(ticket(move |result: Result<Reply, Error>| {
            if result.is_ok() {
                lines::changed_through_raft(own_id, kind, node_id);
            }
            act(result);
        }));
        let waiter = turn::Waiter::Caller(waiter);
        self.give(self.common().propose_conf_change(change, &call.author(), waiter, self.now()));
    }

    /// Tells everyone who still waits for an entry that the member stops.
    pub fn fail_waiters(&self) {
        for waiting in self.common().waiters.take_all() {
            self.metrics.member.proposals_failed.inc();
            waiting.waiter.fail(Failure::Stopped).into_iter().for_each(fail);
        }
    }

    // ---- reads and questions ---------------------------------------------------------------

    /// Whether a linearizable read may be answered from what is applied.
    pub fn may_read(&self) -> bool {
        self.figures().may_read()
    }

    /// Does something once everything acknowledged before now is applied here: at once on this
    /// thread, or on another one when the cluster has confirmed it. Not for a call whose time is over by then.
    pub fn linearizable(&self, call: &Call, act: impl FnOnce(Result<(), Error>) + Send + 'static) {
        if self.may_read() {
            return act(Ok(()));
        }
        let (member, deadline) = (Arc::clone(&self.member), call.deadline);
        let told = move |result: Result<(), Failure>| {
            let is_over = deadline.is_some_and(|deadline| deadline <= member.now());
            act(if is_over { Err(Error::NotProposed) } else { result.map_err(Error::from) });
        };
        self.member.tell_core(CoreEvent::Read(turn::Read::Caller(ticket(told))));
    }

    /// Asks what raft knows, in order with what raft does.
    pub fn raft_status(&self, then: impl FnOnce(Box<raft::Status>) + Send + 'static) {
        self.member.tell_core(CoreEvent::Status(ticket(then)));
    }

    /// Asks raft to hand the leadership over; `then` hears when the other member leads, or that it does
    /// not.
    pub(crate) fn transfer(&self, to: u64, then: Ticket<Result<(), Error>>) {
        let told = |result: Result<(), Failure>| then(result.map_err(Error::from));
        self.member.tell_core(CoreEvent::Transfer { to, ticket: Some(ticket(told)) });
    }

    /// Asks something of the apply turn, in order with what is applied.
    pub(crate) fn ask(&self, ask: Ask<Calls>) {
        self.member.ask(ask);
    }

    /// Does something when everything applied so far is in the database file.
    pub(crate) fn when_durable(&self, act: impl FnOnce() + Send + 'static) {
        self.ask(Ask::Durable(ticket(|()| act())));
    }

    /// Hands an event to the watch turn.
    pub(crate) fn tell_hub(&self, event: WatchEvent) {
        self.member.tell_hub(event);
    }

    // ---- other threads ---------------------------------------------------------------------

    /// Runs on a thread of the pool. The job is short, and waits for nothing.
    pub fn in_pool(&self, job: impl FnOnce() + Send + 'static) {
        self.member.run(Lane::Short, Box::new(job));
    }

    /// Runs on a thread that may take its time. The job waits for nothing.
    pub fn in_scans(&self, job: impl FnOnce() + Send + 'static) {
        self.member.run(Lane::Scan, Box::new(job));
    }

    /// Runs where whole databases are read; refused at once where too many wait for that.
    pub fn in_hashes(self: &Arc<Self>, job: impl FnOnce(Result<(), Error>) + Send + 'static) {
        if self.hashes_waiting.fetch_add(1, Ordering::Relaxed) >= HASHES_MAX {
            self.hashes_waiting.fetch_sub(1, Ordering::Relaxed);
            return job(Err(Error::TooManyRequests));
        }
        let services = Arc::clone(self);
        let counted: Job = Box::new(move || {
            job(Ok(()));
            services.hashes_waiting.fetch_sub(1, Ordering::Relaxed);
        });
        self.member.run(Lane::Hash, counted);
    }

    // ---- answers ---------------------------------------------------------------------------

    /// Answers, or fails, a call.
    pub(crate) fn answer(reply: Responder, result: Result<Bytes, Error>) {
        match result {
            Ok(message) => reply.reply(message),
            Err(error) => reply.fail(error),
        }
    }

    /// Answers, or fails, a call whose answer may lie in several pieces.
    pub(crate) fn answer_in_pieces(reply: Responder, result: Result<(Bytes, Vec<Bytes>), Error>) {
        match result {
            Ok((message, rest)) if rest.is_empty() => reply.reply(message),
            Ok((first, mut rest)) => {
                rest.insert(0, first);
                reply.reply_pieces(rest);
            }
            Err(error) => reply.fail(error),
        }
    }
}
