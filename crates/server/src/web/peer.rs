//! The peer port: what other members and their tools ask over plain HTTP
//! (reference: `server/etcdserver/api/etcdhttp/peer.go`, `rafthttp/transport.go`).

use super::{PLAIN, not_found, only, response, version};
use crate::shared::Shared;
use bytes::Bytes;
use mvcc::HashKv;
use net::http::{HeaderValue, HttpRequest, HttpResponder, HttpResponse, HttpService};
use prost::Message;
use proto::etcdserverpb as pb;
use proto::leasepb;
use services::cluster::{PROMOTE_PATH, promote_member};
use services::{Call, Error, Services, forward, lease};
use std::sync::Arc;
use std::time::SystemTime;

const PROTOBUF: &str = "application/protobuf";
const LEASE_NOT_FOUND: &str = "lease not found\n";
const CLUSTER_ID: &str = "x-etcd-cluster-id";
const NOT_PRIMARY: &str = "not a primary lessor\n";
const NOT_APPLIED: &str = "waiting for node to catch up its applied index has timed out\n";

/// Everything served to other members but raft's own messages, which `peer` takes.
pub(crate) struct PeerWeb {
    pub(crate) shared: Arc<Shared>,
}

impl HttpService for PeerWeb {
    fn call(&self, request: HttpRequest, reply: HttpResponder) {
        let shared = &self.shared;
        match request.path.as_str() {
            "/version" => only("GET", &request, reply, |reply| reply.reply(version(shared))),
            "/members" => only("GET", &request, reply, |reply| reply.reply(members(shared))),
            "/raft/probing" => reply.reply(response(200, PLAIN, probe(SystemTime::now()))),
            "/raft" => only("POST", &request, reply, |reply| reply.reply(not_found())),
            forward::RENEW_PATH => {
                only("POST", &request, reply, |reply| self.renew(&request, reply));
            }
            forward::TIME_TO_LIVE_PATH => {
                only("POST", &request, reply, |reply| self.time_to_live(&request, reply));
            }
            "/members/hashkv" => {
                only("GET", &request, reply, |reply| hash_kv(shared, &request, reply));
            }
            "/downgrade/enabled" => only("GET", &request, reply, |reply| {
                let enabled = shared.ports.roster.members().downgrade().enabled;
                reply.reply(response(200, PLAIN, enabled.to_string()));
            }),
            path => match path.strip_prefix(PROMOTE_PATH) {
                Some(id) => only("POST", &request, reply, |reply| self.promote(id, reply)),
                None => reply.reply(not_found()),
            },
        }
    }
}

impl PeerWeb {
    /// Has something found out elsewhere, and answers then; not where too many answers are owed.
    fn later<T: Send + 'static>(
        &self,
        reply: HttpResponder,
        ask: impl FnOnce(&Arc<Services>, Later<T>),
        answer: impl FnOnce(&Shared, Result<T, Error>) -> HttpResponse + Send + 'static,
    ) {
        let Some(place) = self.shared.peer_pages.enter() else {
            return reply.reply(response(503, PLAIN, "etcdserver: too many requests\n"));
        };
        let inner = Arc::clone(&self.shared);
        let then = move |result| {
            drop(place);
            reply.reply(answer(&inner, result));
        };
        ask(&self.shared.services, Box::new(then));
    }

    fn renew(&self, request: &HttpRequest, reply: HttpResponder) {
        let Ok(request) = pb::LeaseKeepAliveRequest::decode(request.body.clone()) else {
            return reply.reply(response(400, PLAIN, "error unmarshalling request\n"));
        };
        let id = request.id;
        self.later(
            reply,
            |services, then| lease::renew_here(services, id, then),
            move |_, renewed| match renewed {
                Ok(0) => response(404, PLAIN, LEASE_NOT_FOUND),
                Ok(ttl) => {
                    let renewed = pb::LeaseKeepAliveResponse { header: None, id, ttl };
                    response(200, PROTOBUF, renewed.encode_to_vec())
                }
                Err(Error::ApplyTimeout) => response(408, PLAIN, NOT_APPLIED),
                Err(_) => response(400, PLAIN, NOT_PRIMARY),
            },
        );
    }

    fn time_to_live(&self, request: &HttpRequest, reply: HttpResponder) {
        let decoded = leasepb::LeaseInternalRequest::decode(request.body.clone());
        let Some(asked) = decoded.ok().and_then(|request| request.lease_time_to_live_request)
        else {
            return reply.reply(response(400, PLAIN, "error unmarshalling request\n"));
        };
        self.later(
            reply,
            |services, then| lease::time_to_live_here(services, asked, then),
            |_, found| match found {
                Ok(found) if found.ttl < 0 && found.granted_ttl == 0 => {
                    response(404, PLAIN, LEASE_NOT_FOUND)
                }
                Ok(mut found) => {
                    found.header = Some(pb::ResponseHeader::default());
                    let found =
                        leasepb::LeaseInternalResponse { lease_time_to_live_response: Some(found) };
                    response(200, PROTOBUF, found.encode_to_vec())
                }
                Err(Error::ApplyTimeout) => response(408, PLAIN, NOT_APPLIED),
                Err(_) => response(500, PLAIN, NOT_PRIMARY),
            },
        );
    }

    fn promote(&self, id: &str, reply: HttpResponder) {
        let Ok(id) = id.parse() else {
            let id = id.escape_debug();
            return reply.reply(response(
                404,
                PLAIN,
                format!("member {id} not found in cluster\n"),
            ));
        };
        self.later(
            reply,
            |services, then| promote_member(services, &Call::default(), id, then),
            move |shared, promoted| match promoted {
                Ok(()) => members(shared),
                Err(error) => {
                    services::lines::not_promoted(id, &error);
                    not_promoted(error)
                }
            },
        );
    }
}

/// What hears of something found out elsewhere.
type Later<T> = Box<dyn FnOnce(Result<T, Error>) + Send>;

fn not_promoted(error: Error) -> HttpResponse {
    let status = match error {
        Error::MemberNotFound => 404,
        Error::MemberNotLearner | Error::LearnerNotReady => 412,
        _ => 500,
    };
    response(status, PLAIN, format!("{}\n", error.code_and_text().1))
}

fn members(shared: &Shared) -> HttpResponse {
    let members = shared.ports.roster.members();
    let members: Vec<_> = members.list().map(|member| member.to_json()).collect();
    let mut body = b"[".to_vec();
    body.extend(members.join(&b','));
    body.extend_from_slice(b"]\n");
    json(shared, body)
}

/// What members compare that suspect each other's data
/// (reference: `hashKVHandler` in `server/etcdserver/corrupt.go`).
fn hash_kv(shared: &Arc<Shared>, request: &HttpRequest, reply: HttpResponder) {
    let asked = request.headers.get(CLUSTER_ID).map_or(&b""[..], HeaderValue::as_bytes);
    if !asked.is_empty() && asked != format!("{:x}", shared.cluster_id).as_bytes() {
        return reply.reply(response(412, PLAIN, "cluster ID mismatch\n"));
    }
    let Some(revision) = asked_revision(&request.body) else {
        return reply.reply(response(400, PLAIN, "error unmarshalling request\n"));
    };
    let inner = Arc::clone(shared);
    shared.services.in_hashes(move |room| {
        let found =
            room.and_then(|()| inner.common().reader.hash_kv(revision).map_err(Error::from));
        reply.reply(match found {
            Ok(found) => hash_page(&inner, &found),
            Err(error) => {
                let (_, text) = error.code_and_text();
                let text = text.strip_prefix("etcdserver: ").unwrap_or(text);
                response(400, PLAIN, format!("{text}\n"))
            }
        });
    });
}

fn hash_page(shared: &Shared, found: &HashKv) -> HttpResponse {
    let mut body = serde_json::json!({
        "header": {"revision": found.revision},
        "hash": found.hash,
        "compact_revision": found.compact_revision,
        "hash_revision": found.hash_revision,
    });
    if let Some(body) = body.as_object_mut() {
        body.retain(|_, value| *value != 0);
    }
    json(shared, body.to_string())
}

fn json(shared: &Shared, body: impl Into<Bytes>) -> HttpResponse {
    let mut answer = response(200, "application/json", body);
    let id = format!("{:x}", shared.cluster_id);
    if let Ok(id) = HeaderValue::try_from(id) {
        answer.headers.insert(CLUSTER_ID, id);
    }
    answer
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

/// The answer to a probe: the time of this member, by which the other one knows how far the clocks are apart.
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
