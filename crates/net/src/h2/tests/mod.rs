//! Connections without sockets: frames in, events and frames out.

mod calls;
mod faults;
mod properties;

use super::connection::{Connection, Event, Limits, Protocol};
use super::frame::{self, HEADER_LEN, Header, PREFACE, Reason, be32, flag, kind};
use super::hpack::{Decoder, literal};
use bytes::BytesMut;
use std::sync::Arc;
use std::time::Duration;

fn limits() -> Limits {
    Limits {
        recv_max_bytes: 100_000,
        concurrent_streams_max: 10,
        keepalive_interval: Duration::from_secs(100),
        keepalive_timeout: Duration::from_secs(10),
        keepalive_min_ms: 5_000,
    }
}

/// A client and the connection that serves it.
struct Pair {
    server: Connection,
    decoder: Decoder,
    now_ms: u64,
}

/// A frame as the client sees it, its header block decoded.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Headers { stream: u32, fields: String, end: bool },
    Data { stream: u32, bytes: Vec<u8>, end: bool },
    Reset(u32, u32),
    Goaway(u32, u32, String),
    Settings(usize),
    SettingsAck,
    Ping(u8, Vec<u8>),
    Window(u32, u32),
}

impl Pair {
    /// After the handshake.
    fn open() -> Pair {
        let mut pair = Pair::new();
        pair.send(PREFACE);
        pair.send(&raw(kind::SETTINGS, 0, 0, &[]));
        let greeting = pair.got();
        assert!(matches!(greeting[..], [Got::Settings(18), Got::Window(0, _), Got::SettingsAck]));
        pair
    }

    fn new() -> Pair {
        Pair::with(limits())
    }

    fn with(limits: Limits) -> Pair {
        let server = Connection::new(Arc::new(limits), None, 0);
        Pair { server, decoder: Decoder::new(), now_ms: 0 }
    }

    fn send(&mut self, bytes: &[u8]) {
        assert_eq!(self.server.receive(bytes, self.now_ms), Protocol::Http2);
    }

    fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        self.server.take_events(&mut events);
        events
    }

    /// Begins a call and checks that it is one; its slot.
    fn call(&mut self, stream: u32) -> u32 {
        self.events();
        self.send(&request(stream, CALL, 0));
        match &self.events()[..] {
            [Event::Call { stream: id, slot, head }] => {
                assert_eq!((*id, head.path.as_str()), (stream, "/a.B/C"));
                *slot
            }
            other => panic!("{other:?}"),
        }
    }

    /// Everything that the server has sent since the last call.
    fn got(&mut self) -> Vec<Got> {
        let mut all = Vec::new();
        loop {
            self.server.pump();
            let bytes = self.server.output().take();
            if bytes.is_empty() {
                return all;
            }
            self.parse(&bytes, &mut all);
        }
    }

    fn parse(&mut self, mut bytes: &[u8], all: &mut Vec<Got>) {
        let mut block = Vec::new();
        let mut begun = None;
        while let Some(header) = Header::read(bytes) {
            let payload = &bytes[HEADER_LEN..HEADER_LEN + header.len];
            bytes = &bytes[HEADER_LEN + header.len..];
            if header.kind == kind::HEADERS || header.kind == kind::CONTINUATION {
                block.extend_from_slice(payload);
                let first = *begun.get_or_insert(header);
                if header.has(flag::END_HEADERS) {
                    all.push(self.headers(first, &std::mem::take(&mut block)));
                    begun = None;
                }
                continue;
            }
            all.push(other(header, payload));
        }
        assert!(bytes.is_empty() && begun.is_none(), "whole frames");
    }

    fn headers(&mut self, header: Header, block: &[u8]) -> Got {
        let mut fields = String::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let push = |field: super::hpack::Field| {
            fields.push_str(&format!("{}={};", text(&field.name), text(&field.value)));
        };
        self.decoder.decode(block, push).unwrap();
        Got::Headers { stream: header.stream, fields, end: header.has(flag::END_STREAM) }
    }
}

fn other(header: Header, payload: &[u8]) -> Got {
    let stream = header.stream;
    match header.kind {
        kind::DATA => {
            Got::Data { stream, bytes: payload.to_vec(), end: header.has(flag::END_STREAM) }
        }
        kind::RST_STREAM => Got::Reset(stream, be32(payload)),
        kind::GOAWAY => {
            let text = String::from_utf8(payload[8..].to_vec()).unwrap();
            Got::Goaway(be32(payload), be32(&payload[4..]), text)
        }
        kind::SETTINGS if header.has(flag::ACK) => Got::SettingsAck,
        kind::SETTINGS => Got::Settings(payload.len()),
        kind::PING => Got::Ping(header.flags, payload.to_vec()),
        kind::WINDOW_UPDATE => Got::Window(stream, be32(payload)),
        other => panic!("a server does not send {other}"),
    }
}

const CALL: &[(&str, &str)] = &[
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/a.B/C"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
    ("host", "here"),
];

const GRPC_HEADERS: &str = ":status=200;content-type=application/grpc;";

fn raw(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    frame::put_header(&mut out, payload.len(), kind, flags, stream);
    out.extend_from_slice(payload);
    out.into()
}

fn block(fields: &[(&str, &str)]) -> BytesMut {
    let mut out = BytesMut::new();
    for (name, value) in fields {
        literal(&mut out, name.as_bytes(), value.as_bytes());
    }
    out
}

fn request(stream: u32, fields: &[(&str, &str)], flags: u8) -> Vec<u8> {
    raw(kind::HEADERS, flags | flag::END_HEADERS, stream, &block(fields))
}

/// A whole message in a data frame.
fn message(stream: u32, body: &[u8], flags: u8) -> Vec<u8> {
    let framed = [&crate::frame::header(body.len()), body].concat();
    raw(kind::DATA, flags, stream, &framed)
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    raw(kind::SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

fn window(stream: u32, more: u32) -> Vec<u8> {
    raw(kind::WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

fn headers(stream: u32, fields: &str, end: bool) -> Got {
    Got::Headers { stream, fields: fields.to_owned(), end }
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&crate::frame::header(body.len()), body].concat()
}

fn code(reason: Reason) -> u32 {
    reason as u32
}
