//! What a normal log entry holds: an `InternalRaftRequest`, read and written without copying it.
//!
//! A request's own bytes travel unchanged: the writer puts a tag and a length before them, the
//! reader hands out a slice of the entry. Only the one field that is set is decoded.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use proto::etcdserverpb as pb;
use proto::membershippb as mpb;

/// Field numbers of `InternalRaftRequest` (reference: `raft_internal.proto`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum Kind {
    Range = 3,
    Put = 4,
    DeleteRange = 5,
    Txn = 6,
    Compaction = 7,
    LeaseGrant = 8,
    LeaseRevoke = 9,
    Alarm = 10,
    LeaseCheckpoint = 11,
    ClusterVersionSet = 1300,
    ClusterMemberAttrSet = 1301,
    DowngradeInfoSet = 1302,
}

impl Kind {
    /// Every kind, in the order of [`Kind::place`].
    pub const ALL: [Kind; 12] = [
        Kind::Range,
        Kind::Put,
        Kind::DeleteRange,
        Kind::Txn,
        Kind::Compaction,
        Kind::LeaseGrant,
        Kind::LeaseRevoke,
        Kind::Alarm,
        Kind::LeaseCheckpoint,
        Kind::ClusterVersionSet,
        Kind::ClusterMemberAttrSet,
        Kind::DowngradeInfoSet,
    ];

    /// The kind's place in [`Kind::ALL`].
    pub fn place(self) -> usize {
        match self as u32 {
            field @ 3..=11 => field as usize - 3,
            field => field as usize - 1300 + 9,
        }
    }

    /// The name that metrics know it by: the field's, in Go.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Range => "Range",
            Kind::Put => "Put",
            Kind::DeleteRange => "DeleteRange",
            Kind::Txn => "Txn",
            Kind::Compaction => "Compaction",
            Kind::LeaseGrant => "LeaseGrant",
            Kind::LeaseRevoke => "LeaseRevoke",
            Kind::Alarm => "Alarm",
            Kind::LeaseCheckpoint => "LeaseCheckpoint",
            Kind::ClusterVersionSet => "ClusterVersionSet",
            Kind::ClusterMemberAttrSet => "ClusterMemberAttrSet",
            Kind::DowngradeInfoSet => "DowngradeInfoSet",
        }
    }
}

const HEADER_FIELD: u32 = 100;
const LENGTH_DELIMITED: u32 = 2;

/// Encodes an entry's data: the header with the request id, then the request's own bytes.
///
/// ```text
/// [tag kind][length][request bytes][tag 100][length][header{ID, username, auth_revision}]
/// ```
pub fn encode(kind: Kind, request: &[u8], header: &pb::RequestHeader) -> Bytes {
    let header_len = header.encoded_len();
    let mut out = BytesMut::with_capacity(request.len() + header_len + 16);
    put_tag(&mut out, kind as u32);
    prost::encoding::encode_varint(request.len() as u64, &mut out);
    out.put_slice(request);
    put_tag(&mut out, HEADER_FIELD);
    prost::encoding::encode_varint(header_len as u64, &mut out);
    header.encode_raw(&mut out);
    out.freeze()
}

fn put_tag(out: &mut BytesMut, field: u32) {
    prost::encoding::encode_varint(u64::from(field << 3 | LENGTH_DELIMITED), out);
}

/// The request of an entry, decoded.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Request {
    /// Nothing that changes the store: a read that reached the log, a test request, no field set.
    Nothing,
    Range(pb::RangeRequest),
    Put(pb::PutRequest),
    DeleteRange(pb::DeleteRangeRequest),
    Txn(pb::TxnRequest),
    Compaction(pb::CompactionRequest),
    LeaseGrant(pb::LeaseGrantRequest),
    LeaseRevoke(pb::LeaseRevokeRequest),
    LeaseCheckpoint(pb::LeaseCheckpointRequest),
    Alarm(pb::AlarmRequest),
    ClusterVersionSet(mpb::ClusterVersionSetRequest),
    ClusterMemberAttrSet(mpb::ClusterMemberAttrSetRequest),
    DowngradeInfoSet(mpb::DowngradeInfoSetRequest),
    /// A field of a room that this build does not have, by its number.
    Unsupported(u32),
}

impl Request {
    /// Which request it is; `None` for one without effect.
    pub fn kind(&self) -> Option<Kind> {
        let kind = match self {
            Request::Range(_) => Kind::Range,
            Request::Put(_) => Kind::Put,
            Request::DeleteRange(_) => Kind::DeleteRange,
            Request::Txn(_) => Kind::Txn,
            Request::Compaction(_) => Kind::Compaction,
            Request::LeaseGrant(_) => Kind::LeaseGrant,
            Request::LeaseRevoke(_) => Kind::LeaseRevoke,
            Request::LeaseCheckpoint(_) => Kind::LeaseCheckpoint,
            Request::Alarm(_) => Kind::Alarm,
            Request::ClusterVersionSet(_) => Kind::ClusterVersionSet,
            Request::ClusterMemberAttrSet(_) => Kind::ClusterMemberAttrSet,
            Request::DowngradeInfoSet(_) => Kind::DowngradeInfoSet,
            Request::Nothing | Request::Unsupported(_) => return None,
        };
        Some(kind)
    }
}

/// An entry's request and who waits for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// The id that the proposing member chose; its waiter is found by it. 0 where none was set.
    pub id: u64,
    /// What is asked.
    pub request: Request,
}

/// Reads an entry's data; `None` where the bytes are no `InternalRaftRequest`.
pub fn decode(mut data: Bytes) -> Option<Envelope> {
    let mut id = 0;
    let mut old_style_id = 0;
    let mut found: Option<(u32, Bytes)> = None;
    while data.has_remaining() {
        let key = prost::encoding::decode_varint(&mut data).ok()?;
        let field = u32::try_from(key >> 3).ok()?;
        match key & 7 {
            0 => {
                let value = prost::encoding::decode_varint(&mut data).ok()?;
                if field == 1 {
                    old_style_id = value;
                }
            }
            1 => skip(&mut data, 8)?,
            5 => skip(&mut data, 4)?,
            2 => {
                let len = prost::encoding::decode_varint(&mut data).ok()?;
                let len = usize::try_from(len).ok().filter(|&l| l <= data.len())?;
                let body = data.split_to(len);
                match field {
                    HEADER_FIELD => id = pb::RequestHeader::decode(body).ok()?.id,
                    _ => prefer_first(&mut found, field, body),
                }
            }
            _ => return None,
        }
    }
    let request = match found {
        None => Request::Nothing,
        Some((field, body)) => decode_request(field, body)?,
    };
    Some(Envelope { id: if id == 0 { old_style_id } else { id }, request })
}

/// Keeps the field that etcd would act on: membership requests win, then the lowest number.
fn prefer_first(found: &mut Option<(u32, Bytes)>, field: u32, body: Bytes) {
    let rank = |field: u32| (!(1300..=1302).contains(&field), field);
    if found.as_ref().is_none_or(|(kept, _)| rank(field) <= rank(*kept)) {
        *found = Some((field, body));
    }
}

fn skip(data: &mut Bytes, len: usize) -> Option<()> {
    (data.len() >= len).then(|| data.advance(len))
}

fn decode_request(field: u32, body: Bytes) -> Option<Request> {
    let request = match field {
        3 => Request::Range(Message::decode(body).ok()?),
        4 => Request::Put(Message::decode(body).ok()?),
        5 => Request::DeleteRange(Message::decode(body).ok()?),
        6 => Request::Txn(Message::decode(body).ok()?),
        7 => Request::Compaction(Message::decode(body).ok()?),
        8 => Request::LeaseGrant(Message::decode(body).ok()?),
        9 => Request::LeaseRevoke(Message::decode(body).ok()?),
        10 => Request::Alarm(Message::decode(body).ok()?),
        11 => Request::LeaseCheckpoint(Message::decode(body).ok()?),
        1300 => Request::ClusterVersionSet(Message::decode(body).ok()?),
        1301 => Request::ClusterMemberAttrSet(Message::decode(body).ok()?),
        1302 => Request::DowngradeInfoSet(Message::decode(body).ok()?),
        // auth_status, auth reads and the downgrade test change nothing.
        1013 | 1102 | 1106 | 1107 | 1202 | 9900 => Request::Nothing,
        other => Request::Unsupported(other),
    };
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(id: u64) -> pb::RequestHeader {
        pb::RequestHeader { id, ..Default::default() }
    }

    #[test]
    fn agrees_with_the_full_message() {
        let put = pb::PutRequest { key: "k".into(), value: "v".into(), ..Default::default() };
        let bytes = encode(Kind::Put, &put.encode_to_vec(), &header(7));
        let full = pb::InternalRaftRequest::decode(bytes.clone()).unwrap();
        assert_eq!(full.put.as_ref(), Some(&put));
        assert_eq!(full.header.as_ref().unwrap().id, 7);
        assert_eq!(full.encode_to_vec(), bytes);
        assert_eq!(decode(bytes), Some(Envelope { id: 7, request: Request::Put(put) }));
    }

    #[test]
    fn every_kind_has_its_place() {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!((kind.place(), kind.name()), (place, format!("{kind:?}").as_str()));
        }
    }

    #[test]
    fn membership_requests_win_over_others() {
        let both = pb::InternalRaftRequest {
            put: Some(pb::PutRequest::default()),
            cluster_version_set: Some(mpb::ClusterVersionSetRequest { ver: "3.7.0".into() }),
            ..Default::default()
        };
        let read = decode(both.encode_to_vec().into()).unwrap();
        assert!(matches!(read.request, Request::ClusterVersionSet(_)));
    }

    #[test]
    fn bytes_that_are_no_request_are_reported() {
        assert_eq!(decode(Bytes::from_static(&[0xff; 3])), None);
        assert_eq!(decode(Bytes::from_static(&[0x22, 9, 1])), None);
        let empty = decode(Bytes::new()).unwrap();
        assert_eq!(empty, Envelope { id: 0, request: Request::Nothing });
    }
}
