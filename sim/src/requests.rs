//! Requests as they stand in the log.

use apply::Kind;
use bytes::Bytes;
use membership::Member;
use prost::Message;
use proto::etcdserverpb as pb;
use proto::etcdserverpb::AlarmType;
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::request_op::Request as Op;
use proto::raftpb::{ConfChange, ConfChangeType};

/// A request as it is proposed: its kind and its bytes.
pub(crate) type Request = (Kind, Vec<u8>);

fn request(kind: Kind, request: &impl Message) -> Request {
    (kind, request.encode_to_vec())
}

/// A key.
pub(crate) fn key(n: u64) -> Bytes {
    format!("k{n:02}").into()
}

fn put_request(n: u64, value: u64, lease: i64) -> pb::PutRequest {
    pb::PutRequest { key: key(n), value: format!("v{value}").into(), lease, ..Default::default() }
}

/// Puts a key; the value is the client's number of the request.
pub(crate) fn put(ticket: u64, n: u64, lease: i64) -> Request {
    request(Kind::Put, &put_request(n, ticket, lease))
}

/// Deletes the keys from `from` up to but without `to`.
pub(crate) fn delete(from: u64, to: u64) -> Request {
    let range = pb::DeleteRangeRequest { key: key(from), range_end: key(to), ..Default::default() };
    request(Kind::DeleteRange, &range)
}

/// Where `n` has this revision (0: does not exist), puts it and deletes the next key; otherwise
/// puts the key after that.
pub(crate) fn txn(ticket: u64, n: u64, mod_revision: i64) -> Request {
    let op = |request| pb::RequestOp { request: Some(request) };
    let delete = pb::DeleteRangeRequest { key: key(n + 1), ..Default::default() };
    let compare = pb::Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Mod as i32,
        key: key(n),
        target_union: Some(TargetUnion::ModRevision(mod_revision)),
        ..Default::default()
    };
    let txn = pb::TxnRequest {
        compare: vec![compare],
        success: vec![
            op(Op::RequestPut(put_request(n, ticket, 0))),
            op(Op::RequestDeleteRange(delete)),
        ],
        failure: vec![op(Op::RequestPut(put_request(n + 2, ticket, 0)))],
    };
    request(Kind::Txn, &txn)
}

/// Compacts.
pub(crate) fn compact(revision: i64, physical: bool) -> Request {
    request(Kind::Compaction, &pb::CompactionRequest { revision, physical })
}

/// Grants a lease of this id.
pub(crate) fn grant(lease: i64, ttl: i64) -> Request {
    request(Kind::LeaseGrant, &pb::LeaseGrantRequest { ttl, id: lease })
}

/// Revokes a lease.
pub(crate) fn revoke(lease: i64) -> Request {
    request(Kind::LeaseRevoke, &pb::LeaseRevokeRequest { id: lease })
}

/// Lowers a member's alarm of a full database.
pub(crate) fn disarm(member_id: u64) -> Request {
    let (action, alarm) = (AlarmAction::Deactivate as i32, AlarmType::Nospace as i32);
    request(Kind::Alarm, &pb::AlarmRequest { action, member_id, alarm })
}

/// Adds a member.
pub(crate) fn add(member: &Member) -> ConfChange {
    let kind = if member.is_learner {
        ConfChangeType::ConfChangeAddLearnerNode
    } else {
        ConfChangeType::ConfChangeAddNode
    };
    change(kind, member.id, member.to_json())
}

/// Gives a learner its vote.
pub(crate) fn promote(member: u64) -> ConfChange {
    let context = format!("{{\"id\":{member},\"peerURLs\":null,\"isPromote\":true}}");
    change(ConfChangeType::ConfChangeAddNode, member, context.into())
}

/// Removes a member.
pub(crate) fn remove(member: u64) -> ConfChange {
    change(ConfChangeType::ConfChangeRemoveNode, member, Vec::new())
}

fn change(kind: ConfChangeType, member: u64, context: Vec<u8>) -> ConfChange {
    ConfChange {
        id: None,
        r#type: Some(kind as i32),
        node_id: Some(member),
        context: (!context.is_empty()).then(|| context.into()),
    }
}
