//! HTTP/2 frames (RFC 9113, section 4 and 6).
//!
//! ```text
//! | length u24 | type u8 | flags u8 | stream u32, highest bit ignored | payload |
//! ```

use bytes::{BufMut, BytesMut};

/// What a client sends first.
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const HEADER_LEN: usize = 9;
/// The largest payload either side takes unless it says otherwise; we do not.
pub(crate) const PAYLOAD_MAX: usize = 16_384;
/// A window never grows above this.
pub(crate) const WINDOW_MAX: i64 = (1 << 31) - 1;
/// The window that both sides begin with.
pub(crate) const WINDOW_DEFAULT: i64 = 65_535;
/// In the first of the two GOAWAYs of a graceful end: every stream will still be served.
pub(crate) const STREAM_MAX: u32 = (1 << 31) - 1;

pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

pub(crate) mod flag {
    pub(crate) const ACK: u8 = 1;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
    pub(crate) const PADDED: u8 = 8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

pub(crate) mod setting {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
    pub(crate) const ENABLE_PUSH: u16 = 2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 5;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 6;
}

/// Why a stream or a connection ends (RFC 9113, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Reason {
    NoError = 0,
    Protocol = 1,
    FlowControl = 3,
    StreamClosed = 5,
    FrameSize = 6,
    RefusedStream = 7,
    Cancel = 8,
    Compression = 9,
    EnhanceYourCalm = 11,
}

/// What the peer did wrong, and what that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// This stream.
    Stream(u32, Reason),
    /// Everything; with a word for the peer's log.
    Connection(Reason, &'static str),
}

/// The nine bytes in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) len: usize,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl Header {
    /// Reads it, if there are nine bytes.
    pub(crate) fn read(bytes: &[u8]) -> Option<Header> {
        let bytes: &[u8; HEADER_LEN] = bytes.first_chunk()?;
        let len = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        let stream = be32(&bytes[5..]) & STREAM_MAX;
        Some(Header { len, kind: bytes[3], flags: bytes[4], stream })
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload without its padding.
    pub(crate) fn unpadded<'a>(&self, payload: &'a [u8]) -> Result<&'a [u8], Failure> {
        if !self.has(flag::PADDED) {
            return Ok(payload);
        }
        let bad = Failure::Connection(Reason::Protocol, "more padding than payload");
        let (pad, rest) = payload.split_first().ok_or(bad)?;
        let len = rest.len().checked_sub(usize::from(*pad)).ok_or(bad)?;
        Ok(&rest[..len])
    }
}

/// Four bytes, big-endian; the caller knows that they are there.
pub(crate) fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Writes the nine bytes.
pub(crate) fn put_header(out: &mut BytesMut, len: usize, kind: u8, flags: u8, stream: u32) {
    debug_assert!(len < 1 << 24);
    let len = (len as u32).to_be_bytes();
    let id = stream.to_be_bytes();
    out.put_slice(&[len[1], len[2], len[3], kind, flags, id[0], id[1], id[2], id[3]]);
}

/// Our first frame.
pub(crate) fn put_settings(out: &mut BytesMut, settings: &[(u16, u32)]) {
    put_header(out, settings.len() * 6, kind::SETTINGS, 0, 0);
    for (id, value) in settings {
        out.put_u16(*id);
        out.put_u32(*value);
    }
}

/// Tells the peer that its settings hold.
pub(crate) fn put_settings_ack(out: &mut BytesMut) {
    put_header(out, 0, kind::SETTINGS, flag::ACK, 0);
}

/// Lets the peer send more; stream 0 means the connection.
pub(crate) fn put_window_update(out: &mut BytesMut, stream: u32, increment: u32) {
    put_header(out, 4, kind::WINDOW_UPDATE, 0, stream);
    out.put_u32(increment);
}

/// Ends a stream at once.
pub(crate) fn put_rst_stream(out: &mut BytesMut, stream: u32, reason: Reason) {
    put_header(out, 4, kind::RST_STREAM, 0, stream);
    out.put_u32(reason as u32);
}

/// Asks or answers.
pub(crate) fn put_ping(out: &mut BytesMut, flags: u8, data: &[u8; 8]) {
    put_header(out, 8, kind::PING, flags, 0);
    out.put_slice(data);
}

/// Says that streams above `last` are not served.
pub(crate) fn put_goaway(out: &mut BytesMut, last: u32, reason: Reason, text: &str) {
    put_header(out, 8 + text.len(), kind::GOAWAY, 0, 0);
    out.put_u32(last);
    out.put_u32(reason as u32);
    out.put_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back() {
        let mut out = BytesMut::new();
        put_header(&mut out, 0x0001_0203, kind::DATA, flag::END_STREAM, 0x7fff_fff1);
        assert_eq!(out[..], [1, 2, 3, 0, 1, 0x7f, 0xff, 0xff, 0xf1]);
        out[5] |= 0x80;
        let header = Header { len: 0x0001_0203, kind: 0, flags: 1, stream: 0x7fff_fff1 };
        assert_eq!(Header::read(&out), Some(header));
        assert_eq!(Header::read(&out[..8]), None);
    }

    #[test]
    fn padding_is_taken_off() {
        let padded = Header { len: 4, kind: kind::DATA, flags: flag::PADDED, stream: 1 };
        assert_eq!(padded.unpadded(&[2, 7, 0, 0]), Ok(&[7u8][..]));
        assert_eq!(padded.unpadded(&[3, 0, 0, 0]), Ok(&[][..]));
        assert!(padded.unpadded(&[4, 0, 0, 0]).is_err());
        assert!(padded.unpadded(&[]).is_err());
    }
}
