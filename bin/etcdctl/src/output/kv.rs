//! Keys and what happened to them.

use super::fields::{Fields, Groups};
use super::{Show, Style, json};
use crate::go;
use client::WatchAnswer;
use prost::Message;
use proto::etcdserverpb::response_op::Response;
use proto::etcdserverpb::{
    DeleteRangeResponse, PutResponse, RangeResponse, TxnResponse, WatchResponse,
};
use proto::mvccpb::event::EventType;
use proto::mvccpb::{Event, KeyValue};
use serde_json::{Value, json};

fn kv(kv: &KeyValue, style: Style, out: &mut Vec<u8>) {
    let mut line = |bytes: &[u8]| {
        if style.hex {
            out.extend_from_slice(go::hex_bytes(bytes).as_bytes());
        } else {
            out.extend_from_slice(bytes);
        }
        out.push(b'\n');
    };
    if !style.value_only {
        line(&kv.key);
    }
    line(&kv.value);
}

impl Show for RangeResponse {
    fn simple(&self, style: Style) -> Vec<u8> {
        let mut out = Vec::new();
        self.kvs.iter().for_each(|found| kv(found, style, &mut out));
        out
    }

    fn fields(&self, fields: &mut Fields) -> Option<()> {
        fields.header(self.header.as_ref());
        self.kvs.iter().for_each(|kv| fields.kv("", kv));
        fields.add("More", self.more);
        fields.add("Count", self.count);
        Some(())
    }

    fn json(&self, _hex: bool) -> Option<Value> {
        Some(json::message(self))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

impl Show for PutResponse {
    fn simple(&self, style: Style) -> Vec<u8> {
        let mut out = b"OK\n".to_vec();
        self.prev_kv.iter().for_each(|prev| kv(prev, style, &mut out));
        out
    }

    fn fields(&self, fields: &mut Fields) -> Option<()> {
        fields.header(self.header.as_ref());
        self.prev_kv.iter().for_each(|kv| fields.kv("Prev", kv));
        Some(())
    }

    fn json(&self, _hex: bool) -> Option<Value> {
        Some(json::message(self))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

impl Show for DeleteRangeResponse {
    fn simple(&self, style: Style) -> Vec<u8> {
        let mut out = format!("{}\n", self.deleted).into_bytes();
        self.prev_kvs.iter().for_each(|prev| kv(prev, style, &mut out));
        out
    }

    fn fields(&self, fields: &mut Fields) -> Option<()> {
        fields.header(self.header.as_ref());
        fields.add("Deleted", self.deleted);
        self.prev_kvs.iter().for_each(|kv| fields.kv("Prev", kv));
        Some(())
    }

    fn json(&self, _hex: bool) -> Option<Value> {
        Some(json::message(self))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

impl Show for TxnResponse {
    fn simple(&self, style: Style) -> Vec<u8> {
        let mut out = if self.succeeded { b"SUCCESS\n".to_vec() } else { b"FAILURE\n".to_vec() };
        for op in &self.responses {
            out.push(b'\n');
            match &op.response {
                Some(Response::ResponseRange(range)) => out.extend(range.simple(style)),
                Some(Response::ResponsePut(put)) => out.extend(put.simple(style)),
                Some(Response::ResponseDeleteRange(delete)) => out.extend(delete.simple(style)),
                Some(Response::ResponseTxn(txn)) => out.extend(txn.simple(style)),
                None => out.extend_from_slice(b"unexpected response\n"),
            }
        }
        out
    }

    fn fields(&self, fields: &mut Fields) -> Option<()> {
        fields.header(self.header.as_ref());
        fields.add("Succeeded", self.succeeded);
        for op in &self.responses {
            match &op.response {
                Some(Response::ResponseRange(range)) => range.fields(fields)?,
                Some(Response::ResponsePut(put)) => put.fields(fields)?,
                Some(Response::ResponseDeleteRange(delete)) => delete.fields(fields)?,
                Some(Response::ResponseTxn(txn)) => txn.fields(fields)?,
                None => fields.quoted("Unknown", b""),
            }
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

fn event_type(event: &Event) -> &'static str {
    match event.r#type() {
        EventType::Put => "PUT",
        EventType::Delete => "DELETE",
    }
}

/// The type of an event, in quotes: what commands are told.
pub(crate) fn quoted_type(event: &Event) -> String {
    go::quote(event_type(event).as_bytes())
}

impl Show for WatchAnswer {
    fn simple(&self, style: Style) -> Vec<u8> {
        let mut out = Vec::new();
        for event in &self.response.events {
            out.extend_from_slice(event_type(event).as_bytes());
            out.push(b'\n');
            event.prev_kv.iter().for_each(|prev| kv(prev, style, &mut out));
            kv(&event.kv.clone().unwrap_or_default(), style, &mut out);
        }
        out
    }

    fn fields(&self, fields: &mut Fields) -> Option<()> {
        fields.header(self.response.header.as_ref());
        for event in &self.response.events {
            fields.add("Type", event_type(event));
            event.prev_kv.iter().for_each(|kv| fields.kv("Prev", kv));
            fields.kv("", &event.kv.clone().unwrap_or_default());
        }
        Some(())
    }

    fn json(&self, _hex: bool) -> Option<Value> {
        let response = &self.response;
        let events: Vec<Value> = response.events.iter().map(json::message).collect();
        // What the client itself makes up has no list of events, not even an empty one.
        let ended = self.closed.is_some() || response.compact_revision != 0;
        Some(json!({
            "Header": response.header.as_ref().map(json::message),
            "Events": if ended { Value::Null } else { events.into() },
            "CompactRevision": response.compact_revision,
            "Canceled": response.canceled,
            "Created": response.created,
            "CancelReason": response.cancel_reason,
        }))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        let response = &self.response;
        let shown = WatchResponse {
            header: response.header,
            events: response.events.clone(),
            compact_revision: response.compact_revision,
            canceled: response.canceled,
            created: response.created,
            ..WatchResponse::default()
        };
        Some(shown.encode_to_vec())
    }
}
