//! Cluster: who the members are.

use super::{Error, Refused, decode};
use crate::shared::Shared;
use bytes::Bytes;
use net::rpc::Responder;
use prost::Message;
use proto::etcdserverpb as pb;
use std::sync::Arc;

/// `Cluster.MemberList`. Headers of this service carry no revision.
pub(super) fn list(shared: &Arc<Shared>, body: &Bytes, reply: Responder) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::MemberListRequest>(body, reply)?;
    if request.linearizable && !shared.may_read() {
        return Err(Refused::new(reply, Error::NoLeader));
    }
    shared.on_apply(move |driver| {
        let header = Some(driver.shared.header_message(0));
        let members = driver.machine().members.list().map(pb::Member::from).collect();
        reply.reply(pb::MemberListResponse { header, members }.encode_to_vec().into());
    });
    Ok(())
}
