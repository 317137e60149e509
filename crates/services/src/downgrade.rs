//! `Maintenance.Downgrade` (reference: `server/etcdserver/version/version.go`).

use crate::caller::Waiter;
use crate::refused::{Refused, decode};
use crate::{Call, Error, Services, versions};
use apply::Kind;
use bytes::Bytes;
use net::rpc::Responder;
use prost::Message;
use proto::etcdserverpb as pb;
use proto::etcdserverpb::downgrade_request::DowngradeAction;
use proto::membershippb::DowngradeInfoSetRequest;
use std::sync::Arc;

/// Judged by what is applied here once everything acknowledged before is.
pub(crate) fn downgrade(
    services: &Arc<Services>,
    call: &Call,
    body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::DowngradeRequest>(body, reply)?;
    let Ok(action) = DowngradeAction::try_from(request.action) else {
        return Err(Refused::new(reply, Error::UnknownMethod));
    };
    if action != DowngradeAction::Cancel && !versions::is_version(&request.version) {
        return Err(Refused::new(reply, Error::WrongDowngradeFormat));
    }
    let (inner, asked) = (Arc::clone(services), call.clone());
    services.linearizable(call, move |confirmed| {
        let decided = confirmed.and_then(|()| decide(&inner, action, &request.version));
        match decided {
            Ok(Some(set)) => propose(&inner, &asked, &set, reply),
            Ok(None) => reply.reply(response(&inner)),
            Err(error) => reply.fail(error),
        }
    });
    Ok(())
}

/// What is to be proposed, if anything.
fn decide(
    services: &Services,
    action: DowngradeAction,
    version: &str,
) -> Result<Option<DowngradeInfoSetRequest>, Error> {
    let members = services.common().members();
    let is_under_way = members.downgrade().enabled;
    if action == DowngradeAction::Cancel {
        // etcd answers the same where there is nothing to cancel.
        let none = DowngradeInfoSetRequest { enabled: false, ver: String::new() };
        return Ok(is_under_way.then_some(none));
    }
    let current = members.cluster_version().ok_or(Error::NoClusterVersion)?;
    let target = versions::downgrade_target(version, current)?;
    if is_under_way {
        return Err(Error::DowngradeInProcess);
    }
    let set = DowngradeInfoSetRequest { enabled: true, ver: target };
    Ok((action == DowngradeAction::Enable).then_some(set))
}

fn propose(services: &Arc<Services>, call: &Call, set: &DowngradeInfoSetRequest, reply: Responder) {
    let inner = Arc::clone(services);
    let waiter = Waiter::Own(Box::new(move |result| match result {
        Ok(_) => reply.reply(response(&inner)),
        Err(error) => reply.fail(error),
    }));
    services.propose(call, Kind::DowngradeInfoSet, &set.encode_to_vec(), waiter);
}

/// The cluster's version without its patch.
fn response(services: &Services) -> Bytes {
    let members = services.common().members();
    let version = members.cluster_version().unwrap_or_default();
    let version = version.rsplit_once('.').map_or(version, |(minor, _)| minor).to_owned();
    let header = Some(services.header_message(services.reader.revision()));
    pb::DowngradeResponse { header, version }.encode_to_vec().into()
}
