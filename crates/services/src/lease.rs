//! Leases: granted and revoked through the log, kept alive by the leader alone.

use crate::caller::{Waiter, ticket};
use crate::forward::{self, TimeToLive};
use crate::kv::admit;
use crate::refused::{Refused, decode};
use crate::{Call, Error, Services};
use apply::Kind;
use apply::quota;
use bytes::Bytes;
use net::rpc::{Responder, Status, StreamHandler, StreamSender};
use prost::Message;
use proto::etcdserverpb as pb;
use replica::turn::{Ask, Failure, Renewal, Renewed};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A keep-alive stream is ended on which this many requests wait. Clients renew all their leases in
/// one burst, tens of thousands.
const RENEWALS_MAX: usize = 250_000;
/// A keep-alive stream is ended on which this many bytes of responses are not read.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// `Lease.LeaseGrant`.
pub(crate) fn grant(
    services: &Arc<Services>,
    call: &Call,
    body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::LeaseGrantRequest>(body, reply)?;
    grant_as(services, call, request, Waiter::Client(reply));
    Ok(())
}

/// A grant; the id is chosen before the log, so that every member has the same.
pub(crate) fn grant_as(
    services: &Services,
    call: &Call,
    mut request: pb::LeaseGrantRequest,
    waiter: Waiter,
) {
    let Some(waiter) = admit(services, call, quota::lease_cost(), waiter) else { return };
    if request.id == 0 {
        request.id = services.common().ids.next_lease();
    }
    services.propose(call, Kind::LeaseGrant, &request.encode_to_vec(), waiter);
}

/// `Lease.LeaseRevoke`.
pub(crate) fn revoke(
    services: &Arc<Services>,
    call: &Call,
    body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    services.propose(call, Kind::LeaseRevoke, body, Waiter::Client(reply));
    Ok(())
}

/// `Lease.LeaseTimeToLive`: an unknown lease has a time of -1, which is no error.
pub(crate) fn time_to_live(
    services: &Arc<Services>,
    _call: &Call,
    body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::LeaseTimeToLiveRequest>(body, reply)?;
    let inner = Arc::clone(services);
    let answer = Box::new(move |result: Result<pb::LeaseTimeToLiveResponse, Error>| match result {
        Ok(mut response) => {
            response.header = Some(inner.header_message(inner.reader.revision()));
            reply.reply(response.encode_to_vec().into());
        }
        Err(error) => reply.fail(error),
    });
    if services.figures().leads() {
        time_to_live_here(services, request, answer);
    } else {
        forward::time_to_live(services, request, answer);
    }
    Ok(())
}

/// What this member knows of a lease, as the leader.
pub fn time_to_live_here(
    services: &Arc<Services>,
    request: pb::LeaseTimeToLiveRequest,
    then: TimeToLive,
) {
    let (id, keys) = (request.id, request.keys);
    let ticket = ticket(move |found: Result<Option<lease::TimeToLive>, Failure>| {
        then(found.map_err(Error::from).map(|found| match found {
            Some(found) => pb::LeaseTimeToLiveResponse {
                header: None,
                id,
                ttl: found.remaining_s,
                granted_ttl: found.granted_s,
                keys: found.keys,
            },
            None => pb::LeaseTimeToLiveResponse { id, ttl: -1, ..Default::default() },
        }));
    });
    services.ask(Ask::TimeToLive { id, keys, ticket });
}

/// `Lease.LeaseLeases`.
pub(crate) fn leases(
    services: &Arc<Services>,
    _call: &Call,
    _body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let inner = Arc::clone(services);
    services.ask(Ask::Leases(ticket(move |leases: Vec<i64>| {
        let response = pb::LeaseLeasesResponse {
            header: Some(inner.header_message(inner.reader.revision())),
            leases: leases.into_iter().map(|id| pb::LeaseStatus { id }).collect(),
        };
        reply.reply(response.encode_to_vec().into());
    })));
    Ok(())
}

/// `Lease.LeaseKeepAlive`.
pub(crate) fn keep_alive(
    services: &Arc<Services>,
    call: &Call,
    out: StreamSender,
) -> Box<dyn StreamHandler> {
    let services = Arc::clone(services);
    Box::new(KeepAlive {
        services,
        call: call.clone(),
        responses: Arc::new(ResponseStream::new(out)),
    })
}

struct KeepAlive {
    services: Arc<Services>,
    /// Who renews.
    call: Call,
    responses: Arc<ResponseStream>,
}

/// The responses to the client, and whether any more of them may be sent.
struct ResponseStream {
    out: StreamSender,
    /// Requests that are not answered.
    waiting: AtomicUsize,
    /// The client sends no more: after the last answer, the stream ends.
    is_half_closed: AtomicBool,
    /// The stream was ended; what the client still sends is not looked at.
    is_over: AtomicBool,
}

impl ResponseStream {
    fn new(out: StreamSender) -> ResponseStream {
        ResponseStream {
            out,
            waiting: AtomicUsize::new(0),
            is_half_closed: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        }
    }

    /// Whether one more request is taken up. A client that asks on and on and does not read is cut
    /// off.
    fn begin(&self) -> bool {
        if self.is_over.load(Ordering::Relaxed) {
            return false;
        }
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        let is_too_much = waiting >= RENEWALS_MAX || self.out.queued() >= ANSWER_BYTES_MAX;
        if is_too_much {
            self.end(Error::TooManyRequests);
        }
        !is_too_much
    }

    /// Answers a request that was taken up.
    fn answer(&self, response: &pb::LeaseKeepAliveResponse) {
        self.out.send(response.encode_to_vec().into());
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.end_if_done();
    }

    fn end_if_done(&self) {
        let is_done = self.waiting.load(Ordering::Relaxed) == 0;
        if is_done && self.is_half_closed.load(Ordering::Relaxed) {
            self.end(Status::OK);
        }
    }

    fn end(&self, status: impl Into<Status>) {
        if !self.is_over.swap(true, Ordering::Relaxed) {
            self.out.finish(status);
        }
    }
}

impl KeepAlive {
    fn renew(&self, id: i64) {
        let (responses, services) = (Arc::clone(&self.responses), Arc::clone(&self.services));
        let told = move |renewed: Result<Renewed, Failure>| match renewed {
            Ok(Renewed { ttl_s: ttl, revision }) => {
                let header = Some(services.header_message(revision));
                responses.answer(&pb::LeaseKeepAliveResponse { header, id, ttl });
            }
            Err(failure) => responses.end(Error::from(failure)),
        };
        let ticket = ticket(told);
        self.services.ask(Ask::Renew(Renewal { id, is_for_member: false, ticket }));
    }
}

impl StreamHandler for KeepAlive {
    fn message(&mut self, body: Bytes) {
        let Ok(request) = pb::LeaseKeepAliveRequest::decode(body) else {
            self.services.metrics.calls.stream_failed("receive", "lease-keepalive");
            return self.responses.end(Error::Malformed);
        };
        if !self.services.is_over(&self.call) && self.responses.begin() {
            self.renew(request.id);
        }
    }

    fn half_close(&mut self) {
        let responses = Arc::clone(&self.responses);
        // Behind the requests that came before.
        self.services.ask(Ask::Reach(ticket(move |()| {
            responses.is_half_closed.store(true, Ordering::Relaxed);
            responses.end_if_done();
        })));
    }

    fn writable(&mut self) {}

    fn closed(&mut self) {
        self.responses.is_over.store(true, Ordering::Relaxed);
    }
}

/// Renews a lease for another member, as the leader.
pub fn renew_here(services: &Arc<Services>, id: i64, then: forward::Renewed) {
    let told = |renewed: Result<Renewed, Failure>| {
        then(renewed.map(|renewed| renewed.ttl_s).map_err(Error::from));
    };
    services.ask(Ask::Renew(Renewal { id, is_for_member: true, ticket: ticket(told) }));
}
