//! Plain HTTP: version, health, metrics.

mod health;
mod peer;
mod probes;

pub(crate) use peer::PeerWeb;
pub(crate) use probes::{NoCalls, Probes};

use crate::rpc::Meter;
use crate::shared::Shared;
use bytes::Bytes;
use net::http::{HttpRequest, HttpResponse, HttpService};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::time::Duration;

/// How long a question to the apply thread may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(7);

const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// Everything served over plain HTTP.
pub(crate) struct Web {
    pub(crate) shared: Arc<Shared>,
    pub(crate) meter: Arc<Meter>,
}

impl HttpService for Web {
    fn call(&self, request: HttpRequest) -> HttpResponse {
        if request.method == "OPTIONS" {
            let (status, headers) = (net::http::StatusCode::OK, net::http::HeaderMap::new());
            return with_cors(HttpResponse { status, headers, body: Bytes::new() });
        }
        with_cors(self.answer(&request))
    }
}

impl Web {
    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        match request.path.as_str() {
            "/version" => only("GET", request, || version(&self.shared)),
            "/metrics" => {
                let text = self.shared.metrics.text(&self.shared, &self.meter.counts);
                response(200, METRICS_TYPE, text)
            }
            "/health" => only("GET", request, || health::health(&self.shared, &request.query)),
            path => match health::Page::find(path) {
                Some(page) => only("GET", request, || page.answer(&self.shared, &request.query)),
                None => not_found(),
            },
        }
    }
}

/// The versions of the server, the cluster and the storage.
fn version(shared: &Shared) -> HttpResponse {
    let promise = Promise::new();
    let promised = Arc::clone(&promise);
    shared.on_apply(move |driver| {
        let machine = driver.machine();
        let cluster = machine.members.cluster_version().map(str::to_owned);
        promised.give((cluster, machine.storage_version()));
    });
    let (cluster, storage) = promise.wait(ANSWER_TIMEOUT).unwrap_or_default();
    let body = serde_json::json!({
        "etcdserver": crate::VERSION,
        "etcdcluster": cluster.as_deref().unwrap_or("not_decided"),
        "storage": storage.map_or_else(|| "unknown".to_owned(), |version| version.to_string()),
    });
    response(200, "application/json", body.to_string())
}

/// Go's answer to a path that is not served.
fn not_found() -> HttpResponse {
    let mut answer = response(404, "text/plain; charset=utf-8", "404 page not found\n");
    answer.headers.insert("x-content-type-options", http_value("nosniff"));
    answer
}

/// Answers one method, as Go's handlers refuse the others.
fn only(
    method: &'static str,
    request: &HttpRequest,
    answer: impl FnOnce() -> HttpResponse,
) -> HttpResponse {
    if request.method == method {
        return answer();
    }
    let mut refused = response(405, "text/plain; charset=utf-8", "Method Not Allowed\n");
    refused.headers.insert("allow", http_value(method));
    refused.headers.insert("x-content-type-options", http_value("nosniff"));
    refused
}

fn http_value(text: &'static str) -> net::http::HeaderValue {
    net::http::HeaderValue::from_static(text)
}

/// A response with a body of one kind.
pub(crate) fn response(
    status: u16,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> HttpResponse {
    let mut headers = net::http::HeaderMap::new();
    headers.insert("content-type", http_value(content_type));
    let status = net::http::StatusCode::from_u16(status).expect("a status of ours is sound");
    HttpResponse { status, headers, body: body.into() }
}

/// Pages of any origin may ask.
fn with_cors(mut response: HttpResponse) -> HttpResponse {
    for (name, value) in [
        ("access-control-allow-methods", "POST, GET, OPTIONS, PUT, DELETE"),
        ("access-control-allow-origin", "*"),
        ("access-control-allow-headers", "accept, content-type, authorization"),
    ] {
        response.headers.insert(name, http_value(value));
    }
    response
}

/// A value that another thread will give.
pub(crate) struct Promise<T> {
    slot: Mutex<Option<T>>,
    given: Condvar,
}

impl<T> Promise<T> {
    /// Nothing given yet.
    pub(crate) fn new() -> Arc<Promise<T>> {
        Arc::new(Promise { slot: Mutex::new(None), given: Condvar::new() })
    }

    /// Gives the value.
    pub(crate) fn give(&self, value: T) {
        *self.slot.lock() = Some(value);
        self.given.notify_all();
    }

    /// Whether it was given, not taken, and is such a one.
    pub(crate) fn is_given_and(&self, is_such: impl FnOnce(&T) -> bool) -> bool {
        self.slot.lock().as_ref().is_some_and(is_such)
    }

    /// Whether it was given and not taken.
    pub(crate) fn is_given(&self) -> bool {
        self.slot.lock().is_some()
    }

    /// Waits for it.
    pub(crate) fn wait(&self, limit: Duration) -> Option<T> {
        let mut slot = self.slot.lock();
        if slot.is_none() {
            self.given.wait_for(&mut slot, limit);
        }
        slot.take()
    }
}
