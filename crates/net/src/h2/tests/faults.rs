//! What clients do wrong, and what it costs them.

use super::*;
use crate::h2::connection::HANDSHAKE_MS;
use crate::h2::frame::setting::{ENABLE_PUSH, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE};

/// What a client hears that sends this after a call on stream 1.
fn heard(bytes: &[u8]) -> Vec<Got> {
    let mut pair = Pair::open();
    pair.call(1);
    pair.send(bytes);
    pair.got()
}

fn goaway_reason(bytes: &[u8]) -> u32 {
    let got = heard(bytes);
    match got.last() {
        Some(Got::Goaway(_, reason, _)) => *reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn faults_that_end_the_connection() {
    let open_block = raw(kind::HEADERS, 0, 3, &[]);
    let huge = [0, 64, 1, kind::DATA, 0, 0, 0, 0, 1];
    let cases: Vec<(&str, Reason, Vec<u8>)> = vec![
        ("a frame too long", Reason::FrameSize, huge.to_vec()),
        ("data on 0", Reason::Protocol, raw(kind::DATA, 0, 0, &[])),
        ("data on an idle stream", Reason::Protocol, raw(kind::DATA, 0, 3, &[])),
        ("padding", Reason::Protocol, raw(kind::DATA, flag::PADDED, 1, &[5, 0])),
        ("an even stream", Reason::Protocol, request(2, CALL, 0)),
        ("headers on 0", Reason::Protocol, request(0, CALL, 0)),
        ("headers cut", Reason::FrameSize, raw(kind::HEADERS, 0x24, 3, &[0; 4])),
        ("broken headers", Reason::Compression, raw(kind::HEADERS, 4, 3, &[0xff])),
        ("a lonely continuation", Reason::Protocol, raw(kind::CONTINUATION, 4, 1, &[])),
        (
            "interrupted headers",
            Reason::Protocol,
            [&open_block[..], &raw(kind::PING, 0, 0, &[0; 8])].concat(),
        ),
        (
            "another stream's continuation",
            Reason::Protocol,
            [&open_block[..], &raw(kind::CONTINUATION, 4, 5, &[])].concat(),
        ),
        ("settings on a stream", Reason::Protocol, raw(kind::SETTINGS, 0, 1, &[])),
        ("settings of five bytes", Reason::FrameSize, raw(kind::SETTINGS, 0, 0, &[0; 5])),
        ("a long acknowledgement", Reason::FrameSize, raw(kind::SETTINGS, 1, 0, &[0; 6])),
        ("push of 2", Reason::Protocol, setting(ENABLE_PUSH, 2)),
        ("a window too large", Reason::FlowControl, setting(INITIAL_WINDOW_SIZE, 1 << 31)),
        ("small frames", Reason::Protocol, setting(MAX_FRAME_SIZE, 16_383)),
        ("large frames", Reason::Protocol, setting(MAX_FRAME_SIZE, 1 << 24)),
        ("a ping of 7", Reason::FrameSize, raw(kind::PING, 0, 0, &[0; 7])),
        ("a ping on a stream", Reason::Protocol, raw(kind::PING, 0, 1, &[0; 8])),
        ("a window of 3", Reason::FrameSize, raw(kind::WINDOW_UPDATE, 0, 0, &[0; 3])),
        ("nothing more", Reason::Protocol, window(0, 0)),
        ("too much more", Reason::FlowControl, window(0, frame::STREAM_MAX)),
        ("more for an idle stream", Reason::Protocol, window(3, 1)),
        ("a short reset", Reason::FrameSize, raw(kind::RST_STREAM, 0, 1, &[0; 3])),
        ("reset of an idle stream", Reason::Protocol, raw(kind::RST_STREAM, 0, 3, &[0; 4])),
        ("a push", Reason::Protocol, raw(kind::PUSH_PROMISE, 4, 1, &[0; 4])),
        ("priority on 0", Reason::Protocol, raw(kind::PRIORITY, 0, 0, &[0; 5])),
        ("goaway on a stream", Reason::Protocol, raw(kind::GOAWAY, 0, 1, &[0; 8])),
    ];
    for (name, reason, bytes) in cases {
        assert_eq!(goaway_reason(&bytes), code(reason), "{name}");
    }
}

#[test]
fn faults_that_end_a_stream() {
    let short = |fields: &[(&str, &str)]| request(3, fields, 0);
    let cases: Vec<(&str, u32, Reason, Vec<u8>)> = vec![
        ("no path", 3, Reason::Protocol, short(&CALL[..2])),
        ("trailers that do not end", 1, Reason::Protocol, request(1, &[], 0)),
        ("a pseudo trailer", 1, Reason::Protocol, request(1, &[(":path", "/")], flag::END_STREAM)),
        ("no more room for a stream", 1, Reason::Protocol, window(1, 0)),
        ("too much room for a stream", 1, Reason::FlowControl, window(1, frame::STREAM_MAX)),
        (
            "data on a stream that the client reset",
            1,
            Reason::StreamClosed,
            [raw(kind::RST_STREAM, 0, 1, &[0; 4]), raw(kind::DATA, 0, 1, &[0])].concat(),
        ),
        ("priority of four bytes", 1, Reason::FrameSize, raw(kind::PRIORITY, 0, 1, &[0; 4])),
        (
            "data after the end",
            1,
            Reason::StreamClosed,
            [raw(kind::DATA, flag::END_STREAM, 1, &[]), raw(kind::DATA, 0, 1, &[0])].concat(),
        ),
    ];
    for (name, stream, reason, bytes) in cases {
        assert_eq!(heard(&bytes), [Got::Reset(stream, code(reason))], "{name}");
    }
}

#[test]
fn handlers_hear_that_a_call_is_over() {
    let mut pair = Pair::open();
    let slot = pair.call(1);
    pair.send(&raw(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]));
    assert!(matches!(pair.events()[..], [Event::Closed { slot: at, .. }] if at == slot));
    let slot = pair.call(3);
    pair.send(&request(2, CALL, 0));
    assert!(matches!(pair.events()[..], [Event::Closed { slot: at, .. }] if at == slot));
    assert!(pair.server.is_over());
}

#[test]
fn a_stream_begins_once() {
    let mut pair = Pair::open();
    pair.call(3);
    pair.send(&request(1, CALL, 0));
    assert!(matches!(pair.got()[..], [Got::Goaway(3, 1, _)]));
}

#[test]
fn too_many_streams_are_refused() {
    let mut pair = Pair::open();
    for n in 0..10 {
        pair.call(2 * n + 1);
    }
    pair.send(&request(21, CALL, 0));
    assert_eq!(pair.got(), [Got::Reset(21, code(Reason::RefusedStream))]);
}

#[test]
fn no_number_of_streams_is_no_limit() {
    let mut pair = Pair::with(Limits { concurrent_streams_max: 0, ..limits() });
    pair.send(PREFACE);
    pair.send(&raw(kind::SETTINGS, 0, 0, &[]));
    // Of the first window and of the longest list of headers alone.
    assert!(matches!(pair.got()[..], [Got::Settings(12), Got::Window(0, _), Got::SettingsAck]));
    for n in 0..300 {
        pair.call(2 * n + 1);
    }
}

#[test]
fn over_tls_no_number_of_streams_is_that_of_go() {
    let mut pair = Pair::with(Limits { concurrent_streams_max: 0, ..limits() });
    pair.server.is_secure = true;
    pair.send(PREFACE);
    pair.send(&raw(kind::SETTINGS, 0, 0, &[]));
    assert!(matches!(pair.got()[..], [Got::Settings(18), Got::Window(0, _), Got::SettingsAck]));
    for n in 0..250 {
        pair.call(2 * n + 1);
    }
    pair.send(&request(501, CALL, 0));
    assert_eq!(pair.got(), [Got::Reset(501, code(Reason::RefusedStream))]);
}

#[test]
fn a_length_that_is_not_kept() {
    let fields = [&CALL[..3], &[("content-length", "6")]].concat();
    for (bytes, flags) in [(framed(b"ab"), 0), (framed(b""), flag::END_STREAM)] {
        let mut pair = Pair::open();
        pair.send(&request(1, &fields, 0));
        pair.send(&raw(kind::DATA, flags, 1, &bytes));
        assert_eq!(pair.got(), [Got::Reset(1, code(Reason::Protocol))]);
    }
}

#[test]
fn messages_that_are_refused() {
    let whole = [&[0][..], &100_001u32.to_be_bytes()].concat();
    let got = heard(&raw(kind::DATA, flag::END_STREAM, 1, &whole));
    let text = "grpc: received message larger than max (100001 vs. 100000)";
    let fields = format!("{GRPC_HEADERS}grpc-status=8;grpc-message={text};");
    assert_eq!(got, [headers(1, &fields, true)]);
    let got = heard(&raw(kind::DATA, flag::END_STREAM, 1, &framed(b"cut")[..6]));
    let fields = format!("{GRPC_HEADERS}grpc-status=2;grpc-message=unexpected EOF;");
    assert_eq!(got, [headers(1, &fields, true)]);
}

#[test]
fn calls_that_are_refused_before_they_begin() {
    let with = |field| [CALL, &[field]].concat();
    let got = heard(&request(3, &with(("grpc-timeout", "1")), flag::END_STREAM));
    let Got::Headers { fields, end: true, .. } = &got[0] else { panic!("{got:?}") };
    assert!(fields.starts_with(":status=400;content-type=application/grpc;grpc-status=13;"));
    let long = "x".repeat(15_000);
    let fields: Vec<_> = CALL.iter().copied().chain([("a", long.as_str()); 5]).collect();
    let block = block(&fields);
    let mut frames = raw(kind::HEADERS, 0, 3, &[]);
    for piece in block.chunks(16_384) {
        frames.extend(raw(kind::CONTINUATION, 0, 3, piece));
    }
    frames.extend(raw(kind::CONTINUATION, flag::END_HEADERS, 3, &[]));
    assert_eq!(heard(&frames), [Got::Reset(3, code(Reason::FrameSize))]);
}

#[test]
fn plain_bodies_have_a_limit() {
    let mut pair = Pair::open();
    pair.send(&request(1, &CALL[..3], 0));
    for _ in 0..129 {
        pair.send(&raw(kind::DATA, 0, 1, &[0; 16_384]));
    }
    let got = pair.got();
    assert!(got.contains(&headers(1, ":status=413;", true)), "{got:?}");
    assert!(!got.iter().any(|got| matches!(got, Got::Reset(..))), "the answer may be read");
    pair.send(&raw(kind::DATA, flag::END_STREAM, 1, b"the rest"));
    assert_eq!((pair.got(), pair.events().len()), (Vec::new(), 0));
    pair.send(&raw(kind::DATA, 0, 1, b"more"));
    assert_eq!(pair.got(), [Got::Reset(1, code(Reason::StreamClosed))]);
}

#[test]
fn a_refused_body_does_not_go_on_for_ever() {
    let mut pair = Pair::open();
    pair.send(&request(1, &CALL[..3], 0));
    for _ in 0..129 {
        pair.send(&raw(kind::DATA, 0, 1, &[0; 16_384]));
    }
    pair.got();
    let due = pair.server.due_ms();
    pair.server.expire(due - 1);
    assert_eq!(pair.got(), []);
    pair.server.expire(due);
    assert_eq!(pair.got(), [Got::Reset(1, code(Reason::NoError))]);
}

#[test]
fn pings_that_come_too_often() {
    let mut pair = Pair::open();
    pair.call(1);
    let ping = raw(kind::PING, 0, 0, b"12345678");
    for _ in 0..3 {
        pair.send(&ping);
        assert_eq!(pair.got(), [Got::Ping(flag::ACK, b"12345678".to_vec())]);
    }
    pair.send(&ping);
    let last = Got::Goaway(1, code(Reason::EnhanceYourCalm), "too_many_pings".into());
    assert_eq!(pair.got().last(), Some(&last));
    assert!(pair.server.is_over());
}

#[test]
fn floods_end() {
    let floods = [
        raw(kind::SETTINGS, 0, 0, &[]),
        raw(kind::DATA, 0, 1, &[]),
        raw(kind::PRIORITY, 0, 1, &[0; 5]),
        raw(0xfa, 0, 0, &[]),
    ];
    for flood in floods {
        assert_eq!(goaway_reason(&flood.repeat(1_001)), code(Reason::EnhanceYourCalm));
    }
    let open_block = raw(kind::HEADERS, 0, 3, &[]);
    let endless = [open_block, raw(kind::CONTINUATION, 0, 3, &[]).repeat(65)].concat();
    assert_eq!(goaway_reason(&endless), code(Reason::EnhanceYourCalm));
    let mut pair = Pair::open();
    let mut resets = Vec::new();
    for n in 0..10_001 {
        resets.extend(request(2 * n + 1, CALL, 0));
        resets.extend(raw(kind::RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8]));
    }
    pair.send(&resets);
    assert!(matches!(pair.got().last(), Some(Got::Goaway(_, 11, _))));
}

#[test]
fn the_first_frame_must_be_settings() {
    let mut pair = Pair::new();
    pair.send(PREFACE);
    pair.send(&raw(kind::PING, 0, 0, &[0; 8]));
    assert!(matches!(pair.got().last(), Some(Got::Goaway(0, 1, _))));
}

#[test]
fn silence_is_not_waited_for() {
    let mut pair = Pair::new();
    pair.send(&PREFACE[..10]);
    assert!(pair.server.tick(HANDSHAKE_MS - 1));
    assert!(!pair.server.tick(HANDSHAKE_MS));
    let mut pair = Pair::open();
    assert!(pair.server.tick(99_999));
    assert_eq!(pair.got(), []);
    assert!(pair.server.tick(100_000));
    assert!(matches!(pair.got()[..], [Got::Ping(0, _)]));
    assert!(pair.server.tick(109_999));
    assert!(!pair.server.tick(110_000));
}

#[test]
fn another_protocol_is_handed_on_whole() {
    for request in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/1.1\r\n\r\n", b"\x16\x03\x01"] {
        for step in [1, 4, 100] {
            let mut server = Pair::new().server;
            let mut fed = 0;
            let mut pieces = request.chunks(step);
            let found = pieces.find(|piece| {
                fed += piece.len();
                server.receive(piece, 0) == Protocol::Other
            });
            assert!(found.is_some());
            assert_eq!(server.into_input(), &request[..fed]);
        }
    }
}
