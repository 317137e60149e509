//! Cluster: who the members are, and changes of that. Headers of this service carry no revision.

use super::{Error, Refused, decode};
use crate::cluster;
use crate::shared::Shared;
use apply::membership::{Member, member_id};
use bytes::Bytes;
use net::rpc::Responder;
use prost::Message;
use proto::etcdserverpb as pb;
use proto::raftpb::{ConfChange, ConfChangeType};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;
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

/// URLs of a member as they are stored: sorted; none where one of them is none.
fn peer_urls(urls: &[String]) -> Option<Vec<String>> {
    let mut sorted: Vec<String> = urls.iter().map(|url| url.trim().to_owned()).collect();
    sorted.sort();
    (!sorted.is_empty() && sorted.iter().all(|url| is_peer_url(url))).then_some(sorted)
}

/// What Go's parser and etcd take for a URL of a member (`client/pkg/types/urls.go`): an address
/// with a port, which may be empty or too large, and no path.
fn is_peer_url(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority_len = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(authority_len);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if !host.bytes().all(is_host_byte) {
        return false;
    }
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => has_port(host) && !after.starts_with('/'),
        "unix" | "unixs" => true,
        _ => false,
    }
}

fn has_port(host: &str) -> bool {
    let Some((name, port)) = host.rsplit_once(':') else { return false };
    let is_name = (name.starts_with('[') && name.ends_with(']')) || !name.contains([':', '[', ']']);
    is_name && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// What may stand in a host without being escaped.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte)
}

/// `Cluster.MemberAdd`.
pub(super) fn add(shared: &Arc<Shared>, body: &Bytes, reply: Responder) -> Result<(), Refused> {
    let (request, reply) = decode::<pb::MemberAddRequest>(body, reply)?;
    let Some(urls) = peer_urls(&request.peer_ur_ls) else {
        return Err(Refused::new(reply, Error::MemberBadUrls));
    };
    let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let id = member_id(&urls, "", Some(unix_s as i64));
    let is_learner = request.is_learner;
    if shared.limits.strict_changes
        && let Err(error) = cluster::may_add(&shared.roster, shared.member_id, is_learner)
    {
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
    let Some(peer_urls) = peer_urls(&request.peer_ur_ls) else {
        return Err(Refused::new(reply, Error::MemberBadUrls));
    };
    let member = Member { id: request.id, peer_urls, ..Member::default() };
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
    if !shared.gauges.leads.load(Ordering::Acquire) {
        return forward_promotion(shared, id, then);
    }
    let inner = Arc::clone(shared);
    let strict = shared.limits.strict_changes;
    shared.on_core(move |core| {
        let status = core.raft_status();
        let matched = status.progress.0.get(&id).map(|progress| progress.matched);
        let last = status.progress.0.get(&inner.member_id).map_or(0, |own| own.matched);
        if let Err(error) = cluster::may_promote(&inner.roster, strict, matched, last) {
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
    let leader = shared.gauges.leader.load(Ordering::Relaxed);
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
    if !shared.gauges.leads.load(Ordering::Acquire) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_what_etcd_takes_for_them() {
        let read = |urls: &[&str]| {
            peer_urls(&urls.iter().map(|url| (*url).to_owned()).collect::<Vec<_>>())
        };
        let sorted = vec!["http://a:1".to_owned(), "http://b:2".to_owned()];
        assert_eq!(read(&["http://b:2", " http://a:1"]), Some(sorted));
        for good in ["http://:1", "http://a:", "HTTP://a:99999", "http://u@a:1?x", "unix://a/b"] {
            assert_eq!(read(&[good]), Some(vec![good.to_owned()]), "{good}");
        }
        for bad in ["", "a:1", "http://a", "ftp://a:1", "http://a:1/", "http://a b:1", "http://a:x"]
        {
            assert_eq!(read(&[bad]), None, "{bad}");
        }
        assert_eq!(read(&[]), None);
    }
}
