//! The peer port: what other members and their tools ask over plain HTTP
//! (reference: `server/etcdserver/api/etcdhttp/peer.go`, `rafthttp/transport.go`).

use super::{ANSWER_TIMEOUT, Promise, not_found, only, response, version};
use crate::rpc::cluster::{PROMOTE_PATH, promote_member};
use crate::rpc::{Error, forward, lease};
use crate::shared::Shared;
use bytes::Bytes;
use net::http::{HeaderValue, HttpRequest, HttpResponse, HttpService};
use prost::Message;
use proto::etcdserverpb as pb;
use proto::leasepb;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

const PROTOBUF: &str = "application/protobuf";
const LEASE_NOT_FOUND: &str = "lease not found\n";
const CLUSTER_ID: &str = "x-etcd-cluster-id";
const PLAIN: &str = "text/plain; charset=utf-8";

/// Everything served to other members but raft's own messages, which `peer` takes.
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
            forward::RENEW_PATH => only("POST", &request, || self.renew(&request)),
            forward::TIME_TO_LIVE_PATH => only("POST", &request, || self.time_to_live(&request)),
            "/members/hashkv" => only("GET", &request, || self.hash_kv(&request)),
            "/downgrade/enabled" => only("GET", &request, || {
                let enabled = self.shared.roster.members().downgrade().enabled;
                response(200, PLAIN, enabled.to_string())
            }),
            path => match path.strip_prefix(PROMOTE_PATH) {
                Some(id) => only("POST", &request, || self.promote(id)),
                None => not_found(),
            },
        }
    }
}

impl PeerWeb {
    /// Waits for what another thread finds out.
    fn wait<T: Send + 'static>(
        ask: impl FnOnce(Box<dyn FnOnce(Result<T, Error>) + Send>),
    ) -> Result<T, Error> {
        let promise = Promise::new();
        let promised = Arc::clone(&promise);
        ask(Box::new(move |result| promised.give(result)));
        promise.wait(ANSWER_TIMEOUT).unwrap_or(Err(Error::Timeout))
    }

    fn renew(&self, request: &HttpRequest) -> HttpResponse {
        let Ok(request) = pb::LeaseKeepAliveRequest::decode(request.body.clone()) else {
            return response(400, PLAIN, "error unmarshalling request\n");
        };
        match Self::wait(|then| lease::renew_here(&self.shared, request.id, then)) {
            Ok(0) => response(404, PLAIN, LEASE_NOT_FOUND),
            Ok(ttl) => {
                let renewed = pb::LeaseKeepAliveResponse { header: None, id: request.id, ttl };
                response(200, PROTOBUF, renewed.encode_to_vec())
            }
            Err(_) => response(400, PLAIN, "not a primary lessor\n"),
        }
    }

    fn time_to_live(&self, request: &HttpRequest) -> HttpResponse {
        let decoded = leasepb::LeaseInternalRequest::decode(request.body.clone());
        let Some(asked) = decoded.ok().and_then(|request| request.lease_time_to_live_request)
        else {
            return response(400, PLAIN, "error unmarshalling request\n");
        };
        if !self.shared.gauges.leads.load(Ordering::Acquire) {
            return response(500, PLAIN, "not a primary lessor\n");
        }
        match Self::wait(|then| lease::time_to_live_here(&self.shared, asked, then)) {
            Ok(found) if found.ttl < 0 => response(404, PLAIN, LEASE_NOT_FOUND),
            Ok(mut found) => {
                found.header = Some(pb::ResponseHeader::default());
                let found =
                    leasepb::LeaseInternalResponse { lease_time_to_live_response: Some(found) };
                response(200, PROTOBUF, found.encode_to_vec())
            }
            Err(_) => response(500, PLAIN, "not a primary lessor\n"),
        }
    }

    fn promote(&self, id: &str) -> HttpResponse {
        let Ok(id) = id.parse() else {
            let id = id.escape_debug();
            return response(404, PLAIN, format!("member {id} not found in cluster\n"));
        };
        match Self::wait(|then| promote_member(&self.shared, id, then)) {
            Ok(()) => self.members(),
            Err(error @ Error::MemberNotFound) => {
                response(404, PLAIN, format!("{}\n", error.code_and_text().1))
            }
            Err(error @ (Error::MemberNotLearner | Error::LearnerNotReady)) => {
                response(412, PLAIN, format!("{}\n", error.code_and_text().1))
            }
            Err(error) => response(500, PLAIN, format!("{}\n", error.code_and_text().1)),
        }
    }

    fn members(&self) -> HttpResponse {
        let members = self.shared.roster.members();
        let members: Vec<_> = members.list().map(|member| member.to_json()).collect();
        let mut body = b"[".to_vec();
        body.extend(members.join(&b','));
        body.extend_from_slice(b"]\n");
        self.json(body)
    }

    /// What members compare that suspect each other's data
    /// (reference: `hashKVHandler` in `server/etcdserver/corrupt.go`).
    fn hash_kv(&self, request: &HttpRequest) -> HttpResponse {
        let asked = request.headers.get(CLUSTER_ID).map_or(&b""[..], HeaderValue::as_bytes);
        if !asked.is_empty() && asked != format!("{:x}", self.shared.cluster_id).as_bytes() {
            return response(412, PLAIN, "cluster ID mismatch\n");
        }
        let Some(revision) = asked_revision(&request.body) else {
            return response(400, PLAIN, "error unmarshalling request\n");
        };
        let found = match self.shared.reader.hash_kv(revision) {
            Ok(found) => found,
            Err(refusal) => {
                let (_, text) = Error::from(refusal).code_and_text();
                let text = text.strip_prefix("etcdserver: ").unwrap_or(text);
                return response(400, PLAIN, format!("{text}\n"));
            }
        };
        let mut body = serde_json::json!({
            "header": {"revision": found.revision},
            "hash": found.hash,
            "compact_revision": found.compact_revision,
            "hash_revision": found.hash_revision,
        });
        if let Some(body) = body.as_object_mut() {
            body.retain(|_, value| *value != 0);
        }
        self.json(body.to_string())
    }

    fn json(&self, body: impl Into<Bytes>) -> HttpResponse {
        let mut answer = response(200, "application/json", body);
        let id = format!("{:x}", self.shared.cluster_id);
        if let Ok(id) = HeaderValue::try_from(id) {
            answer.headers.insert(CLUSTER_ID, id);
        }
        answer
    }
}

/// The revision of a request in JSON, 0 where it names none.
fn asked_revision(body: &[u8]) -> Option<i64> {
    match serde_json::from_slice(body).ok()? {
        serde_json::Value::Null => Some(0),
        serde_json::Value::Object(fields) => match fields.get("revision") {
            None | Some(serde_json::Value::Null) => Some(0),
            Some(revision) => revision.as_i64(),
        },
        _ => None,
    }
}

/// That the member is there, and its clock: members tell each other how far theirs are apart.
fn probe(now: SystemTime) -> Bytes {
    let time = humantime::format_rfc3339_nanos(now);
    format!("{{\"OK\":true,\"Now\":\"{time}\"}}\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_probe_tells_the_time_as_go_does() {
        let now = UNIX_EPOCH + Duration::new(1_795_248_286, 408_758_629);
        assert_eq!(probe(now), "{\"OK\":true,\"Now\":\"2026-11-21T08:04:46.408758629Z\"}\n");
    }
}
