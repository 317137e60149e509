//! Requests as scripts write them, and the entries that carry them.

use apply::{Kind, envelope};
use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb as pb;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::request_op::Request as Op;
use proto::membershippb as mpb;
use proto::raftpb::{ConfChange, ConfChangeType};
use script::Directive;

/// What an entry holds.
pub(crate) enum Content {
    Normal(Bytes),
    ConfChange(Bytes),
    /// What members of this version never write.
    ConfChangeV2,
}

/// The id that every request carries.
pub(crate) const REQUEST_ID: u64 = 7;

/// The entry that a command stands for; `None` where it stands for none.
pub(crate) fn content(directive: &Directive) -> Option<Content> {
    let normal = |kind, request: Vec<u8>| {
        let header = pb::RequestHeader { id: REQUEST_ID, ..Default::default() };
        Some(Content::Normal(envelope::encode(kind, &request, &header)))
    };
    match directive.command.as_str() {
        "put" => normal(Kind::Put, put(directive).encode_to_vec()),
        "delete" => normal(Kind::DeleteRange, delete(directive).encode_to_vec()),
        "txn" => normal(Kind::Txn, txn(directive).encode_to_vec()),
        "range" => normal(Kind::Range, range(directive).encode_to_vec()),
        "compact" => {
            let revision = directive.number(0);
            let request = pb::CompactionRequest { revision, ..Default::default() };
            normal(Kind::Compaction, request.encode_to_vec())
        }
        "grant" => {
            let request =
                pb::LeaseGrantRequest { id: directive.number(0), ttl: directive.get("ttl") };
            normal(Kind::LeaseGrant, request.encode_to_vec())
        }
        "revoke" => {
            let request = pb::LeaseRevokeRequest { id: directive.number(0) };
            normal(Kind::LeaseRevoke, request.encode_to_vec())
        }
        "alarm" => normal(Kind::Alarm, alarm(directive).encode_to_vec()),
        "set-version" => {
            let request = mpb::ClusterVersionSetRequest { ver: directive.word(0).into() };
            normal(Kind::ClusterVersionSet, request.encode_to_vec())
        }
        "set-downgrade" => {
            let ver = directive.value("to").unwrap_or_default().to_owned();
            let request = mpb::DowngradeInfoSetRequest { enabled: !ver.is_empty(), ver };
            normal(Kind::DowngradeInfoSet, request.encode_to_vec())
        }
        "publish" => normal(Kind::ClusterMemberAttrSet, publish(directive).encode_to_vec()),
        "member" => Some(Content::ConfChange(member(directive).encode_to_vec().into())),
        "empty" => Some(Content::Normal(Bytes::new())),
        "raw" => Some(Content::Normal(from_hex(directive.word(0)))),
        "raw-conf-change" => Some(Content::ConfChange(from_hex(directive.word(0)))),
        "conf-change-v2" => Some(Content::ConfChangeV2),
        _ => None,
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::from(text.to_owned())
}

/// An end as scripts write it: `open` is no end.
fn end(directive: &Directive) -> Bytes {
    match directive.value("end") {
        Some("open") => Bytes::from_static(b"\0"),
        end => bytes(end.unwrap_or_default()),
    }
}

fn put(directive: &Directive) -> pb::PutRequest {
    let arg = &directive.args[0];
    pb::PutRequest {
        key: bytes(&arg.key),
        value: bytes(arg.values.first().map_or("", String::as_str)),
        lease: directive.get("lease"),
        prev_kv: directive.has("prev"),
        ignore_value: directive.has("ignore-value"),
        ignore_lease: directive.has("ignore-lease"),
    }
}

fn delete(directive: &Directive) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest {
        key: bytes(directive.word(0)),
        range_end: end(directive),
        prev_kv: directive.has("prev"),
    }
}

fn range(directive: &Directive) -> pb::RangeRequest {
    pb::RangeRequest {
        key: bytes(directive.word(0)),
        range_end: end(directive),
        limit: directive.get("limit"),
        revision: directive.get("revision"),
        ..Default::default()
    }
}

/// A transaction: lines of `if`, `then` and `else`; `txn {` opens a nested one, `}` closes it.
fn txn(directive: &Directive) -> pb::TxnRequest {
    let mut lines = directive.input.lines();
    nested_txn(&directive.place, &mut lines)
}

fn nested_txn<'a>(place: &str, lines: &mut impl Iterator<Item = &'a str>) -> pb::TxnRequest {
    let mut request = pb::TxnRequest::default();
    while let Some(line) = lines.next().map(str::trim).filter(|line| *line != "}") {
        let (word, rest) = line.split_once(' ').unwrap();
        let op = Directive::from_line(place, rest);
        match word {
            "if" => request.compare.push(compare(&op)),
            "then" => request.success.push(operation(place, &op, lines)),
            "else" => request.failure.push(operation(place, &op, lines)),
            other => panic!("{place}: unknown word {other}"),
        }
    }
    request
}

fn operation<'a>(
    place: &str,
    op: &Directive,
    lines: &mut impl Iterator<Item = &'a str>,
) -> pb::RequestOp {
    let request = match op.command.as_str() {
        "put" => Some(Op::RequestPut(put(op))),
        "delete" => Some(Op::RequestDeleteRange(delete(op))),
        "range" => Some(Op::RequestRange(range(op))),
        "txn" => Some(Op::RequestTxn(nested_txn(place, lines))),
        "nothing" => None,
        other => panic!("{place}: unknown operation {other}"),
    };
    pb::RequestOp { request }
}

/// `TARGET KEY SIGN OPERAND`, such as `value k = v`; `end=` makes it one of a range.
fn compare(op: &Directive) -> pb::Compare {
    let number = || op.number::<i64>(2);
    let (target, union) = match op.command.as_str() {
        "value" => (CompareTarget::Value, TargetUnion::Value(bytes(op.word(2)))),
        "version" => (CompareTarget::Version, TargetUnion::Version(number())),
        "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number())),
        "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number())),
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number())),
        other => panic!("{}: unknown target {other}", op.place),
    };
    let result = match op.word(1) {
        "is" => CompareResult::Equal,
        "is-not" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        other => panic!("{}: unknown sign {other}", op.place),
    };
    pb::Compare {
        result: result as i32,
        target: target as i32,
        key: bytes(op.word(0)),
        range_end: end(op),
        target_union: Some(union),
    }
}

/// `alarm raise|lower|list|ACTION nospace|corrupt|none member=ID`.
fn alarm(directive: &Directive) -> pb::AlarmRequest {
    let action = match directive.word(0) {
        "list" => 0,
        "raise" => 1,
        "lower" => 2,
        other => other.parse().unwrap(),
    };
    let alarm = match directive.word(1) {
        "none" => 0,
        "nospace" => 1,
        "corrupt" => 2,
        other => panic!("unknown alarm {other}"),
    };
    pb::AlarmRequest { action, alarm, member_id: directive.get("member") }
}

fn publish(directive: &Directive) -> mpb::ClusterMemberAttrSetRequest {
    let attributes = mpb::Attributes {
        name: directive.value("name").unwrap_or_default().into(),
        client_urls: directive.values("urls").to_vec(),
    };
    mpb::ClusterMemberAttrSetRequest {
        member_id: directive.number(0),
        member_attributes: Some(attributes),
    }
}

/// `member add|learner|promote|remove|update ID urls=(...)`.
fn member(directive: &Directive) -> ConfChange {
    let id: u64 = directive.number(1);
    let kind = match directive.word(0) {
        "add" | "promote" => ConfChangeType::ConfChangeAddNode,
        "learner" => ConfChangeType::ConfChangeAddLearnerNode,
        "remove" => ConfChangeType::ConfChangeRemoveNode,
        "update" => ConfChangeType::ConfChangeUpdateNode,
        other => panic!("unknown change {other}"),
    };
    let urls: Vec<String> =
        directive.values("urls").iter().map(|url| format!("\"{url}\"")).collect();
    let promote = if directive.word(0) == "promote" { ",\"isPromote\":true" } else { "" };
    let context = format!("{{\"id\":{id},\"peerURLs\":[{}]{promote}}}", urls.join(","));
    ConfChange {
        id: Some(REQUEST_ID),
        r#type: Some(kind as i32),
        node_id: Some(id),
        context: Some(context.into()),
    }
}

fn from_hex(text: &str) -> Bytes {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}
