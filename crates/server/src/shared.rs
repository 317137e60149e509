//! What handlers see of the member.

use crate::answers::Answers;
use crate::cluster::{Inbound, Later, LedStreams, Proposal, Roster};
use crate::drive::{ApplyEvent, CoreEvent, HubQueue, Job, Visible, Waiter, Waiting};
use crate::ids::RequestIds;
use crate::lines;
use crate::mailbox::Mailbox;
use crate::metrics::Metrics;
use crate::rpc::Error;
use crate::waiters::Waiters;
use crate::web::WaitingPages;
use apply::Reply;
use apply::envelope::{self, Kind};
use apply::quota::Quota;
use apply::{Header, backend, mvcc};
use bytes::Bytes;
use net::rpc::Responder;
use parking_lot::RwLock;
use proto::etcdserverpb::RequestHeader;
use proto::raftpb::{ConfChange, ConfChangeType};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Hashes of the whole database that may wait for their turn.
const HASHES_MAX: usize = 1000;
/// Proposals are refused while this many committed entries wait to be applied.
const COMMIT_APPLY_GAP_MAX: u64 = 5000;

/// Figures that the driver threads keep up to date.
#[derive(Default)]
pub(crate) struct Gauges {
    pub(crate) term: AtomicU64,
    pub(crate) applied_term: AtomicU64,
    pub(crate) applied: AtomicU64,
    pub(crate) committed: AtomicU64,
    pub(crate) leader: AtomicU64,
    /// This member is the leader.
    pub(crate) leads: AtomicBool,
    /// What is applied here is all that was ever acknowledged, so reads need not ask anyone.
    pub(crate) may_read: AtomicBool,
    pub(crate) db_size: AtomicU64,
    pub(crate) db_size_in_use: AtomicU64,
    pub(crate) no_space: AtomicBool,
    pub(crate) corrupt: AtomicBool,
    pub(crate) leases: AtomicU64,
    pub(crate) watchers: AtomicI64,
    pub(crate) slow_watchers: AtomicI64,
    pub(crate) watch_streams: AtomicI64,
}

/// Limits on requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) txn_ops_max: usize,
    pub(crate) request_bytes_max: usize,
    pub(crate) request_timeout: Duration,
    pub(crate) election_timeout: Duration,
    /// Whether changes of the membership are refused that could cost the majority.
    pub(crate) strict_changes: bool,
}

/// The member as handlers see it.
pub(crate) struct Shared {
    pub(crate) cluster_id: u64,
    pub(crate) member_id: u64,
    pub(crate) ids: RequestIds,
    pub(crate) limits: Limits,
    /// What is tried again after a while.
    pub(crate) later: Later,
    pub(crate) led_streams: Arc<LedStreams>,
    pub(crate) quota: Quota,
    pub(crate) reader: mvcc::Reader,
    pub(crate) backend: RwLock<backend::Reader>,
    pub(crate) roster: Roster,
    pub(crate) inbound: Inbound,
    pub(crate) waiters: Waiters<Waiting>,
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
    pub(crate) gauges: Gauges,
    pub(crate) metrics: Metrics,
    pub(crate) started: Instant,
    pub(crate) next_stream: AtomicU64,
    /// Bytes of long responses to watchers that are not on the wire.
    pub(crate) long_responses: Arc<AtomicUsize>,
}

impl Shared {
    /// Milliseconds since the member started: the time that cores see.
    pub(crate) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// A response's header with this revision.
    pub(crate) fn header(&self, revision: i64) -> Header {
        Header {
            cluster_id: self.cluster_id,
            member_id: self.member_id,
            revision,
            term: self.gauges.applied_term.load(Ordering::Relaxed),
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
        self.propose_in(kind, request, waiter, None);
    }

    /// Proposes something that only the leader of this term may decide: it goes into this member's
    /// log, or nowhere.
    pub(crate) fn propose_as_leader(&self, kind: Kind, request: &[u8], term: u64) {
        // If it does not come through, it is decided again.
        self.propose_in(kind, request, Waiter::Own(Box::new(|_| {})), Some(term));
    }

    fn propose_in(&self, kind: Kind, request: &[u8], waiter: Waiter, as_leader_in: Option<u64>) {
        let gap = self
            .gauges
            .committed
            .load(Ordering::Relaxed)
            .saturating_sub(self.gauges.applied.load(Ordering::Relaxed));
        if gap > COMMIT_APPLY_GAP_MAX {
            return waiter.fail(Error::TooManyRequests);
        }
        let id = self.ids.next();
        let header = RequestHeader { id, ..RequestHeader::default() };
        let data = envelope::encode(kind, request, &header);
        if data.len() > self.limits.request_bytes_max {
            return waiter.fail(Error::RequestTooLarge);
        }
        let begun = Instant::now();
        let deadline = begun + self.limits.request_timeout;
        let visible = Visible::of(kind, request);
        let waiting = Waiting { waiter, kind, begun, visible };
        if let Err(waiting) = self.waiters.insert(id, deadline, waiting) {
            return waiting.fail(&self.metrics, Error::TooManyRequests);
        }
        let proposal = match as_leader_in {
            Some(term) => Proposal::AsLeader { term, data },
            None => Proposal::Data(data),
        };
        let event = CoreEvent::Propose { id, proposal };
        if !self.core.send(event)
            && let Some(waiting) = self.waiters.take(id)
        {
            waiting.fail(&self.metrics, Error::Stopped);
        }
    }

    /// Runs on the core thread, in order with what raft does.
    pub(crate) fn on_core(&self, act: impl FnOnce(&mut replica::Core) + Send + 'static) {
        self.core.send(CoreEvent::Do(Box::new(act)));
    }

    /// Asks raft to hand the leadership over.
    pub(crate) fn transfer(&self, to: u64) {
        self.core.send(CoreEvent::Transfer { to, then: None });
    }

    /// The same; `then` hears when the other member leads, or that it does not.
    pub(crate) fn transfer_then(
        &self,
        to: u64,
        then: impl FnOnce(Result<(), Error>) + Send + 'static,
    ) {
        self.core.send(CoreEvent::Transfer { to, then: Some(Box::new(then)) });
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
        self.core.send(CoreEvent::Read(Box::new(act)));
    }

    /// Proposes a change of the membership; `act` hears what became of it.
    pub(crate) fn propose_conf_change(
        &self,
        mut change: ConfChange,
        act: impl FnOnce(Result<Reply, Error>) + Send + 'static,
    ) {
        let id = self.ids.next();
        change.id = Some(id);
        let deadline = Instant::now() + self.limits.request_timeout;
        let visible = Some(Visible::Change(change.clone()));
        let kind = change.r#type.and_then(|kind| ConfChangeType::try_from(kind).ok());
        let kind = kind.map_or("", |kind| kind.as_str_name());
        let (own_id, node_id) = (self.member_id, change.node_id());
        let waiter = Waiter::Own(Box::new(move |result| {
            if result.is_ok() {
                lines::changed_through_raft(own_id, kind, node_id);
            }
            act(result);
        }));
        let (kind, begun) = (Kind::ClusterMemberAttrSet, Instant::now());
        let waiting = Waiting { waiter, kind, begun, visible };
        if let Err(waiting) = self.waiters.insert(id, deadline, waiting) {
            return waiting.waiter.fail(Error::TooManyRequests);
        }
        self.core.send(CoreEvent::Propose { id, proposal: Proposal::Change(change) });
    }

    /// Whether a linearizable read may be answered from what is applied.
    pub(crate) fn may_read(&self) -> bool {
        self.gauges.may_read.load(Ordering::Acquire)
    }

    /// Runs on the apply thread, in order with what is applied.
    pub(crate) fn on_apply(
        &self,
        act: impl FnOnce(&mut crate::drive::ApplyDriver) + Send + 'static,
    ) {
        self.apply.send(ApplyEvent::Do(Box::new(act)));
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
