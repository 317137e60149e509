//! Leases: granted and revoked through the log, kept alive by the leader alone.

use super::kv::admit;
use super::{Error, Refused, decode, forward};
use crate::drive::{Waiter, ticket};
use crate::shared::Shared;
use apply::envelope::Kind;
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
/// And one on which this many bytes of answers are not read.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What is done with what a lease says of itself; it has no header yet.
pub(crate) type TimeToLive = Box<dyn FnOnce(Result<pb::LeaseTimeToLiveResponse, Error>) + Send>;

/// `Lease.LeaseGrant`: the id is chosen here, before the log, so that every member has the same.
pub(super) fn grant(shared: &Arc<Shared>, body: &Bytes, reply: Responder) -> Result<(), Refused> {
    let (mut request, reply) = decode::<pb::LeaseGrantRequest>(body, reply)?;
    let Some(reply) = admit(shared, quota::lease_cost(), reply) else { return Ok(()) };
    if request.id == 0 {
        request.id = shared.common.ids.next_lease();
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
    let inner = Arc::clone(shared);
    let answer = Box::new(move |result: Result<pb::LeaseTimeToLiveResponse, Error>| match result {
        Ok(mut response) => {
            response.header = Some(inner.header_message(inner.reader.revision()));
            reply.reply(response.encode_to_vec().into());
        }
        Err(error) => reply.fail(error),
    });
    if shared.figures().leads() {
        time_to_live_here(shared, request, answer);
    } else {
        forward::time_to_live(shared, request, answer);
    }
    Ok(())
}

/// What this member knows of a lease, as the leader.
pub(crate) fn time_to_live_here(
    shared: &Arc<Shared>,
    request: pb::LeaseTimeToLiveRequest,
    then: TimeToLive,
) {
    let (id, keys) = (request.id, request.keys);
    let ticket = ticket(move |found: Result<Option<apply::lease::TimeToLive>, Failure>| {
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
    shared.ask(Ask::TimeToLive { id, keys, ticket });
}

/// `Lease.LeaseLeases`.
pub(super) fn leases(shared: &Arc<Shared>, reply: Responder) -> Result<(), Refused> {
    let inner = Arc::clone(shared);
    shared.ask(Ask::Leases(ticket(move |leases: Vec<i64>| {
        let response = pb::LeaseLeasesResponse {
            header: Some(inner.header_message(inner.reader.revision())),
            leases: leases.into_iter().map(|id| pb::LeaseStatus { id }).collect(),
        };
        reply.reply(response.encode_to_vec().into());
    })));
    Ok(())
}

/// `Lease.LeaseKeepAlive`.
pub(super) fn keep_alive(shared: Arc<Shared>, out: StreamSender) -> Box<dyn StreamHandler> {
    Box::new(KeepAlive { shared, line: Arc::new(Line::new(out)) })
}

struct KeepAlive {
    shared: Arc<Shared>,
    line: Arc<Line>,
}

/// The way back to the client.
struct Line {
    out: StreamSender,
    /// Requests that are not answered.
    waiting: AtomicUsize,
    /// The client sends no more: after the last answer, the stream ends.
    is_half_closed: AtomicBool,
    /// The stream was ended; what the client still sends is not looked at.
    is_over: AtomicBool,
}

impl Line {
    fn new(out: StreamSender) -> Line {
        Line {
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
        let (line, shared) = (Arc::clone(&self.line), Arc::clone(&self.shared));
        let told = move |renewed: Result<Renewed, Failure>| match renewed {
            Ok(Renewed { ttl_s: ttl, revision }) => {
                let header = Some(shared.header_message(revision));
                line.answer(&pb::LeaseKeepAliveResponse { header, id, ttl });
            }
            Err(failure) => line.end(Error::from(failure)),
        };
        let ticket = ticket(told);
        self.shared.ask(Ask::Renew(Renewal { id, is_for_member: false, ticket }));
    }
}

impl StreamHandler for KeepAlive {
    fn message(&mut self, body: Bytes) {
        let Ok(request) = pb::LeaseKeepAliveRequest::decode(body) else {
            self.shared.metrics.calls.stream_failed("receive", "lease-keepalive");
            return self.line.end(Error::Malformed);
        };
        if self.line.begin() {
            self.renew(request.id);
        }
    }

    fn half_close(&mut self) {
        let line = Arc::clone(&self.line);
        // Behind the requests that came before.
        self.shared.ask(Ask::Reach(ticket(move |()| {
            line.is_half_closed.store(true, Ordering::Relaxed);
            line.end_if_done();
        })));
    }

    fn writable(&mut self) {}

    fn closed(&mut self) {
        self.line.is_over.store(true, Ordering::Relaxed);
    }
}

/// Renews a lease for another member, as the leader.
pub(crate) fn renew_here(shared: &Arc<Shared>, id: i64, then: forward::Renewed) {
    let told = |renewed: Result<Renewed, Failure>| {
        then(renewed.map(|renewed| renewed.ttl_s).map_err(Error::from));
    };
    shared.ask(Ask::Renew(Renewal { id, is_for_member: true, ticket: ticket(told) }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, Stream, Told};
    use net::rpc::Code;

    const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";

    fn grant(bench: &Bench, id: i64, ttl: i64) {
        let request = pb::LeaseGrantRequest { id, ttl };
        let granted: pb::LeaseGrantResponse =
            bench.call("/etcdserverpb.Lease/LeaseGrant", &request);
        assert_eq!((granted.id, granted.ttl), (id, ttl));
    }

    fn renew(stream: &mut Stream, id: i64) {
        stream.send(&pb::LeaseKeepAliveRequest { id });
    }

    #[test]
    fn leases_are_kept_alive_as_soon_as_the_member_serves() {
        for _ in 0..20 {
            let bench = Bench::start();
            let mut stream = bench.stream(KEEP_ALIVE);
            bench.until_it_leads();
            renew(&mut stream, 7);
            let told: pb::LeaseKeepAliveResponse = stream.client.message();
            assert_eq!((told.id, told.ttl), (7, 0));
        }
    }

    #[test]
    fn who_does_not_lead_does_not_say_how_long_a_lease_lives() {
        let bench = Bench::start_without_company();
        let (tell, told) = std::sync::mpsc::channel();
        let request = pb::LeaseTimeToLiveRequest { id: 7, keys: false };
        let then = Box::new(move |found: Result<pb::LeaseTimeToLiveResponse, Error>| {
            tell.send(found.map(|found| found.ttl)).unwrap();
        });
        time_to_live_here(bench.shared(), request, then);
        assert_eq!(told.recv().unwrap(), Err(Error::LeaderChanged));
    }

    #[test]
    fn a_lease_has_less_left_than_it_was_granted() {
        let bench = Bench::start();
        bench.until_it_leads();
        grant(&bench, 7, 90);
        let request = pb::LeaseTimeToLiveRequest { id: 7, keys: true };
        let found: pb::LeaseTimeToLiveResponse =
            bench.call("/etcdserverpb.Lease/LeaseTimeToLive", &request);
        assert_eq!((found.ttl, found.granted_ttl), (89, 90));
    }

    #[test]
    fn who_does_not_read_answers_is_cut_off() {
        let bench = Bench::start();
        bench.until_it_leads();
        let mut stream = bench.stream(KEEP_ALIVE);
        stream.client.stop_reading();
        for id in 0..500_000 {
            renew(&mut stream, id);
        }
        let end = stream.client.end();
        assert_eq!((end.code, &*end.message), (Code::Unknown, "etcdserver: too many requests"));
        assert!(stream.client.queued() < 32 * 1024 * 1024, "{}", stream.client.queued());
    }

    #[test]
    fn every_answer_comes_before_the_end() {
        let bench = Bench::start();
        bench.until_it_leads();
        grant(&bench, 7, 3600);
        checkpoint(&bench, 7, 600);
        let mut stream = bench.stream(KEEP_ALIVE);
        for id in [7, 8, 7] {
            renew(&mut stream, id);
        }
        stream.handler.half_close();
        let mut ids = Vec::new();
        let end = loop {
            match stream.client.next() {
                Told::Message(told) => {
                    let told = pb::LeaseKeepAliveResponse::decode(told).unwrap();
                    ids.push((told.id, told.ttl));
                }
                Told::End(end) => break end,
            }
        };
        ids.sort_unstable();
        assert_eq!(ids, [(7, 3600), (7, 3600), (8, 0)]);
        assert_eq!(end.code, Code::Ok);
    }

    fn checkpoint(bench: &Bench, id: i64, remaining_ttl: i64) {
        let (tell, told) = std::sync::mpsc::channel();
        let note = pb::LeaseCheckpoint { id, remaining_ttl };
        let request = pb::LeaseCheckpointRequest { checkpoints: vec![note] };
        let waiter = Waiter::Own(Box::new(move |result| tell.send(result.is_ok()).unwrap()));
        bench.shared().propose(Kind::LeaseCheckpoint, &request.encode_to_vec(), waiter);
        assert!(told.recv().unwrap());
    }

    /// What the database says of a lease's remaining time.
    fn stored_remaining(bench: &Bench, id: i64) -> i64 {
        let view = bench.shared().backend().view();
        let row = view.get(apply::backend::Table::Lease, &id.to_be_bytes()).unwrap();
        proto::leasepb::Lease::decode(&*row).unwrap().remaining_ttl
    }

    #[test]
    fn a_renewal_clears_what_a_checkpoint_stored_before_it_is_answered() {
        let bench = Bench::start();
        bench.until_it_leads();
        grant(&bench, 7, 3600);
        checkpoint(&bench, 7, 600);
        assert_eq!(stored_remaining(&bench, 7), 600);
        let mut stream = bench.stream(KEEP_ALIVE);
        renew(&mut stream, 7);
        let told: pb::LeaseKeepAliveResponse = stream.client.message();
        assert_eq!((told.id, told.ttl), (7, 3600));
        assert_eq!(stored_remaining(&bench, 7), 0);
    }
}
