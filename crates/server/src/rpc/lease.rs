//! Leases: granted and revoked through the log, kept alive by the leader alone.

use super::kv::admit;
use super::{Error, Refused, decode};
use crate::drive::Waiter;
use crate::shared::Shared;
use apply::envelope::Kind;
use apply::quota;
use bytes::Bytes;
use net::rpc::{Responder, Status, StreamHandler, StreamSender};
use prost::Message;
use proto::etcdserverpb as pb;
use std::sync::Arc;

/// `Lease.LeaseGrant`: the id is chosen here, before the log, so that every member has the same.
pub(super) fn grant(shared: &Arc<Shared>, body: &Bytes, reply: Responder) -> Result<(), Refused> {
    let (mut request, reply) = decode::<pb::LeaseGrantRequest>(body, reply)?;
    let Some(reply) = admit(shared, quota::lease_cost(), reply) else { return Ok(()) };
    if request.id == 0 {
        request.id = shared.ids.next_lease();
    }
    shared.propose(Kind::LeaseGrant, &request.encode_to_vec(), Waiter::Client(reply));
    Ok(())
}

/// `Lease.LeaseRevoke`.
pub(super) fn revoke(shared: &Arc<Shared>, body: &Bytes, reply: Responder) -> Result<(), Refused> {
    shared.propose(Kind::LeaseRevoke, body, Waiter::Client(reply));
    Ok(())
}

/// `Lease.LeaseTimeToLive`: an unknown lease has a time of -1, which is no error.
pub(super) fn time_to_live(
    shared: &Arc<Shared>,
    body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::LeaseTimeToLiveRequest>(body, reply)?;
    shared.on_apply(move |driver| {
        let shared = Arc::clone(&driver.shared);
        let now_ms = shared.now_ms();
        let found = driver.machine().lessor.time_to_live(request.id, now_ms, request.keys);
        let header = Some(shared.header_message(shared.reader.revision()));
        let response = match found {
            Some(found) => pb::LeaseTimeToLiveResponse {
                header,
                id: request.id,
                ttl: found.remaining_s,
                granted_ttl: found.granted_s,
                keys: found.keys,
            },
            None => pb::LeaseTimeToLiveResponse {
                header,
                id: request.id,
                ttl: -1,
                ..Default::default()
            },
        };
        reply.reply(response.encode_to_vec().into());
    });
    Ok(())
}

/// `Lease.LeaseLeases`.
pub(super) fn leases(shared: &Arc<Shared>, reply: Responder) -> Result<(), Refused> {
    shared.on_apply(move |driver| {
        let shared = Arc::clone(&driver.shared);
        let leases = driver.machine().lessor.leases();
        let response = pb::LeaseLeasesResponse {
            header: Some(shared.header_message(shared.reader.revision())),
            leases: leases.into_iter().map(|id| pb::LeaseStatus { id }).collect(),
        };
        reply.reply(response.encode_to_vec().into());
    });
    Ok(())
}

/// `Lease.LeaseKeepAlive`.
pub(super) fn keep_alive(shared: Arc<Shared>, out: StreamSender) -> Box<dyn StreamHandler> {
    Box::new(KeepAlive { shared, out })
}

struct KeepAlive {
    shared: Arc<Shared>,
    out: StreamSender,
}

impl StreamHandler for KeepAlive {
    fn message(&mut self, body: Bytes) {
        let Ok(request) = pb::LeaseKeepAliveRequest::decode(body) else {
            self.shared.metrics.calls.stream_failed("receive", "lease-keepalive");
            return self.out.finish(Error::Malformed);
        };
        let out = self.out.clone();
        self.shared.on_apply(move |driver| {
            let shared = Arc::clone(&driver.shared);
            // The header first: its revision must not be newer than the renewal.
            let header = Some(shared.header_message(shared.reader.revision()));
            let now_ms = shared.now_ms();
            let lessor = &mut driver.machine().lessor;
            if !lessor.is_primary() {
                return out.finish(Error::NoLeader);
            }
            // A lease that is gone has a time of 0, which is no error.
            let renewed = lessor.renew(request.id, now_ms);
            if renewed.is_ok() {
                shared.metrics.leases.renewed.inc();
            }
            let ttl = renewed.unwrap_or(0);
            let response = pb::LeaseKeepAliveResponse { header, id: request.id, ttl };
            out.send(response.encode_to_vec().into());
        });
    }

    fn half_close(&mut self) {
        // After the answers that are on their way.
        let out = self.out.clone();
        self.shared.on_apply(move |_| out.finish(Status::OK));
    }

    fn writable(&mut self) {}

    fn closed(&mut self) {}
}
