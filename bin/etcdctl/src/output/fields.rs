//! What many answers hold, one field a line.

pub(super) use cli::fields::Fields;
use proto::etcdserverpb::ResponseHeader;
use proto::mvccpb::KeyValue;

/// Groups of fields.
pub(super) trait Groups {
    /// The header; its revision only where there is one.
    fn header(&mut self, header: Option<&ResponseHeader>);
    /// A key with its value.
    fn kv(&mut self, prefix: &str, kv: &KeyValue);
}

impl Groups for Fields {
    fn header(&mut self, header: Option<&ResponseHeader>) {
        let header = header.cloned().unwrap_or_default();
        self.id("ClusterID", header.cluster_id);
        self.id("MemberID", header.member_id);
        if header.revision > 0 {
            self.add("Revision", header.revision);
        }
        self.add("RaftTerm", header.raft_term);
    }

    fn kv(&mut self, prefix: &str, kv: &KeyValue) {
        self.quoted(&format!("{prefix}Key"), &kv.key);
        self.add(&format!("{prefix}CreateRevision"), kv.create_revision);
        self.add(&format!("{prefix}ModRevision"), kv.mod_revision);
        self.add(&format!("{prefix}Version"), kv.version);
        self.quoted(&format!("{prefix}Value"), &kv.value);
        self.lease(&format!("{prefix}Lease"), kv.lease);
    }
}
