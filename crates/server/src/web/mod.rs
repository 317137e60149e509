//! Plain HTTP: version, health, metrics, variables. A page that waits is a state, not a thread.

mod health;
mod metrics_page;
mod peer;
mod probes;
mod vars;

pub(crate) use peer::PeerWeb;
pub(crate) use probes::{NoCalls, Probes};

use crate::shared::Shared;
use bytes::Bytes;
use metrics_page::MetricsPage;
use net::http::{HttpRequest, HttpResponder, HttpResponse, HttpService};
use services::Front;
use std::sync::Arc;

const PLAIN: &str = "text/plain; charset=utf-8";

/// Everything served over plain HTTP.
pub(crate) struct Web {
    pub(crate) shared: Arc<Shared>,
    metrics: Arc<MetricsPage>,
}

impl HttpService for Web {
    fn call(&self, request: HttpRequest, reply: HttpResponder) {
        let reply = HttpResponder::new(move |answer| reply.reply(with_cors(answer)));
        if request.method == "OPTIONS" {
            let (status, headers) = (net::http::StatusCode::OK, net::http::HeaderMap::new());
            return reply.reply(HttpResponse { status, headers, body: Bytes::new() });
        }
        self.answer(&request, reply);
    }
}

impl Web {
    /// The pages of a member, with the calls that `front` counts.
    pub(crate) fn new(shared: Arc<Shared>, front: Arc<Front>) -> Web {
        let metrics = MetricsPage::new(Arc::clone(&shared), front);
        Web { shared, metrics }
    }

    fn answer(&self, request: &HttpRequest, reply: HttpResponder) {
        let (shared, query) = (&self.shared, request.query.as_str());
        match request.path.as_str() {
            "/version" => only("GET", request, reply, |reply| reply.reply(version(shared))),
            "/metrics" => self.metrics.answer(reply),
            "/health" => {
                only("GET", request, reply, |reply| health::health(shared, query, reply));
            }
            vars::PATH => only("GET", request, reply, |reply| vars::answer(shared, reply)),
            path => match health::Page::find(path) {
                Some(page) => {
                    only("GET", request, reply, |reply| page.answer(shared, query, reply));
                }
                None => reply.reply(not_found()),
            },
        }
    }
}

/// The versions of the server, the cluster and the storage.
fn version(shared: &Shared) -> HttpResponse {
    let members = shared.ports.roster.members();
    let storage = shared.storage_version.read().clone();
    let body = serde_json::json!({
        "etcdserver": proto::VERSION,
        "etcdcluster": members.cluster_version().unwrap_or("not_decided"),
        "storage": storage.as_deref().unwrap_or("unknown"),
    });
    response(200, "application/json", body.to_string())
}

/// Go's answer to a path that is not served.
fn not_found() -> HttpResponse {
    let mut answer = response(404, PLAIN, "404 page not found\n");
    answer.headers.insert("x-content-type-options", http_value("nosniff"));
    answer
}

/// Answers one method, as Go's handlers refuse the others.
fn only(
    method: &'static str,
    request: &HttpRequest,
    reply: HttpResponder,
    answer: impl FnOnce(HttpResponder),
) {
    if request.method == method {
        return answer(reply);
    }
    let mut refused = response(405, PLAIN, "Method Not Allowed\n");
    refused.headers.insert("allow", http_value(method));
    refused.headers.insert("x-content-type-options", http_value("nosniff"));
    reply.reply(refused);
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

#[cfg(test)]
mod tests {
    use crate::testing::Bench;
    use crate::waiting_pages::PAGES_MAX;
    use std::time::Duration;

    #[test]
    fn pages_that_wait_hold_up_no_others_and_are_limited() {
        let bench = Bench::start_without_company();
        let waiting: Vec<_> = (0..PAGES_MAX).map(|_| bench.page("/readyz")).collect();
        let soon = |path: &str| bench.page(path).try_recv().expect("it does not wait");
        for path in ["/livez", "/version", "/readyz/serializable_read"] {
            assert_eq!(soon(path).0, 200, "{path}");
        }
        assert_eq!(
            soon("/health"),
            (503, "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n".into())
        );
        assert_eq!(soon("/health?serializable=true").0, 200);
        let (status, text) = soon("/readyz");
        assert_eq!(status, 503);
        assert!(
            text.contains("[-]linearizable_read failed: etcdserver: too many requests"),
            "{text}"
        );
        assert_eq!(soon("/debug/vars").0, 503);
        for page in waiting {
            let (status, text) =
                page.recv_timeout(Duration::from_secs(60)).expect("it is answered");
            assert_eq!(status, 503);
            assert!(
                text.contains("linearizable_read failed: etcdserver: request timed out"),
                "{text}"
            );
        }
        let vars = bench.page("/debug/vars").recv_timeout(Duration::from_secs(60));
        assert!(vars.expect("it is answered").1.contains("\"raft.status\": {"));
    }
}
