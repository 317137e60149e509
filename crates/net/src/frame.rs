//! gRPC's framing of messages, and the texts of its headers.
//!
//! ```text
//! | compressed u8 | length u32 big-endian | message |
//! ```

use crate::rpc::{Code, Status};
use bytes::{Bytes, BytesMut};
use std::time::Duration;

pub(crate) const HEADER_LEN: usize = 5;
/// The first byte before a packed message.
const PACKED: u8 = 1;
/// Room made for a message before any of it came: a length alone is no reason to set memory aside.
const TRUSTED_LEN: usize = 64 * 1024;

/// Puts a stream of bytes back into messages, copying each byte once.
///
/// Always true: `body` is empty until the header is whole, and shorter than `len` between calls.
#[derive(Default)]
pub(crate) struct Deframer {
    header: [u8; HEADER_LEN],
    header_len: usize,
    body: BytesMut,
    len: usize,
    /// Whether messages may be packed.
    may_be_packed: bool,
}

impl Deframer {
    /// A deframer that lets packed messages pass.
    pub(crate) fn of_packed() -> Deframer {
        Deframer { may_be_packed: true, ..Deframer::default() }
    }

    /// The next whole message, as it came; `input` moves behind what was used.
    ///
    /// # Errors
    /// The status with which the call ends: the message is packed and should not be, or it is longer
    /// than `max`.
    pub(crate) fn next(&mut self, input: &mut &[u8], max: usize) -> Result<Option<Bytes>, Status> {
        if self.header_len < HEADER_LEN && !self.read_header(input, max)? {
            return Ok(None);
        }
        if self.body.is_empty()
            && let Some((message, rest)) = input.split_at_checked(self.len)
        {
            let message = Bytes::copy_from_slice(message);
            *input = rest;
            self.header_len = 0;
            return Ok(Some(message));
        }
        Ok(self.gather(input))
    }

    /// Whether the message that came last is packed.
    pub(crate) fn is_packed(&self) -> bool {
        self.header[0] == PACKED
    }

    /// Why a call cannot end here: within a message. The texts are those of Go's server.
    pub(crate) fn end(&self) -> Result<(), Status> {
        match self.header_len {
            0 => Ok(()),
            HEADER_LEN => Err(Status::new(Code::Unknown, "unexpected EOF")),
            _ => Err(Status::new(Code::Unknown, "EOF")),
        }
    }

    /// Bytes held of a message that is not whole.
    pub(crate) fn held(&self) -> usize {
        self.body.len()
    }

    fn read_header(&mut self, input: &mut &[u8], max: usize) -> Result<bool, Status> {
        let step = input.len().min(HEADER_LEN - self.header_len);
        let (now, rest) = input.split_at(step);
        self.header[self.header_len..self.header_len + step].copy_from_slice(now);
        self.header_len += step;
        *input = rest;
        if self.header_len < HEADER_LEN {
            return Ok(false);
        }
        let [flag, len @ ..] = self.header;
        self.len = u32::from_be_bytes(len) as usize;
        check(flag, self.len, max, self.may_be_packed)?;
        Ok(true)
    }

    fn gather(&mut self, input: &mut &[u8]) -> Option<Bytes> {
        let (now, rest) = input.split_at(input.len().min(self.len - self.body.len()));
        if self.body.is_empty() {
            self.body.reserve(self.len.min(TRUSTED_LEN));
        } else if self.body.len() + now.len() > self.body.capacity() {
            self.body.reserve(self.len - self.body.len());
        }
        self.body.extend_from_slice(now);
        *input = rest;
        if self.body.len() < self.len {
            return None;
        }
        self.header_len = 0;
        Some(std::mem::take(&mut self.body).freeze())
    }
}

fn check(flag: u8, len: usize, max: usize, may_be_packed: bool) -> Result<(), Status> {
    if len > max {
        let text = format!("grpc: received message larger than max ({len} vs. {max})");
        return Err(Status::new(Code::ResourceExhausted, text));
    }
    match flag {
        0 => Ok(()),
        PACKED if may_be_packed => Ok(()),
        PACKED => {
            let text = "grpc: compressed flag set with identity or empty encoding";
            Err(Status::new(Code::Internal, text))
        }
        _ => {
            let text = format!("grpc: received unexpected payload format {flag}");
            Err(Status::new(Code::Internal, text))
        }
    }
}

/// A message's five bytes in front.
pub(crate) fn header(len: usize) -> [u8; HEADER_LEN] {
    let len = (len as u32).to_be_bytes();
    [0, len[0], len[1], len[2], len[3]]
}

/// The five bytes in front of a packed message.
pub(crate) fn packed_header(len: usize) -> [u8; HEADER_LEN] {
    let [_, len @ ..] = header(len);
    [PACKED, len[0], len[1], len[2], len[3]]
}

/// A status's text as a header carries it.
pub(crate) fn percent_encode(text: &str) -> String {
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
///
/// # Errors
/// The text that Go's server has for what is wrong.
pub(crate) fn timeout(value: &str) -> Result<Duration, String> {
    let wrong = |what: &str| format!("transport: timeout {what}: {value:?}");
    if value.len() < 2 {
        return Err(wrong("string is too short"));
    }
    if value.len() > 9 {
        return Err(wrong("string is too long"));
    }
    let (digits, unit) = value.split_at_checked(value.len() - 1).unwrap_or((value, ""));
    let unit: fn(u64) -> Duration = match unit {
        "H" => |n| Duration::from_secs(n * 3600),
        "M" => |n| Duration::from_secs(n * 60),
        "S" => Duration::from_secs,
        "m" => Duration::from_millis,
        "u" => Duration::from_micros,
        "n" => Duration::from_nanos,
        _ => return Err(wrong("unit is not recognized")),
    };
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse() {
        Ok(n) if is_number => Ok(unit(n)),
        _ => Err(format!("strconv.ParseUint: parsing {digits:?}: invalid syntax")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(deframer: &mut Deframer, mut input: &[u8], max: usize) -> Result<Vec<Bytes>, Status> {
        let mut messages = Vec::new();
        while let Some(message) = deframer.next(&mut input, max)? {
            messages.push(message);
        }
        assert!(input.is_empty(), "everything is used");
        Ok(messages)
    }

    #[test]
    fn messages_come_out_whole() {
        let mut deframer = Deframer::default();
        assert_eq!(fed(&mut deframer, b"\0\0\0\0\x03a", 10).unwrap(), Vec::<Bytes>::new());
        assert_eq!(deframer.held(), 1);
        assert_eq!(deframer.end().unwrap_err().message, "unexpected EOF");
        assert_eq!(fed(&mut deframer, b"bc\0\0\0\0\0\0\0\0\0", 10).unwrap(), ["abc", ""]);
        assert_eq!(deframer.held(), 0);
        assert_eq!(deframer.end().unwrap_err().message, "EOF");
        let error = fed(&mut deframer, b"\x09", 8).unwrap_err();
        assert_eq!(error.message, "grpc: received message larger than max (9 vs. 8)");
    }

    #[test]
    fn pieces_of_any_size_make_the_same_messages() {
        let sizes = [0, 1, 4, 5, 300, TRUSTED_LEN, TRUSTED_LEN + 1, 3 * TRUSTED_LEN];
        let messages: Vec<Vec<u8>> = sizes.iter().map(|size| vec![*size as u8; *size]).collect();
        let mut wire = Vec::new();
        for message in &messages {
            wire.extend_from_slice(&header(message.len()));
            wire.extend_from_slice(message);
        }
        for step in [1, 3, 4096, wire.len()] {
            let mut deframer = Deframer::default();
            let pieces = wire.chunks(step);
            let got = pieces.flat_map(|piece| fed(&mut deframer, piece, usize::MAX).unwrap());
            assert_eq!(got.collect::<Vec<_>>(), messages, "{step}");
        }
    }

    #[test]
    fn packed_messages_pass_where_that_was_said() {
        let wire = [&packed_header(3)[..], b"zip", &header(1), b"x"].concat();
        let (mut deframer, mut input) = (Deframer::of_packed(), &wire[..]);
        for (message, is_packed) in [("zip", true), ("x", false)] {
            assert_eq!(deframer.next(&mut input, 100).unwrap().unwrap(), message);
            assert_eq!(deframer.is_packed(), is_packed);
        }
    }

    #[test]
    fn compressed_messages_are_refused() {
        let error = fed(&mut Deframer::default(), b"\x01\0\0\0\0", 8).unwrap_err();
        assert_eq!(error.message, "grpc: compressed flag set with identity or empty encoding");
        let error = fed(&mut Deframer::default(), b"\x02\0\0\0\0", 8).unwrap_err();
        assert_eq!(error.message, "grpc: received unexpected payload format 2");
    }

    #[test]
    fn timeouts_and_texts() {
        assert_eq!(timeout("5S"), Ok(Duration::from_secs(5)));
        assert_eq!(timeout("100m"), Ok(Duration::from_millis(100)));
        let refused = [
            ("", "transport: timeout string is too short: \"\""),
            ("123456789S", "transport: timeout string is too long: \"123456789S\""),
            ("5x", "transport: timeout unit is not recognized: \"5x\""),
            ("-5S", "strconv.ParseUint: parsing \"-5\": invalid syntax"),
        ];
        for (value, text) in refused {
            assert_eq!(timeout(value), Err(text.to_owned()));
        }
        assert!(timeout("5é").is_err());
        assert_eq!(percent_encode("a%b\n"), "a%25b%0A");
    }
}
