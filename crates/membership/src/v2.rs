//! The membership as the old store's JSON, which `.snap` files still carry
//! (reference: `server/etcdserver/api/v2store/store.go`).

use crate::Members;
use serde_json::{Map, Value, json};

/// Places in the old store's history of events. It is empty, but must have them: etcd v3.6 goes on
/// writing into it as it stands.
const HISTORY_PLACES: usize = 1000;

/// What the `data` of a raft snapshot holds.
pub fn snapshot_data(members: &Members, index: u64) -> Vec<u8> {
    let mut list = Map::new();
    for member in members.list() {
        let id = format!("{:x}", member.id);
        let path = format!("/0/members/{id}");
        let mut raft = json!({ "peerURLs": member.peer_urls });
        if member.is_learner {
            raft["isLearner"] = true.into();
        }
        let raft = leaf(&format!("{path}/raftAttributes"), &raft.to_string());
        let mut children = json!({ "raftAttributes": raft });
        // A member that has not started has none.
        if !member.client_urls.is_empty() {
            let attributes = json!({ "name": member.name, "clientURLs": member.client_urls });
            let attributes = leaf(&format!("{path}/attributes"), &attributes.to_string());
            children["attributes"] = attributes;
        }
        list.insert(id, directory(&path, children));
    }
    let removed: Map<String, Value> = members
        .removed()
        .map(|id| (format!("{id:x}"), leaf(&format!("/0/removed_members/{id:x}"), "")))
        .collect();
    let mut cluster = Map::new();
    cluster.insert("members".into(), directory("/0/members", Value::Object(list)));
    if !removed.is_empty() {
        let removed = directory("/0/removed_members", Value::Object(removed));
        cluster.insert("removed_members".into(), removed);
    }
    if let Some(version) = members.cluster_version() {
        cluster.insert("version".into(), leaf("/0/version", version));
    }
    let root = json!({
        "0": directory("/0", Value::Object(cluster)),
        "1": directory("/1", json!({})),
    });
    let store = json!({
        "Root": directory("/", root),
        "WatcherHub": { "EventHistory": {
            "Queue": {
                "Events": vec![Value::Null; HISTORY_PLACES],
                "Size": 0,
                "Front": 0,
                "Back": 0,
                "Capacity": HISTORY_PLACES,
            },
            "StartIndex": 0,
            "LastIndex": 0,
        } },
        "CurrentIndex": index,
        "Stats": {},
        "CurrentVersion": 2,
    });
    store.to_string().into_bytes()
}

fn directory(path: &str, children: Value) -> Value {
    let mut node = leaf(path, "");
    node["Children"] = children;
    node
}

fn leaf(path: &str, value: &str) -> Value {
    json!({
        "Path": path,
        "CreatedIndex": 0,
        "ModifiedIndex": 0,
        "ExpireTime": "0001-01-01T00:00:00Z",
        "Value": value,
        "Children": null,
    })
}
