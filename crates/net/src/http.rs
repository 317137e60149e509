//! Plain HTTP as handlers see it: everything that is no gRPC call.

use bytes::Bytes;
pub use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::future::Future;
use std::net::SocketAddr;

/// A request with its whole body.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The query, without the question mark.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Who asks.
    pub peer: Option<SocketAddr>,
}

/// A response with its whole body.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers; the length is added.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Everything served over plain HTTP.
pub trait HttpService: Send + Sync + 'static {
    /// Answers a request: now, or later and from elsewhere. Must not block, for other requests are
    /// called on the same thread. A service bounds how many answers it owes.
    fn call(&self, request: HttpRequest, reply: HttpResponder);
}

type Give = Box<dyn FnOnce(HttpResponse) + Send>;

/// Answers one request, once. Dropped without an answer, it says that the server has stopped.
pub struct HttpResponder {
    give: Option<Give>,
}

impl HttpResponder {
    /// For a transport: `give` takes the answer, on any thread.
    pub fn new(give: impl FnOnce(HttpResponse) + Send + 'static) -> HttpResponder {
        HttpResponder { give: Some(Box::new(give)) }
    }

    /// Answers.
    pub fn reply(mut self, response: HttpResponse) {
        self.answer(response);
    }

    fn answer(&mut self, response: HttpResponse) {
        if let Some(give) = self.give.take() {
            give(response);
        }
    }
}

impl Drop for HttpResponder {
    fn drop(&mut self) {
        if self.give.is_some() {
            self.answer(stopped());
        }
    }
}

/// A responder, and the answer that comes of it.
pub fn responder() -> (HttpResponder, impl Future<Output = HttpResponse> + Send) {
    let (give, given) = tokio::sync::oneshot::channel();
    // Where nobody waits any more, nobody misses the answer.
    let reply = HttpResponder::new(move |response| drop(give.send(response)));
    (reply, async move { given.await.unwrap_or_else(|_| stopped()) })
}

fn stopped() -> HttpResponse {
    let body = Bytes::from_static(b"etcdserver: server stopped\n");
    HttpResponse { status: StatusCode::SERVICE_UNAVAILABLE, headers: HeaderMap::new(), body }
}
