//! The codec of a leader's appends, which leaves out what the receiver can tell by itself.
//!
//! ```text
//! link heartbeat   00
//! entries          01 | count: 8 | (length: 8, raftpb.Entry)* | commit: 8
//! any MsgApp       02 | length: 8 | raftpb.Message
//! ```
//! Numbers are big-endian. Both ends remember the term and the index of the last entry that went by;
//! an append that continues there, within that term, goes as bare entries.
//!
//! Source: `rafthttp/msgappv2_codec.go`.

use super::{CodecError, Input, Output, checked_len, decode_whole, is_link_heartbeat};
use bytes::Bytes;
use prost::Message as _;
use proto::raftpb::{Entry, Message, MessageType};

const LINK_HEARTBEAT: u8 = 0;
const ENTRIES: u8 = 1;
const WHOLE: u8 = 2;
/// The key of an entry's data: field 4, a length and bytes.
const DATA_KEY: u64 = 4 << 3 | 2;
/// What an entry takes in memory besides its bytes; counted, so that empty ones are limited too.
const ENTRY_BYTES: usize = size_of::<Entry>();

/// Where a stream stands, equal at both ends.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Position {
    term: u64,
    index: u64,
}

impl Position {
    fn after(message: &Message) -> Position {
        let last = message.entries.last().map(Entry::index);
        Position { term: message.term(), index: last.unwrap_or(message.index()) }
    }

    fn is_continued_by(self, message: &Message) -> bool {
        let log_term = message.log_term();
        self.index == message.index() && self.term == log_term && log_term == message.term()
    }
}

/// Turns messages into the bytes of a stream.
#[derive(Debug, Default)]
pub struct Encoder {
    position: Position,
}

impl Encoder {
    /// Appends `message`, a `MsgApp` or a link heartbeat, to `out`.
    pub fn encode(&mut self, message: &Message, out: &mut Output) {
        if is_link_heartbeat(message) {
            out.put_u8(LINK_HEARTBEAT);
        } else if self.position.is_continued_by(message) {
            out.put_u8(ENTRIES);
            self.entries(message, out);
        } else {
            out.put_u8(WHOLE);
            super::message::encode(message, out);
            self.position = Position::after(message);
        }
    }

    fn entries(&mut self, message: &Message, out: &mut Output) {
        out.put_u64(message.entries.len() as u64);
        for entry in &message.entries {
            out.put_u64(entry.encoded_len() as u64);
            put_entry(entry, out);
        }
        self.position.index = self.position.index.wrapping_add(message.entries.len() as u64);
        out.put_u64(message.commit());
    }
}

/// An entry's data comes last in its encoding, so it can be passed on where it lies.
fn put_entry(entry: &Entry, out: &mut Output) {
    let Some(data) = &entry.data else { return out.put_protobuf(entry) };
    out.put_protobuf(&Entry { data: None, ..entry.clone() });
    out.put_varint(DATA_KEY);
    out.put_varint(data.len() as u64);
    out.put_bytes(data);
}

/// Turns the bytes of a stream into messages.
#[derive(Debug)]
pub struct Decoder {
    input: Input,
    /// Who receives.
    local: u64,
    /// Who sends.
    remote: u64,
    bytes_max: usize,
    position: Position,
    awaited: Awaited,
}

/// What the next bytes are.
#[derive(Debug)]
enum Awaited {
    Kind,
    Count,
    Entries(Partial),
    Commit(Vec<Entry>),
    Len,
    Whole(usize),
}

/// An append of which some entries may be there.
#[derive(Debug)]
struct Partial {
    entries: Vec<Entry>,
    /// How many are still to come.
    left: usize,
    /// The length of the next one, once it is known.
    wanted: Option<usize>,
    /// How many more bytes they may take.
    room: usize,
}

impl Decoder {
    /// Takes messages from `remote` to `local` of up to `bytes_max` bytes.
    pub fn new(local: u64, remote: u64, bytes_max: usize) -> Decoder {
        let (input, position) = (Input::default(), Position::default());
        Decoder { input, local, remote, bytes_max, position, awaited: Awaited::Kind }
    }

    /// Takes what the network brought.
    pub fn push(&mut self, piece: Bytes) {
        self.input.push(piece);
    }

    /// Whether the stream may end here.
    pub fn is_between_messages(&self) -> bool {
        matches!(self.awaited, Awaited::Kind) && self.input.len == 0
    }

    /// The next whole message.
    ///
    /// # Errors
    /// What came in is no stream of this kind.
    pub fn message(&mut self) -> Result<Option<Message>, CodecError> {
        loop {
            match std::mem::replace(&mut self.awaited, Awaited::Kind) {
                Awaited::Kind => match self.input.take_u8() {
                    None => return Ok(None),
                    Some(LINK_HEARTBEAT) => return Ok(Some(super::link_heartbeat())),
                    Some(kind) => self.awaited = after_kind(kind)?,
                },
                Awaited::Count => match self.input.take_u64() {
                    None => return Ok(self.await_more(Awaited::Count)),
                    Some(count) => self.awaited = Awaited::Entries(self.partial(count)?),
                },
                Awaited::Entries(mut partial) => match partial.fill(&mut self.input)? {
                    false => return Ok(self.await_more(Awaited::Entries(partial))),
                    true => self.awaited = Awaited::Commit(partial.entries),
                },
                Awaited::Commit(entries) => match self.input.take_u64() {
                    None => return Ok(self.await_more(Awaited::Commit(entries))),
                    Some(commit) => return Ok(Some(self.append(entries, commit))),
                },
                Awaited::Len => match self.input.take_u64() {
                    None => return Ok(self.await_more(Awaited::Len)),
                    Some(len) => self.awaited = Awaited::Whole(checked_len(len, self.bytes_max)?),
                },
                Awaited::Whole(len) => match self.input.take(len) {
                    None => return Ok(self.await_more(Awaited::Whole(len))),
                    Some(bytes) => return self.whole(bytes).map(Some),
                },
            }
        }
    }

    fn await_more(&mut self, awaited: Awaited) -> Option<Message> {
        self.awaited = awaited;
        None
    }

    fn partial(&self, count: u64) -> Result<Partial, CodecError> {
        let left = checked_len(count, self.bytes_max / ENTRY_BYTES)?;
        Ok(Partial { entries: Vec::new(), left, wanted: None, room: self.bytes_max })
    }

    fn append(&mut self, entries: Vec<Entry>, commit: u64) -> Message {
        let Position { term, index } = self.position;
        self.position.index = index.wrapping_add(entries.len() as u64);
        Message {
            r#type: Some(MessageType::MsgApp.into()),
            from: Some(self.remote),
            to: Some(self.local),
            term: Some(term),
            log_term: Some(term),
            index: Some(index),
            entries,
            commit: Some(commit),
            ..Message::default()
        }
    }

    fn whole(&mut self, bytes: Bytes) -> Result<Message, CodecError> {
        let message = decode_whole(bytes)?;
        self.position = Position::after(&message);
        Ok(message)
    }
}

fn after_kind(kind: u8) -> Result<Awaited, CodecError> {
    match kind {
        ENTRIES => Ok(Awaited::Count),
        WHOLE => Ok(Awaited::Len),
        other => Err(CodecError::UnknownKind(other)),
    }
}

impl Partial {
    fn room_for_data(&self) -> Result<usize, CodecError> {
        self.room.checked_sub(ENTRY_BYTES).ok_or(CodecError::TooLong)
    }

    /// Takes what is there; says whether that was all.
    fn fill(&mut self, input: &mut Input) -> Result<bool, CodecError> {
        while self.left > 0 {
            let len = match self.wanted {
                Some(len) => len,
                None => match input.take_u64() {
                    None => return Ok(false),
                    Some(len) => checked_len(len, self.room_for_data()?)?,
                },
            };
            self.wanted = Some(len);
            let Some(bytes) = input.take(len) else { return Ok(false) };
            self.wanted = None;
            self.room -= len + ENTRY_BYTES;
            self.left -= 1;
            self.entries.push(Entry::decode(bytes)?);
        }
        Ok(true)
    }
}
