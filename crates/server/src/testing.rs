//! A member on a simulated disk, and calls to it without a transport.

use crate::member::{Config, Member};
use crate::shared::Shared;
use crate::web::Web;
use bytes::Bytes;
use disk::sim::SimDisk;
use membership::InitialCluster;
use net::http::{HeaderMap, HttpRequest, HttpResponder, HttpService, Method};
use net::rpc::{CallHead, GrpcService, ReplySink, Responder, Status, StreamHandler, StreamSender};
use parking_lot::Mutex;
use prost::Message;
use services::{Front, MemberRows};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running member.
pub(crate) struct Bench {
    member: Option<Member>,
    front: Arc<Front>,
}

/// What a call was answered.
#[derive(Debug)]
pub(crate) enum Told {
    Message(Bytes),
    End(Status),
}

/// A client's side of a call. It reads from the wire all there is, or nothing.
pub(crate) struct Client {
    told: Receiver<Told>,
    pub(crate) sink: Arc<Line>,
}

/// A stream's client and what handles its messages.
pub(crate) struct Stream {
    pub(crate) client: Client,
    pub(crate) handler: Box<dyn StreamHandler>,
}

pub(crate) struct Line {
    told: Mutex<Sender<Told>>,
    queued: AtomicUsize,
    does_not_read: AtomicBool,
    is_gone: AtomicBool,
}

impl ReplySink for Line {
    fn reply(&self, _id: u64, result: Result<Bytes, Status>) {
        let told = result.map_or_else(Told::End, Told::Message);
        let _ = self.told.lock().send(told);
    }

    fn message(&self, _id: u64, pieces: Vec<Bytes>) {
        let message = Bytes::from(pieces.concat());
        if self.does_not_read.load(Ordering::Relaxed) {
            self.queued.fetch_add(message.len(), Ordering::Relaxed);
        }
        let _ = self.told.lock().send(Told::Message(message));
    }

    fn finish(&self, _id: u64, status: Status) {
        let _ = self.told.lock().send(Told::End(status));
    }

    fn queued(&self, _id: u64) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    fn is_gone(&self, _id: u64) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }
}

impl Client {
    pub(crate) fn new() -> Client {
        let (sender, told) = channel();
        let sink = Line {
            told: Mutex::new(sender),
            queued: AtomicUsize::new(0),
            does_not_read: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
        };
        Client { told, sink: Arc::new(sink) }
    }

    /// The client waits for no answer any more.
    pub(crate) fn leave(&self) {
        self.sink.is_gone.store(true, Ordering::Relaxed);
    }

    /// From now on, what is sent stays queued.
    pub(crate) fn stop_reading(&self) {
        self.sink.does_not_read.store(true, Ordering::Relaxed);
    }

    /// Bytes that wait to be read.
    pub(crate) fn queued(&self) -> usize {
        self.sink.queued.load(Ordering::Relaxed)
    }

    /// What comes next.
    pub(crate) fn next(&self) -> Told {
        self.told.recv_timeout(PATIENCE).expect("it is answered")
    }

    /// The next message.
    pub(crate) fn message<M: Message + Default>(&self) -> M {
        match self.next() {
            Told::Message(message) => M::decode(message).expect("it is such a message"),
            Told::End(status) => panic!("ended: {status:?}"),
        }
    }

    /// How the call ends.
    pub(crate) fn end(&self) -> Status {
        loop {
            if let Told::End(status) = self.next() {
                return status;
            }
        }
    }
}

impl Stream {
    /// Sends a message.
    pub(crate) fn send(&mut self, message: &impl Message) {
        self.handler.message(message.encode_to_vec().into());
    }
}

impl Bench {
    /// A new member, started and maybe not leading yet.
    pub(crate) fn start() -> Bench {
        Bench::start_with(|_| {})
    }

    /// One of two members, the other of which never comes: nobody leads.
    pub(crate) fn start_without_company() -> Bench {
        Bench::start_with(|config| {
            let both = InitialCluster::parse("m=http://h:1,n=http://h:2", "t");
            config.replica.beginning = replica::Beginning::New(both.expect("it is a cluster"));
        })
    }

    /// A new member, with a configuration that is changed before.
    pub(crate) fn start_with(change: impl FnOnce(&mut Config)) -> Bench {
        let mut config = config();
        change(&mut config);
        let member = Member::start(SimDisk::new(1).disk(), &config, || false).expect("it starts");
        let (shared, rows) = (member.shared(), MemberRows(Arc::clone(&member.shared().services)));
        let front = Front::new(Arc::new(rows), Arc::clone(&shared.metrics), false);
        let front = Arc::new(front);
        Bench { member: Some(member), front }
    }

    /// What handlers see of the member.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        self.member.as_ref().expect("it runs").shared()
    }

    /// Waits until the member serves.
    pub(crate) fn until_it_leads(&self) {
        while !self.shared().services.may_read() {
            std::thread::yield_now();
        }
    }

    /// What serves and counts calls.
    pub(crate) fn front(&self) -> Arc<Front> {
        Arc::clone(&self.front)
    }

    /// Asks for a page of the client port; its status and text, once there is an answer.
    pub(crate) fn page(&self, path: &str) -> Receiver<(u16, String)> {
        let web = Web::new(Arc::clone(self.shared()), self.front());
        let (tell, told) = channel();
        let reply = HttpResponder::new(move |answer| {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let _ = tell.send((answer.status.as_u16(), text));
        });
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = HttpRequest {
            method: Method::GET,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            peer: None,
        };
        web.call(request, reply);
        told
    }

    /// Opens a stream.
    pub(crate) fn stream(&self, path: &str) -> Stream {
        let client = Client::new();
        let sink: Arc<dyn ReplySink> = client.sink.clone();
        let method = self.front.lookup(path).expect("there is such a method");
        let out = StreamSender::new(sink, 0);
        let handler = self.front.stream(method.id, &head(), out).expect("it begins");
        Stream { client, handler }
    }

    /// A unary call, and its reply.
    pub(crate) fn call<M: Message + Default>(&self, path: &str, request: &impl Message) -> M {
        self.begin(path, request).message()
    }

    /// Begins a unary call.
    pub(crate) fn begin(&self, path: &str, request: &impl Message) -> Client {
        let client = Client::new();
        let sink: Arc<dyn ReplySink> = client.sink.clone();
        let method = self.front.lookup(path).expect("there is such a method");
        let body = request.encode_to_vec().into();
        self.front.unary(method.id, &head(), body, Responder::new(sink, 0));
        client
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(member) = self.member.take() {
            member.stop(Duration::ZERO);
        }
    }
}

fn head() -> CallHead {
    CallHead::default()
}

pub(crate) fn config() -> Config {
    Config {
        replica: replica::Options {
            data_dir: "m.etcd".into(),
            wal_dir: None,
            name: "m".into(),
            beginning: replica::Beginning::New(
                InitialCluster::parse("m=http://h:1", "t").expect("it is a cluster"),
            ),
            force_new_cluster: false,
            election_ticks: 10,
            pre_vote: true,
            snapshot_count: 10_000,
            keep_wals: 2,
            keep_snapshots: 2,
            wal: wal::Options { segment_bytes: 1 << 20, no_sync: false },
            backend: small_database(),
            lease: lease::Config {
                ttl_min_s: 2,
                checkpoints: true,
                persist_checkpoints: true,
                checkpoint_interval_ms: lease::CHECKPOINT_MS,
            },
            apply: apply::Config { quota_bytes: 0, learners_max: 1 },
            uncommitted_bytes_max: 1 << 28,
            catch_up: replica::CatchUp::default(),
        },
        advertise_peer_urls: Vec::new(),
        advertise_client_urls: Vec::new(),
        heartbeat_interval: Duration::from_millis(100),
        election_timeout: Duration::from_secs(1),
        advance_first_election: true,
        batch_interval: Duration::from_millis(100),
        txn_ops_max: 128,
        request_bytes_max: 1_572_864,
        concurrent_streams_max: 100,
        keepalive_interval: Duration::from_secs(10),
        keepalive_timeout: Duration::from_secs(10),
        keepalive_min_time: Duration::from_secs(5),
        extensive_metrics: false,
        strict_changes: true,
        progress_interval: Duration::from_secs(600),
        auto_compaction: None,
        net_threads: 1,
    }
}

/// A database whose file stays small, for disks in memory.
fn small_database() -> backend::Options {
    let mut options = backend::Options::default();
    (options.bolt.growth_bytes, options.bolt.initial_map_bytes) = (4096, 0);
    options
}
