//! A client that knows no more HTTP/2 than it takes to ask.

use std::collections::HashMap;
use std::io::{Read, Write};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// Our settings: no table for headers, so that they come as literals, and a window of 60,000.
const OURS: [u8; 12] = [0, 1, 0, 0, 0, 0, 0, 4, 0, 0, 0xea, 0x60];

/// What comes, as far as it matters.
#[derive(Debug)]
pub(crate) enum Frame {
    Headers,
    Data,
    Reset,
    Goaway(u32),
    Other,
}

/// All that came on a stream.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) data: Vec<u8>,
    pub(crate) status: String,
    pub(crate) message: String,
}

impl Answer {
    /// The data, taken apart.
    pub(crate) fn messages(&self) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        let mut rest = &self.data[..];
        while !rest.is_empty() {
            let len = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
            messages.push(rest[5..5 + len].to_vec());
            rest = &rest[5 + len..];
        }
        messages
    }
}

/// Where bytes come from and go to.
pub(crate) trait Socket: Read + Write {}

impl<T: Read + Write> Socket for T {}

pub(crate) struct Client {
    socket: Box<dyn Socket>,
    next_stream: u32,
    answers: HashMap<u32, (Answer, bool)>,
}

impl Client {
    pub(crate) fn open(socket: Box<dyn Socket>) -> Client {
        let mut client = Client { socket, next_stream: 1, answers: HashMap::new() };
        client.socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        client.write(SETTINGS, 0, 0, &OURS);
        client
    }

    /// Begins a call and sends messages; `end`: no more will follow.
    pub(crate) fn call(
        &mut self,
        path: &str,
        metadata: &[(&str, &str)],
        messages: &[&[u8]],
        end: bool,
    ) -> u32 {
        let mut fields = vec![
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "here"),
            ("content-type", "application/grpc"),
        ];
        fields.extend_from_slice(metadata);
        let stream = self.begin(&fields, 0);
        let mut body = Vec::new();
        for message in messages {
            body.push(0);
            body.extend_from_slice(&(message.len() as u32).to_be_bytes());
            body.extend_from_slice(message);
        }
        for piece in body.chunks(16_384) {
            self.write(DATA, 0, stream, piece);
        }
        if end {
            self.write(DATA, END_STREAM, stream, &[]);
        }
        stream
    }

    /// Asks as a browser would.
    pub(crate) fn plain(&mut self, method: &str, path: &str) -> u32 {
        self.begin(&[(":method", method), (":scheme", "http"), (":path", path)], END_STREAM)
    }

    /// Gives a stream up.
    pub(crate) fn reset(&mut self, stream: u32) {
        self.write(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    }

    /// Everything that comes on a stream, to its end.
    pub(crate) fn answer(&mut self, stream: u32) -> Answer {
        while !self.answers.entry(stream).or_default().1 {
            assert!(self.next().is_some(), "the connection ended");
        }
        self.answers.remove(&stream).unwrap().0
    }

    /// The next frame of any stream.
    pub(crate) fn next_of_a_stream(&mut self) -> Frame {
        loop {
            match self.next().expect("the connection ended") {
                Frame::Other | Frame::Goaway(_) => {}
                frame => return frame,
            }
        }
    }

    /// The next frame; data is paid for at once.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut header = [0; 9];
        self.socket.read_exact(&mut header).ok()?;
        let len = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let stream = u32::from_be_bytes(header[5..].try_into().unwrap());
        let mut payload = vec![0; len];
        self.socket.read_exact(&mut payload).ok()?;
        Some(self.take(header[3], header[4], stream, &payload))
    }

    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Frame {
        match kind {
            HEADERS | DATA => self.take_of_a_stream(kind, flags, stream, payload),
            RST_STREAM => Frame::Reset,
            GOAWAY => Frame::Goaway(u32::from_be_bytes(payload[..4].try_into().unwrap())),
            SETTINGS | PING if flags & ACK == 0 => {
                let answer = if kind == PING { payload } else { &[] };
                self.write(kind, ACK, 0, answer);
                Frame::Other
            }
            _ => Frame::Other,
        }
    }

    fn take_of_a_stream(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Frame {
        let (answer, ended) = self.answers.entry(stream).or_default();
        *ended |= flags & END_STREAM != 0;
        if kind == HEADERS {
            answer.status += &literal(payload, "grpc-status");
            answer.message += &literal(payload, "grpc-message");
            return Frame::Headers;
        }
        answer.data.extend_from_slice(payload);
        if !payload.is_empty() {
            let more = (payload.len() as u32).to_be_bytes();
            self.write(WINDOW_UPDATE, 0, 0, &more);
            self.write(WINDOW_UPDATE, 0, stream, &more);
        }
        Frame::Data
    }

    fn begin(&mut self, fields: &[(&str, &str)], flags: u8) -> u32 {
        let mut block = Vec::new();
        for (name, value) in fields {
            block.extend([0, name.len() as u8]);
            block.extend_from_slice(name.as_bytes());
            block.push(value.len() as u8);
            block.extend_from_slice(value.as_bytes());
        }
        let stream = self.next_stream;
        self.next_stream += 2;
        self.write(HEADERS, flags | END_HEADERS, stream, &block);
        stream
    }

    fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let len = (payload.len() as u32).to_be_bytes();
        let mut frame = vec![len[1], len[2], len[3], kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        // A server that has closed the connection says why in what it sent before.
        let _ = self.socket.write_all(&frame);
    }
}

/// A field that comes as a literal with a literal name.
fn literal(block: &[u8], name: &str) -> String {
    let needle = [&[name.len() as u8], name.as_bytes()].concat();
    let Some(at) = block.windows(needle.len()).position(|window| window == needle) else {
        return String::new();
    };
    let value = at + needle.len();
    let len = usize::from(block[value]);
    String::from_utf8(block[value + 1..value + 1 + len].to_vec()).unwrap()
}
