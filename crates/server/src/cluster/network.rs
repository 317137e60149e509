//! The peer protocol as the member's way to the others.

use super::peer_log::PeerLog;
use crate::network::{Answer, Network};
use crate::shared::Shared;
use crate::web::PeerWeb;
use backend::Snapshot;
use bytes::Bytes;
use metrics::DiskMetrics;
use net::http::{HttpRequest, HttpResponder, HttpService};
use peer::{Handler, Intake, Note, Overloaded, PeerStats, Question, Transport};
use proto::raftpb::Message;
use services::CoreEvent;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the transport asks of the member.
pub(crate) struct PeerHandler {
    pub(crate) shared: Arc<Shared>,
    pub(crate) web: PeerWeb,
    /// Where databases of leaders go.
    pub(crate) intake: replica::Intake,
    pub(crate) log: PeerLog,
}

/// A database on its way in.
struct Database {
    incoming: replica::Incoming,
    metrics: Arc<DiskMetrics>,
    begun: Instant,
}

impl Intake for Database {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.incoming.write(bytes).map_err(io::Error::other)
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        let Database { incoming, metrics, begun } = *self;
        incoming.finish().map_err(io::Error::other)?;
        metrics.database_received(begun.elapsed());
        Ok(())
    }
}

impl PeerHandler {
    fn step(&self, message: Message) -> Result<(), Overloaded> {
        self.shared.ports.inbound.admit(&message)?;
        self.shared.ports.core.send(CoreEvent::Step(Box::new(message)));
        Ok(())
    }
}

impl Handler for PeerHandler {
    fn process(&self, message: Message) -> Result<(), Overloaded> {
        self.step(message)
    }

    fn is_removed(&self, id: u64) -> bool {
        self.shared.ports.roster.members().is_removed(id)
    }

    fn unreachable(&self, id: u64) {
        self.shared.ports.core.send(CoreEvent::Unreachable(id));
    }

    fn snapshot_done(&self, id: u64, ok: bool) {
        self.shared.ports.core.send(CoreEvent::SnapshotSent { to: id, delivered: ok });
    }

    fn take_database(&self, message: &Message) -> io::Result<Box<dyn Intake>> {
        let snapshot = message.snapshot.clone().unwrap_or_default();
        let incoming = self.intake.begin(&snapshot).map_err(io::Error::other)?;
        let metrics = Arc::clone(&self.shared.metrics.disk);
        Ok(Box::new(Database { incoming, metrics, begun: Instant::now() }))
    }

    fn snapshot_received(&self, message: Message) -> Result<(), Overloaded> {
        // The database lies where the applier will look for it.
        self.step(message)
    }

    fn http(&self, request: HttpRequest, reply: HttpResponder) {
        self.web.call(request, reply);
    }

    fn expelled(&self, _by: u64) {
        self.shared.ports.roster.expel();
    }

    fn note(&self, note: &Note<'_>) {
        self.shared.metrics.peers.note(note);
        self.log.log(note);
    }
}

impl Network for Transport {
    fn send(&self, messages: Vec<Message>) {
        Transport::send(self, messages);
    }

    fn send_snapshot(&self, message: Message, database: Snapshot) {
        let size = database.size();
        Transport::send_snapshot(self, message, size, Box::new(Pages { database, offset: 0 }));
    }

    fn add(&self, id: u64, peer_urls: &[String]) {
        // A member with unusable URLs is refused when it is added; one from elsewhere is not heard.
        let _ = self.add_peer(id, peer_urls);
    }

    fn update(&self, id: u64, peer_urls: &[String]) {
        let _ = self.update_peer(id, peer_urls);
    }

    fn remove(&self, id: u64) {
        self.remove_peer(id);
    }

    fn active_since(&self, id: u64) -> Option<Instant> {
        Transport::active_since(self, id)
    }

    fn active_peers(&self) -> usize {
        Transport::active_peers(self)
    }

    fn stats(&self) -> Vec<(u64, PeerStats)> {
        Transport::stats(self)
    }

    fn post(
        &self,
        urls: Vec<String>,
        path: String,
        body: Bytes,
        limit: Duration,
        then: Box<dyn FnOnce(Answer) + Send>,
    ) {
        let question = Question { urls, path, posted: Some(body), limit };
        self.ask(question, move |page| then(page.map(|page| (page.status, page.body))));
    }

    fn get(
        &self,
        urls: Vec<String>,
        path: String,
        limit: Duration,
        then: Box<dyn FnOnce(Answer) + Send>,
    ) {
        let question = Question { urls, path, posted: None, limit };
        self.ask(question, move |page| then(page.map(|page| (page.status, page.body))));
    }
}

/// A database read from its beginning to its end.
struct Pages {
    database: Snapshot,
    offset: u64,
}

impl Read for Pages {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.database.size() - self.offset;
        let len = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.database.read_at(self.offset, &mut buffer[..len]);
        self.offset += read as u64;
        Ok(read)
    }
}
