//! Key-values as stored bytes.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};
use proto::mvccpb::KeyValue;

/// A key-value in its stored form: the bytes of an `mvccpb.KeyValue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kv {
    bytes: Bytes,
}

impl Kv {
    pub(crate) fn new(bytes: Bytes) -> Kv {
        Kv { bytes }
    }

    /// The stored bytes.
    pub fn encoded(&self) -> &Bytes {
        &self.bytes
    }

    /// The message. Bytes that are none give an empty one: an `etcdutl` restore writes such.
    pub fn decode(&self) -> KeyValue {
        KeyValue::decode(self.bytes.clone()).unwrap_or_default()
    }
}

/// Numbers and text of a key-value, for [`encode`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fields<'f> {
    pub(crate) key: &'f [u8],
    pub(crate) create_revision: i64,
    pub(crate) mod_revision: i64,
    pub(crate) version: i64,
    pub(crate) value: &'f [u8],
    pub(crate) lease: i64,
}

/// The bytes of a `KeyValue`: ascending fields, none that is zero or empty. They are hashed, so
/// they must be the same on every member.
pub(crate) fn encode(fields: &Fields<'_>) -> Bytes {
    let bytes = |b: &[u8]| {
        if b.is_empty() { 0 } else { 1 + encoded_len_varint(b.len() as u64) + b.len() }
    };
    let number = |n: i64| {
        if n == 0 { 0 } else { 1 + encoded_len_varint(n as u64) }
    };
    let len = bytes(fields.key)
        + number(fields.create_revision)
        + number(fields.mod_revision)
        + number(fields.version)
        + bytes(fields.value)
        + number(fields.lease);
    let mut out = BytesMut::with_capacity(len);
    put_bytes(&mut out, 1, fields.key);
    put_number(&mut out, 2, fields.create_revision);
    put_number(&mut out, 3, fields.mod_revision);
    put_number(&mut out, 4, fields.version);
    put_bytes(&mut out, 5, fields.value);
    put_number(&mut out, 6, fields.lease);
    out.freeze()
}

fn put_bytes(out: &mut BytesMut, field: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        out.put_u8(field << 3 | 2);
        encode_varint(bytes.len() as u64, out);
        out.put_slice(bytes);
    }
}

fn put_number(out: &mut BytesMut, field: u8, number: i64) {
    if number != 0 {
        out.put_u8(field << 3);
        encode_varint(number as u64, out);
    }
}

/// The key of stored bytes, read without the rest.
pub(crate) fn key_of(mut stored: &[u8]) -> &[u8] {
    if stored.first() != Some(&(1 << 3 | 2)) {
        return &[];
    }
    stored = &stored[1..];
    let Ok(len) = decode_varint(&mut stored) else {
        return &[];
    };
    stored.get(..len as usize).unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_message() {
        for (value, lease) in [(&b""[..], 0), (b"value", 0), (b"v", -5), (&[7; 300], i64::MAX)] {
            let fields = Fields {
                key: b"key",
                create_revision: 300,
                mod_revision: 301,
                version: 1,
                value,
                lease,
            };
            let message = KeyValue {
                key: "key".into(),
                create_revision: 300,
                mod_revision: 301,
                version: 1,
                value: Bytes::copy_from_slice(value),
                lease,
            };
            let bytes = encode(&fields);
            assert_eq!(bytes, message.encode_to_vec());
            assert_eq!(key_of(&bytes), b"key");
            assert_eq!(Kv::new(bytes).decode(), message);
        }
        assert_eq!(key_of(b""), b"");
        assert_eq!(key_of(&[10, 200]), b"");
    }
}
