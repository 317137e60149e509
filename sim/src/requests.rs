//! Requests as they stand in the log.

use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb as pb;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::request_op::Request as Op;
use proto::raftpb::{ConfChange, ConfChangeType};
use replica::apply::membership::Member;
use replica::apply::{Kind, envelope};

fn envelope(kind: Kind, id: u64, request: &impl Message) -> Bytes {
    let header = pb::RequestHeader { id, ..Default::default() };
    envelope::encode(kind, &request.encode_to_vec(), &header)
}

/// A key.
pub(crate) fn key(n: u64) -> Bytes {
    format!("k{n:02}").into()
}

fn put_request(n: u64, value: u64, lease: i64) -> pb::PutRequest {
    pb::PutRequest { key: key(n), value: format!("v{value}").into(), lease, ..Default::default() }
}

/// Puts a key; the value is the request's id.
pub(crate) fn put(id: u64, n: u64, lease: i64) -> Bytes {
    envelope(Kind::Put, id, &put_request(n, id, lease))
}

/// Deletes the keys from `from` up to but without `to`.
pub(crate) fn delete(id: u64, from: u64, to: u64) -> Bytes {
    let request =
        pb::DeleteRangeRequest { key: key(from), range_end: key(to), ..Default::default() };
    envelope(Kind::DeleteRange, id, &request)
}

/// Where `n` has this revision (0: does not exist), puts it and deletes the next key; otherwise
/// puts the key after that.
pub(crate) fn txn(id: u64, n: u64, mod_revision: i64) -> Bytes {
    let op = |request| pb::RequestOp { request: Some(request) };
    let delete = pb::DeleteRangeRequest { key: key(n + 1), ..Default::default() };
    let compare = pb::Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Mod as i32,
        key: key(n),
        target_union: Some(TargetUnion::ModRevision(mod_revision)),
        ..Default::default()
    };
    let request = pb::TxnRequest {
        compare: vec![compare],
        success: vec![
            op(Op::RequestPut(put_request(n, id, 0))),
            op(Op::RequestDeleteRange(delete)),
        ],
        failure: vec![op(Op::RequestPut(put_request(n + 2, id, 0)))],
    };
    envelope(Kind::Txn, id, &request)
}

/// Compacts.
pub(crate) fn compact(id: u64, revision: i64) -> Bytes {
    envelope(Kind::Compaction, id, &pb::CompactionRequest { revision, physical: false })
}

/// Grants a lease of this id.
pub(crate) fn grant(id: u64, lease: i64, ttl: i64) -> Bytes {
    envelope(Kind::LeaseGrant, id, &pb::LeaseGrantRequest { ttl, id: lease })
}

/// Revokes a lease.
pub(crate) fn revoke(id: u64, lease: i64) -> Bytes {
    envelope(Kind::LeaseRevoke, id, &pb::LeaseRevokeRequest { id: lease })
}

/// Adds a member.
pub(crate) fn add(id: u64, member: &Member) -> ConfChange {
    let kind = if member.is_learner {
        ConfChangeType::ConfChangeAddLearnerNode
    } else {
        ConfChangeType::ConfChangeAddNode
    };
    change(id, kind, member.id, member.to_json())
}

/// Gives a learner its vote.
pub(crate) fn promote(id: u64, member: u64) -> ConfChange {
    let context = format!("{{\"id\":{member},\"peerURLs\":null,\"isPromote\":true}}");
    change(id, ConfChangeType::ConfChangeAddNode, member, context.into())
}

/// Removes a member.
pub(crate) fn remove(id: u64, member: u64) -> ConfChange {
    change(id, ConfChangeType::ConfChangeRemoveNode, member, Vec::new())
}

fn change(id: u64, kind: ConfChangeType, member: u64, context: Vec<u8>) -> ConfChange {
    ConfChange {
        id: Some(id),
        r#type: Some(kind as i32),
        node_id: Some(member),
        context: (!context.is_empty()).then(|| context.into()),
    }
}
