//! One field a line: `"Name" : value`.

use crate::go;
use proto::etcdserverpb::ResponseHeader;
use proto::mvccpb::KeyValue;
use std::fmt::Display;

/// The lines written so far.
pub(crate) struct Fields {
    hex: bool,
    text: String,
}

impl Fields {
    pub(super) fn new(hex: bool) -> Fields {
        Fields { hex, text: String::new() }
    }

    pub(super) fn text(self) -> String {
        self.text
    }

    /// A value as it prints itself.
    pub(super) fn add(&mut self, name: &str, value: impl Display) {
        self.text.push_str(&format!("\"{name}\" : {value}\n"));
    }

    /// A quoted value.
    pub(super) fn quoted(&mut self, name: &str, value: &[u8]) {
        self.add(name, go::quote(value));
    }

    /// A member's or cluster's id.
    pub(super) fn id(&mut self, name: &str, id: u64) {
        if self.hex {
            self.add(name, format_args!("{id:x}"));
        } else {
            self.add(name, id);
        }
    }

    /// A lease's id.
    pub(super) fn lease(&mut self, name: &str, id: i64) {
        if self.hex {
            self.add(name, format_args!("{id:016x}"));
        } else {
            self.add(name, id);
        }
    }

    /// The end of a group.
    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// The header; its revision only where there is one.
    pub(super) fn header(&mut self, header: Option<&ResponseHeader>) {
        let header = header.cloned().unwrap_or_default();
        self.id("ClusterID", header.cluster_id);
        self.id("MemberID", header.member_id);
        if header.revision > 0 {
            self.add("Revision", header.revision);
        }
        self.add("RaftTerm", header.raft_term);
    }

    /// A key with its value.
    pub(super) fn kv(&mut self, prefix: &str, kv: &KeyValue) {
        self.quoted(&format!("{prefix}Key"), &kv.key);
        self.add(&format!("{prefix}CreateRevision"), kv.create_revision);
        self.add(&format!("{prefix}ModRevision"), kv.mod_revision);
        self.add(&format!("{prefix}Version"), kv.version);
        self.quoted(&format!("{prefix}Value"), &kv.value);
        self.lease(&format!("{prefix}Lease"), kv.lease);
    }
}
