//! Cluster: who the members are, and changes of that. Headers of this service carry no revision.

use crate::caller::ticket;
use crate::lines::{self, Asked};
use crate::member::PeerAnswer;
use crate::membership_checks as checks;
use crate::refused::{Refused, decode};
use crate::{Call, Error, Services};
use address::Urls;
use bytes::Bytes;
use membership::{Member, member_id};
use net::rpc::Responder;
use prost::Message;
use proto::etcdserverpb as pb;
use proto::raftpb::{ConfChange, ConfChangeType};
use serde_json::json;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a member that is not the leader asks of it.
pub const PROMOTE_PATH: &str = "/members/promote/";

fn members(services: &Services) -> Vec<pb::Member> {
    services.common().members().list().map(pb::Member::from).collect()
}

/// `Cluster.MemberList`.
pub(crate) fn list(
    services: &Arc<Services>,
    call: &Call,
    body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::MemberListRequest>(body, reply)?;
    let inner = Arc::clone(services);
    let answer = move |result: Result<(), Error>| {
        if let Err(error) = result {
            return reply.fail(error);
        }
        let header = Some(inner.header_message(0));
        let members = members(&inner);
        reply.reply(pb::MemberListResponse { header, members }.encode_to_vec().into());
    };
    if request.linearizable {
        services.linearizable(call, answer);
    } else {
        answer(Ok(()));
    }
    Ok(())
}

/// Proposes a change and answers with all members when it is applied.
fn change<R: Message>(
    services: &Arc<Services>,
    call: &Call,
    change: ConfChange,
    reply: Responder,
    response: impl FnOnce(pb::ResponseHeader, Vec<pb::Member>) -> R + Send + 'static,
) {
    let inner = Arc::clone(services);
    services.propose_conf_change(call, change, move |result| match result {
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
pub(crate) fn add(
    services: &Arc<Services>,
    call: &Call,
    body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::MemberAddRequest>(body, reply)?;
    let Ok(urls) = Urls::new(&request.peer_ur_ls) else {
        return Err(Refused::new(reply, Error::MemberBadUrls));
    };
    let urls = urls.texts();
    let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let id = member_id(&urls, "", Some(unix_s as i64));
    let is_learner = request.is_learner;
    if services.limits.strict_changes
        && let Err(error) = checks::may_add(services, is_learner)
    {
        lines::rejects(services.member_id, Asked::Add(&urls), &error);
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
    change(services, call, conf_change(kind, id, context), reply, move |header, members| {
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
pub(crate) fn remove(
    services: &Arc<Services>,
    call: &Call,
    body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::MemberRemoveRequest>(body, reply)?;
    if services.limits.strict_changes
        && let Err(error) = checks::may_remove(services, request.id)
    {
        lines::rejects(services.member_id, Asked::Remove(request.id), &error);
        return Err(Refused::new(reply, error));
    }
    let kind = ConfChangeType::ConfChangeRemoveNode;
    change(services, call, conf_change(kind, request.id, None), reply, |header, members| {
        pb::MemberRemoveResponse { header: Some(header), members }
    });
    Ok(())
}

/// `Cluster.MemberUpdate`.
pub(crate) fn update(
    services: &Arc<Services>,
    call: &Call,
    body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::MemberUpdateRequest>(body, reply)?;
    // What cannot be dialled would bring down members that try (etcd does not check here).
    if Urls::new(&request.peer_ur_ls).is_err() {
        return Err(Refused::new(reply, Error::MemberBadUrls));
    }
    // As they were written and in their order, unlike those of a new member; so in etcd.
    let member = Member { id: request.id, peer_urls: request.peer_ur_ls, ..Member::default() };
    let kind = ConfChangeType::ConfChangeUpdateNode;
    let context = Some(member.to_json());
    change(services, call, conf_change(kind, request.id, context), reply, |header, members| {
        pb::MemberUpdateResponse { header: Some(header), members }
    });
    Ok(())
}

/// `Cluster.MemberPromote`: the leader alone knows how far the learner is.
pub(crate) fn promote(
    services: &Arc<Services>,
    call: &Call,
    body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::MemberPromoteRequest>(body, reply)?;
    let inner = Arc::clone(services);
    let answer = move |result: Result<(), Error>| match result {
        Ok(()) => {
            let header = Some(inner.header_message(0));
            let members = members(&inner);
            reply.reply(pb::MemberPromoteResponse { header, members }.encode_to_vec().into());
        }
        Err(error) => reply.fail(error),
    };
    promote_member(services, call, request.id, answer);
    Ok(())
}

/// Gives a learner its vote; where another member leads, that one is asked to.
pub fn promote_member(
    services: &Arc<Services>,
    call: &Call,
    id: u64,
    then: impl FnOnce(Result<(), Error>) + Send + 'static,
) {
    if !services.figures().leads() {
        return forward_promotion(services, id, then);
    }
    let (inner, call) = (Arc::clone(services), call.clone());
    services.raft_status(move |status| {
        let matched = status.progress.0.get(&id).map(|progress| progress.matched);
        let last = status.progress.0.get(&inner.member_id).map_or(0, |own| own.matched);
        if let Err(error) = checks::may_promote(&inner, matched, last) {
            let share = matched.unwrap_or_default() as f64 / last.max(1) as f64;
            if !matches!(error, Error::MemberNotFound) {
                let asked = Asked::Promote { id, share, ready_share: checks::READY_SHARE };
                lines::rejects(inner.member_id, asked, &error);
            }
            return then(Err(error));
        }
        let member = Member { id, ..Member::default() };
        let kind = ConfChangeType::ConfChangeAddNode;
        let context = Some(with_promotion(&member, true));
        let change = conf_change(kind, id, context);
        let counted = Arc::clone(&inner);
        inner.propose_conf_change(&call, change, move |result| {
            if result.is_ok() {
                counted.metrics.member.promotions.inc();
            }
            then(result.map(|_| ()));
        });
    });
}

fn forward_promotion(
    services: &Arc<Services>,
    id: u64,
    then: impl FnOnce(Result<(), Error>) + Send + 'static,
) {
    let urls = services.peer_urls(services.figures().leader());
    if urls.is_empty() || !services.member().has_peers() {
        return then(Err(Error::NoLeader));
    }
    let path = format!("{PROMOTE_PATH}{id}");
    let limit = services.limits.request_timeout;
    let then = Box::new(move |answer: PeerAnswer| {
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
    services.member().post(urls, path, Bytes::new(), limit, then);
}

/// `Maintenance.MoveLeader`.
pub(crate) fn move_leader(
    services: &Arc<Services>,
    _call: &Call,
    body: &Bytes,
    reply: Responder,
) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::MoveLeaderRequest>(body, reply)?;
    if !services.figures().leads() {
        return Err(Refused::new(reply, Error::NotLeader));
    }
    let to = request.target_id;
    let members = services.common().members();
    if members.get(to).is_none_or(|member| member.is_learner) {
        return Err(Refused::new(reply, Error::BadTransferee));
    }
    // This answer alone has no header.
    let answer = pb::MoveLeaderResponse::default();
    let told = move |moved: Result<(), Error>| {
        Services::answer(reply, moved.map(|()| answer.encode_to_vec().into()));
    };
    services.transfer(to, ticket(told));
    Ok(())
}
