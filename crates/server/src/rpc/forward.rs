//! Leases live with the leader: what another member is asked about them, it asks the leader
//! (reference: `server/lease/leasehttp`).

use super::Error;
use super::lease::TimeToLive;
use crate::cluster::Answer;
use crate::shared::Shared;
use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb as pb;
use proto::leasepb;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Where the leader renews leases.
pub(crate) const RENEW_PATH: &str = "/leases";
/// Where the leader tells how long leases live.
pub(crate) const TIME_TO_LIVE_PATH: &str = "/leases/internal";

/// What is done with a renewed lease's time to live, 0 where the lease is gone.
pub(crate) type Renewed = Box<dyn FnOnce(Result<i64, Error>) + Send>;

fn post(shared: &Arc<Shared>, path: &str, body: Bytes, then: Box<dyn FnOnce(Answer) + Send>) {
    let leader = shared.gauges.leader.load(Ordering::Relaxed);
    let urls = shared.roster.peer_urls(leader);
    match shared.roster.network() {
        Some(network) if !urls.is_empty() => {
            network.post(urls, path.to_owned(), body, shared.limits.request_timeout, then);
        }
        _ => then(Err("there is no leader".to_owned())),
    }
}

/// Has the leader renew a lease.
pub(super) fn renew(shared: &Arc<Shared>, id: i64, then: Renewed) {
    let body = pb::LeaseKeepAliveRequest { id }.encode_to_vec().into();
    let answered = move |answer: Answer| {
        then(match answer {
            Ok((200, body)) => match pb::LeaseKeepAliveResponse::decode(body) {
                Ok(response) => Ok(response.ttl),
                Err(_) => Err(Error::Timeout),
            },
            Ok((404, _)) => Ok(0),
            Ok(_) | Err(_) => Err(Error::NoLeader),
        });
    };
    post(shared, RENEW_PATH, body, Box::new(answered));
}

/// Asks the leader how long a lease lives.
pub(super) fn time_to_live(
    shared: &Arc<Shared>,
    request: pb::LeaseTimeToLiveRequest,
    then: TimeToLive,
) {
    let id = request.id;
    let request = leasepb::LeaseInternalRequest { lease_time_to_live_request: Some(request) };
    let body = request.encode_to_vec().into();
    let answered = move |answer: Answer| {
        then(match answer {
            Ok((200, body)) => leasepb::LeaseInternalResponse::decode(body)
                .ok()
                .and_then(|response| response.lease_time_to_live_response)
                .ok_or(Error::Timeout),
            Ok((404, _)) => Ok(pb::LeaseTimeToLiveResponse { id, ttl: -1, ..Default::default() }),
            Ok(_) | Err(_) => Err(Error::NoLeader),
        });
    };
    post(shared, TIME_TO_LIVE_PATH, body, Box::new(answered));
}
