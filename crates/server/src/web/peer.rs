//! The peer port: what other members and their tools ask over plain HTTP
//! (reference: `server/etcdserver/api/etcdhttp/peer.go`, `rafthttp/transport.go`).

use super::{ANSWER_TIMEOUT, Promise, http_value, not_found, response, version};
use crate::shared::Shared;
use bytes::Bytes;
use net::http::{HeaderValue, HttpRequest, HttpResponse, HttpService};
use net::rpc::{
    CallHead, Code, GrpcService, Method, Responder, Status, StreamHandler, StreamSender,
};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

const PLAIN: &str = "text/plain; charset=utf-8";

/// Everything served to other members. Raft's own messages have no place yet: a cluster of one
/// has nobody to hear from.
pub(crate) struct PeerWeb {
    pub(crate) shared: Arc<Shared>,
}

impl HttpService for PeerWeb {
    fn call(&self, request: HttpRequest) -> HttpResponse {
        match request.path.as_str() {
            "/version" => only("GET", &request, || version(&self.shared)),
            "/members" => only("GET", &request, || self.members()),
            "/raft/probing" => response(200, PLAIN, probe(SystemTime::now())),
            "/raft" => only("POST", &request, not_found),
            _ => not_found(),
        }
    }
}

impl PeerWeb {
    fn members(&self) -> HttpResponse {
        let promise = Promise::new();
        let promised = Arc::clone(&promise);
        self.shared.on_apply(move |driver| {
            let list = driver.machine().members.list().map(|member| member.to_json());
            promised.give(list.collect::<Vec<_>>());
        });
        let Some(members) = promise.wait(ANSWER_TIMEOUT) else {
            return response(503, PLAIN, "etcdserver: request timed out\n");
        };
        let mut body = b"[".to_vec();
        body.extend(members.join(&b','));
        body.extend_from_slice(b"]\n");
        let mut answer = response(200, "application/json", body);
        let id = format!("{:x}", self.shared.cluster_id);
        if let Ok(id) = HeaderValue::try_from(id) {
            answer.headers.insert("x-etcd-cluster-id", id);
        }
        answer
    }
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
    let mut refused = response(405, PLAIN, "Method Not Allowed\n");
    refused.headers.insert("allow", http_value(method));
    refused.headers.insert("x-content-type-options", http_value("nosniff"));
    refused
}

/// That the member is there, and its clock: members tell each other how far theirs are apart.
fn probe(now: SystemTime) -> Bytes {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = civil((since.as_secs() / 86_400) as i64);
    let second = since.as_secs() % 86_400;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let nanos = since.subsec_nanos();
    let time =
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z");
    format!("{{\"OK\":true,\"Now\":\"{time}\"}}\n").into()
}

/// A day since 1970 as a date (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let (era, doe) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

/// The peer port serves no gRPC.
pub(crate) struct NoCalls;

fn unserved() -> Status {
    Status::new(Code::Unimplemented, "peers serve no gRPC")
}

impl GrpcService for NoCalls {
    fn lookup(&self, _path: &str) -> Result<Method, Status> {
        Err(unserved())
    }

    fn unary(&self, _method: u16, _head: &CallHead, _body: Bytes, reply: Responder) {
        reply.fail(unserved());
    }

    fn stream(
        &self,
        _method: u16,
        _head: &CallHead,
        _out: StreamSender,
    ) -> Result<Box<dyn StreamHandler>, Status> {
        Err(unserved())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_probe_tells_the_time_as_go_does() {
        let now = UNIX_EPOCH + Duration::new(1_795_248_286, 408_758_629);
        assert_eq!(probe(now), "{\"OK\":true,\"Now\":\"2026-11-21T08:04:46.408758629Z\"}\n");
    }
}
