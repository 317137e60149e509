//! Leases live with the leader: what another member is asked about them, it asks the leader
//! (reference: `server/lease/leasehttp`, `LeaseRenew` and `leaseTimeToLive` in
//! `server/etcdserver/v3_server.go`).
//!
//! Who is asked may have ceased to lead, and who leads now may not be known yet: it is asked again until
//! the request's time is over. Between two attempts a question is a state and holds no thread.

use crate::caller::Calls;
use crate::member::PeerAnswer;
use crate::{Error, Services};
use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb as pb;
use proto::leasepb;
use replica::turn::{Failure, Renewal};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where the leader renews leases.
pub const RENEW_PATH: &str = "/leases";
/// Where the leader tells how long leases live.
pub const TIME_TO_LIVE_PATH: &str = "/leases/internal";

/// How long after a failure the leader is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// What is done with a renewed lease's time to live, 0 where the lease is gone.
pub type Renewed = Box<dyn FnOnce(Result<i64, Error>) + Send>;

/// What is done with what a lease says of itself; it has no header yet.
pub type TimeToLive = Box<dyn FnOnce(Result<pb::LeaseTimeToLiveResponse, Error>) + Send>;

/// One question to the leader. A new leader is asked where the old one has lost its office.
struct Question<T> {
    path: &'static str,
    body: Bytes,
    deadline: Instant,
    /// What an answer says; nothing where another one is to be asked for.
    read: fn(u16, Bytes) -> Option<T>,
    then: Box<dyn FnOnce(Result<T, Failure>) + Send>,
}

impl<T: Send + 'static> Question<T> {
    fn ask(self, services: &Arc<Services>) {
        let leader = services.figures().leader();
        let urls = services.peer_urls(leader);
        let limit = self.deadline.saturating_duration_since(Instant::now());
        if limit.is_zero() {
            let failure = if leader == 0 { Failure::NoLeader } else { Failure::Timeout };
            return (self.then)(Err(failure));
        }
        if urls.is_empty() || !services.member().has_peers() {
            return self.ask_later(services);
        }
        let (path, body, inner) = (self.path.to_owned(), self.body.clone(), Arc::clone(services));
        let answered = move |answer: PeerAnswer| {
            let read = answer.ok().and_then(|(status, body)| (self.read)(status, body));
            match read {
                Some(found) => (self.then)(Ok(found)),
                None => self.ask_later(&inner),
            }
        };
        services.member().post(urls, path, body, limit, Box::new(answered));
    }

    fn ask_later(self, services: &Arc<Services>) {
        let inner = Arc::clone(services);
        let again = move |due: Result<(), Failure>| match due {
            Ok(()) => self.ask(&inner),
            Err(failure) => (self.then)(Err(failure)),
        };
        services.later.push(Instant::now() + PAUSE, Box::new(again));
    }
}

/// Has the leader renew a lease; the answer shows this revision.
pub fn renew(services: &Arc<Services>, renewal: Renewal<Calls>, revision: i64) {
    let read = |status, body| match status {
        200 => Some(pb::LeaseKeepAliveResponse::decode(body).ok()?.ttl),
        404 => Some(0),
        _ => None,
    };
    let body = pb::LeaseKeepAliveRequest { id: renewal.id }.encode_to_vec().into();
    let deadline = Instant::now() + services.limits.request_timeout;
    let then = Box::new(move |renewed: Result<i64, Failure>| {
        (renewal.ticket)(renewed.map(|ttl_s| replica::turn::Renewed { ttl_s, revision }));
    });
    Question { path: RENEW_PATH, body, deadline, read, then }.ask(services);
}

/// Asks the leader how long a lease lives.
pub(crate) fn time_to_live(
    services: &Arc<Services>,
    request: pb::LeaseTimeToLiveRequest,
    then: TimeToLive,
) {
    let id = request.id;
    let read = |status, body| match status {
        200 => {
            let response = leasepb::LeaseInternalResponse::decode(body).ok()?;
            Some(Some(response.lease_time_to_live_response?))
        }
        404 => Some(None),
        _ => None,
    };
    let gone = move || pb::LeaseTimeToLiveResponse { id, ttl: -1, ..Default::default() };
    let then = Box::new(move |found: Result<Option<_>, Failure>| {
        then(found.map(|found| found.unwrap_or_else(gone)).map_err(Error::from));
    });
    let request = leasepb::LeaseInternalRequest { lease_time_to_live_request: Some(request) };
    let body = request.encode_to_vec().into();
    let deadline = Instant::now() + services.limits.request_timeout;
    Question { path: TIME_TO_LIVE_PATH, body, deadline, read, then }.ask(services);
}
