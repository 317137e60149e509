//! Plain HTTP: threads that call its handlers, and HTTP/1.1 by hyper. A request that waits for its
//! answer holds no thread.

use crate::h2::Released;
use crate::http::{HttpRequest, HttpResponder, HttpResponse, HttpService, responder};
use crate::permits::ConnectionPermit as Place;
use crate::stream::{Rewound, Stream};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};

/// Bodies are up to this long.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Threads that call handlers: while one makes a long page, the other has the rest.
const HANDLER_THREADS: usize = 2;
/// A client has this long for its headers, as etcd's clients do.
const HEADER_TIMEOUT: Duration = Duration::from_secs(300);

/// Serves plain requests, whichever way they came.
pub(crate) struct Web {
    service: Arc<dyn HttpService>,
    runtime: tokio::runtime::Handle,
    stopping: watch::Receiver<bool>,
    /// One is held by every open HTTP/1 connection.
    open: mpsc::WeakSender<Infallible>,
}

/// Owns the threads.
pub(crate) struct WebThreads {
    runtime: Runtime,
    stop: watch::Sender<bool>,
    open: Option<mpsc::Sender<Infallible>>,
    all_closed: mpsc::Receiver<Infallible>,
}

impl WebThreads {
    /// Starts them.
    ///
    /// # Errors
    /// Those of making threads.
    pub(crate) fn start(service: Arc<dyn HttpService>) -> io::Result<(WebThreads, Arc<Web>)> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(HANDLER_THREADS)
            .thread_name("web")
            .enable_all()
            .build()?;
        let (stop, stopping) = watch::channel(false);
        let (open, all_closed) = mpsc::channel(1);
        let web =
            Web { service, runtime: runtime.handle().clone(), stopping, open: open.downgrade() };
        Ok((WebThreads { runtime, stop, open: Some(open), all_closed }, Arc::new(web)))
    }

    /// Lets no more requests begin.
    pub(crate) fn drain(&mut self) {
        self.open = None;
        // Nobody listens only when every connection is gone already.
        let _ = self.stop.send(true);
    }

    /// Waits up to `grace` for connections, and ends.
    pub(crate) fn stop(mut self, grace: Duration) {
        self.drain();
        let mut all_closed = self.all_closed;
        self.runtime.block_on(async {
            let _ = tokio::time::timeout(grace, all_closed.recv()).await;
        });
        self.runtime.shutdown_timeout(grace);
    }
}

impl Web {
    /// Has a request answered away from the calling thread; `done` hears the answer, on any thread.
    pub(crate) fn answer(
        self: &Arc<Self>,
        request: HttpRequest,
        done: impl FnOnce(HttpResponse) + Send + 'static,
    ) {
        let web = Arc::clone(self);
        self.runtime.spawn(async move { web.service.call(request, HttpResponder::new(done)) });
    }

    /// Serves HTTP/1 on a connection of which `begin` was read already.
    pub(crate) fn adopt(
        self: &Arc<Self>,
        socket: Released,
        begin: Vec<u8>,
        peer: SocketAddr,
        place: Place,
    ) {
        let web = Arc::clone(self);
        self.runtime.spawn(async move {
            let Some(open) = web.open.upgrade() else { return };
            if let Ok(stream) = Stream::new(socket) {
                web.connection(Rewound { begin: begin.into(), stream }, peer).await;
            }
            drop((open, place));
        });
    }

    async fn connection(self: Arc<Self>, socket: Rewound, peer: SocketAddr) {
        let mut stopping = self.stopping.clone();
        let service = service_fn(move |request| {
            let web = Arc::clone(&self);
            async move { Ok::<_, Infallible>(web.serve(request, peer).await) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        let serving = builder.serve_connection(TokioIo::new(socket), service);
        tokio::pin!(serving);
        tokio::select! {
            // What breaks a connection is the client's affair.
            _ = serving.as_mut() => {}
            () = stopped(&mut stopping) => {
                serving.as_mut().graceful_shutdown();
                let _ = serving.await;
            }
        }
    }

    async fn serve(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let answer = match Limited::new(body, BODY_BYTES_MAX).collect().await {
            Ok(body) => {
                let request = HttpRequest {
                    method: head.method,
                    path: head.uri.path().to_owned(),
                    query: head.uri.query().unwrap_or_default().to_owned(),
                    headers: head.headers,
                    body: body.to_bytes(),
                    peer: Some(peer),
                };
                let (reply, answer) = responder();
                self.service.call(request, reply);
                answer.await
            }
            Err(_) => bare(StatusCode::PAYLOAD_TOO_LARGE, "body too large\n"),
        };
        let mut response = Response::new(Full::new(answer.body));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        response
    }
}

/// Waits until no more requests may begin.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // Whoever could say so is gone: that means the same.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

fn bare(status: StatusCode, text: &'static str) -> HttpResponse {
    let headers = http::HeaderMap::new();
    HttpResponse { status, headers, body: Bytes::from_static(text.as_bytes()) }
}
