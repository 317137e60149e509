//! Members, alarms, and what is done to the whole cluster.

use super::fields::{Fields, Groups};
use super::table::Table;
use super::{Show, Style, json};
use prost::{Message, Name};
use proto::etcdserverpb::{
    AlarmResponse, AlarmType, DowngradeResponse, MemberAddResponse, MemberListResponse,
    MoveLeaderResponse,
};
use serde_json::Value;

/// A member was removed, updated or promoted.
pub(crate) struct Changed<M> {
    pub(crate) id: u64,
    pub(crate) cluster: u64,
    /// `removed from`, `updated in` or `promoted in`.
    pub(crate) what: &'static str,
    pub(crate) response: M,
}

/// The leadership was moved.
pub(crate) struct Moved {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) response: MoveLeaderResponse,
}

/// Identifiers in hexadecimal, in the header and in every member.
fn with_hex_ids(mut message: Value) -> Value {
    let hex = |object: &mut Value, names: [&str; 2]| {
        for name in names {
            if let Some(id) = object.get_mut(name) {
                *id = id.as_u64().map_or(Value::Null, |id| format!("{id:x}").into());
            }
        }
    };
    if let Some(header) = message.get_mut("header") {
        hex(header, ["cluster_id", "member_id"]);
    }
    if let Some(member) = message.get_mut("member") {
        hex(member, ["ID", ""]);
    }
    let members = message.get_mut("members").and_then(Value::as_array_mut);
    members.into_iter().flatten().for_each(|member| hex(member, ["ID", ""]));
    message
}

fn members_json<M: Message + Name>(message: &M, hex: bool) -> Value {
    let value = json::message(message);
    if hex { with_hex_ids(value) } else { value }
}

impl Show for MemberListResponse {
    fn simple(&self, _style: Style) -> Vec<u8> {
        self.table().map(|table| table.lines()).unwrap_or_default()
    }

    fn fields(&self, fields: &mut Fields) -> Option<()> {
        fields.header(self.header.as_ref());
        for member in &self.members {
            fields.id("ID", member.id);
            fields.quoted("Name", member.name.as_bytes());
            member.peer_ur_ls.iter().for_each(|url| fields.quoted("PeerURL", url.as_bytes()));
            member.client_ur_ls.iter().for_each(|url| fields.quoted("ClientURL", url.as_bytes()));
            fields.add("IsLearner", member.is_learner);
            fields.blank();
        }
        Some(())
    }

    fn json(&self, hex: bool) -> Option<Value> {
        Some(members_json(self, hex))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }

    fn table(&self) -> Option<Table> {
        let header = vec!["ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"];
        let mut rows = Vec::new();
        for member in &self.members {
            let status = if member.name.is_empty() { "unstarted" } else { "started" };
            rows.push(vec![
                format!("{:x}", member.id),
                status.to_owned(),
                member.name.clone(),
                member.peer_ur_ls.join(","),
                member.client_ur_ls.join(","),
                member.is_learner.to_string(),
            ]);
        }
        Some(Table { header, rows })
    }
}

impl Show for MemberAddResponse {
    fn simple(&self, _style: Style) -> Vec<u8> {
        let member = self.member.clone().unwrap_or_default();
        let cluster = self.header.as_ref().map_or(0, |header| header.cluster_id);
        let role = if member.is_learner { " as learner " } else { " " };
        format!("Member {:16x} added{role}to cluster {cluster:16x}\n", member.id).into()
    }

    fn json(&self, hex: bool) -> Option<Value> {
        Some(members_json(self, hex))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

impl<M: Message + Name> Show for Changed<M> {
    fn simple(&self, _style: Style) -> Vec<u8> {
        format!("Member {:16x} {} cluster {:16x}\n", self.id, self.what, self.cluster).into()
    }

    fn json(&self, hex: bool) -> Option<Value> {
        Some(members_json(&self.response, hex))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.response.encode_to_vec())
    }
}

impl Show for Moved {
    fn simple(&self, _style: Style) -> Vec<u8> {
        format!("Leadership transferred from {:x} to {:x}\n", self.from, self.to).into()
    }

    fn json(&self, _hex: bool) -> Option<Value> {
        Some(json::message(&self.response))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.response.encode_to_vec())
    }
}

/// A step of a downgrade succeeded.
pub(crate) struct Downgraded {
    /// `validate`, `enable` or `cancel`.
    pub(crate) what: &'static str,
    pub(crate) response: DowngradeResponse,
}

impl Show for Downgraded {
    fn simple(&self, _style: Style) -> Vec<u8> {
        let version = &self.response.version;
        format!("Downgrade {} success, cluster version {version}\n", self.what).into()
    }

    fn json(&self, _hex: bool) -> Option<Value> {
        Some(json::message(&self.response))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.response.encode_to_vec())
    }
}

impl Show for AlarmResponse {
    fn simple(&self, _style: Style) -> Vec<u8> {
        let mut out = String::new();
        for alarm in &self.alarms {
            let mut parts = Vec::new();
            if alarm.member_id != 0 {
                parts.push(format!("memberID:{}", alarm.member_id));
            }
            if alarm.alarm() != AlarmType::None {
                parts.push(format!("alarm:{}", alarm.alarm().as_str_name()));
            }
            out.push_str(&parts.join(" "));
            out.push('\n');
        }
        out.into()
    }

    fn fields(&self, fields: &mut Fields) -> Option<()> {
        fields.header(self.header.as_ref());
        for alarm in &self.alarms {
            fields.id("MemberID", alarm.member_id);
            fields.add("AlarmType", alarm.alarm().as_str_name());
            fields.blank();
        }
        Some(())
    }

    fn json(&self, _hex: bool) -> Option<Value> {
        Some(json::message(self))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::etcdserverpb::{Member, ResponseHeader};
    use serde_json::json;

    #[test]
    fn identifiers_can_be_hexadecimal() {
        let header = ResponseHeader { cluster_id: 255, member_id: 16, ..Default::default() };
        let member = Member { id: 4096, ..Member::default() };
        let list = MemberListResponse { header: Some(header), members: vec![member] };
        let expected = json!({
            "header": {"cluster_id": "ff", "member_id": "10"},
            "members": [{"ID": "1000"}],
        });
        assert_eq!(list.json(true), Some(expected));
    }
}
