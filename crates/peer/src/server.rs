//! What others ask of this member on its peer port.
//!
//! ```text
//! POST /raft                      a raft message                        204
//! GET  /raft/stream/{kind}/{id}   messages to member id, as they come   200, without end
//! POST /raft/snapshot             a raft message and a database         204
//! any  /raft/probing              whether this member lives             200
//! ```
//! Everything else goes to [`Handler::http`](crate::Handler::http).

use crate::answer::{self, Reply};
use crate::body::{self, Budget, Unread};
use crate::handler::{Ground, Note};
use crate::headers::{self, CLUSTER_ID, CLUSTER_ID_MISMATCH, INCOMPATIBLE_VERSION, SERVER_VERSION};
use crate::link::Link;
use crate::peer::Peers;
use crate::shared::Shared;
use crate::stream::StreamKind;
use crate::{probe, receive};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use net::http::{HttpRequest, HttpResponse};
use prost::Message as _;
use proto::raftpb::Message;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tls::Acceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// After a failed accept, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What answers need.
pub(crate) struct Served {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peers: Arc<Peers>,
    /// Databases that may come in at once.
    pub(crate) snapshots: Semaphore,
    /// Connections that may be open at once.
    connections: Arc<Semaphore>,
    budget: Arc<Budget>,
}

/// Takes connections until its task is ended.
pub(crate) async fn accept(
    listener: TcpListener,
    acceptor: Option<Arc<Acceptor>>,
    served: Arc<Served>,
) {
    loop {
        // The semaphore is never closed; a permit is waited for before a connection is taken.
        let Ok(permit) = Arc::clone(&served.connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((socket, from)) => {
                let (served, acceptor) = (Arc::clone(&served), acceptor.clone());
                tokio::spawn(async move {
                    connection(socket, from, acceptor, served).await;
                    drop(permit);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(
    socket: TcpStream,
    from: SocketAddr,
    acceptor: Option<Arc<Acceptor>>,
    served: Arc<Served>,
) {
    let limits = &served.shared.config.limits;
    let link = match acceptor {
        None => Link::plain(socket, limits.write_timeout),
        Some(acceptor) => {
            let limit = limits.write_timeout;
            let accepting = async move { Link::accept(socket, from, &acceptor, limit).await };
            // Not beside the streams: arithmetic takes its time. Why it was refused is in the log.
            match served.shared.bulk.spawn(accepting).await {
                Ok(Ok(link)) => link,
                Ok(Err(_)) | Err(_) => return,
            }
        }
    };
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.read_timeout);
    let service = service_fn(move |request| {
        let served = Arc::clone(&served);
        async move { Ok::<_, Infallible>(served.serve(request, from).await) }
    });
    // What breaks a connection is told to whoever used it.
    let _ = builder.serve_connection(TokioIo::new(link), service).await;
}

impl Served {
    pub(crate) fn new(shared: Arc<Shared>, peers: Arc<Peers>) -> Served {
        let limits = &shared.config.limits;
        let snapshots = Semaphore::new(limits.snapshots_max);
        let connections = Arc::new(Semaphore::new(limits.connections_max));
        let budget = Arc::new(Budget::new(limits.posts_bytes_max));
        Served { shared, peers, snapshots, connections, budget }
    }

    async fn serve(
        self: &Arc<Self>,
        request: Request<Incoming>,
        from: SocketAddr,
    ) -> Response<Reply> {
        let (head, body) = request.into_parts();
        match head.uri.path() {
            "/raft" => self.raft(&head, body).await,
            "/raft/snapshot" => self.snapshot(&head, body).await,
            "/raft/probing" => probe::answer(),
            path => match path.strip_prefix("/raft/") {
                Some(rest) => match rest.strip_prefix("stream/") {
                    Some(rest) => self.stream(&head, rest),
                    None => answer::text(StatusCode::NOT_FOUND, "404 page not found"),
                },
                None => self.other(head, body, from).await,
            },
        }
    }

    /// Counts what came from `id`, if it is known.
    pub(crate) fn received(&self, id: u64, bytes: usize) {
        if let Some(status) = self.peers.status(id) {
            status.received(bytes);
        }
    }

    async fn raft(&self, head: &Parts, body: Incoming) -> Response<Reply> {
        if head.method != Method::POST {
            return answer::method_not_allowed("POST");
        }
        let response = match self.refusal(&head.headers) {
            Some(refusal) => refusal,
            None => {
                self.meet(&head.headers);
                self.message(&head.headers, body).await
            }
        };
        self.stamped(response)
    }

    /// What a sender is told that is of another cluster, or of a version that does not fit.
    fn refusal(&self, headers: &HeaderMap) -> Option<Response<Reply>> {
        let ground = self.shared.identity.check(headers).err()?;
        let (text, detail) = match ground {
            Ground::Version => (INCOMPATIBLE_VERSION, self.shared.identity.misfit(headers)),
            _ => (CLUSTER_ID_MISMATCH, String::new()),
        };
        self.note_refused(headers, ground, &detail);
        Some(answer::text(StatusCode::PRECONDITION_FAILED, text))
    }

    fn note_refused(&self, headers: &HeaderMap, ground: Ground, detail: &str) {
        let refused = headers::refused(headers, ground, detail);
        self.shared.handler.note(&Note::Refused(&refused));
    }

    async fn message(&self, headers: &HeaderMap, body: Incoming) -> Response<Reply> {
        let limits = &self.shared.config.limits;
        let read =
            body::request(body, limits.post_bytes_max, limits.read_timeout, &self.budget).await;
        let (bytes, _hold) = match read {
            Ok(read) => read,
            Err(unread) => {
                self.note_refused(headers, Ground::Unread, unread.why());
                return unread_answer(&unread, "error reading raft message");
            }
        };
        let len = bytes.len();
        let message = match Message::decode(bytes) {
            Ok(message) => message,
            Err(error) => {
                self.note_refused(headers, Ground::Malformed, &error.to_string());
                return answer::text(StatusCode::BAD_REQUEST, "error unmarshalling raft message");
            }
        };
        let from = message.from();
        self.received(from, len);
        match self.shared.deliver(message) {
            Ok(()) => answer::empty(StatusCode::NO_CONTENT),
            Err(refusal) => {
                if let Some(status) = self.peers.status(from) {
                    status.receive_failed();
                }
                self.note_refused(headers, Ground::NotProcessed, &refusal.to_string());
                // etcd means to say why with status 403, and does not.
                let text = "error processing raft message";
                answer::text(StatusCode::INTERNAL_SERVER_ERROR, text)
            }
        }
    }

    async fn snapshot(self: &Arc<Self>, head: &Parts, body: Incoming) -> Response<Reply> {
        if head.method != Method::POST {
            return answer::method_not_allowed("POST");
        }
        let response = match self.refusal(&head.headers) {
            Some(refusal) => refusal,
            None => {
                self.meet(&head.headers);
                receive::receive(self, body).await
            }
        };
        self.stamped(response)
    }

    fn stream(&self, head: &Parts, path: &str) -> Response<Reply> {
        if head.method != Method::GET {
            return answer::method_not_allowed("GET");
        }
        let mut response = match self.refusal(&head.headers) {
            Some(refusal) => refusal,
            None => self.open_stream(&head.headers, path),
        };
        let version = self.shared.identity.server_version.clone();
        response.headers_mut().insert(SERVER_VERSION, version);
        self.stamped(response)
    }

    fn open_stream(&self, headers: &HeaderMap, path: &str) -> Response<Reply> {
        let not_found = |text| answer::text(StatusCode::NOT_FOUND, text);
        let parts = path.rsplit_once('/');
        let Some((kind, id)) = parts.and_then(|(kind, id)| Some((StreamKind::parse(kind)?, id)))
        else {
            return not_found("invalid path");
        };
        let Some(from) = headers::parse_id(id) else {
            self.note_refused(headers, Ground::NoId, id);
            return not_found("invalid from");
        };
        if self.shared.handler.is_removed(from) {
            self.note_refused(headers, Ground::Removed, id);
            return answer::text(StatusCode::GONE, "removed member");
        }
        let Some(peer) = self.peers.peer(from) else {
            self.peers.meet(&self.shared, from, &headers::sender_urls(headers));
            self.note_refused(headers, Ground::Unknown, id);
            return not_found("error sender not found");
        };
        if !self.shared.identity.is_meant(headers) {
            self.note_refused(headers, Ground::Misdirected, headers::meant(headers));
            return answer::text(StatusCode::PRECONDITION_FAILED, "to field mismatch");
        }
        answer::stream(peer.attach(kind))
    }

    /// Remembers a stranger, so that it can be answered.
    fn meet(&self, headers: &HeaderMap) {
        if let Some(from) = headers::sender(headers) {
            self.peers.meet(&self.shared, from, &headers::sender_urls(headers));
        }
    }

    fn stamped(&self, mut response: Response<Reply>) -> Response<Reply> {
        let cluster_id = self.shared.identity.cluster_id.clone();
        response.headers_mut().insert(CLUSTER_ID, cluster_id);
        response
    }

    async fn other(&self, head: Parts, body: Incoming, from: SocketAddr) -> Response<Reply> {
        let limits = &self.shared.config.limits;
        let max = limits.http_body_bytes_max;
        let (body, _hold) = match body::request(body, max, limits.read_timeout, &self.budget).await
        {
            Ok(read) => read,
            Err(unread) => return unread_answer(&unread, "error reading body"),
        };
        let (reply, answered) = net::http::responder();
        self.shared.handler.http(http_request(head, body, from), reply);
        let HttpResponse { status, headers, body } = answered.await;
        let mut response = answer::whole(status, body);
        *response.headers_mut() = headers;
        response
    }
}

fn unread_answer(unread: &Unread, text: &str) -> Response<Reply> {
    let status = match unread {
        Unread::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
        Unread::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Unread::Broken => StatusCode::BAD_REQUEST,
    };
    answer::text(status, text)
}

fn http_request(head: Parts, body: Bytes, from: SocketAddr) -> HttpRequest {
    HttpRequest {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
        peer: Some(from),
    }
}
