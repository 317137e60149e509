//! gzip, the one compression that the reference's server knows for messages: bounded both ways.

use crate::rpc::{Code, Status};
use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use std::io::{self, Read, Write};

/// Longer answers go as they are, which gRPC allows for each message: packing them would hold up
/// the thread that serves others too.
const PACKED_BYTES_MAX: usize = 256 * 1024;

/// Unpacks a message that may be `max` bytes long; no more memory is used than that.
///
/// # Errors
/// The status with which the call ends, in the words of Go's server.
pub(crate) fn unpack(packed: &[u8], max: usize) -> Result<Bytes, Status> {
    begins_well(packed).map_err(|why| {
        let text = format!("grpc: failed to decompress the message: {why}");
        Status::new(Code::Internal, text)
    })?;
    let mut message = Vec::new();
    let mut reader = MultiGzDecoder::new(packed).take(max as u64 + 1);
    if let Err(error) = reader.read_to_end(&mut message) {
        let text = format!("grpc: failed to read decompressed data: {}", why(&error));
        return Err(Status::new(Code::Internal, text));
    }
    if message.len() > max {
        let text = format!("grpc: received message after decompression larger than max {max}");
        return Err(Status::new(Code::ResourceExhausted, text));
    }
    Ok(message.into())
}

/// Go reads the header by itself, and has other words for what is wrong there.
fn begins_well(packed: &[u8]) -> Result<(), &'static str> {
    match packed {
        [] => Err("EOF"),
        [_, ..] if packed.len() < 10 => Err("unexpected EOF"),
        [0x1f, 0x8b, 8, ..] => Ok(()),
        _ => Err("gzip: invalid header"),
    }
}

fn why(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "unexpected EOF",
        io::ErrorKind::InvalidInput if error.to_string().contains("checksum") => {
            "gzip: invalid checksum"
        }
        io::ErrorKind::InvalidInput if error.to_string().contains("header") => {
            "gzip: invalid header"
        }
        _ => "flate: corrupt input",
    }
}

/// Packs a message that lies in pieces; `None` where it goes as it is.
pub(crate) fn pack<'a>(pieces: impl Iterator<Item = &'a Bytes> + Clone) -> Option<Bytes> {
    let len: usize = pieces.clone().map(Bytes::len).sum();
    if len == 0 || len > PACKED_BYTES_MAX {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(len / 2), Compression::fast());
    for piece in pieces {
        encoder.write_all(piece).ok()?;
    }
    encoder.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(len: usize) -> Bytes {
        pack([Bytes::from(vec![b'x'; len])].iter()).unwrap()
    }

    fn refusal(packed: &[u8]) -> Status {
        unpack(packed, 100).unwrap_err()
    }

    #[test]
    fn messages_come_out_as_they_went_in() {
        let pieces = [Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"two")];
        let packed = pack(pieces.iter()).unwrap();
        assert_eq!(unpack(&packed, 6).unwrap(), "onetwo");
        assert_eq!(unpack(&[&packed[..], &packed[..]].concat(), 12).unwrap(), "onetwoonetwo");
        assert_eq!(pack([Bytes::new()].iter()), None);
        assert_eq!(pack([Bytes::from(vec![0; PACKED_BYTES_MAX + 1])].iter()), None);
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        assert_eq!(unpack(&packed(100), 100).unwrap().len(), 100);
        let bomb = packed(PACKED_BYTES_MAX);
        let text = "grpc: received message after decompression larger than max 100";
        assert_eq!(refusal(&bomb), Status::new(Code::ResourceExhausted, text));
    }

    #[test]
    fn damage_has_a_name() {
        let good = packed(50);
        let mut wrong = good.to_vec();
        let last = wrong.len() - 6;
        wrong[last] ^= 1;
        for (bytes, text) in [
            (&b""[..], "grpc: failed to decompress the message: EOF"),
            (&good[..5], "grpc: failed to decompress the message: unexpected EOF"),
            (b"not compressed", "grpc: failed to decompress the message: gzip: invalid header"),
            (&good[..good.len() - 3], "grpc: failed to read decompressed data: unexpected EOF"),
            (&wrong, "grpc: failed to read decompressed data: gzip: invalid checksum"),
        ] {
            assert_eq!(refusal(bytes), Status::new(Code::Internal, text));
        }
    }
}
