//! The server over real sockets: calls, streams, replies from other threads, plain HTTP, stopping.
#![allow(clippy::unwrap_used)] // the helpers of tests too

mod client;

use bytes::Bytes;
use client::{Client, Frame, Socket};
use net::http::{HeaderMap, HttpRequest, HttpResponder, HttpResponse, HttpService, StatusCode};
use net::rpc::{
    CallHead, Code, GrpcService, Kind, Method, Responder, Status, StreamHandler, StreamSender,
};
use net::{Config, Listener, Server};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tempfile::TempDir;

const ECHO: u16 = 0;
const ELSEWHERE: u16 = 1;
const STREAM: u16 = 2;
const FLOOD: u16 = 3;
const KEEP: u16 = 4;

/// Room that the flooding handler leaves.
const FLOOD_QUEUED_MAX: usize = 512 * 1024;
const FLOOD_MESSAGES: usize = 200;
const FLOOD_MESSAGE_BYTES: usize = 100_000;

struct Service {
    closed: mpsc::Sender<&'static str>,
    kept: mpsc::Sender<Responder>,
}

impl GrpcService for Service {
    fn lookup(&self, path: &str) -> Result<Method, Status> {
        let (id, kind) = match path {
            "/t.T/Echo" => (ECHO, Kind::Unary),
            "/t.T/Elsewhere" => (ELSEWHERE, Kind::Unary),
            "/t.T/Stream" => (STREAM, Kind::Stream),
            "/t.T/Flood" => (FLOOD, Kind::Stream),
            "/t.T/Keep" => (KEEP, Kind::Unary),
            _ => return Err(Status::new(Code::Unimplemented, "no such method")),
        };
        Ok(Method { id, kind })
    }

    fn unary(&self, method: u16, head: &CallHead, body: Bytes, reply: Responder) {
        match method {
            ECHO if head.get("fail").is_some() => {
                reply.fail(Status::new(Code::Aborted, "asked to"))
            }
            ECHO => reply.reply(body),
            KEEP => self.kept.send(reply).unwrap(),
            _ => drop(std::thread::spawn(move || reply.reply(body))),
        }
    }

    fn stream(
        &self,
        method: u16,
        _head: &CallHead,
        out: StreamSender,
    ) -> Result<Box<dyn StreamHandler>, Status> {
        let closed = self.closed.clone();
        if method == FLOOD {
            return Ok(Box::new(Flood { out, left: FLOOD_MESSAGES }));
        }
        Ok(Box::new(Echo { out, closed }))
    }
}

/// Sends everything back, and as many stars as there were messages at the end.
struct Echo {
    out: StreamSender,
    closed: mpsc::Sender<&'static str>,
}

impl StreamHandler for Echo {
    fn message(&mut self, body: Bytes) {
        self.out.send_pieces(vec![Bytes::from_static(b"<"), body, Bytes::from_static(b">")]);
    }

    fn half_close(&mut self) {
        self.out.finish(Status::new(Code::OutOfRange, "that was all"));
    }

    fn writable(&mut self) {}

    fn closed(&mut self) {
        // A test that does not listen does not care.
        let _ = self.closed.send("stream");
    }
}

/// Sends much, never more at once than is good.
struct Flood {
    out: StreamSender,
    left: usize,
}

impl StreamHandler for Flood {
    fn message(&mut self, _body: Bytes) {
        self.writable();
    }

    fn half_close(&mut self) {}

    fn writable(&mut self) {
        while self.left > 0 && self.out.queued() < FLOOD_QUEUED_MAX {
            self.out.send(Bytes::from(vec![self.left as u8; FLOOD_MESSAGE_BYTES]));
            self.left -= 1;
        }
        assert!(self.out.queued() < FLOOD_QUEUED_MAX + FLOOD_MESSAGE_BYTES + 100);
        if self.left == 0 {
            self.out.finish(Status::OK);
        }
    }

    fn closed(&mut self) {}
}

#[derive(Default)]
struct Site {
    waiting: Mutex<Vec<HttpResponder>>,
}

impl HttpService for Site {
    fn call(&self, request: HttpRequest, reply: HttpResponder) {
        let text =
            format!("{} {} {} {}", request.method, request.path, request.query, request.body.len());
        match request.path.as_str() {
            "/wait" => self.waiting.lock().unwrap().push(reply),
            "/release" => {
                let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
                reply.reply(page(waiting.len().to_string()));
                waiting.into_iter().for_each(|reply| reply.reply(page("released".to_owned())));
            }
            _ => reply.reply(page(text)),
        }
    }
}

fn page(text: String) -> HttpResponse {
    HttpResponse { status: StatusCode::OK, headers: HeaderMap::new(), body: text.into() }
}

/// A server, to be spoken to as it is or by TLS.
struct Running {
    /// With its files, which are looked at for every handshake.
    tls: Option<(tls::Connector, TempDir)>,
    server: Server,
    addr: SocketAddr,
    closed: mpsc::Receiver<&'static str>,
    kept: mpsc::Receiver<Responder>,
}

impl Running {
    fn client(&self) -> Client {
        Client::open(self.socket("h2"))
    }

    /// A connection on which `protocol` was agreed on.
    fn socket(&self, protocol: &str) -> Box<dyn Socket> {
        let tcp = TcpStream::connect(self.addr).unwrap();
        tcp.set_nodelay(true).unwrap();
        let Some((connector, _)) = &self.tls else { return Box::new(tcp) };
        let name = connector.name(&self.addr.to_string()).unwrap();
        let mut config = (*connector.config()).clone();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        Box::new(rustls::StreamOwned::new(session, tcp))
    }
}

/// One that speaks as it is, one that speaks TLS.
fn each() -> [Running; 2] {
    let dir = tempfile::tempdir().unwrap();
    let own = tls::self_signed(dir.path(), &["127.0.0.1:0".to_owned()], 1).unwrap();
    let acceptor = tls::Acceptor::new(&own, tls::Endpoint::Client, tls::Protocols::Http).unwrap();
    let connector = tls::Connector::new(&own, &[]).unwrap();
    [start(), Running { tls: Some((connector, dir)), ..start_with(Some(Arc::new(acceptor))) }]
}

fn start() -> Running {
    start_with(None)
}

fn start_with(acceptor: Option<Arc<tls::Acceptor>>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let config = Config {
        listeners: vec![Listener { socket: listener, acceptor }],
        threads: 2,
        connections_max: 100,
        recv_max_bytes: 1 << 20,
        concurrent_streams_max: u32::MAX,
        keepalive_interval: Duration::MAX,
        keepalive_timeout: Duration::from_secs(20),
        keepalive_min_time: Duration::from_secs(5),
    };
    let (closed_here, closed) = mpsc::channel();
    let (kept_here, kept) = mpsc::channel();
    let service = Service { closed: closed_here, kept: kept_here };
    let server = Server::start(config, Arc::new(service), Arc::new(Site::default())).unwrap();
    Running { tls: None, server, addr, closed, kept }
}

#[test]
fn unary_calls_here_and_elsewhere() {
    for running in each() {
        let mut clients: Vec<Client> = (0..4).map(|_| running.client()).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            for len in [0, 1, 5_000, 40_000, 300_000] {
                let body = vec![n as u8; len];
                for path in ["/t.T/Echo", "/t.T/Elsewhere"] {
                    let stream = client.call(path, &[], &[&body], true);
                    let answer = client.answer(stream);
                    assert_eq!(
                        (answer.messages(), answer.status.as_str()),
                        (vec![body.clone()], "0")
                    );
                }
            }
        }
        drop(clients);
        running.server.stop(Duration::from_secs(60));
    }
}

#[test]
fn many_calls_at_once_are_all_answered() {
    for running in each() {
        let mut client = running.client();
        let streams: Vec<u32> = (0..500u32)
            .map(|n| client.call("/t.T/Elsewhere", &[], &[&n.to_be_bytes()], true))
            .collect();
        for (n, stream) in (0u32..).zip(streams) {
            assert_eq!(client.answer(stream).messages(), [n.to_be_bytes()]);
        }
    }
}

#[test]
fn errors_of_every_kind() {
    for running in each() {
        let mut client = running.client();
        let stream = client.call("/t.T/Echo", &[("fail", "1")], &[b"x"], true);
        let answer = client.answer(stream);
        assert_eq!((answer.status.as_str(), answer.message.as_str()), ("10", "asked to"));
        let stream = client.call("/t.T/None", &[], &[b"x"], true);
        assert_eq!(client.answer(stream).status, "12");
        let stream = client.call("/t.T/Echo", &[], &[], true);
        assert_eq!(client.answer(stream).status, "13");
        let stream = client.call("/t.T/Echo", &[], &[&vec![0; (1 << 20) + 1]], true);
        assert_eq!(client.answer(stream).status, "8");
        let stream = client.call("/t.T/Keep", &[], &[b"x"], true);
        drop(running.kept.recv().unwrap());
        let answer = client.answer(stream);
        assert_eq!(answer.message, "etcdserver: server stopped");
    }
}

#[test]
fn a_stream_both_ways() {
    for running in each() {
        let mut client = running.client();
        let stream = client.call("/t.T/Stream", &[], &[&b"a"[..], b"", b"ccc"], true);
        let answer = client.answer(stream);
        assert_eq!(answer.messages(), [&b"<a>"[..], b"<>", b"<ccc>"]);
        assert_eq!((answer.status.as_str(), answer.message.as_str()), ("11", "that was all"));
        assert_eq!(running.closed.recv(), Ok("stream"));
        let stream = client.call("/t.T/Stream", &[], &[b"a"], false);
        client.reset(stream);
        assert_eq!(running.closed.recv(), Ok("stream"));
        client.call("/t.T/Stream", &[], &[b"a"], false);
        drop(client);
        assert_eq!(running.closed.recv(), Ok("stream"), "the connection is gone");
    }
}

#[test]
fn much_data_goes_out_as_fast_as_it_is_read() {
    for running in each() {
        let mut client = running.client();
        let stream = client.call("/t.T/Flood", &[], &[b"go"], true);
        let answer = client.answer(stream);
        let messages = answer.messages();
        assert_eq!((messages.len(), answer.status.as_str()), (FLOOD_MESSAGES, "0"));
        for (n, message) in messages.iter().enumerate() {
            assert_eq!(*message, vec![(FLOOD_MESSAGES - n) as u8; FLOOD_MESSAGE_BYTES]);
        }
    }
}

#[test]
fn plain_requests_of_either_protocol() {
    for running in each() {
        let mut old = running.socket("http/1.1");
        let request =
            "POST /a?b=c HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nconnection: close\r\n\r\nxyz";
        for piece in request.as_bytes().chunks(2) {
            old.write_all(piece).unwrap();
        }
        let mut answer = String::new();
        old.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nPOST /a b=c 3"), "{answer}");
        let mut client = running.client();
        let stream = client.plain("GET", "/a?b=c");
        assert_eq!(client.answer(stream).data, b"GET /a b=c 0");
        drop(client);
        running.server.stop(Duration::from_secs(60));
    }
}

#[test]
fn requests_that_wait_hold_up_no_others() {
    const WAITING: usize = 64;
    let running = start();
    let ask = |path: &str| {
        let mut socket = TcpStream::connect(running.addr).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(socket, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        socket
    };
    let read = |mut socket: TcpStream| {
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    };
    let mut waiting = Vec::new();
    for _ in 0..WAITING {
        waiting.push(ask("/wait"));
        assert!(read(ask("/other")).ends_with("GET /other  0"));
    }
    let mut released = 0;
    while released < WAITING {
        let answer = read(ask("/release"));
        released += answer.rsplit_once('\n').unwrap().1.parse::<usize>().unwrap();
    }
    for socket in waiting {
        assert!(read(socket).ends_with("released"));
    }
}

#[test]
fn stopping_finishes_what_was_begun() {
    for running in each() {
        let mut client = running.client();
        let stream = client.call("/t.T/Keep", &[], &[b"x"], true);
        let kept = running.kept.recv().unwrap();
        let server = running.server;
        let stopping = std::thread::spawn(move || server.stop(Duration::from_secs(60)));
        // The first farewell was sent, so the server is stopping.
        while !matches!(client.next(), Some(Frame::Goaway(last)) if last == (1 << 31) - 1) {}
        kept.reply(Bytes::from_static(b"late"));
        assert_eq!(client.answer(stream).messages(), [b"late"]);
        while client.next().is_some() {}
        drop(client);
        stopping.join().unwrap();
        assert!(TcpStream::connect(running.addr).is_err());
    }
}

#[test]
fn stopping_does_not_wait_for_ever() {
    let running = start();
    let mut client = running.client();
    client.call("/t.T/Stream", &[], &[b"x"], false);
    assert!(matches!(client.next_of_a_stream(), Frame::Headers));
    running.server.stop(Duration::from_millis(1));
    assert_eq!(running.closed.recv(), Ok("stream"));
}

#[test]
fn whoever_speaks_no_tls_is_not_kept() {
    let [_, running] = each();
    for text in ["GET / HTTP/1.1\r\nhost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stranger = TcpStream::connect(running.addr).unwrap();
        stranger.write_all(text.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // Closed or reset: nothing is said.
        let _ = stranger.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{answer:?}");
    }
    // What was agreed on must be spoken.
    let mut liar = running.socket("h2");
    liar.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = liar.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    // Those that say nothing at all are in nobody's way.
    let silent: Vec<TcpStream> =
        (0..50).map(|_| TcpStream::connect(running.addr).unwrap()).collect();
    let mut client = running.client();
    let stream = client.call("/t.T/Echo", &[], &[b"x"], true);
    assert_eq!(client.answer(stream).messages(), [b"x"]);
    drop(silent);
}
