//! A transport with a handler that records, and raw connections to it.

use bytes::Bytes;
use net::Listener;
use net::http::{HeaderMap, HttpRequest, HttpResponder, HttpResponse, StatusCode};
use peer::{Config, Ground, Handler, Intake, Limits, Note, Overloaded, Transport};
use proto::raftpb::{Message, MessageType, Snapshot, SnapshotMetadata};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const CLUSTER: u64 = 0xc;
/// Bounds every wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a handler heard.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Message(Message),
    Unreachable(u64),
    SnapshotDone(u64, bool),
    Database(Message),
    Http(String, Bytes),
    Active(u64),
    Inactive(u64),
    StreamOpened(u64, &'static str),
    StreamLost(u64, &'static str, String),
    NotSaved(String),
    SendDropped(u64),
    ReceiveDropped(u64),
    Refused(u64, Ground),
    Rejected(u64, peer::Rejection),
}

pub(crate) struct Recorder {
    events: Mutex<Sender<Event>>,
    /// No room for messages.
    pub(crate) full: AtomicBool,
    /// A member that was removed; none if zero.
    pub(crate) removed: AtomicU64,
    /// Where databases go.
    dir: PathBuf,
}

/// A database saved under its index, without a look into it.
struct Saved {
    file: File,
    temporary: PathBuf,
    named: PathBuf,
}

impl Saved {
    fn begin(dir: &Path, message: &Message) -> io::Result<Box<dyn Intake>> {
        let metadata = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
        let index = metadata.map_or(0, |metadata| metadata.index());
        let temporary = dir.join(format!("tmp{index}"));
        let named = dir.join(format!("{index:016x}.snap.db"));
        Ok(Box::new(Saved { file: File::create(&temporary)?, temporary, named }))
    }
}

impl Intake for Saved {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        fs::rename(&self.temporary, &self.named)
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        // It has another name, or is not wanted.
        let _ = fs::remove_file(&self.temporary);
    }
}

impl Recorder {
    fn tell(&self, event: Event) {
        // The test may have ended.
        let _ = self.events.lock().unwrap().send(event);
    }

    fn room(&self) -> Result<(), Overloaded> {
        if self.full.load(Ordering::SeqCst) { Err(Overloaded) } else { Ok(()) }
    }
}

impl Handler for Recorder {
    fn process(&self, message: Message) -> Result<(), Overloaded> {
        self.room()?;
        self.tell(Event::Message(message));
        Ok(())
    }

    fn is_removed(&self, id: u64) -> bool {
        id != 0 && self.removed.load(Ordering::SeqCst) == id
    }

    fn unreachable(&self, id: u64) {
        self.tell(Event::Unreachable(id));
    }

    fn snapshot_done(&self, id: u64, ok: bool) {
        self.tell(Event::SnapshotDone(id, ok));
    }

    fn take_database(&self, message: &Message) -> io::Result<Box<dyn Intake>> {
        Saved::begin(&self.dir, message)
    }

    fn snapshot_received(&self, message: Message) -> Result<(), Overloaded> {
        self.room()?;
        self.tell(Event::Database(message));
        Ok(())
    }

    fn http(&self, request: HttpRequest, reply: HttpResponder) {
        let body = Bytes::from(format!("{}?{}", request.path, request.query));
        self.tell(Event::Http(request.path, request.body));
        reply.reply(HttpResponse { status: StatusCode::OK, headers: HeaderMap::new(), body });
    }

    fn expelled(&self, _by: u64) {}

    fn note(&self, note: &Note<'_>) {
        match note {
            Note::Active { id } => self.tell(Event::Active(*id)),
            Note::Inactive { id, .. } => self.tell(Event::Inactive(*id)),
            Note::StreamOpened { id, stream } => self.tell(Event::StreamOpened(*id, stream)),
            Note::Refused(refused) => self.tell(Event::Refused(refused.from, refused.ground)),
            Note::StreamLost { id, stream, why, rejected, .. } => {
                if let Some(rejected) = rejected {
                    self.tell(Event::Rejected(*id, (*rejected).clone()));
                }
                self.tell(Event::StreamLost(*id, stream, (*why).to_owned()));
            }
            Note::SnapshotReceived { why: Some(why), .. } => {
                self.tell(Event::NotSaved((*why).to_owned()));
            }
            Note::SendDropped { id } => self.tell(Event::SendDropped(*id)),
            Note::ReceiveDropped { id } => self.tell(Event::ReceiveDropped(*id)),
            _ => {}
        }
    }
}

/// A transport under test.
pub(crate) struct Member {
    pub(crate) id: u64,
    scheme: &'static str,
    pub(crate) transport: Transport,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) address: SocketAddr,
    pub(crate) dir: TempDir,
    events: Receiver<Event>,
}

impl Member {
    pub(crate) fn start(id: u64) -> Member {
        Member::with(id, |_| {})
    }

    /// With other limits than etcd's.
    pub(crate) fn with(id: u64, adjust: impl FnOnce(&mut Limits)) -> Member {
        Member::start_at(id, "http", |config, _| {
            adjust(&mut config.limits);
            None
        })
    }

    /// With TLS, a certificate of its own, and belief in anyone.
    pub(crate) fn secure(id: u64) -> Member {
        Member::start_at(id, "https", |config, dir| {
            let hosts = ["127.0.0.1:0".to_owned()];
            let own = tls::self_signed(&dir.join("own"), &hosts, 1).unwrap();
            config.connector = tls::Connector::new(&own, &[]).unwrap();
            let (endpoint, protocols) = (tls::Endpoint::Peer, tls::Protocols::Http1);
            Some(Arc::new(tls::Acceptor::new(&own, endpoint, protocols).unwrap()))
        })
    }

    fn start_at(
        id: u64,
        scheme: &'static str,
        adjust: impl FnOnce(&mut Config, &Path) -> Option<Arc<tls::Acceptor>>,
    ) -> Member {
        let (socket, dir) = (TcpListener::bind("127.0.0.1:0").unwrap(), TempDir::new().unwrap());
        let address = socket.local_addr().unwrap();
        let mut config = Config::new(id, CLUSTER);
        config.local_urls = vec![format!("{scheme}://{address}")];
        config.limits.dial_interval = Duration::from_millis(10);
        let listener = Listener { socket, acceptor: adjust(&mut config, dir.path()) };
        let (sender, events) = channel();
        let (full, removed) = (AtomicBool::new(false), AtomicU64::new(0));
        let recorder = Arc::new(Recorder {
            events: Mutex::new(sender),
            full,
            removed,
            dir: dir.path().to_owned(),
        });
        let handler: Arc<dyn Handler> = Arc::<Recorder>::clone(&recorder);
        let transport = Transport::start(config, vec![listener], handler, None).unwrap();
        Member { id, scheme, transport, recorder, address, dir, events }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// The first that `wanted` makes something of; others are dropped.
    pub(crate) fn hear<T>(&self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => match wanted(event.clone()) {
                    Some(found) => return found,
                    None => others.push(event),
                },
                Err(_) => panic!("member {} heard only {others:?}", self.id),
            }
        }
    }

    pub(crate) fn await_event(&self, expected: &Event) {
        self.hear(|event| (event == *expected).then_some(()));
    }

    pub(crate) fn message(&self) -> Message {
        self.hear(|event| match event {
            Event::Message(message) => Some(message),
            _ => None,
        })
    }

    /// What is in its directory.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// The answer to a raw request that has no `Connection` header of its own.
    pub(crate) fn ask(&self, head: &str, body: &[u8]) -> String {
        let mut socket = self.connect();
        socket.write_all(request(head, body.len()).as_bytes()).unwrap();
        socket.write_all(body).unwrap();
        read_answer(&mut socket)
    }
}

/// The head of a request of member 1 of the cluster.
pub(crate) fn request(head: &str, len: usize) -> String {
    format!(
        "{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len}\r\n\
         X-Server-From: 1\r\nX-Server-Version: 3.7.9\r\nX-Min-Cluster-Version: 3.0.0\r\n\
         X-Etcd-Cluster-ID: {CLUSTER:x}\r\nX-Raft-To: 2\r\n\r\n"
    )
}

/// Everything until the connection ends, however it does.
pub(crate) fn read_answer(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Two members that are peers of each other, all streams open.
pub(crate) fn pair() -> (Member, Member) {
    let (one, two) = (Member::start(1), Member::start(2));
    introduce(&one, &two);
    introduce(&two, &one);
    await_streams(&one, 2);
    await_streams(&two, 1);
    (one, two)
}

/// Makes `other` a peer of `member`.
pub(crate) fn introduce(member: &Member, other: &Member) {
    member.transport.add_peer(other.id, &[other.url()]).unwrap();
}

/// Returns once `member` reads both streams of `id`.
pub(crate) fn await_streams(member: &Member, id: u64) {
    let mut awaited = vec!["msgapp", "message"];
    member.hear(|event| {
        if let Event::StreamOpened(from, stream) = event {
            awaited.retain(|kind| from != id || *kind != stream);
        }
        awaited.is_empty().then_some(())
    });
}

pub(crate) fn message(kind: MessageType, from: u64, to: u64) -> Message {
    Message {
        r#type: Some(kind.into()),
        from: Some(from),
        to: Some(to),
        term: Some(1),
        ..Message::default()
    }
}

/// A `MsgSnap` at `index`.
pub(crate) fn snapshot(from: u64, to: u64, index: u64) -> Message {
    let metadata = SnapshotMetadata { index: Some(index), ..SnapshotMetadata::default() };
    let snapshot = Snapshot { metadata: Some(metadata), ..Snapshot::default() };
    Message { snapshot: Some(snapshot), ..message(MessageType::MsgSnap, from, to) }
}
