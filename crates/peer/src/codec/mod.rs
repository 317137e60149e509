//! What goes over a stream, as bytes: pure, without sockets or clocks.
//!
//! An encoder appends to an [`Output`]; a decoder is fed whatever pieces the network brought and
//! gives whole messages. Both directions leave large values where they are: the bytes of a long
//! entry are written from, and read into, the buffer that holds them already.

pub mod message;
pub mod msgappv2;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message as _;
use proto::raftpb::{Message, MessageType};
use std::collections::VecDeque;

/// Values at least this long are passed on where they lie; shorter ones are copied, once.
const SPLICE_BYTES_MIN: usize = 16 * 1024;

/// What is wrong with bytes that came in. The stream they came from is of no further use.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum CodecError {
    /// A length is above the limit.
    #[error("rafthttp: error limit exceeded")]
    TooLong,
    /// An msgappv2 stream has three kinds of message; this is none of them.
    #[error("failed to parse type {0} in msgappv2 stream")]
    UnknownKind(u8),
    /// A message is no protobuf of its type.
    #[error("{0}")]
    Protobuf(#[from] prost::DecodeError),
    /// The stream ended within a message.
    #[error("unexpected EOF")]
    Truncated,
}

/// The message that only says that a stream lives: a heartbeat from nobody to nobody.
pub fn link_heartbeat() -> Message {
    Message { r#type: Some(MessageType::MsgHeartbeat.into()), ..Message::default() }
}

/// Whether raft must not see `message`.
pub fn is_link_heartbeat(message: &Message) -> bool {
    message.r#type() == MessageType::MsgHeartbeat && message.from() == 0 && message.to() == 0
}

/// Encoded bytes on their way out, in order, as pieces.
#[derive(Debug, Default)]
pub struct Output {
    ready: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
}

impl Output {
    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none wait.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The next piece, never empty.
    pub fn pop(&mut self) -> Option<Bytes> {
        let piece = match self.ready.pop_front() {
            Some(piece) => piece,
            None if self.tail.is_empty() => return None,
            None => self.tail.split().freeze(),
        };
        self.len -= piece.len();
        Some(piece)
    }

    fn put_u8(&mut self, value: u8) {
        self.tail.put_u8(value);
        self.len += 1;
    }

    fn put_u64(&mut self, value: u64) {
        self.tail.put_u64(value);
        self.len += 8;
    }

    fn put_varint(&mut self, value: u64) {
        let before = self.tail.len();
        prost::encoding::encode_varint(value, &mut self.tail);
        self.len += self.tail.len() - before;
    }

    fn put_protobuf(&mut self, message: &impl prost::Message) {
        let before = self.tail.len();
        message.encode(&mut self.tail).expect("a BytesMut grows as needed");
        self.len += self.tail.len() - before;
    }

    fn put_bytes(&mut self, bytes: &Bytes) {
        self.len += bytes.len();
        if bytes.len() < SPLICE_BYTES_MIN {
            self.tail.extend_from_slice(bytes);
            return;
        }
        if !self.tail.is_empty() {
            self.ready.push_back(self.tail.split().freeze());
        }
        self.ready.push_back(bytes.clone());
    }
}

/// Bytes that came in and were not decoded yet.
#[derive(Debug, Default)]
struct Input {
    pieces: VecDeque<Bytes>,
    len: usize,
}

impl Input {
    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// The first `n` bytes, if so many are there. Short ones are copied, for otherwise a few bytes
    /// that stay in the log would keep the whole buffer that a connection read them into.
    fn take(&mut self, n: usize) -> Option<Bytes> {
        if n > self.len {
            return None;
        }
        if let Some(front) = self.pieces.front_mut()
            && front.len() > n
            && n >= SPLICE_BYTES_MIN
        {
            self.len -= n;
            return Some(front.split_to(n));
        }
        let mut copied = BytesMut::with_capacity(n);
        self.drain(n, |bytes| copied.extend_from_slice(bytes));
        Some(copied.freeze())
    }

    /// Passes the first `n` bytes to `take`, in pieces. So many are there.
    fn drain(&mut self, n: usize, mut take: impl FnMut(&[u8])) {
        let mut left = n;
        self.len -= n;
        while left > 0 {
            let front = self.pieces.front_mut().expect("len counts what the pieces hold");
            let taken = left.min(front.len());
            take(&front[..taken]);
            front.advance(taken);
            left -= taken;
            if front.is_empty() {
                self.pieces.pop_front();
            }
        }
    }

    fn take_u8(&mut self) -> Option<u8> {
        let mut value = None;
        if self.len > 0 {
            self.drain(1, |bytes| value = bytes.first().copied());
        }
        value
    }

    fn take_u64(&mut self) -> Option<u64> {
        let mut value = 0;
        if self.len < 8 {
            return None;
        }
        self.drain(8, |bytes| {
            value = bytes.iter().fold(value, |value, byte| value << 8 | u64::from(*byte));
        });
        Some(value)
    }
}

/// A length that is allowed, as a number of bytes in memory.
fn checked_len(len: u64, max: usize) -> Result<usize, CodecError> {
    usize::try_from(len).ok().filter(|len| *len <= max).ok_or(CodecError::TooLong)
}

fn decode_whole(bytes: Bytes) -> Result<Message, CodecError> {
    Ok(Message::decode(bytes)?)
}

/// Either encoder.
#[derive(Debug)]
pub enum Encoder {
    /// For a stream of every kind of message.
    Message,
    /// For a stream of appends.
    MsgApp(msgappv2::Encoder),
}

impl Encoder {
    /// Appends `message` to `out`.
    pub fn encode(&mut self, message: &Message, out: &mut Output) {
        match self {
            Encoder::Message => message::encode(message, out),
            Encoder::MsgApp(encoder) => encoder.encode(message, out),
        }
    }
}

/// Either decoder.
#[derive(Debug)]
pub enum Decoder {
    /// For a stream of every kind of message.
    Message(message::Decoder),
    /// For a stream of appends.
    MsgApp(msgappv2::Decoder),
}

impl Decoder {
    /// Takes what the network brought.
    pub fn push(&mut self, piece: Bytes) {
        match self {
            Decoder::Message(decoder) => decoder.push(piece),
            Decoder::MsgApp(decoder) => decoder.push(piece),
        }
    }

    /// The next whole message.
    ///
    /// # Errors
    /// What came in is no stream of this kind.
    pub fn message(&mut self) -> Result<Option<Message>, CodecError> {
        match self {
            Decoder::Message(decoder) => decoder.message(),
            Decoder::MsgApp(decoder) => decoder.message(),
        }
    }

    /// To be called where the stream ended.
    ///
    /// # Errors
    /// It ended within a message.
    pub fn finish(&self) -> Result<(), CodecError> {
        let whole = match self {
            Decoder::Message(decoder) => decoder.is_between_messages(),
            Decoder::MsgApp(decoder) => decoder.is_between_messages(),
        };
        if whole { Ok(()) } else { Err(CodecError::Truncated) }
    }
}
