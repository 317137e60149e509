//! What handlers see of the member.

use crate::answers::Answers;
use crate::cluster::{Inbound, Later, LedStreams, Roster};
use crate::drive::{ApplyEvent, Calls, Common, CoreEvent, HubQueue, Job, Waiter, ticket};
use crate::lines;
use crate::mailbox::Mailbox;
use crate::metrics::Metrics;
use crate::rpc::Error;
use crate::web::WaitingPages;
use apply::Reply;
use apply::envelope::Kind;
use apply::quota::Quota;
use apply::{Header, backend, mvcc};
use bytes::Bytes;
use net::rpc::Responder;
use parking_lot::RwLock;
use proto::raftpb::{ConfChange, ConfChangeType};
use replica::raft;
use replica::turn::{self, Ask, Author, Failed, Failure, Figures, NotTaken, Time};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Hashes of the whole database that may wait for their turn.
const HASHES_MAX: usize = 1000;

/// Limits on requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) txn_ops_max: usize,
    pub(crate) request_bytes_max: usize,
    pub(crate) request_timeout: Duration,
    /// Whether changes of the membership are refused that could cost the majority.
    pub(crate) strict_changes: bool,
}

/// How fast raft's time goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticks {
    pub(crate) tick: Duration,
    pub(crate) election_ticks: u32,
}

/// The member as handlers see it.
pub(crate) struct Shared {
    pub(crate) cluster_id: u64,
    pub(crate) member_id: u64,
    /// What the turns share.
    pub(crate) common: Arc<Common>,
    pub(crate) limits: Limits,
    pub(crate) ticks: Ticks,
    /// Where the database file is.
    pub(crate) database: PathBuf,
    /// What is tried again after a while.
    pub(crate) later: Later,
    pub(crate) led_streams: Arc<LedStreams>,
    pub(crate) quota: Quota,
    pub(crate) reader: mvcc::Reader,
    pub(crate) backend: RwLock<backend::Reader>,
    pub(crate) roster: Roster,
    pub(crate) inbound: Inbound,
    pub(crate) core: Mailbox<CoreEvent>,
    pub(crate) apply: Mailbox<ApplyEvent>,
    pub(crate) hub: HubQueue,
    /// What is short: what a confirmed read does. Nothing in a pool waits for anything, least of all
    /// for what the pool itself does.
    pub(crate) pool: Mailbox<Job>,
    /// What takes its time: large ranges, and streams a piece at a time.
    pub(crate) scans: Mailbox<Job>,
    /// What reads the whole database.
    pub(crate) hashes: Mailbox<Job>,
    pub(crate) hashes_waiting: AtomicUsize,
    pub(crate) answers: Arc<Answers>,
    /// Pages that wait, towards clients and towards members.
    pub(crate) pages: Arc<WaitingPages>,
    pub(crate) peer_pages: Arc<WaitingPages>,
    /// The version that the storage says, if any.
    pub(crate) storage_version: RwLock<Option<String>>,
    /// Work on the database file, on a thread of its own: nothing in the pool may hold it up.
    pub(crate) file_jobs: Mailbox<Job>,
    /// Has the cluster's version looked after at once.
    pub(crate) monitor: Mailbox<()>,
    pub(crate) metrics: Metrics,
    pub(crate) started: Instant,
    pub(crate) next_stream: AtomicU64,
    /// Bytes of long responses to watchers that are not on the wire.
    pub(crate) long_responses: Arc<AtomicUsize>,
}

impl Shared {
    /// The time since the member started, which is all that turns know of time.
    pub(crate) fn now(&self) -> Time {
        self.started.elapsed()
    }

    /// What the member shows of itself.
    pub(crate) fn figures(&self) -> &Figures {
        &self.common.figures
    }

    /// A response's header with this revision.
    pub(crate) fn header(&self, revision: i64) -> Header {
        Header {
            cluster_id: self.cluster_id,
            member_id: self.member_id,
            revision,
            term: self.figures().applied_term(),
        }
    }

    /// The same as a message.
    pub(crate) fn header_message(&self, revision: i64) -> proto::etcdserverpb::ResponseHeader {
        let header = self.header(revision);
        proto::etcdserverpb::ResponseHeader {
            cluster_id: header.cluster_id,
            member_id: header.member_id,
            revision: header.revision,
            raft_term: header.term,
        }
    }

    /// Proposes a request; `waiter` hears what became of it.
    pub(crate) fn propose(&self, kind: Kind, request: &[u8], waiter: Waiter) {
        self.propose_for(kind, request, turn::Waiter::Caller(waiter));
    }

    /// Proposes a compaction; `waiter` hears when it is done in the file as well.
    pub(crate) fn compact(&self, request: &[u8], waiter: Waiter) {
        self.propose_for(Kind::Compaction, request, turn::Waiter::InFile(waiter));
    }

    fn propose_for(&self, kind: Kind, request: &[u8], waiter: turn::Waiter<Calls>) {
        let author = Author::default();
        self.give(self.common.propose(kind, request, &author, waiter, self.now()));
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
                if self.core.send(event) {
                    return;
                }
                (self.common.waiters.take(id).map(|waiting| waiting.waiter), Failure::Stopped)
            }
        };
        if let Some(failed) = waiter.and_then(|waiter| waiter.fail(failure)) {
            fail(failed);
        }
    }

    /// Tells everyone who still waits for an entry that the member stops.
    pub(crate) fn fail_waiters(&self) {
        for waiting in self.common.waiters.take_all() {
            self.metrics.member.proposals_failed.inc();
            waiting.waiter.fail(Failure::Stopped).into_iter().for_each(fail);
        }
    }

    /// Asks what raft knows, in order with what raft does.
    pub(crate) fn raft_status(&self, then: impl FnOnce(Box<raft::Status>) + Send + 'static) {
        self.core.send(CoreEvent::Status(ticket(then)));
    }

    /// Asks raft to hand the leadership over.
    pub(crate) fn transfer(&self, to: u64) {
        self.core.send(CoreEvent::Transfer { to, ticket: None });
    }

    /// The same; `then` hears when the other member leads, or that it does not.
    pub(crate) fn transfer_then(
        &self,
        to: u64,
        then: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) {
        let told = |result: Result<(), Failure>| then(result.map_err(Error::from));
        self.core.send(CoreEvent::Transfer { to, ticket: Some(ticket(told)) });
    }

    /// Reads the database file.
    pub(crate) fn backend(&self) -> backend::Reader {
        self.backend.read().clone()
    }

    /// Another database is read from now on.
    pub(crate) fn exchange_backend(&self, reader: backend::Reader) {
        *self.backend.write() = reader;
    }

    /// Does something once everything acknowledged before now is applied here: at once on this
    /// thread, or on another one when the cluster has confirmed it.
    pub(crate) fn linearizable(&self, act: impl FnOnce(Result<(), Error>) + Send + 'static) {
        if self.may_read() {
            return act(Ok(()));
        }
        let told = |result: Result<(), Failure>| act(result.map_err(Error::from));
        self.core.send(CoreEvent::Read(turn::Read::Caller(ticket(told))));
    }

    /// Proposes a change of the membership; `act` hears what became of it.
    pub(crate) fn propose_conf_change(
        &self,
        change: ConfChange,
        act: impl FnOnce(Result<Reply, Error>) + Send + 'static,
    ) {
        let kind = change.r#type.and_then(|kind| ConfChangeType::try_from(kind).ok());
        let kind = kind.map_or("", |kind| kind.as_str_name());
        let (own_id, node_id) = (self.member_id, change.node_id());
        let waiter = Waiter::Own(Box::new(move |result| {
            if result.is_ok() {
                lines::changed_through_raft(own_id, kind, node_id);
            }
            act(result);
        }));
        let waiter = turn::Waiter::Caller(waiter);
        self.give(self.common.propose_conf_change(change, waiter, self.now()));
    }

    /// Whether a linearizable read may be answered from what is applied.
    pub(crate) fn may_read(&self) -> bool {
        self.figures().may_read()
    }

    /// Asks something of the apply turn, in order with what is applied.
    pub(crate) fn ask(&self, ask: Ask<Calls>) {
        self.apply.send(ApplyEvent::Ask(ask));
    }

    /// Does something when everything applied so far is in the database file.
    pub(crate) fn when_durable(&self, act: impl FnOnce() + Send + 'static) {
        self.ask(Ask::Durable(ticket(|()| act())));
    }

    /// Runs on a thread of the pool. The job is short, and waits for nothing.
    pub(crate) fn in_pool(&self, job: impl FnOnce() + Send + 'static) {
        self.pool.send(Box::new(job));
    }

    /// Runs on a thread that may take its time. The job waits for nothing.
    pub(crate) fn in_scans(&self, job: impl FnOnce() + Send + 'static) {
        self.scans.send(Box::new(job));
    }

    /// Runs where whole databases are read; refused at once where too many wait for that.
    pub(crate) fn in_hashes(
        self: &Arc<Self>,
        job: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) {
        if self.hashes_waiting.fetch_add(1, Ordering::Relaxed) >= HASHES_MAX {
            self.hashes_waiting.fetch_sub(1, Ordering::Relaxed);
            return job(Err(Error::TooManyRequests));
        }
        let shared = Arc::clone(self);
        self.hashes.send(Box::new(move || {
            job(Ok(()));
            shared.hashes_waiting.fetch_sub(1, Ordering::Relaxed);
        }));
    }

    /// Runs on the thread that writes the database file.
    pub(crate) fn on_file(&self, job: impl FnOnce() + Send + 'static) {
        self.file_jobs.send(Box::new(job));
    }

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

/// Tells a caller that nothing came of its request.
fn fail(failed: Failed<Calls>) {
    match failed {
        Failed::Write(waiter, failure) => waiter.fail(failure.into()),
        Failed::Renewal(ticket, failure) => ticket(Err(failure)),
    }
}
