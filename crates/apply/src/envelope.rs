//! What a normal log entry holds: an `InternalRaftRequest`, read and written without copying it.
//!
//! A request's own bytes travel unchanged: the writer puts a tag and a length before them, the
//! reader hands out a slice of the entry. Only the one field that is set is decoded.

use crate::kinds::{Kind, Request};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use proto::etcdserverpb as pb;

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
        Some((field, body)) => Request::decode(field, body)?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use proto::membershippb as mpb;

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
