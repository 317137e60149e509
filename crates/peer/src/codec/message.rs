//! The codec of every kind of message.
//!
//! ```text
//! | offset | bytes | content                     |
//! |--------|-------|-----------------------------|
//! | 0      | 8     | length n, big-endian        |
//! | 8      | n     | a raftpb.Message            |
//! ```
//! Source: `rafthttp/msg_codec.go`.

use super::{CodecError, Input, Output, checked_len, decode_whole};
use bytes::Bytes;
use prost::Message as _;
use proto::raftpb::Message;

/// Appends `message` to `out`.
pub fn encode(message: &Message, out: &mut Output) {
    out.put_u64(message.encoded_len() as u64);
    out.put_protobuf(message);
}

/// Turns the bytes of a stream into messages.
#[derive(Debug)]
pub struct Decoder {
    input: Input,
    bytes_max: usize,
    /// The length of the message that is awaited, once it is known.
    wanted: Option<usize>,
}

impl Decoder {
    /// Takes messages of up to `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Decoder {
        Decoder { input: Input::default(), bytes_max, wanted: None }
    }

    /// Takes what the network brought.
    pub fn push(&mut self, piece: Bytes) {
        self.input.push(piece);
    }

    /// The next whole message.
    ///
    /// # Errors
    /// The message is too long or no message.
    pub fn message(&mut self) -> Result<Option<Message>, CodecError> {
        if self.wanted.is_none() {
            let Some(len) = self.input.take_u64() else { return Ok(None) };
            self.wanted = Some(checked_len(len, self.bytes_max)?);
        }
        let Some(bytes) = self.wanted.and_then(|len| self.input.take(len)) else { return Ok(None) };
        self.wanted = None;
        decode_whole(bytes).map(Some)
    }

    /// Whether the stream may end here.
    pub fn is_between_messages(&self) -> bool {
        self.wanted.is_none() && self.input.len == 0
    }

    /// What came in after the last message, in order.
    pub fn into_rest(self) -> impl Iterator<Item = Bytes> {
        self.input.pieces.into_iter()
    }
}
