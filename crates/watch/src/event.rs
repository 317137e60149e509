//! Events, encoded once and shared by everyone who watches.

use bytes::{BufMut, Bytes, BytesMut};
use mvcc::ReadTxn;
use prost::Message;
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};
use proto::mvccpb::KeyValue;
use std::borrow::Cow;

/// `WatchResponse.events`.
const EVENTS_TAG: u8 = 11 << 3 | 2;
/// `Event.type` with the value `DELETE`.
const TYPE_DELETE: [u8; 2] = [1 << 3, 1];
const KV_TAG: u8 = 2 << 3 | 2;
/// `KeyValue.key`.
const KEY_TAG: u8 = 1 << 3 | 2;
const PREV_KV_TAG: u8 = 3 << 3 | 2;

/// One change, with the bytes that responses carry.
pub(crate) struct Event {
    pub(crate) key: Bytes,
    pub(crate) revision: i64,
    pub(crate) is_delete: bool,
    is_create: bool,
    /// The key-value that is shown; of a deleted key only key and revision.
    kv: Bytes,
    plain: Option<Bytes>,
    with_prev: Option<Bytes>,
}

impl Event {
    /// From the stored bytes of a change.
    pub(crate) fn new(key: Bytes, revision: i64, is_delete: bool, stored: &Bytes) -> Event {
        let (kv, is_create) = if is_delete {
            let shown =
                KeyValue { key: key.clone(), mod_revision: revision, ..KeyValue::default() };
            (shown.encode_to_vec().into(), false)
        } else {
            (stored.clone(), false)
        };
        Event { key, revision, is_delete, is_create, kv, plain: None, with_prev: None }
    }

    /// From a row of history.
    pub(crate) fn from_history(revision: i64, is_delete: bool, stored: &[u8]) -> Event {
        let stored = Bytes::copy_from_slice(stored);
        let kv = KeyValue::decode(stored.clone()).unwrap_or_default();
        let is_create = !is_delete && kv.create_revision == kv.mod_revision;
        Event::new(kv.key, revision, is_delete, &stored).created(is_create)
    }

    /// The same, of a put that began its key: there is nothing before it.
    pub(crate) fn created(mut self, is_create: bool) -> Event {
        self.is_create = is_create;
        self
    }

    /// The event as a field of a response; with the value before it where that is asked for.
    pub(crate) fn field(&mut self, prev_kv: bool, read: &ReadTxn) -> Bytes {
        if prev_kv && !self.is_create {
            if self.with_prev.is_none() {
                let prev = read.get_at(&self.key, self.revision - 1);
                self.with_prev = Some(match prev {
                    Some(prev) => self.encode(Some(prev.encoded())),
                    None => self.field(false, read),
                });
            }
            return self.with_prev.clone().expect("it was just made");
        }
        if self.plain.is_none() {
            self.plain = Some(self.encode(None));
        }
        self.plain.clone().expect("it was just made")
    }

    fn encode(&self, prev: Option<&Bytes>) -> Bytes {
        let field = |body: &Bytes| 1 + encoded_len_varint(body.len() as u64) + body.len();
        let kind: &[u8] = if self.is_delete { &TYPE_DELETE } else { &[] };
        let len = kind.len() + field(&self.kv) + prev.map_or(0, field);
        let mut out = BytesMut::with_capacity(len + 12);
        out.put_u8(EVENTS_TAG);
        encode_varint(len as u64, &mut out);
        out.put_slice(kind);
        put_field(&mut out, KV_TAG, &self.kv);
        if let Some(prev) = prev {
            put_field(&mut out, PREV_KV_TAG, prev);
        }
        out.freeze()
    }
}

/// The key in a stored key-value, read without a copy.
pub(crate) fn key_of(stored: &[u8]) -> Cow<'_, [u8]> {
    if let Some((&KEY_TAG, mut rest)) = stored.split_first()
        && let Ok(len) = decode_varint(&mut rest)
        && let Some(key) = usize::try_from(len).ok().and_then(|len| rest.get(..len))
    {
        return Cow::Borrowed(key);
    }
    // No writer puts another field first; a reader need not rely on that.
    Cow::Owned(KeyValue::decode(stored).unwrap_or_default().key.to_vec())
}

fn put_field(out: &mut BytesMut, tag: u8, body: &Bytes) {
    out.put_u8(tag);
    encode_varint(body.len() as u64, out);
    out.put_slice(body);
}
