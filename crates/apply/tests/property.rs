//! Whatever stands in a log: what is always true stays true, two members that apply it hold the
//! same whoever waits for answers, a refusal changes nothing, and a replay changes nothing.
#![allow(clippy::unwrap_used)] // the helpers of tests too

use apply::{Config, Machine, Outcome};
use apply::{Kind, envelope};
use backend::{Backend, Options};
use bytes::Bytes;
use disk::sim::SimDisk;
use proptest::prelude::*;
use prost::Message;
use proto::etcdserverpb as pb;
use proto::etcdserverpb::request_op::Request as Op;
use proto::raftpb::{ConfChange, Entry, EntryType};
use std::path::Path;

/// A database whose file stays small, so that a test is about what it holds.
fn options() -> Options {
    let mut options = Options::default();
    (options.bolt.growth_bytes, options.bolt.initial_map_bytes) = (4096, 0);
    options
}

fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["", "a", "b", "c", "d"]).prop_map(Bytes::from)
}

fn end() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["", "", "\0", "a", "c", "z"]).prop_map(Bytes::from)
}

fn put() -> impl Strategy<Value = pb::PutRequest> {
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.2), any::<bool>());
    (key(), end(), 0i64..4, flags).prop_map(|(key, value, lease, flags)| pb::PutRequest {
        key,
        value,
        lease,
        ignore_value: flags.0,
        ignore_lease: flags.1,
        prev_kv: flags.2,
    })
}

fn delete() -> impl Strategy<Value = pb::DeleteRangeRequest> {
    (key(), end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| pb::DeleteRangeRequest {
        key,
        range_end,
        prev_kv,
    })
}

fn range() -> impl Strategy<Value = pb::RangeRequest> {
    (key(), end(), -1i64..20, 0i32..4).prop_map(|(key, range_end, revision, sort_order)| {
        pb::RangeRequest { key, range_end, revision, sort_order, ..Default::default() }
    })
}

fn compare() -> impl Strategy<Value = pb::Compare> {
    (key(), end(), 0i32..6, 0i32..5).prop_map(|(key, range_end, target, result)| pb::Compare {
        key,
        range_end,
        target,
        result,
        target_union: None,
    })
}

fn txn() -> impl Strategy<Value = pb::TxnRequest> {
    let leaf = prop_oneof![
        3 => put().prop_map(|put| Some(Op::RequestPut(put))),
        2 => delete().prop_map(|delete| Some(Op::RequestDeleteRange(delete))),
        2 => range().prop_map(|range| Some(Op::RequestRange(range))),
        1 => Just(None),
    ];
    let op =
        leaf.prop_recursive(3, 24, 4, |op| branches(op).prop_map(|txn| Some(Op::RequestTxn(txn))));
    branches(op)
}

fn branches(
    op: impl Strategy<Value = Option<Op>> + Clone,
) -> impl Strategy<Value = pb::TxnRequest> {
    let ops = |op| {
        let ops = prop::collection::vec(op, 0..4);
        ops.prop_map(|ops| ops.into_iter().map(|request| pb::RequestOp { request }).collect())
    };
    (prop::collection::vec(compare(), 0..2), ops(op.clone()), ops(op))
        .prop_map(|(compare, success, failure)| pb::TxnRequest { compare, success, failure })
}

/// What an entry holds, and whether it is one of raft's configuration.
type Content = (EntryType, Bytes);

fn normal<M: Message>(kind: Kind, request: &M) -> Content {
    let header = pb::RequestHeader { id: 1, ..Default::default() };
    (EntryType::EntryNormal, envelope::encode(kind, &request.encode_to_vec(), &header))
}

fn conf_change() -> impl Strategy<Value = Content> {
    let urls = prop::sample::select(vec!["\"http://a:1\"", "\"http://b:1\"", "\"bad\"", ""]);
    (-1i32..5, 1u64..5, urls, any::<bool>()).prop_map(|(kind, id, urls, promotes)| {
        let context = format!(r#"{{"id":{id},"peerURLs":[{urls}],"isPromote":{promotes}}}"#);
        let change = ConfChange {
            id: Some(1),
            r#type: Some(kind),
            node_id: Some(id),
            context: Some(context.into()),
        };
        (EntryType::EntryConfChange, change.encode_to_vec().into())
    })
}

fn content() -> impl Strategy<Value = Content> {
    let raw = prop::collection::vec(any::<u8>(), 0..12);
    prop_oneof![
        4 => put().prop_map(|put| normal(Kind::Put, &put)),
        2 => delete().prop_map(|delete| normal(Kind::DeleteRange, &delete)),
        6 => txn().prop_map(|txn| normal(Kind::Txn, &txn)),
        1 => range().prop_map(|range| normal(Kind::Range, &range)),
        1 => (-1i64..12).prop_map(|revision| {
            normal(Kind::Compaction, &pb::CompactionRequest { revision, physical: false })
        }),
        3 => (0i64..4, -1i64..90).prop_map(|(id, ttl)| {
            normal(Kind::LeaseGrant, &pb::LeaseGrantRequest { id, ttl })
        }),
        2 => (0i64..4).prop_map(|id| normal(Kind::LeaseRevoke, &pb::LeaseRevokeRequest { id })),
        1 => (0i64..4, any::<i64>()).prop_map(|(id, remaining_ttl)| {
            let checkpoints = vec![pb::LeaseCheckpoint { id, remaining_ttl }];
            normal(Kind::LeaseCheckpoint, &pb::LeaseCheckpointRequest { checkpoints })
        }),
        1 => (0i32..4, 0i32..4, 0u64..2).prop_map(|(action, alarm, member_id)| {
            normal(Kind::Alarm, &pb::AlarmRequest { action, member_id, alarm })
        }),
        2 => conf_change(),
        1 => raw.clone().prop_map(|raw| (EntryType::EntryNormal, raw.into())),
        1 => raw.prop_map(|raw| (EntryType::EntryConfChange, raw.into())),
    ]
}

fn open() -> Machine {
    let backend = Backend::open(SimDisk::new(1).disk(), Path::new("db"), options()).unwrap();
    let lease = lease::Config {
        ttl_min_s: 2,
        checkpoints: true,
        persist_checkpoints: true,
        checkpoint_interval_ms: 300_000,
    };
    let config = Config { quota_bytes: 0, learners_max: 1 };
    Machine::open(backend, lease, config).unwrap().machine
}

/// What must be the same on every member.
fn essence(outcome: &Outcome) -> String {
    let refusal = outcome.result.as_ref().err();
    format!("{refusal:?} {:?} {:?} {:?}", outcome.change, outcome.effect, outcome.kind)
}

fn state(machine: &Machine) -> (i64, u64, u32) {
    let read = machine.store.reader().read();
    (read.revision(), machine.backend.applied().index, read.hash_kv(0).unwrap().hash)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_log_is_applied_alike(contents in prop::collection::vec(content(), 1..60)) {
        let (mut asked, mut unasked) = (open(), open());
        let mut log: Vec<Entry> = Vec::new();
        for (kind, data) in contents {
            let index = log.len() as u64 + 1;
            let entry = Entry {
                r#type: Some(kind as i32), term: Some(2), index: Some(index), data: Some(data),
            };
            let before = state(&asked);
            let outcomes = (asked.apply(&entry, |_| true), unasked.apply(&entry, |_| false));
            let (Ok(one), Ok(other)) = outcomes else {
                // A member that cannot read an entry stops: nothing of it has happened.
                prop_assert!(outcomes.0.is_err() && outcomes.1.is_err());
                prop_assert_eq!(state(&asked), before);
                continue;
            };
            log.push(entry);
            prop_assert_eq!(essence(&one), essence(&other));
            prop_assert_eq!(state(&asked), state(&unasked));
            let after = state(&asked);
            if one.result.is_err() {
                prop_assert_eq!((before.0, before.2), (after.0, after.2), "a refusal had effects");
            }
            if let Ok(reply) = &one.result {
                reply.encode(&apply::Header::default());
            }
            asked.check();
            unasked.check();
        }
        let after = state(&asked);
        for entry in &log {
            prop_assert!(asked.apply(entry, |_| true).unwrap().change.is_none());
        }
        prop_assert_eq!(state(&asked), after);
        asked.check();
    }
}
