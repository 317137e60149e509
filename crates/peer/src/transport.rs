//! The transport: starts and stops everything, and is what the member calls.

use crate::config::Config;
use crate::handler::Handler;
use crate::headers::Identity;
use crate::idle::Idle;
use crate::link::Dialer;
use crate::peer::Peers;
use crate::server::{self, Served};
use crate::shared::Shared;
use crate::status::PeerStats;
use crate::urls::usable;
use address::Error;
use net::Listener;
use parking_lot::Mutex;
use proto::raftpb::Message;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::AbortHandle;

/// How long a stopping transport waits for handlers that block.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Takes messages to other members and brings theirs. May be called from any thread that is not
/// one of a runtime's own; nothing but [`Transport::stop`] waits for the network.
pub struct Transport {
    runtime: Mutex<Option<Runtime>>,
    accepting: Mutex<Vec<AbortHandle>>,
    shared: Arc<Shared>,
    peers: Arc<Peers>,
}

impl Transport {
    /// Begins to serve on `listeners`, which are bound already. There are no peers yet. Connections
    /// that are accepted and streams that are read belong to the runtime `streams` if it is given: then
    /// it calls the handler for their messages, and whoever ends it ends them. All else has threads of
    /// its own.
    ///
    /// # Errors
    /// Those of making threads and registering sockets; `InvalidInput` for a version that is none.
    pub fn start(
        config: Config,
        listeners: Vec<Listener>,
        handler: Arc<dyn Handler>,
        streams: Option<Handle>,
    ) -> io::Result<Transport> {
        let malformed = || io::Error::new(io::ErrorKind::InvalidInput, "no version or no URL");
        let identity = Identity::new(&config).ok_or_else(malformed)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(config.threads.max(1))
            .thread_name("peer")
            .enable_all()
            .build()?;
        let dialer = Dialer::new(&config);
        let bulk = runtime.handle().clone();
        let streams = streams.unwrap_or_else(|| bulk.clone());
        let idle = Idle::default();
        let shared = Arc::new(Shared { config, identity, handler, dialer, idle, streams, bulk });
        let peers = Arc::new(Peers::default());
        let served = Arc::new(Served::new(Arc::clone(&shared), Arc::clone(&peers)));
        let mut accepting = Vec::new();
        for listener in listeners {
            let Listener { socket, acceptor } = listener;
            socket.set_nonblocking(true)?;
            let _inside = shared.streams.enter();
            let socket = TcpListener::from_std(socket)?;
            let accepting_one = server::accept(socket, acceptor, Arc::clone(&served));
            accepting.push(shared.streams.spawn(accepting_one).abort_handle());
        }
        let (runtime, accepting) = (Mutex::new(Some(runtime)), Mutex::new(accepting));
        Ok(Transport { runtime, accepting, shared, peers })
    }

    /// Sends each message to the member it is for. What cannot be queued at once is dropped and
    /// reported; what is for nobody, or for someone unknown, is dropped. A `MsgSnap` goes without a
    /// database; one that has one belongs to [`Transport::send_snapshot`].
    pub fn send(&self, messages: Vec<Message>) {
        for message in messages {
            let peer =
                Some(message.to()).filter(|id| *id != 0).and_then(|id| self.peers.anyone(id));
            if let Some(peer) = peer {
                peer.send(message);
            }
        }
    }

    /// Sends a `MsgSnap` and the database that belongs to it, `total_bytes` from `reader`. Reading
    /// happens on a thread of its own; the reader is dropped when done. What becomes of it is told
    /// by [`Handler::snapshot_done`], always and once.
    pub fn send_snapshot(&self, message: Message, total_bytes: u64, reader: Box<dyn Read + Send>) {
        match self.peers.peer(message.to()) {
            Some(peer) => peer.send_snapshot(message, total_bytes, reader),
            None => self.shared.handler.snapshot_done(message.to(), false),
        }
    }

    /// A member that messages go to and come from. One that is known stays as it is.
    ///
    /// # Errors
    /// None of the addresses is one.
    pub fn add_peer<S: AsRef<str>>(&self, id: u64, urls: &[S]) -> Result<(), Error> {
        self.peers.add(&self.shared, id, usable(urls)?);
        Ok(())
    }

    /// A member that only gets answers, while this one catches up with the cluster.
    ///
    /// # Errors
    /// None of the addresses is one.
    pub fn add_remote<S: AsRef<str>>(&self, id: u64, urls: &[S]) -> Result<(), Error> {
        self.peers.add_remote(&self.shared, id, usable(urls)?);
        Ok(())
    }

    /// A peer moved. Its streams are dialed anew.
    ///
    /// # Errors
    /// None of the addresses is one.
    pub fn update_peer<S: AsRef<str>>(&self, id: u64, urls: &[S]) -> Result<(), Error> {
        self.peers.update(id, usable(urls)?);
        Ok(())
    }

    /// A peer is none any more.
    pub fn remove_peer(&self, id: u64) {
        self.peers.remove(id);
    }

    /// Nobody is a peer any more.
    pub fn remove_all(&self) {
        self.peers.remove_all();
    }

    /// Since when bytes go to and fro between here and `id`; `None` while they do not.
    pub fn active_since(&self, id: u64) -> Option<Instant> {
        self.peers.peer(id).and_then(|peer| peer.status.active_since())
    }

    /// How many peers are active.
    pub fn active_peers(&self) -> usize {
        self.peers.all().iter().filter(|peer| peer.status.active_since().is_some()).count()
    }

    /// Every peer's counts, by id.
    pub fn stats(&self) -> Vec<(u64, PeerStats)> {
        self.peers.all().iter().map(|peer| (peer.status.id(), peer.stats())).collect()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn end_tasks(&self) {
        self.accepting.lock().drain(..).for_each(|task| task.abort());
        self.peers.stop();
    }

    /// Ends everything. Waits a moment for handlers that block.
    pub fn stop(&self) {
        self.end_tasks();
        let runtime = self.runtime.lock().take();
        if let Some(runtime) = runtime {
            runtime.shutdown_timeout(STOP_GRACE);
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.end_tasks();
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_background();
        }
    }
}
