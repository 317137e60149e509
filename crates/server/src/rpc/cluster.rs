//! Cluster: who the members are, and changes of that. Headers of this service carry no revision.

use super::{Error, Refused, decode};
use crate::cluster;
use crate::lines::{self, Asked};
use crate::shared::Shared;
use address::Urls;
use apply::membership::{Member, member_id};
use bytes::Bytes;
use net::rpc::Responder;
use prost::Message;
use proto::etcdserverpb as pb;
use proto::raftpb::{ConfChange, ConfChangeType};
use serde_json::json;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a member that is not the leader asks of it.
pub(crate) const PROMOTE_PATH: &str = "/members/promote/";

fn members(shared: &Shared) -> Vec<pb::Member> {
    shared.roster.members().list().map(pb::Member::from).collect()
}

/// `Cluster.MemberList`.
pub(super) fn list(shared: &Arc<Shared>, body: &Bytes, reply: Responder) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::MemberListRequest>(body, reply)?;
    let inner = Arc::clone(shared);
    let answer = move |result: Result<(), Error>| {
        if let Err(error) = result {
            return reply.fail(error);
        }
        let header = Some(inner.header_message(0));
        let members = members(&inner);
        reply.reply(pb::MemberListResponse { header, members }.encode_to_vec().into());
    };
    if request.linearizable {
        shared.linearizable(answer);
    } else {
        answer(Ok(()));
    }
    Ok(())
}

/// Proposes a change and answers with all members when it is applied.
fn change<R: Message>(
    shared: &Arc<Shared>,
    change: ConfChange,
    reply: Responder,
    response: impl FnOnce(pb::ResponseHeader, Vec<pb::Member>) -> R + Send + 'static,
) {
    let inner = Arc::clone(shared);
    shared.propose_conf_change(change, move |result| match result {
        Ok(_) => {
            let response = response(inner.header_message(0), members(&inner));
            reply.reply(response.encode_to_vec().into());
        }
        Err(error) => reply.fail(error),
    });
}

fn conf_change(kind: ConfChangeType, id: u64, context: Option<Vec<u8>>) -> ConfChange {
    ConfChange {
        id: None,
        r#type: Some(kind as i32),
        node_id: Some(id),
        context: context.map(Bytes::from),
    }
}

/// `Cluster.MemberAdd`.
pub(super) fn add(shared: &Arc<Shared>, body: &Bytes, reply: Responder) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::MemberAddRequest>(body, reply)?;
    let Ok(urls) = Urls::new(&request.peer_ur_ls) else {
        return Err(Refused::new(reply, Error::MemberBadUrls));
    };
    let urls = urls.texts();
    let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let id = member_id(&urls, "", Some(unix_s as i64));
    let is_learner = request.is_learner;
    if shared.limits.strict_changes
        && let Err(error) = cluster::may_add(&shared.roster, shared.member_id, is_learner)
    {
        lines::rejects(shared.member_id, Asked::Add(&urls), &error);
        return Err(Refused::new(reply, error));
    }
    let member = Member { id, peer_urls: urls, is_learner, ..Member::default() };
    let kind = if is_learner {
        ConfChangeType::ConfChangeAddLearnerNode
    } else {
        ConfChangeType::ConfChangeAddNode
    };
    let context = Some(with_promotion(&member, false));
    let added = pb::Member::from(&member);
    change(shared, conf_change(kind, id, context), reply, move |header, members| {
        pb::MemberAddResponse { header: Some(header), member: Some(added), members }
    });
    Ok(())
}

/// A member as the context of a change: with whether it gets its vote now.
fn with_promotion(member: &Member, is_promote: bool) -> Vec<u8> {
    let mut context: serde_json::Value =
        serde_json::from_slice(&member.to_json()).expect("it was just written");
    context["isPromote"] = json!(is_promote);
    context.to_string().into_bytes()
}

/// `Cluster.MemberRemove`.
pub(super) fn remove(shared: &Arc<Shared>, body: &Bytes, reply: Responder) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::MemberRemoveRequest>(body, reply)?;
    if shared.limits.strict_changes
        && let Err(error) = cluster::may_remove(&shared.roster, shared.member_id, request.id)
    {
        lines::rejects(shared.member_id, Asked::Remove(request.id), &error);
        return Err(Refused::new(reply, error));
    }
    let kind = ConfChangeType::ConfChangeRemoveNode;
    change(shared, conf_change(kind, request.id, None), reply, |header, members| {
        pb::MemberRemoveResponse { header: Some(header), members }
    });
    Ok(())
}

/// `Cluster.MemberUpdate`.
pub(super) fn update(shared: &Arc<Shared>, body: &Bytes, reply: Responder) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::MemberUpdateRequest>(body, reply)?;
    // What cannot be dialled would bring down members that try (etcd does not check here).
    if Urls::new(&request.peer_ur_ls).is_err() {
        return Err(Refused::new(reply, Error::MemberBadUrls));
    }
    // As they were written and in their order, unlike those of a new member; so in etcd.
    let member = Member { id: request.id, peer_urls: request.peer_ur_ls, ..Member::default() };
    let kind = ConfChangeType::ConfChangeUpdateNode;
    let context = Some(member.to_json());
    change(shared, conf_change(kind, request.id, context), reply, |header, members| {
        pb::MemberUpdateResponse { header: Some(header), members }
    });
    Ok(())
}

/// `Cluster.MemberPromote`: the leader alone knows how far the learner is.
pub(super) fn promote(shared: &Arc<Shared>, body: &Bytes, reply: Responder) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::MemberPromoteRequest>(body, reply)?;
    let inner = Arc::clone(shared);
    let answer = move |result: Result<(), Error>| match result {
        Ok(()) => {
            let header = Some(inner.header_message(0));
            let members = members(&inner);
            reply.reply(pb::MemberPromoteResponse { header, members }.encode_to_vec().into());
        }
        Err(error) => reply.fail(error),
    };
    promote_member(shared, request.id, answer);
    Ok(())
}

/// Gives a learner its vote; where another member leads, that one is asked to.
pub(crate) fn promote_member(
    shared: &Arc<Shared>,
    id: u64,
    then: impl FnOnce(Result<(), Error>) + Send + 'static,
) {
    if !shared.figures().leads() {
        return forward_promotion(shared, id, then);
    }
    let inner = Arc::clone(shared);
    let strict = shared.limits.strict_changes;
    shared.raft_status(move |status| {
        let matched = status.progress.0.get(&id).map(|progress| progress.matched);
        let last = status.progress.0.get(&inner.member_id).map_or(0, |own| own.matched);
        if let Err(error) = cluster::may_promote(&inner.roster, strict, matched, last) {
            let share = matched.unwrap_or_default() as f64 / last.max(1) as f64;
            if !matches!(error, Error::MemberNotFound) {
                lines::rejects(inner.member_id, Asked::Promote(id, share), &error);
            }
            return then(Err(error));
        }
        let member = Member { id, ..Member::default() };
        let kind = ConfChangeType::ConfChangeAddNode;
        let context = Some(with_promotion(&member, true));
        let change = conf_change(kind, id, context);
        let counted = Arc::clone(&inner);
        inner.propose_conf_change(change, move |result| {
            if result.is_ok() {
                counted.metrics.member.promotions.inc();
            }
            then(result.map(|_| ()));
        });
    });
}

fn forward_promotion(
    shared: &Arc<Shared>,
    id: u64,
    then: impl FnOnce(Result<(), Error>) + Send + 'static,
) {
    let leader = shared.figures().leader();
    let urls = shared.roster.peer_urls(leader);
    let (Some(network), false) = (shared.roster.network(), urls.is_empty()) else {
        return then(Err(Error::NoLeader));
    };
    let path = format!("{PROMOTE_PATH}{id}");
    let limit = shared.limits.request_timeout;
    let then = Box::new(move |answer: cluster::Answer| {
        then(match answer {
            Ok((200, _)) => Ok(()),
            Ok((404, _)) => Err(Error::MemberNotFound),
            Ok((412, body))
                if body.starts_with(b"etcdserver: can only promote a learner member\n") =>
            {
                Err(Error::MemberNotLearner)
            }
            Ok((412, body)) if body.starts_with(b"membership: can only promote") => {
                Err(Error::MemberNotLearner)
            }
            Ok((412, _)) => Err(Error::LearnerNotReady),
            Ok(_) | Err(_) => Err(Error::Timeout),
        });
    });
    network.post(urls, path, Bytes::new(), limit, then);
}

/// `Maintenance.MoveLeader`.
pub(super) fn move_leader(
    shared: &Arc<Shared>,
    body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::MoveLeaderRequest>(body, reply)?;
    if !shared.figures().leads() {
        return Err(Refused::new(reply, Error::NotLeader));
    }
    let to = request.target_id;
    let members = shared.roster.members();
    if members.get(to).is_none_or(|member| member.is_learner) {
        return Err(Refused::new(reply, Error::BadTransferee));
    }
    // This answer alone has no header.
    let answer = pb::MoveLeaderResponse::default();
    shared.transfer_then(to, move |moved| {
        Shared::answer(reply, moved.map(|()| answer.encode_to_vec().into()));
    });
    Ok(())
}
