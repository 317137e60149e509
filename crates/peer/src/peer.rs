//! The other members: a [`Peer`] has every way to one of them, [`Peers`] has them all.

use crate::handler::Route;
use crate::pipeline::Pipeline;
use crate::probe::Prober;
use crate::reader::Reader;
use crate::shared::Shared;
use crate::snapshot::{Database, SnapshotSender};
use crate::status::{PeerStats, Status};
use crate::stream::{Outgoing, StreamBody, StreamKind};
use crate::urls::{Picker, usable};
use address::Url;
use parking_lot::{Mutex, RwLock};
use proto::raftpb::{Message, MessageType};
use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::task::JoinSet;

/// What a member is to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It belongs to the cluster as far as this member knows.
    Peer,
    /// It says so itself; this member is behind. It is answered, by post, and no more.
    Remote,
}

/// Every way to one member: two streams out, two streams in, a pipeline, and databases.
/// Dropping it ends them all.
pub(crate) struct Peer {
    role: Role,
    shared: Arc<Shared>,
    pub(crate) status: Arc<Status>,
    picker: Arc<Picker>,
    msgapp: Arc<Outgoing>,
    message: Arc<Outgoing>,
    pipeline: mpsc::Sender<Message>,
    tasks: Mutex<JoinSet<()>>,
}

impl Peer {
    pub(crate) fn start(shared: &Arc<Shared>, id: u64, urls: Vec<Url>, role: Role) -> Arc<Peer> {
        let limits = &shared.config.limits;
        let (pipeline, queue) = mpsc::channel(limits.pipeline_queue);
        let peer = Peer {
            role,
            shared: Arc::clone(shared),
            status: Arc::new(Status::new(id, Arc::clone(&shared.handler))),
            picker: Arc::new(Picker::new(urls)),
            msgapp: Outgoing::new(StreamKind::MsgApp),
            message: Outgoing::new(StreamKind::Message),
            pipeline,
            tasks: Mutex::default(),
        };
        peer.start_pipeline(queue);
        if role == Role::Peer {
            peer.start_readers();
            peer.start_probers();
        }
        Arc::new(peer)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static, on: &Handle) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, on);
    }

    fn start_pipeline(&self, queue: mpsc::Receiver<Message>) {
        let pipeline = Arc::new(Pipeline {
            id: self.status.id(),
            shared: Arc::clone(&self.shared),
            picker: Arc::clone(&self.picker),
            status: Arc::clone(&self.status),
            queue: AsyncMutex::new(queue),
        });
        for _ in 0..self.shared.config.limits.pipeline_workers {
            self.spawn(Arc::clone(&pipeline).work(), &self.shared.bulk);
        }
    }

    fn start_readers(&self) {
        for kind in [StreamKind::MsgApp, StreamKind::Message] {
            let reader = Reader {
                id: self.status.id(),
                kind,
                shared: Arc::clone(&self.shared),
                picker: Arc::clone(&self.picker),
                status: Arc::clone(&self.status),
                is_open: AtomicBool::new(false),
            };
            self.spawn(reader.run(), &self.shared.streams);
        }
    }

    fn start_probers(&self) {
        for route in [Route::RaftMessage, Route::Snapshot] {
            let prober = Prober {
                route,
                shared: Arc::clone(&self.shared),
                picker: Arc::clone(&self.picker),
                status: Arc::clone(&self.status),
                kept: None,
                smoothed: None,
            };
            self.spawn(prober.run(), &self.shared.bulk);
        }
    }

    /// Makes a stream the way to this peer.
    pub(crate) fn attach(&self, kind: StreamKind) -> StreamBody {
        let outgoing = match kind {
            StreamKind::MsgApp => &self.msgapp,
            StreamKind::Message => &self.message,
        };
        outgoing.attach(&self.shared, &self.status)
    }

    /// Puts `message` into the queue of the best way there is. Never waits.
    pub(crate) fn send(&self, message: Message) {
        let is_snapshot = message.r#type() == MessageType::MsgSnap;
        if self.pick(message.r#type()).try_send(message).is_ok() {
            return;
        }
        self.status.send_dropped();
        if self.role == Role::Remote {
            return;
        }
        let id = self.status.id();
        self.shared.handler.unreachable(id);
        if is_snapshot {
            self.shared.handler.snapshot_done(id, false);
        }
    }

    /// Snapshots may be long and would block a stream; everything else prefers streams.
    fn pick(&self, kind: MessageType) -> mpsc::Sender<Message> {
        let msgapp = || self.msgapp.queue().filter(|_| kind == MessageType::MsgApp);
        let stream = match kind {
            MessageType::MsgSnap => None,
            _ => msgapp().or_else(|| self.message.queue()),
        };
        stream.unwrap_or_else(|| self.pipeline.clone())
    }

    pub(crate) fn send_snapshot(
        &self,
        message: Message,
        total_bytes: u64,
        reader: Box<dyn Read + Send>,
    ) {
        let sender = SnapshotSender::new(&self.shared, &self.picker, &self.status);
        let task = sender.run(Database { message, total_bytes, reader });
        self.spawn(task, &self.shared.bulk);
    }

    pub(crate) fn stats(&self) -> PeerStats {
        PeerStats {
            msgapp_stream: self.msgapp.queue().is_some(),
            message_stream: self.message.queue().is_some(),
            ..self.status.stats()
        }
    }

    fn update(&self, urls: Vec<Url>) {
        self.picker.update(urls);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.msgapp.detach();
        self.message.detach();
    }
}

/// Everyone this member knows.
#[derive(Default)]
pub(crate) struct Peers {
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    peers: HashMap<u64, Arc<Peer>>,
    remotes: HashMap<u64, Arc<Peer>>,
    stopped: bool,
}

impl Peers {
    pub(crate) fn peer(&self, id: u64) -> Option<Arc<Peer>> {
        self.known.read().peers.get(&id).cloned()
    }

    /// A peer, or at least a remote.
    pub(crate) fn anyone(&self, id: u64) -> Option<Arc<Peer>> {
        let known = self.known.read();
        known.peers.get(&id).or_else(|| known.remotes.get(&id)).cloned()
    }

    pub(crate) fn status(&self, id: u64) -> Option<Arc<Status>> {
        self.anyone(id).map(|peer| Arc::clone(&peer.status))
    }

    pub(crate) fn all(&self) -> Vec<Arc<Peer>> {
        self.known.read().peers.values().cloned().collect()
    }

    /// Begins to talk to a peer, unless it is known. A member that was a remote ceases to be one.
    pub(crate) fn add(&self, shared: &Arc<Shared>, id: u64, urls: Vec<Url>) {
        let mut known = self.known.write();
        if known.stopped || known.peers.contains_key(&id) {
            return;
        }
        known.peers.insert(id, Peer::start(shared, id, urls, Role::Peer));
        let remote = known.remotes.remove(&id);
        drop(known);
        drop(remote);
    }

    /// Does nothing for a member that is known, and nothing where there are too many.
    pub(crate) fn add_remote(&self, shared: &Arc<Shared>, id: u64, urls: Vec<Url>) {
        let mut known = self.known.write();
        let is_known = known.peers.contains_key(&id) || known.remotes.contains_key(&id);
        let is_full = known.remotes.len() >= shared.config.limits.remotes_max;
        if !known.stopped && !is_known && !is_full {
            known.remotes.insert(id, Peer::start(shared, id, urls, Role::Remote));
        }
    }

    /// Adds a remote that presented itself, if what it says can be believed.
    pub(crate) fn meet(&self, shared: &Arc<Shared>, id: u64, urls: &[String]) {
        if id == shared.config.member_id || self.anyone(id).is_some() {
            return;
        }
        let Ok(urls) = usable(urls) else { return };
        if !shared.handler.is_removed(id) {
            self.add_remote(shared, id, urls);
        }
    }

    pub(crate) fn update(&self, id: u64, urls: Vec<Url>) {
        if let Some(peer) = self.peer(id) {
            peer.update(urls);
        }
    }

    pub(crate) fn remove(&self, id: u64) {
        let removed = self.known.write().peers.remove(&id);
        drop(removed);
    }

    pub(crate) fn remove_all(&self) {
        let removed = std::mem::take(&mut self.known.write().peers);
        drop(removed);
    }

    /// Nobody is added any more.
    pub(crate) fn stop(&self) {
        let mut known = self.known.write();
        known.stopped = true;
        let gone = (std::mem::take(&mut known.peers), std::mem::take(&mut known.remotes));
        drop(known);
        drop(gone);
    }
}
