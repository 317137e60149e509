//! The adapter: hyper's HTTP/1.1 and HTTP/2 on one port, gRPC calls and plain requests told apart.

use crate::frame::{self, Deframer};
use crate::http::{HttpRequest, HttpService};
use crate::rpc::{
    CallHead, Code, GrpcService, Kind, ReplySink, Responder, Status, StreamHandler, StreamSender,
};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

/// Plain requests have bodies up to this long.
const HTTP_BODY_MAX: usize = 2 * 1024 * 1024;
/// Below this many queued bytes a stream's handler hears that it may send again.
const LOW_WATER_BYTES: usize = 256 * 1024;
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
const GRPC: &str = "application/grpc";

/// How to serve.
#[derive(Debug)]
pub struct Config {
    /// Bound sockets.
    pub listeners: Vec<std::net::TcpListener>,
    /// Threads that move bytes.
    pub threads: usize,
    /// Connections at once on each socket; more wait to be accepted.
    pub connections_max: usize,
    /// A message may be this long.
    pub recv_max_bytes: usize,
    /// Streams at once on one connection.
    pub concurrent_streams_max: u32,
    /// How often the server asks a silent connection whether it lives.
    pub keepalive_interval: Duration,
    /// How long it waits for that answer.
    pub keepalive_timeout: Duration,
}

/// A running server. Dropping it stops it at once.
pub struct Server {
    runtime: Option<Runtime>,
    stop: watch::Sender<bool>,
    /// One is held by every open connection.
    open: mpsc::Receiver<Infallible>,
}

struct Shared {
    grpc: Arc<dyn GrpcService>,
    http: Arc<dyn HttpService>,
    recv_max_bytes: usize,
}

impl Server {
    /// Begins to serve.
    ///
    /// # Errors
    /// Those of making threads and of registering the sockets.
    pub fn start(
        config: Config,
        grpc: Arc<dyn GrpcService>,
        http: Arc<dyn HttpService>,
    ) -> std::io::Result<Server> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.threads.max(1))
            .thread_name("net")
            .enable_all()
            .build()?;
        let (stop, stopping) = watch::channel(false);
        let (connection, open) = mpsc::channel(1);
        let shared = Arc::new(Shared { grpc, http, recv_max_bytes: config.recv_max_bytes });
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http2()
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(config.concurrent_streams_max)
            .keep_alive_interval(config.keepalive_interval)
            .keep_alive_timeout(config.keepalive_timeout);
        builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(300));
        for listener in config.listeners {
            listener.set_nonblocking(true)?;
            let listener = {
                let _inside = runtime.enter();
                TcpListener::from_std(listener)?
            };
            let accept = accept(
                listener,
                builder.clone(),
                Arc::clone(&shared),
                stopping.clone(),
                connection.clone(),
                Arc::new(Semaphore::new(config.connections_max.min(Semaphore::MAX_PERMITS))),
            );
            runtime.spawn(accept);
        }
        Ok(Server { runtime: Some(runtime), stop, open })
    }

    /// Takes no more connections and calls, and waits up to `grace` for those that are open.
    pub fn stop(mut self, grace: Duration) {
        // Nobody listens only when every connection is gone already.
        let _ = self.stop.send(true);
        if let Some(runtime) = self.runtime.take() {
            runtime.block_on(async {
                let _ = tokio::time::timeout(grace, self.open.recv()).await;
            });
            runtime.shutdown_timeout(grace);
        }
    }
}

async fn accept(
    listener: TcpListener,
    builder: Builder<TokioExecutor>,
    shared: Arc<Shared>,
    mut stopping: watch::Receiver<bool>,
    connection: mpsc::Sender<Infallible>,
    room: Arc<Semaphore>,
) {
    loop {
        let accepted = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            _ = stopping.changed() => return,
        };
        let Ok((socket, peer)) = accepted else {
            // Out of file descriptors, mostly: better later than in a tight loop.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // A socket that refuses the option still works.
        let _ = socket.set_nodelay(true);
        let (builder, shared) = (builder.clone(), Arc::clone(&shared));
        let (mut stopping, open) = (stopping.clone(), connection.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(shared.serve(request, peer).await) }
            });
            let serving = builder.serve_connection(TokioIo::new(socket), service);
            tokio::pin!(serving);
            tokio::select! {
                // What breaks a connection is the client's affair.
                _ = serving.as_mut() => {}
                _ = stopping.changed() => {
                    serving.as_mut().graceful_shutdown();
                    let _ = serving.await;
                }
            }
            drop((open, place));
        });
    }
}

impl Shared {
    async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<Reply> {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let is_grpc = content_type.is_some_and(|kind| kind.as_bytes().starts_with(GRPC.as_bytes()));
        if is_grpc { self.grpc(request, peer).await } else { self.plain(request, peer).await }
    }

    async fn plain(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<Reply> {
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, HTTP_BODY_MAX).collect().await else {
            let mut response = Response::new(Reply::whole(Bytes::from_static(b"body too large\n")));
            *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            return response;
        };
        let request = HttpRequest {
            method: head.method,
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body: body.to_bytes(),
            peer: Some(peer),
        };
        let answer = tokio::task::spawn_blocking(move || self.http.call(request)).await;
        match answer {
            Ok(answer) => {
                let mut response = Response::new(Reply::whole(answer.body));
                *response.status_mut() = answer.status;
                *response.headers_mut() = answer.headers;
                response
            }
            Err(_) => {
                let mut response = Response::new(Reply::whole(Bytes::new()));
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        }
    }

    async fn grpc(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<Reply> {
        let method = match self.grpc.lookup(request.uri().path()) {
            Ok(method) => method,
            Err(status) => return ended(&status),
        };
        let (head, body) = request.into_parts();
        let timeout = head.headers.get("grpc-timeout").and_then(|value| value.to_str().ok());
        let head = CallHead {
            timeout: timeout.and_then(frame::timeout),
            metadata: head.headers,
            peer: Some(peer),
        };
        match method.kind {
            Kind::Unary => self.unary(method.id, &head, body).await,
            Kind::Stream => self.stream(method.id, &head, body),
        }
    }

    async fn unary(&self, method: u16, head: &CallHead, mut body: Incoming) -> Response<Reply> {
        let mut deframer = Deframer::default();
        let message = loop {
            match deframer.next(self.recv_max_bytes) {
                Ok(Some(message)) => break message,
                Ok(None) => {}
                Err(status) => return ended(&status),
            }
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        deframer.push(data);
                    }
                }
                Some(Err(_)) => return ended(&Status::new(Code::Canceled, "context canceled")),
                None => {
                    let text = "grpc: the call ended without a whole message";
                    return ended(&Status::new(Code::Internal, text));
                }
            }
        };
        let (answer, answered) = oneshot::channel();
        let sink = Arc::new(UnarySink { answer: Mutex::new(Some(answer)) });
        self.grpc.unary(method, head, message, Responder::new(sink, 0));
        match answered.await {
            Ok(Ok(message)) => {
                let pieces = [frame::header(message.len()), message];
                respond(Reply::Unary { pieces: pieces.into_iter().collect(), ended: false })
            }
            Ok(Err(status)) => ended(&status),
            Err(_) => ended(&Status::new(Code::Internal, "the call was not answered")),
        }
    }

    fn stream(&self, method: u16, head: &CallHead, body: Incoming) -> Response<Reply> {
        let (events, receiver) = mpsc::unbounded_channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let (over, is_over) = watch::channel(());
        let (drained, is_drained) = mpsc::channel(1);
        let sink = Arc::new(StreamSink { events, queued: Arc::clone(&queued) });
        let out = StreamSender::new(sink, 0);
        let handler = match self.grpc.stream(method, head, out.clone()) {
            Ok(handler) => handler,
            Err(status) => return ended(&status),
        };
        tokio::spawn(receive(handler, body, self.recv_max_bytes, out, is_over, is_drained));
        respond(Reply::Stream { receiver, queued, drained, _over: over, pending: VecDeque::new() })
    }
}

/// Hands what comes in on a stream to its handler, until the stream is over.
async fn receive(
    mut handler: Box<dyn StreamHandler>,
    mut body: Incoming,
    max: usize,
    out: StreamSender,
    mut over: watch::Receiver<()>,
    mut drained: mpsc::Receiver<()>,
) {
    let mut deframer = Deframer::default();
    let mut open = true;
    loop {
        tokio::select! {
            frame = body.frame(), if open => match frame {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        deframer.push(data);
                    }
                    loop {
                        match deframer.next(max) {
                            Ok(Some(message)) => handler.message(message),
                            Ok(None) => break,
                            Err(status) => {
                                out.finish(status);
                                open = false;
                                break;
                            }
                        }
                    }
                }
                Some(Err(_)) => break,
                None => {
                    open = false;
                    handler.half_close();
                }
            },
            Some(()) = drained.recv() => handler.writable(),
            // The sender is dropped with the response's body.
            _ = over.changed() => break,
        }
    }
    handler.closed();
}

struct UnarySink {
    answer: Mutex<Option<oneshot::Sender<Result<Bytes, Status>>>>,
}

impl ReplySink for UnarySink {
    fn reply(&self, _id: u64, result: Result<Bytes, Status>) {
        let answer = self.answer.lock().ok().and_then(|mut answer| answer.take());
        if let Some(answer) = answer {
            // A client that has gone needs no answer.
            let _ = answer.send(result);
        }
    }

    fn message(&self, _id: u64, _pieces: Vec<Bytes>) {}

    fn finish(&self, _id: u64, _status: Status) {}

    fn queued(&self, _id: u64) -> usize {
        0
    }
}

enum Event {
    Message(Vec<Bytes>),
    Finish(Status),
}

struct StreamSink {
    events: mpsc::UnboundedSender<Event>,
    queued: Arc<AtomicUsize>,
}

impl ReplySink for StreamSink {
    fn reply(&self, _id: u64, _result: Result<Bytes, Status>) {}

    fn message(&self, _id: u64, pieces: Vec<Bytes>) {
        let len: usize = pieces.iter().map(Bytes::len).sum();
        self.queued.fetch_add(len + frame::HEADER_LEN, Ordering::Relaxed);
        // A client that has gone needs no message.
        let _ = self.events.send(Event::Message(pieces));
    }

    fn finish(&self, _id: u64, status: Status) {
        let _ = self.events.send(Event::Finish(status));
    }

    fn queued(&self, _id: u64) -> usize {
        self.queued.load(Ordering::Relaxed)
    }
}

/// A response's body.
enum Reply {
    Whole(Option<Bytes>),
    Unary {
        pieces: VecDeque<Bytes>,
        ended: bool,
    },
    Stream {
        receiver: mpsc::UnboundedReceiver<Event>,
        queued: Arc<AtomicUsize>,
        drained: mpsc::Sender<()>,
        _over: watch::Sender<()>,
        pending: VecDeque<Bytes>,
    },
}

impl Reply {
    fn whole(body: Bytes) -> Reply {
        Reply::Whole(Some(body))
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    /// A response that is nothing but its end must end with its headers.
    fn is_end_stream(&self) -> bool {
        matches!(self, Reply::Whole(None))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Reply::Whole(body) => {
                hyper::body::SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64))
            }
            _ => hyper::body::SizeHint::default(),
        }
    }

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Reply::Whole(body) => {
                let body = body.take().filter(|body| !body.is_empty());
                Poll::Ready(body.map(|body| Ok(Frame::data(body))))
            }
            Reply::Unary { pieces, ended } => {
                if let Some(piece) = pieces.pop_front() {
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                if std::mem::replace(ended, true) {
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Ok(Frame::trailers(frame::trailers(&Status::OK)))))
            }
            Reply::Stream { receiver, queued, drained, pending, .. } => {
                if pending.is_empty() {
                    match receiver.poll_recv(context) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(None) => return Poll::Ready(None),
                        Poll::Ready(Some(Event::Finish(status))) => {
                            receiver.close();
                            let trailers = frame::trailers(&status);
                            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                        }
                        Poll::Ready(Some(Event::Message(pieces))) => {
                            let len = pieces.iter().map(Bytes::len).sum();
                            pending.push_back(frame::header(len));
                            pending.extend(pieces.into_iter().filter(|piece| !piece.is_empty()));
                        }
                    }
                }
                let piece = pending.pop_front().expect("a message has at least its header");
                let before = queued.fetch_sub(piece.len(), Ordering::Relaxed);
                if before >= LOW_WATER_BYTES && before - piece.len() < LOW_WATER_BYTES {
                    // A full channel says the same already.
                    let _ = drained.try_send(());
                }
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
        }
    }
}

fn respond(reply: Reply) -> Response<Reply> {
    let mut response = Response::new(reply);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(GRPC));
    response
}

/// A response that is nothing but its end.
fn ended(status: &Status) -> Response<Reply> {
    let mut response = respond(Reply::Whole(None));
    response.headers_mut().extend(frame::trailers(status));
    response
}
