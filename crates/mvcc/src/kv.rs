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
    assert_eq!(out.len(), len, "a key-value is as long as was reckoned");
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

/// A stored key-value, read where it lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored<'s> {
    pub(crate) key: &'s [u8],
    pub(crate) create_revision: i64,
    pub(crate) version: i64,
    pub(crate) value: &'s [u8],
    pub(crate) lease: i64,
}

impl<'s> Stored<'s> {
    /// `None` where the bytes are no message. Unknown fields are passed over.
    pub(crate) fn read(mut bytes: &'s [u8]) -> Option<Stored<'s>> {
        let mut stored = Stored::default();
        while !bytes.is_empty() {
            let tag = decode_varint(&mut bytes).ok()?;
            match (tag >> 3, tag & 7) {
                (1, 2) => stored.key = take_bytes(&mut bytes)?,
                (2, 0) => stored.create_revision = decode_varint(&mut bytes).ok()? as i64,
                (4, 0) => stored.version = decode_varint(&mut bytes).ok()? as i64,
                (5, 2) => stored.value = take_bytes(&mut bytes)?,
                (6, 0) => stored.lease = decode_varint(&mut bytes).ok()? as i64,
                (_, 0) => _ = decode_varint(&mut bytes).ok()?,
                (_, 1) => bytes = bytes.get(8..)?,
                (_, 2) => _ = take_bytes(&mut bytes)?,
                (_, 5) => bytes = bytes.get(4..)?,
                _ => return None,
            }
        }
        Some(stored)
    }
}

fn take_bytes<'s>(bytes: &mut &'s [u8]) -> Option<&'s [u8]> {
    let len = usize::try_from(decode_varint(bytes).ok()?).ok()?;
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

/// The key of stored bytes; empty where there is none.
pub(crate) fn key_of(stored: &[u8]) -> &[u8] {
    Stored::read(stored).unwrap_or_default().key
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
            let read = Stored { key: b"key", create_revision: 300, version: 1, value, lease };
            assert_eq!(Stored::read(&bytes), Some(read));
            assert_eq!(Kv::new(bytes).decode(), message);
        }
    }

    #[test]
    fn golden_bytes() {
        let put = Fields {
            key: b"foo",
            create_revision: 2,
            mod_revision: 300,
            version: 3,
            value: b"bar",
            lease: 0x1122,
        };
        let expected = b"\x0a\x03foo\x10\x02\x18\xac\x02\x20\x03\x2a\x03bar\x30\xa2\x22";
        assert_eq!(encode(&put), expected[..]);
        let tombstone = Fields { key: b"foo", ..Fields::default() };
        assert_eq!(encode(&tombstone), b"\x0a\x03foo"[..]);
        let negative = Fields { key: b"k", lease: -1, ..Fields::default() };
        let expected = b"\x0a\x01k\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(encode(&negative), expected[..]);
    }

    #[test]
    fn damaged_bytes_are_no_message_and_unknown_fields_are_passed_over() {
        assert_eq!(Stored::read(b""), Some(Stored::default()));
        for damaged in [&b"\x0a\xc8"[..], b"\x0a", b"\x0b", b"\x08", b"\x10\xff", b"\x39\0\0"] {
            assert_eq!(Stored::read(damaged), None, "{damaged:?}");
        }
        let unknown = b"\x40\x01\x4a\x01x\x51\0\0\0\0\0\0\0\0\x5d\0\0\0\0\x0a\x01k";
        assert_eq!(key_of(unknown), b"k");
    }
}
