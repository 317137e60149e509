//! Plain HTTP as handlers see it: everything that is no gRPC call.

use bytes::Bytes;
pub use http::{HeaderMap, HeaderValue, Method, StatusCode};
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

/// Everything served over plain HTTP. May block for as long as an answer takes: it is called on
/// threads of its own.
pub trait HttpService: Send + Sync + 'static {
    /// Answers a request.
    fn call(&self, request: HttpRequest) -> HttpResponse;
}
