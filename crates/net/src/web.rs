//! Plain HTTP: threads for its handlers, and HTTP/1.1 by hyper.

use crate::h2::Released;
use crate::http::{HttpRequest, HttpResponse, HttpService};
use crate::places::Place;
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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};

/// Bodies are up to this long.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Threads for handlers.
const HANDLER_THREADS: usize = 4;
/// Requests that are with a handler or wait for one; more are refused.
const REQUESTS_MAX: usize = 256;
/// A client has this long for its headers, as etcd's clients do.
const HEADER_TIMEOUT: Duration = Duration::from_secs(300);

/// Serves plain requests, whichever way they came.
pub(crate) struct Web {
    service: Arc<dyn HttpService>,
    runtime: tokio::runtime::Handle,
    requests: AtomicUsize,
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
            .worker_threads(1)
            .max_blocking_threads(HANDLER_THREADS)
            .thread_name("web")
            .enable_all()
            .build()?;
        let (stop, stopping) = watch::channel(false);
        let (open, all_closed) = mpsc::channel(1);
        let web = Web {
            service,
            runtime: runtime.handle().clone(),
            requests: AtomicUsize::new(0),
            stopping,
            open: open.downgrade(),
        };
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
    /// Has a request answered on a thread that may block; `done` hears the answer, on any thread.
    pub(crate) fn answer(
        self: &Arc<Self>,
        request: HttpRequest,
        done: impl FnOnce(HttpResponse) + Send + 'static,
    ) {
        let web = Arc::clone(self);
        self.runtime.spawn(async move { done(web.call(request).await) });
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
                self.call(request).await
            }
            Err(_) => bare(StatusCode::PAYLOAD_TOO_LARGE, "body too large\n"),
        };
        let mut response = Response::new(Full::new(answer.body));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        response
    }

    async fn call(&self, request: HttpRequest) -> HttpResponse {
        if self.requests.fetch_add(1, Ordering::Relaxed) >= REQUESTS_MAX {
            self.requests.fetch_sub(1, Ordering::Relaxed);
            return bare(StatusCode::SERVICE_UNAVAILABLE, "too many requests\n");
        }
        let service = Arc::clone(&self.service);
        let answer = tokio::task::spawn_blocking(move || service.call(request)).await;
        self.requests.fetch_sub(1, Ordering::Relaxed);
        answer.unwrap_or_else(|_| bare(StatusCode::INTERNAL_SERVER_ERROR, ""))
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
