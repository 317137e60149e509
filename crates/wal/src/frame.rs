//! Records with their frames, from and to bytes.

use crate::defect::{Defect, Tear};
use crate::tear::{after_zero_length, contradiction, is_torn};
use bytes::Buf;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use proto::walpb;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub(crate) enum Kind {
    Metadata = 1,
    Entry = 2,
    State = 3,
    Crc = 4,
    Snapshot = 5,
}

impl Kind {
    fn from_number(number: i64) -> Option<Kind> {
        let kinds = [Kind::Metadata, Kind::Entry, Kind::State, Kind::Crc, Kind::Snapshot];
        kinds.into_iter().find(|kind| *kind as i64 == number)
    }
}

pub(crate) const LENGTH_BYTES: usize = 8;

/// Collects records and carries the checksum along.
#[derive(Debug)]
pub(crate) struct Encoder {
    crc: u32,
    pub(crate) buffer: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(crc: u32) -> Encoder {
        Encoder { crc, buffer: Vec::new() }
    }

    /// A record whose data is a message, encoded straight into the buffer.
    pub(crate) fn message(&mut self, kind: Kind, message: &impl Message) {
        self.record(kind, message.encoded_len(), |buffer| message.encode_raw(buffer));
    }

    pub(crate) fn bytes(&mut self, kind: Kind, data: &[u8]) {
        self.record(kind, data.len(), |buffer| buffer.extend_from_slice(data));
    }

    /// The head of a segment: what the checksum is so far.
    pub(crate) fn crc_record(&mut self) {
        let record =
            walpb::Record { r#type: Some(Kind::Crc as i64), crc: Some(self.crc), data: None };
        let len = record.encoded_len();
        self.buffer.extend_from_slice(&length_field(len).to_le_bytes());
        record.encode_raw(&mut self.buffer);
        self.pad(len);
    }

    fn record(&mut self, kind: Kind, data_len: usize, write: impl FnOnce(&mut Vec<u8>)) {
        // The checksum stands before the data but depends on it, and its length varies; so the
        // data goes to the place it has with the longest head and is moved if that was too far.
        const CRC_LEN_MAX: usize = 5;
        let head = |crc_len| 2 + 1 + crc_len + 1 + encoded_len_varint(data_len as u64);
        let start = self.buffer.len();
        let data_at = start + LENGTH_BYTES + head(CRC_LEN_MAX);
        self.buffer.resize(data_at, 0);
        write(&mut self.buffer);
        assert_eq!(self.buffer.len(), data_at + data_len, "messages know their length");
        self.crc = crc32c::crc32c_append(self.crc, &self.buffer[data_at..]);
        let crc_len = encoded_len_varint(u64::from(self.crc));
        let len = head(crc_len) + data_len;
        let to = start + LENGTH_BYTES + head(crc_len);
        self.buffer.copy_within(data_at.., to);
        self.buffer.truncate(to + data_len);
        let mut front = &mut self.buffer[start..to];
        put(&mut front, &length_field(len).to_le_bytes());
        encode_key(1, WireType::Varint, &mut front);
        encode_varint(kind as u64, &mut front);
        encode_key(2, WireType::Varint, &mut front);
        encode_varint(u64::from(self.crc), &mut front);
        encode_key(3, WireType::LengthDelimited, &mut front);
        encode_varint(data_len as u64, &mut front);
        self.pad(len);
    }

    fn pad(&mut self, record_len: usize) {
        self.buffer.resize(self.buffer.len() + padding(record_len), 0);
        let len = self.buffer.len();
        assert!(
            len.is_multiple_of(LENGTH_BYTES),
            "after a record of {record_len} the next is at {len}"
        );
    }
}

fn put(front: &mut &mut [u8], bytes: &[u8]) {
    bytes::BufMut::put_slice(front, bytes);
}

fn padding(record_len: usize) -> usize {
    (8 - record_len % 8) % 8
}

pub(crate) fn length_field(record_len: usize) -> u64 {
    debug_assert!((record_len as u64) >> 56 == 0, "a length of {record_len} has no room");
    match padding(record_len) as u64 {
        0 => record_len as u64,
        padding => record_len as u64 | (0x80 | padding) << 56,
    }
}

/// A record read.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    pub(crate) crc: u32,
    pub(crate) data: bytes::Bytes,
}

/// Reads the records of one segment after another.
#[derive(Debug)]
pub(crate) struct Decoder {
    pub(crate) crc: u32,
    /// Where the next record begins in the current segment.
    pub(crate) offset: usize,
}

impl Decoder {
    pub(crate) fn new() -> Decoder {
        Decoder { crc: 0, offset: 0 }
    }

    /// The next record of a segment, `None` at its end.
    pub(crate) fn next(&mut self, segment: &[u8]) -> Result<Option<Record>, Defect> {
        let rest = &segment[self.offset..];
        if rest.is_empty() {
            return Ok(None);
        }
        if rest.len() < LENGTH_BYTES {
            return Err(Defect::Torn(Tear::FileEnds));
        }
        let field = u64::from_le_bytes(rest[..LENGTH_BYTES].try_into().expect("eight bytes"));
        if field == 0 {
            return after_zero_length(rest, self.offset).map_or(Ok(None), Err);
        }
        let padding = if field >> 63 == 1 { (field >> 56 & 7) as usize } else { 0 };
        let len = usize::try_from(field & (u64::MAX >> 8)).unwrap_or(usize::MAX);
        let whole = len.saturating_add(padding);
        // The earliest logs had no padding, and said so by a zero.
        if field >> 56 != 0 && field != length_field(len) {
            return Err(Defect::Damaged(format!("no record has the length field {field:016x}")));
        }
        let body = &rest[LENGTH_BYTES..];
        let body_at = self.offset + LENGTH_BYTES;
        let Some(framed) = body.get(..whole) else {
            let defect = contradiction(body, len, body_at).map(Defect::Damaged);
            return Err(defect.unwrap_or(Defect::Torn(Tear::FileEnds)));
        };
        let record = self.decode(&framed[..len]).map_err(|what| {
            match contradiction(framed, len, body_at) {
                Some(what) => Defect::Damaged(what),
                None if is_torn(framed, body_at) => Defect::Torn(Tear::LostSector),
                None => Defect::Damaged(what),
            }
        })?;
        self.offset += LENGTH_BYTES + whole;
        assert!(self.offset <= segment.len(), "a record that was read ends within its segment");
        Ok(Some(record))
    }

    fn decode(&mut self, bytes: &[u8]) -> Result<Record, String> {
        let record = walpb::Record::decode(bytes).map_err(|error| error.to_string())?;
        let number = record.r#type();
        let kind = Kind::from_number(number)
            .ok_or_else(|| format!("a record of unknown type {number}"))?;
        let crc = record.crc();
        let data = record.data.unwrap_or_default();
        if kind != Kind::Crc {
            let sum = crc32c::crc32c_append(self.crc, data.chunk());
            if sum != crc {
                return Err(format!("checksum {crc:08x}, but the data gives {sum:08x}"));
            }
            self.crc = sum;
        }
        Ok(Record { kind, crc, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_etcd() {
        let mut encoder = Encoder::new(0);
        encoder.crc_record();
        assert_eq!(encoder.buffer, [4, 0, 0, 0, 0, 0, 0, 0x84, 8, 4, 16, 0, 0, 0, 0, 0]);
        let mut encoder = Encoder::new(0);
        encoder.bytes(Kind::Metadata, b"abc");
        let crc = crc32c::crc32c(b"abc");
        let mut record = Vec::new();
        walpb::Record {
            r#type: Some(1),
            crc: Some(crc),
            data: Some(bytes::Bytes::from_static(b"abc")),
        }
        .encode(&mut record)
        .unwrap();
        assert_eq!(encoder.buffer[8..8 + record.len()], record);
        assert_eq!(encoder.buffer.len() % 8, 0);
    }

    #[test]
    fn records_read_back_and_damage_is_told_from_tearing() {
        let mut encoder = Encoder::new(7);
        encoder.bytes(Kind::Entry, &[9; 3000]);
        encoder.bytes(Kind::State, b"");
        let whole = encoder.buffer.clone();
        let mut decoder = Decoder { crc: 7, offset: 0 };
        assert_eq!(decoder.next(&whole).unwrap().unwrap().data.len(), 3000);
        assert_eq!(decoder.next(&whole).unwrap().unwrap().kind, Kind::State);
        assert!(decoder.next(&whole).unwrap().is_none());
        let read = |bytes: &[u8]| Decoder { crc: 7, offset: 0 }.next(bytes).unwrap_err();
        let mut torn = whole.clone();
        torn[1024..1536].fill(0);
        assert_eq!(read(&torn), Defect::Torn(Tear::LostSector));
        assert_eq!(read(&whole[..2000]), Defect::Torn(Tear::FileEnds));
        let mut flipped = whole;
        flipped[1000] ^= 1;
        assert!(matches!(read(&flipped), Defect::Damaged(_)));
    }
}
