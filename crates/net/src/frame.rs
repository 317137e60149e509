//! gRPC's framing of messages, and its trailers.
//!
//! ```text
//! | compressed u8 | length u32 big-endian | message |
//! ```

use crate::rpc::{Code, Status};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use std::time::Duration;

pub(crate) const HEADER_LEN: usize = 5;

/// Puts a stream of bytes back into messages.
#[derive(Default)]
pub(crate) struct Deframer {
    buffer: BytesMut,
}

impl Deframer {
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if self.buffer.is_empty()
            && let Ok(whole) = bytes.clone().try_into_mut()
        {
            self.buffer = whole;
            return;
        }
        self.buffer.extend_from_slice(&bytes);
    }

    /// The next whole message.
    pub(crate) fn next(&mut self, max: usize) -> Result<Option<Bytes>, Status> {
        if self.buffer.len() < HEADER_LEN {
            return Ok(None);
        }
        let len = u32::from_be_bytes(self.buffer[1..5].try_into().expect("four bytes")) as usize;
        if self.buffer[0] != 0 {
            let text = "grpc: Decompressor is not installed for grpc-encoding";
            return Err(Status::new(Code::Unimplemented, text));
        }
        if len > max {
            let text = format!("grpc: received message larger than max ({len} vs. {max})");
            return Err(Status::new(Code::ResourceExhausted, text));
        }
        if self.buffer.len() < HEADER_LEN + len {
            return Ok(None);
        }
        self.buffer.advance(HEADER_LEN);
        Ok(Some(self.buffer.split_to(len).freeze()))
    }
}

/// A message's five bytes in front.
pub(crate) fn header(len: usize) -> Bytes {
    let mut header = BytesMut::with_capacity(HEADER_LEN);
    header.put_u8(0);
    header.put_u32(len as u32);
    header.freeze()
}

/// The trailers that end a call.
pub(crate) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert("grpc-status", HeaderValue::from(status.code as u32));
    if !status.message.is_empty() {
        let text = percent_encode(&status.message);
        let text = HeaderValue::from_str(&text).expect("percent-encoded text is plain");
        trailers.insert("grpc-message", text);
    }
    trailers
}

fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Reads a `grpc-timeout`: up to eight digits and a unit.
pub(crate) fn timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n * 3600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_whole() {
        let mut deframer = Deframer::default();
        deframer.push(Bytes::from_static(b"\0\0\0\0\x03a"));
        assert_eq!(deframer.next(10), Ok(None));
        deframer.push(Bytes::from_static(b"bc\0\0\0\0\0\0\0\0\0\x09"));
        assert_eq!(deframer.next(10).unwrap().unwrap(), "abc");
        assert_eq!(deframer.next(10).unwrap().unwrap(), "");
        assert_eq!(deframer.next(10), Ok(None));
        assert_eq!(deframer.next(8).unwrap_err().code, Code::ResourceExhausted);
    }

    #[test]
    fn timeouts_and_texts() {
        assert_eq!(timeout("5S"), Some(Duration::from_secs(5)));
        assert_eq!(timeout("100m"), Some(Duration::from_millis(100)));
        for bad in ["", "S", "5", "123456789S", "5x", "-5S", "5é"] {
            assert_eq!(timeout(bad), None, "{bad}");
        }
        assert_eq!(percent_encode("a%b\n"), "a%25b%0A");
    }
}
