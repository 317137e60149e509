//! Leases. Their JSON is flat: the header's fields and then the lease's. Their protobuf is the
//! header alone, as the reference's is.

use super::fields::{Fields, Groups};
use super::{Show, Style, json};
use prost::Message;
use proto::etcdserverpb::{
    LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseRevokeResponse,
    LeaseTimeToLiveResponse, ResponseHeader,
};
use serde_json::{Value, json};

/// A lease was granted.
pub(crate) struct Granted(pub(crate) LeaseGrantResponse);
/// A lease was revoked.
pub(crate) struct Revoked {
    pub(crate) id: i64,
    pub(crate) response: LeaseRevokeResponse,
}
/// A lease was renewed.
pub(crate) struct KeptAlive(pub(crate) LeaseKeepAliveResponse);
/// A lease's time to live.
pub(crate) struct TimeToLive {
    pub(crate) response: LeaseTimeToLiveResponse,
    pub(crate) keys: bool,
}
/// All leases.
pub(crate) struct Leases(pub(crate) LeaseLeasesResponse);

/// The header's fields with others after them.
fn flat(header: Option<&ResponseHeader>, fields: Value) -> Option<Value> {
    let mut all = header.map_or_else(|| json!({}), json::message);
    let Value::Object(fields) = fields else { return None };
    all.as_object_mut()?.extend(fields);
    Some(all)
}

/// The header by itself.
fn header_only(header: Option<&ResponseHeader>) -> Option<Vec<u8>> {
    Some(header.map(Message::encode_to_vec).unwrap_or_default())
}

impl Show for Granted {
    fn simple(&self, _style: Style) -> Vec<u8> {
        let Granted(response) = self;
        format!("lease {:016x} granted with TTL({}s)\n", response.id, response.ttl).into()
    }

    fn fields(&self, fields: &mut Fields) -> Option<()> {
        fields.header(self.0.header.as_ref());
        fields.lease("ID", self.0.id);
        fields.add("TTL", self.0.ttl);
        Some(())
    }

    fn json(&self, _hex: bool) -> Option<Value> {
        let Granted(response) = self;
        let fields = json!({"ID": response.id, "TTL": response.ttl, "Error": response.error});
        flat(response.header.as_ref(), fields)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        header_only(self.0.header.as_ref())
    }
}

impl Show for Revoked {
    fn simple(&self, _style: Style) -> Vec<u8> {
        format!("lease {:016x} revoked\n", self.id).into()
    }

    fn fields(&self, fields: &mut Fields) -> Option<()> {
        fields.header(self.response.header.as_ref());
        Some(())
    }

    fn json(&self, _hex: bool) -> Option<Value> {
        Some(json::message(&self.response))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.response.encode_to_vec())
    }
}

impl Show for KeptAlive {
    fn simple(&self, _style: Style) -> Vec<u8> {
        let KeptAlive(response) = self;
        format!("lease {:016x} keepalived with TTL({})\n", response.id, response.ttl).into()
    }

    fn fields(&self, fields: &mut Fields) -> Option<()> {
        fields.header(self.0.header.as_ref());
        fields.lease("ID", self.0.id);
        fields.add("TTL", self.0.ttl);
        Some(())
    }

    fn json(&self, _hex: bool) -> Option<Value> {
        let fields = json!({"ID": self.0.id, "TTL": self.0.ttl});
        flat(self.0.header.as_ref(), fields)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        header_only(self.0.header.as_ref())
    }
}

impl Show for TimeToLive {
    fn simple(&self, _style: Style) -> Vec<u8> {
        let TimeToLive { response, keys } = self;
        let (id, ttl, granted) = (response.id, response.ttl, response.granted_ttl);
        if granted == 0 && ttl == -1 {
            return format!("lease {id:016x} already expired\n").into();
        }
        let text = format!("lease {id:016x} granted with TTL({granted}s), remaining({ttl}s)");
        let mut out = text.into_bytes();
        if *keys {
            out.extend_from_slice(b", attached keys([");
            out.extend_from_slice(&response.keys.join(&b' '));
            out.extend_from_slice(b"])");
        }
        out.push(b'\n');
        out
    }

    fn fields(&self, fields: &mut Fields) -> Option<()> {
        let response = &self.response;
        fields.header(response.header.as_ref());
        fields.lease("ID", response.id);
        fields.add("TTL", response.ttl);
        fields.add("GrantedTTL", response.granted_ttl);
        response.keys.iter().for_each(|key| fields.quoted("Key", key));
        Some(())
    }

    fn json(&self, _hex: bool) -> Option<Value> {
        let response = &self.response;
        let keys: Vec<Value> = response.keys.iter().map(|key| json::base64(key)).collect();
        let fields = json!({
            "id": response.id,
            "ttl": response.ttl,
            "granted-ttl": response.granted_ttl,
            "keys": if keys.is_empty() { Value::Null } else { keys.into() },
        });
        flat(response.header.as_ref(), fields)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        header_only(self.response.header.as_ref())
    }
}

impl Show for Leases {
    fn simple(&self, _style: Style) -> Vec<u8> {
        let leases = &self.0.leases;
        let mut out = format!("found {} leases\n", leases.len());
        leases.iter().for_each(|lease| out.push_str(&format!("{:016x}\n", lease.id)));
        out.into()
    }

    fn fields(&self, fields: &mut Fields) -> Option<()> {
        fields.header(self.0.header.as_ref());
        self.0.leases.iter().for_each(|lease| fields.lease("ID", lease.id));
        Some(())
    }

    fn json(&self, _hex: bool) -> Option<Value> {
        let leases: Vec<Value> =
            self.0.leases.iter().map(|lease| json!({"id": lease.id})).collect();
        flat(self.0.header.as_ref(), json!({"leases": leases}))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        header_only(self.0.header.as_ref())
    }
}
