//! Replies, and their bytes: stored key-values are spliced into the response, never re-encoded.

use bytes::{BufMut, Bytes, BytesMut};
use mvcc::{Kv, RangeResult};
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};
use proto::etcdserverpb as pb;

/// Who answers, and how far its store had come; opens nearly every response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The cluster's id.
    pub cluster_id: u64,
    /// The answering member's id.
    pub member_id: u64,
    /// The store's revision.
    pub revision: i64,
    /// The term of the last applied entry.
    pub term: u64,
}

/// The answer to one applied request.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Reply {
    Put {
        revision: i64,
        prev: Option<Kv>,
    },
    DeleteRange {
        revision: i64,
        deleted: i64,
        prev: Vec<Kv>,
    },
    Range(RangeResult),
    Txn(TxnReply),
    Compaction {
        revision: i64,
    },
    LeaseGrant {
        id: i64,
        ttl: i64,
        revision: i64,
    },
    LeaseRevoke {
        revision: i64,
    },
    LeaseCheckpoint {
        revision: i64,
    },
    Alarm(Vec<pb::AlarmMember>),
    /// Applied, and nobody waits for more than that.
    Done,
}

/// The answer to a transaction, or to one nested in it.
#[derive(Clone, Debug, Default)]
pub struct TxnReply {
    /// The store's revision after the transaction; 0 in a nested one, whose header is empty.
    pub revision: i64,
    /// Whether every compare held.
    pub succeeded: bool,
    /// One answer for each operation of the branch taken. `None` for an empty operation.
    pub responses: Vec<Option<Reply>>,
}

impl Reply {
    /// The revision that the reply's header carries; `None` for those that show the current one.
    pub fn revision(&self) -> Option<i64> {
        match self {
            Reply::Put { revision, .. }
            | Reply::DeleteRange { revision, .. }
            | Reply::Compaction { revision }
            | Reply::LeaseGrant { revision, .. }
            | Reply::LeaseRevoke { revision }
            | Reply::LeaseCheckpoint { revision } => Some(*revision),
            Reply::Range(range) => Some(range.revision),
            Reply::Txn(txn) => Some(txn.revision),
            Reply::Alarm(_) | Reply::Done => None,
        }
    }

    /// The response message's bytes. `header.revision` is used as it is handed in.
    pub fn encode(&self, header: &Header) -> Bytes {
        let len = self.body_len(header);
        let mut out = BytesMut::with_capacity(len);
        self.write(header, &mut out);
        assert_eq!(out.len(), len, "a reply is as long as was computed: lengths nest");
        out.freeze()
    }

    fn body_len(&self, header: &Header) -> usize {
        field_len(header_len(header))
            + match self {
                Reply::Put { prev, .. } => prev.iter().map(kv_len).sum(),
                Reply::DeleteRange { deleted, prev, .. } => {
                    int_len(*deleted) + prev.iter().map(kv_len).sum::<usize>()
                }
                Reply::Range(range) => range_len(range),
                Reply::Txn(txn) => txn_len(txn),
                Reply::LeaseGrant { id, ttl, .. } => int_len(*id) + int_len(*ttl),
                Reply::Alarm(alarms) => alarms.iter().map(|a| field_len(a.encoded_len())).sum(),
                Reply::Compaction { .. }
                | Reply::LeaseRevoke { .. }
                | Reply::LeaseCheckpoint { .. }
                | Reply::Done => 0,
            }
    }

    fn write(&self, header: &Header, out: &mut BytesMut) {
        write_header(header, out);
        match self {
            Reply::Put { prev, .. } => prev.iter().for_each(|kv| write_bytes(2, kv.encoded(), out)),
            Reply::DeleteRange { deleted, prev, .. } => {
                write_int(2, *deleted, out);
                prev.iter().for_each(|kv| write_bytes(3, kv.encoded(), out));
            }
            Reply::Range(range) => write_range(range, out),
            Reply::Txn(txn) => write_txn(txn, out),
            Reply::LeaseGrant { id, ttl, .. } => {
                write_int(2, *id, out);
                write_int(3, *ttl, out);
            }
            Reply::Alarm(alarms) => {
                alarms.iter().for_each(|a| write_bytes(2, &a.encode_to_vec(), out));
            }
            Reply::Compaction { .. }
            | Reply::LeaseRevoke { .. }
            | Reply::LeaseCheckpoint { .. }
            | Reply::Done => {}
        }
    }

    /// The `ResponseOp` field that this reply fills.
    fn op_field(&self) -> u32 {
        match self {
            Reply::Range(_) => 1,
            Reply::Put { .. } => 2,
            Reply::DeleteRange { .. } => 3,
            Reply::Txn(_) => 4,
            _ => unreachable!("only key-value operations stand in a transaction"),
        }
    }

    /// The header inside a transaction: the revision alone.
    fn inner_header(&self) -> Header {
        Header { revision: self.revision().unwrap_or_default(), ..Header::default() }
    }
}

/// A range's response, written while its keys are read, in pieces: it never moves as it grows.
pub struct RangeWriter {
    /// Full pieces.
    full: Vec<Bytes>,
    out: BytesMut,
}

/// A piece is full before it is longer than this, unless a single key-value is.
const PIECE_BYTES_MAX: usize = 256 * 1024;

impl RangeWriter {
    /// Begins with the header.
    pub fn new(header: &Header) -> RangeWriter {
        let mut out = BytesMut::with_capacity(512);
        write_header(header, &mut out);
        RangeWriter { full: Vec::new(), out }
    }

    /// Adds a stored key-value.
    pub fn push(&mut self, stored: &[u8]) {
        let len = field_len(stored.len());
        if self.out.len() + len > PIECE_BYTES_MAX {
            // The room grew by doubling up to the first full piece; the next ones have theirs at once.
            let next = BytesMut::with_capacity(len.max(PIECE_BYTES_MAX));
            let piece = std::mem::replace(&mut self.out, next).freeze();
            assert!(!piece.is_empty(), "a piece before a key-value of {len} bytes is empty");
            self.full.push(piece);
        }
        write_bytes(2, stored, &mut self.out);
    }

    /// Ends the response: its first piece, and those that follow. Short ones are one piece.
    pub fn finish(mut self, more: bool, count: i64) -> (Bytes, Vec<Bytes>) {
        write_bool(3, more, &mut self.out);
        write_int(4, count, &mut self.out);
        let last = self.out.freeze();
        if self.full.is_empty() {
            return (last, Vec::new());
        }
        self.full.push(last);
        let first = self.full.remove(0);
        (first, self.full)
    }
}

fn range_len(range: &RangeResult) -> usize {
    range.kvs.iter().map(kv_len).sum::<usize>()
        + if range.more { 2 } else { 0 }
        + int_len(range.count)
}

fn write_range(range: &RangeResult, out: &mut BytesMut) {
    range.kvs.iter().for_each(|kv| write_bytes(2, kv.encoded(), out));
    write_bool(3, range.more, out);
    write_int(4, range.count, out);
}

fn txn_len(txn: &TxnReply) -> usize {
    let ops = txn.responses.iter().map(|op| field_len(op_len(op.as_ref())));
    (if txn.succeeded { 2 } else { 0 }) + ops.sum::<usize>()
}

fn op_len(op: Option<&Reply>) -> usize {
    op.map_or(0, |reply| field_len(reply.body_len(&reply.inner_header())))
}

fn write_txn(txn: &TxnReply, out: &mut BytesMut) {
    write_bool(2, txn.succeeded, out);
    for op in &txn.responses {
        write_tag(3, op_len(op.as_ref()), out);
        if let Some(reply) = op {
            let header = reply.inner_header();
            let len = reply.body_len(&header);
            write_tag(reply.op_field(), len, out);
            let begin = out.len();
            reply.write(&header, out);
            let written = out.len() - begin;
            assert_eq!(written, len, "an answer in a transaction has {written} bytes for {len}");
        }
    }
}

// ---- protobuf pieces: every field number here is below 16, so a tag is one byte --------------

fn header_len(header: &Header) -> usize {
    let int = |value: u64| {
        if value == 0 { 0 } else { 1 + encoded_len_varint(value) }
    };
    int(header.cluster_id) + int(header.member_id) + int(header.revision as u64) + int(header.term)
}

fn write_header(header: &Header, out: &mut BytesMut) {
    write_tag(1, header_len(header), out);
    write_int(1, header.cluster_id as i64, out);
    write_int(2, header.member_id as i64, out);
    write_int(3, header.revision, out);
    write_int(4, header.term as i64, out);
}

fn field_len(body: usize) -> usize {
    1 + encoded_len_varint(body as u64) + body
}

fn kv_len(kv: &Kv) -> usize {
    field_len(kv.encoded().len())
}

fn int_len(value: i64) -> usize {
    if value == 0 { 0 } else { 1 + encoded_len_varint(value as u64) }
}

fn write_tag(field: u32, len: usize, out: &mut BytesMut) {
    out.put_u8((field << 3 | 2) as u8);
    encode_varint(len as u64, out);
}

fn write_bytes(field: u32, bytes: &[u8], out: &mut BytesMut) {
    write_tag(field, bytes.len(), out);
    out.put_slice(bytes);
}

fn write_int(field: u32, value: i64, out: &mut BytesMut) {
    if value != 0 {
        out.put_u8((field << 3) as u8);
        encode_varint(value as u64, out);
    }
}

fn write_bool(field: u32, value: bool, out: &mut BytesMut) {
    if value {
        out.put_u8((field << 3) as u8);
        out.put_u8(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_message() {
        for len in [0, 1, 1000, PIECE_BYTES_MAX / 2, PIECE_BYTES_MAX, 3 * PIECE_BYTES_MAX] {
            let kv = pb_kv(len);
            let header = Header { cluster_id: 1, member_id: 2, revision: 3, term: 4 };
            let mut writer = RangeWriter::new(&header);
            (0..5).for_each(|_| writer.push(&kv));
            let (first, rest) = writer.finish(true, 5);
            let longest = rest.iter().chain([&first]).map(Bytes::len).max().unwrap_or(0);
            assert!(longest <= PIECE_BYTES_MAX.max(kv.len() + 20), "{len}: {longest}");
            assert_eq!(rest.is_empty(), len <= 1000, "{len}");
            let whole = [first.as_ref(), &rest.concat()].concat();
            let response = pb::RangeResponse::decode(&whole[..]).unwrap();
            assert_eq!((response.kvs.len(), response.more, response.count), (5, true, 5));
            assert!(response.kvs.iter().all(|kv| kv.value.len() == len));
        }
    }

    fn pb_kv(len: usize) -> Vec<u8> {
        let value = vec![7; len].into();
        proto::mvccpb::KeyValue { value, ..Default::default() }.encode_to_vec()
    }
}
