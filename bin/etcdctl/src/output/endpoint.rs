//! What each endpoint says of itself.

use super::fields::{Fields, Groups};
use super::table::Table;
use super::{Show, Style, json};
use crate::go;
use proto::etcdserverpb::{HashKvResponse, StatusResponse};
use serde_json::{Value, json};
use std::io::Write;

/// Whether an endpoint is well.
pub(crate) struct Health {
    pub(crate) endpoint: String,
    pub(crate) health: bool,
    pub(crate) took: String,
    pub(crate) error: String,
}

/// The health of several.
pub(crate) struct Healths(pub(crate) Vec<Health>);
/// The status of several.
pub(crate) struct Statuses(pub(crate) Vec<(String, StatusResponse)>);
/// The hashes of several.
pub(crate) struct HashKvs(pub(crate) Vec<(String, HashKvResponse)>);

/// A list as Go prints it: one that nothing was put into is null.
fn list(values: Vec<Value>) -> Value {
    if values.is_empty() { Value::Null } else { values.into() }
}

impl Show for Healths {
    fn simple(&self, _style: Style) -> Vec<u8> {
        let mut out = Vec::new();
        for Health { endpoint, took, error, .. } in &self.0 {
            if error.is_empty() {
                let text = "is healthy: successfully committed proposal: took =";
                out.extend_from_slice(format!("{endpoint} {text} {took}\n").as_bytes());
            } else {
                let text = "is unhealthy: failed to commit proposal:";
                // What nobody can read changes nothing about the exit code.
                let _ = writeln!(std::io::stderr(), "{endpoint} {text} {error}");
            }
        }
        out
    }

    fn fields(&self, fields: &mut Fields) -> Option<()> {
        for health in &self.0 {
            fields.quoted("Endpoint", health.endpoint.as_bytes());
            fields.add("Health", health.health);
            fields.add("Took", &health.took);
            fields.add("Error", &health.error);
            fields.blank();
        }
        Some(())
    }

    fn json(&self, _hex: bool) -> Option<Value> {
        let one = |health: &Health| {
            let mut value = json!({
                "endpoint": health.endpoint,
                "health": health.health,
                "took": health.took,
            });
            if !health.error.is_empty() {
                value["error"] = json!(health.error);
            }
            value
        };
        Some(list(self.0.iter().map(one).collect()))
    }

    fn table(&self) -> Option<Table> {
        let row = |health: &Health| {
            let healthy = health.health.to_string();
            vec![health.endpoint.clone(), healthy, health.took.clone(), health.error.clone()]
        };
        let header = vec!["endpoint", "health", "took", "error"];
        Some(Table { header, rows: self.0.iter().map(row).collect() })
    }
}

impl Show for Statuses {
    fn simple(&self, _style: Style) -> Vec<u8> {
        self.table().map(|table| table.lines()).unwrap_or_default()
    }

    fn fields(&self, fields: &mut Fields) -> Option<()> {
        for (endpoint, status) in &self.0 {
            let downgrade = status.downgrade_info.clone().unwrap_or_default();
            fields.header(status.header.as_ref());
            fields.quoted("Version", status.version.as_bytes());
            fields.quoted("StorageVersion", status.storage_version.as_bytes());
            fields.add("DBSize", status.db_size);
            fields.add("DBSizeInUse", status.db_size_in_use);
            fields.add("DBSizeQuota", status.db_size_quota);
            fields.add("Leader", status.leader);
            fields.add("IsLearner", status.is_learner);
            fields.add("RaftIndex", status.raft_index);
            fields.add("RaftAppliedIndex", status.raft_applied_index);
            fields.add("Errors", format_args!("[{}]", status.errors.join(" ")));
            fields.quoted("Endpoint", endpoint.as_bytes());
            fields.quoted("DowngradeTargetVersion", downgrade.target_version.as_bytes());
            fields.add("DowngradeEnabled", downgrade.enabled);
            fields.blank();
        }
        Some(())
    }

    fn json(&self, _hex: bool) -> Option<Value> {
        let one = |(endpoint, status): &(String, StatusResponse)| json!({"Endpoint": endpoint, "Status": json::message(status)});
        Some(list(self.0.iter().map(one).collect()))
    }

    fn table(&self) -> Option<Table> {
        let header = vec![
            "endpoint",
            "ID",
            "version",
            "storage version",
            "db size",
            "in use",
            "percentage not in use",
            "quota",
            "is leader",
            "is learner",
            "raft term",
            "raft index",
            "raft applied index",
            "errors",
            "downgrade target version",
            "downgrade enabled",
        ];
        Some(Table { header, rows: self.0.iter().map(status_row).collect() })
    }
}

fn status_row((endpoint, status): &(String, StatusResponse)) -> Vec<String> {
    let member = status.header.as_ref().map_or(0, |header| header.member_id);
    let downgrade = status.downgrade_info.clone().unwrap_or_default();
    let in_use_percent = (status.db_size_in_use * 100).checked_div(status.db_size).unwrap_or(100);
    let size = |bytes: i64| go::bytes(bytes.unsigned_abs());
    vec![
        endpoint.clone(),
        format!("{member:x}"),
        status.version.clone(),
        status.storage_version.clone(),
        size(status.db_size),
        size(status.db_size_in_use),
        format!("{}%", 100 - in_use_percent),
        size(status.db_size_quota),
        (status.leader == member).to_string(),
        status.is_learner.to_string(),
        status.raft_term.to_string(),
        status.raft_index.to_string(),
        status.raft_applied_index.to_string(),
        status.errors.join(", "),
        downgrade.target_version,
        downgrade.enabled.to_string(),
    ]
}

impl Show for HashKvs {
    fn simple(&self, _style: Style) -> Vec<u8> {
        self.table().map(|table| table.lines()).unwrap_or_default()
    }

    fn fields(&self, fields: &mut Fields) -> Option<()> {
        for (endpoint, hash) in &self.0 {
            fields.header(hash.header.as_ref());
            fields.quoted("Endpoint", endpoint.as_bytes());
            fields.add("Hash", hash.hash);
            fields.add("HashRevision", hash.hash_revision);
            fields.blank();
        }
        Some(())
    }

    fn json(&self, _hex: bool) -> Option<Value> {
        let one = |(endpoint, hash): &(String, HashKvResponse)| json!({"Endpoint": endpoint, "HashKV": json::message(hash)});
        Some(list(self.0.iter().map(one).collect()))
    }

    fn table(&self) -> Option<Table> {
        let row = |(endpoint, hash): &(String, HashKvResponse)| {
            vec![endpoint.clone(), hash.hash.to_string(), hash.hash_revision.to_string()]
        };
        let header = vec!["endpoint", "hash", "hash_revision"];
        Some(Table { header, rows: self.0.iter().map(row).collect() })
    }
}
