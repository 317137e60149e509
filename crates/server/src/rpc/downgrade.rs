//! `Maintenance.Downgrade` (reference: `server/etcdserver/version/version.go`).

use super::{Error, Refused, decode};
use crate::cluster;
use crate::drive::Waiter;
use crate::shared::Shared;
use apply::envelope::Kind;
use bytes::Bytes;
use net::rpc::Responder;
use prost::Message;
use proto::etcdserverpb as pb;
use proto::etcdserverpb::downgrade_request::DowngradeAction;
use proto::membershippb::DowngradeInfoSetRequest;
use std::sync::Arc;

/// Judged by what is applied here once everything acknowledged before is.
pub(super) fn downgrade(
    shared: &Arc<Shared>,
    body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::DowngradeRequest>(body, reply)?;
    let Ok(action) = DowngradeAction::try_from(request.action) else {
        return Err(Refused::new(reply, Error::UnknownMethod));
    };
    if action != DowngradeAction::Cancel && !cluster::is_version(&request.version) {
        return Err(Refused::new(reply, Error::WrongDowngradeFormat));
    }
    let inner = Arc::clone(shared);
    shared.linearizable(move |confirmed| {
        let decided = confirmed.and_then(|()| decide(&inner, action, &request.version));
        match decided {
            Ok(Some(set)) => propose(&inner, &set, reply),
            Ok(None) => reply.reply(response(&inner)),
            Err(error) => reply.fail(error),
        }
    });
    Ok(())
}

/// What is to be proposed, if anything.
fn decide(
    shared: &Shared,
    action: DowngradeAction,
    version: &str,
) -> Result<Option<DowngradeInfoSetRequest>, Error> {
    let members = shared.roster.members();
    let is_under_way = members.downgrade().enabled;
    if action == DowngradeAction::Cancel {
        // etcd answers the same where there is nothing to cancel.
        let none = DowngradeInfoSetRequest { enabled: false, ver: String::new() };
        return Ok(is_under_way.then_some(none));
    }
    let current = members.cluster_version().ok_or(Error::NoClusterVersion)?;
    let target = cluster::downgrade_target(version, current)?;
    if is_under_way {
        return Err(Error::DowngradeInProcess);
    }
    let set = DowngradeInfoSetRequest { enabled: true, ver: target };
    Ok((action == DowngradeAction::Enable).then_some(set))
}

fn propose(shared: &Arc<Shared>, set: &DowngradeInfoSetRequest, reply: Responder) {
    let inner = Arc::clone(shared);
    let waiter = Waiter::Own(Box::new(move |result| match result {
        Ok(_) => reply.reply(response(&inner)),
        Err(error) => reply.fail(error),
    }));
    shared.propose(Kind::DowngradeInfoSet, &set.encode_to_vec(), waiter);
}

/// The cluster's version without its patch.
fn response(shared: &Shared) -> Bytes {
    let members = shared.roster.members();
    let version = members.cluster_version().unwrap_or_default();
    let version = version.rsplit_once('.').map_or(version, |(minor, _)| minor).to_owned();
    let header = Some(shared.header_message(shared.reader.revision()));
    pb::DowngradeResponse { header, version }.encode_to_vec().into()
}
