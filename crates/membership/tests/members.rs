//! Membership as committed entries change it, and as the database and the old store hold it.
#![allow(clippy::unwrap_used)] // the helpers of tests too

use backend::{Backend, EntryId, Options, Table};
use disk::sim::SimDisk;
use membership::{InitialCluster, Members, Refusal, snapshot_data};
use proptest::prelude::*;
use proto::raftpb::{ConfChange, ConfChangeType};
use serde_json::Value;
use std::path::Path;

fn open() -> Backend {
    let mut options = Options::default();
    (options.bolt.page_size, options.bolt.growth_bytes) = (1024, 4096);
    options.bolt.initial_map_bytes = 0;
    Backend::open(SimDisk::new(1).disk(), Path::new("db"), options).unwrap()
}

fn change(kind: ConfChangeType, id: u64) -> ConfChange {
    let is_learner = kind == ConfChangeType::ConfChangeAddLearnerNode;
    let context = serde_json::json!({
        "id": id,
        "peerURLs": [format!("http://m{id}:1")],
        "isLearner": is_learner,
    });
    ConfChange {
        r#type: Some(kind as i32),
        node_id: Some(id),
        context: Some(context.to_string().into()),
        ..ConfChange::default()
    }
}

fn apply(backend: &mut Backend, members: &mut Members, change: &ConfChange) -> Result<(), Refusal> {
    let index = backend.applied().index + 1;
    let mut txn = backend.begin();
    let result = members.apply_conf_change(&mut txn, change);
    txn.finish(EntryId { term: 1, index });
    members.check(&backend.reader().view());
    backend.check();
    result
}

#[test]
fn one_learner_at_a_time_unless_told_otherwise() {
    let mut backend = open();
    let mut members = Members::load(&backend.reader().view()).unwrap();
    let learner = |id| change(ConfChangeType::ConfChangeAddLearnerNode, id);
    apply(&mut backend, &mut members, &change(ConfChangeType::ConfChangeAddNode, 1)).unwrap();
    apply(&mut backend, &mut members, &learner(2)).unwrap();
    assert_eq!(apply(&mut backend, &mut members, &learner(3)), Err(Refusal::TooManyLearners));
    assert!(members.get(3).is_none());
    members.set_learners_max(2);
    apply(&mut backend, &mut members, &learner(3)).unwrap();
    assert_eq!(apply(&mut backend, &mut members, &learner(4)), Err(Refusal::TooManyLearners));
    apply(&mut backend, &mut members, &change(ConfChangeType::ConfChangeAddNode, 5)).unwrap();
}

/// What any member of a cluster may have applied, every one must, so Go's rules of today do not decide.
#[test]
fn urls_of_earlier_rules_are_applied() {
    for (url, result) in [
        ("HTTP://a:1", Ok(())),
        ("unix:a", Ok(())),
        ("http://a:b:1", Ok(())),
        ("http://[1.2.3.4]:1", Ok(())),
        ("a:1", Err(Refusal::Malformed)),
        ("http://", Err(Refusal::Malformed)),
        ("", Err(Refusal::Malformed)),
    ] {
        let mut backend = open();
        let mut members = Members::load(&backend.reader().view()).unwrap();
        apply(&mut backend, &mut members, &change(ConfChangeType::ConfChangeAddNode, 1)).unwrap();
        let mut update = change(ConfChangeType::ConfChangeUpdateNode, 1);
        let context = serde_json::json!({ "id": 1, "peerURLs": [url] });
        update.context = Some(context.to_string().into());
        assert_eq!(apply(&mut backend, &mut members, &update), result, "{url}");
        assert!(Members::load(&backend.reader().view()).is_ok());
    }
}

/// One step of a cluster's life, as committed entries or commands bring it.
#[derive(Clone, Debug)]
enum Step {
    Change(ConfChange),
    Attributes(u64),
    Downgrade(bool),
    Version(i64),
    Reload,
    Replace,
}

fn step() -> impl Strategy<Value = Step> {
    let kinds = [
        ConfChangeType::ConfChangeAddNode,
        ConfChangeType::ConfChangeAddLearnerNode,
        ConfChangeType::ConfChangeUpdateNode,
        ConfChangeType::ConfChangeRemoveNode,
    ];
    let urls = prop::sample::select(vec!["http://a:1", "http://b:1", "http://c:1", "", "x"]);
    let changed = (prop::sample::select(kinds.to_vec()), 1..5u64, urls, any::<bool>()).prop_map(
        |(kind, id, url, is_promote)| {
            let context =
                serde_json::json!({ "id": id, "peerURLs": [url], "isPromote": is_promote });
            let context = Some(context.to_string().into());
            let (r#type, node_id) = (Some(kind as i32), Some(id));
            Step::Change(ConfChange { r#type, node_id, context, ..ConfChange::default() })
        },
    );
    prop_oneof![
        10 => changed,
        1 => (1..5u64).prop_map(Step::Attributes),
        1 => any::<bool>().prop_map(Step::Downgrade),
        1 => (5..8i64).prop_map(Step::Version),
        1 => Just(Step::Reload),
        1 => Just(Step::Replace),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tables_and_members_agree_after_every_step(steps in prop::collection::vec(step(), 1..40)) {
        let mut backend = open();
        let mut members = Members::load(&backend.reader().view()).unwrap();
        for step in steps {
            let entry = EntryId { term: 1, index: backend.applied().index + 1 };
            let view = backend.reader().view();
            match step {
                Step::Change(change) => _ = apply(&mut backend, &mut members, &change),
                Step::Attributes(id) => {
                    let mut txn = backend.begin();
                    members.set_attributes(&mut txn, id, "n".into(), vec!["http://c:2".into()]);
                    txn.finish(entry);
                }
                Step::Downgrade(enabled) => {
                    let mut txn = backend.begin();
                    members.set_downgrade(&mut txn, enabled, "3.6.0");
                    txn.finish(entry);
                }
                Step::Version(minor) => {
                    let mut txn = backend.begin();
                    members.set_cluster_version(&mut txn, &format!("3.{minor}.0"));
                    txn.finish(entry);
                }
                Step::Reload => {
                    backend.commit().unwrap();
                    members = Members::load(&backend.reader().view()).unwrap();
                }
                Step::Replace => {
                    let cluster = InitialCluster::parse("a=http://a:1,b=http://b:1", "t").unwrap();
                    let mut txn = backend.begin_maintenance();
                    let replaced = Members::replace(&view, &mut txn, &cluster);
                    txn.finish();
                    let (list, known) = (replaced.list().cloned(), cluster.members);
                    prop_assert_eq!(list.collect::<Vec<_>>(), known);
                    members = Members::load(&backend.reader().view()).unwrap();
                }
            }
            members.check(&backend.reader().view());
            backend.check();
        }
    }
}

#[test]
#[should_panic(expected = "is stored of")]
fn a_table_that_says_something_else_is_found() {
    let mut backend = open();
    let mut members = Members::load(&backend.reader().view()).unwrap();
    apply(&mut backend, &mut members, &change(ConfChangeType::ConfChangeAddNode, 1)).unwrap();
    let mut txn = backend.begin();
    txn.delete(Table::Members, b"1");
    txn.finish(EntryId { term: 1, index: 2 });
    members.check(&backend.reader().view());
}

#[test]
fn a_member_that_cannot_be_read_is_a_fault() {
    for (table, key, value) in [
        (Table::Members, "5", r#"{"id":5,"peerURLs":"#),
        (Table::Members, "no id", r#"{"id":5,"peerURLs":["http://a:1"]}"#),
        (Table::MembersRemoved, "no id", "removed"),
        (Table::Cluster, "downgrade", "{"),
    ] {
        let mut backend = open();
        let mut txn = backend.begin();
        txn.put(table, key.as_bytes(), value.into());
        txn.finish(EntryId { term: 1, index: 1 });
        let fault = Members::load(&backend.reader().view()).unwrap_err().to_string();
        assert!(fault.contains(table.name()) && fault.contains(key), "{fault}");
    }
}

#[test]
fn the_old_store_tells_who_was_removed() {
    let mut backend = open();
    let mut members = Members::load(&backend.reader().view()).unwrap();
    let add = |id| change(ConfChangeType::ConfChangeAddNode, id);
    for id in [0xa1, 0xb2] {
        apply(&mut backend, &mut members, &add(id)).unwrap();
    }
    let store: Value = serde_json::from_slice(&snapshot_data(&members, 2)).unwrap();
    assert!(store["Root"]["Children"]["0"]["Children"]["removed_members"].is_null());
    let removal = change(ConfChangeType::ConfChangeRemoveNode, 0xb2);
    apply(&mut backend, &mut members, &removal).unwrap();
    let store: Value = serde_json::from_slice(&snapshot_data(&members, 3)).unwrap();
    let children = &store["Root"]["Children"]["0"]["Children"];
    assert!(children["members"]["Children"]["b2"].is_null());
    let removed = &children["removed_members"]["Children"]["b2"];
    assert_eq!(removed["Path"], "/0/removed_members/b2");
    assert_eq!((&removed["Value"], &removed["Children"]), (&Value::from(""), &Value::Null));
}

#[test]
fn the_history_of_the_old_store_has_room_for_what_it_says() {
    let members = Members::load(&open().reader().view()).unwrap();
    let store: Value = serde_json::from_slice(&snapshot_data(&members, 2)).unwrap();
    let queue = &store["WatcherHub"]["EventHistory"]["Queue"];
    assert_eq!(queue["Events"].as_array().map(Vec::len), Some(1000));
    assert_eq!(queue["Capacity"], 1000);
}
