//! Calls as they should be, either way and within windows.

use super::*;
use crate::frame::{HEADER_LEN as HEADER_LEN_OF_MESSAGE, packed_header};
use crate::gzip;
use crate::h2::frame::setting::{HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE};
use crate::http::HttpResponse;
use crate::rpc::{Code, Status};
use bytes::Bytes;
use std::sync::atomic::{AtomicUsize, Ordering};

fn answered(stream: u32, body: &[u8]) -> [Got; 3] {
    [
        headers(stream, GRPC_HEADERS, false),
        Got::Data { stream, bytes: framed(body), end: false },
        headers(stream, "grpc-status=0;", true),
    ]
}

#[test]
fn a_unary_call() {
    let mut pair = Pair::open();
    let slot = pair.call(1);
    pair.send(&message(1, b"ask", flag::END_STREAM));
    let events = pair.events();
    let [Event::Message { stream: 1, slot: at, body, is_packed: false }, Event::HalfClose { .. }] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((*at, &body[..]), (slot, &b"ask"[..]));
    pair.server.reply(1, Ok(Bytes::from_static(b"answer")));
    assert_eq!(pair.got(), answered(1, b"answer"));
    assert!(pair.events().is_empty(), "the handler knows that it has answered");
    pair.server.reply(1, Ok(Bytes::new()));
    assert_eq!(pair.got(), [], "the call is over");
}

#[test]
fn the_second_answer_is_a_few_bytes() {
    let mut pair = Pair::open();
    for stream in [1, 3] {
        pair.call(stream);
        pair.send(&message(stream, b"", flag::END_STREAM));
        pair.server.output().take();
        pair.server.reply(stream, Ok(Bytes::from_static(b"x")));
    }
    let golden = [
        &[0, 0, 2, 1, 4, 0, 0, 0, 3, 0x88, 0xbf][..],
        &[0, 0, 6, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1, b'x'],
        &[0, 0, 1, 1, 5, 0, 0, 0, 3, 0xbe],
    ];
    assert_eq!(pair.server.output().take(), golden.concat());
}

#[test]
fn an_error_alone_ends_with_its_headers() {
    let mut pair = Pair::open();
    pair.call(1);
    pair.send(&raw(kind::DATA, flag::END_STREAM, 1, &[]));
    pair.server.reply(1, Err(Status::new(Code::NotFound, "no\nkey")));
    let fields = format!("{GRPC_HEADERS}grpc-status=5;grpc-message=no%0Akey;");
    assert_eq!(pair.got(), [headers(1, &fields, true)]);
}

#[test]
fn a_client_that_is_not_done_is_told_to_stop() {
    let mut pair = Pair::open();
    pair.call(1);
    pair.server.finish(1, &Status::new(Code::Unimplemented, "x"));
    let got = pair.got();
    assert_eq!(got[1], Got::Reset(1, code(Reason::NoError)));
    pair.send(&message(1, b"late", flag::END_STREAM));
    assert_eq!(pair.got(), [], "it was on its way");
}

#[test]
fn pieces_padding_priority_and_continuations() {
    let mut pair = Pair::open();
    let block = block(CALL);
    let (head, tail) = block.split_at(7);
    let padded = [&[2, 0, 0, 0, 9, 1][..], head, &[0, 0]].concat();
    pair.send(&raw(kind::HEADERS, flag::PADDED | flag::PRIORITY, 1, &padded));
    pair.send(&raw(kind::CONTINUATION, 0, 1, &[]));
    pair.send(&raw(kind::CONTINUATION, flag::END_HEADERS, 1, tail));
    assert!(matches!(pair.events()[..], [Event::Call { stream: 1, .. }]));
    let whole = framed(b"message");
    pair.send(&raw(kind::DATA, flag::PADDED, 1, &[&[1][..], &whole[..8], &[0]].concat()));
    assert!(pair.events().is_empty());
    pair.send(&raw(kind::DATA, 0, 1, &whole[8..]));
    assert!(matches!(&pair.events()[..], [Event::Message { body, .. }] if body == "message"));
}

#[test]
fn a_stream_both_ways() {
    let mut pair = Pair::open();
    let slot = pair.call(1);
    let queued = Arc::new(AtomicUsize::new(0));
    assert!(pair.server.attach(1, Arc::clone(&queued)));
    pair.server.message(1, vec![Bytes::from_static(b"on"), Bytes::from_static(b"e")]);
    pair.server.message(1, vec![Bytes::from_static(b"two")]);
    queued.store(16, Ordering::Relaxed);
    let both = [framed(b"one"), framed(b"two")].concat();
    let data = Got::Data { stream: 1, bytes: both, end: false };
    assert_eq!(pair.got(), [headers(1, GRPC_HEADERS, false), data]);
    assert_eq!(queued.load(Ordering::Relaxed), 0);
    pair.send(&raw(kind::DATA, flag::END_STREAM, 1, &[]));
    assert!(matches!(pair.events()[..], [Event::HalfClose { .. }]));
    pair.server.finish(1, &Status::OK);
    pair.server.message(1, vec![Bytes::from_static(b"late")]);
    assert_eq!(pair.got(), [headers(1, "grpc-status=0;", true)]);
    assert!(matches!(pair.events()[..], [Event::Closed { slot: at }] if at == slot));
}

#[test]
fn windows_hold_data_back() {
    let mut pair = Pair::open();
    pair.send(&setting(INITIAL_WINDOW_SIZE, 10));
    pair.call(1);
    pair.send(&message(1, b"", flag::END_STREAM));
    pair.got();
    pair.server.reply(1, Ok(Bytes::from(vec![7; 20])));
    let whole = framed(&[7; 20]);
    let data = |from: usize, to: usize| Got::Data {
        stream: 1,
        bytes: whole[from..to].to_vec(),
        end: false,
    };
    assert_eq!(pair.got(), [headers(1, GRPC_HEADERS, false), data(0, 10)]);
    pair.send(&window(1, 3));
    assert_eq!(pair.got(), [data(10, 13)]);
    pair.send(&setting(INITIAL_WINDOW_SIZE, 5));
    pair.send(&window(1, 5));
    assert_eq!(pair.got(), [Got::SettingsAck], "the window was below zero");
    pair.send(&setting(INITIAL_WINDOW_SIZE, 16));
    assert_eq!(pair.got()[1..], [data(13, 24)]);
    pair.send(&window(1, 100));
    assert_eq!(pair.got(), [data(24, 25), headers(1, "grpc-status=0;", true)]);
}

#[test]
fn the_connections_window_is_shared_in_turns() {
    let mut pair = Pair::open();
    pair.send(&setting(INITIAL_WINDOW_SIZE, 1 << 20));
    for stream in [1, 3] {
        pair.call(stream);
        pair.send(&message(stream, b"", flag::END_STREAM));
        pair.server.reply(stream, Ok(Bytes::from(vec![stream as u8; 60_000])));
    }
    let lens = |got: &[Got]| -> Vec<(u32, usize)> {
        let data = |got: &Got| match got {
            Got::Data { stream, bytes, .. } => Some((*stream, bytes.len())),
            _ => None,
        };
        got.iter().filter_map(data).collect()
    };
    let first = lens(&pair.got());
    assert_eq!(first, [(1, 16_384), (3, 16_384), (1, 16_384), (3, 16_383)]);
    pair.send(&window(0, 1 << 20));
    let rest = lens(&pair.got());
    let all: usize = first.iter().chain(&rest).map(|(_, len)| len).sum();
    assert_eq!(all, 2 * 60_005);
}

#[test]
fn larger_frames_for_whoever_takes_them() {
    let mut pair = Pair::open();
    pair.send(&setting(MAX_FRAME_SIZE, 50_000));
    pair.call(1);
    pair.send(&message(1, b"", flag::END_STREAM));
    pair.got();
    pair.server.reply(1, Ok(Bytes::from(vec![1; 40_000])));
    assert_eq!(pair.got(), answered(1, &[1; 40_000]));
}

#[test]
fn handlers_hear_of_room() {
    let mut pair = Pair::open();
    pair.send(&setting(INITIAL_WINDOW_SIZE, 1 << 30));
    pair.send(&window(0, 1 << 30));
    pair.call(1);
    let queued = Arc::new(AtomicUsize::new(1_000_005));
    pair.server.attach(1, Arc::clone(&queued));
    pair.server.message(1, vec![Bytes::from(vec![0; 1_000_000])]);
    pair.server.pump();
    assert!(pair.events().is_empty(), "the output takes only so much at once");
    assert!(queued.load(Ordering::Relaxed) > 500_000);
    pair.got();
    assert!(matches!(pair.events()[..], [Event::Writable { .. }]));
    assert_eq!(queued.load(Ordering::Relaxed), 0);
}

#[test]
fn room_is_given_back_to_clients() {
    let mut pair = Pair::open();
    pair.call(1);
    let body = vec![0; 16_384];
    for _ in 0..31 {
        pair.send(&raw(kind::DATA, 0, 1, &body));
    }
    assert_eq!(pair.got(), []);
    pair.send(&raw(kind::DATA, 0, 1, &body));
    assert_eq!(pair.got(), [Got::Window(1, 32 * 16_384)]);
}

#[test]
fn whoever_does_not_read_may_not_go_on_asking() {
    let mut pair = Pair::open();
    pair.call(1);
    pair.server.attach(1, Arc::new(AtomicUsize::new(2_000_005)));
    pair.server.message(1, vec![Bytes::from(vec![0; 2_000_000])]);
    assert_eq!(pair.got().len(), 5, "headers, and the client's window of data");
    for _ in 0..64 {
        pair.send(&raw(kind::DATA, 0, 1, &[0; 16_384]));
    }
    assert_eq!(pair.got(), [], "no more room");
    pair.send(&window(0, 1 << 30));
    pair.send(&window(1, 1 << 30));
    assert!(pair.got().contains(&Got::Window(1, 1 << 20)));
}

#[test]
fn plain_requests() {
    let mut pair = Pair::open();
    let fields = [(":method", "GET"), (":scheme", "http"), (":path", "/x?y=z"), ("a", "b")];
    let ask = |pair: &mut Pair, stream, is_head| {
        pair.send(&request(stream, &fields, flag::END_STREAM));
        let events = pair.events();
        let [Event::Plain { head, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!((head.path.as_str(), head.call.get("a")), ("/x?y=z", Some("b")));
        let mut map = ::http::HeaderMap::new();
        map.insert("x-long", "v".repeat(20_000).parse().unwrap());
        let status = ::http::StatusCode::NOT_FOUND;
        let response = HttpResponse { status, headers: map, body: Bytes::from_static(b"gone") };
        pair.server.respond(stream, response, is_head);
        pair.got()
    };
    let fields = format!(":status=404;x-long={};content-length=4;", "v".repeat(20_000));
    let data = Got::Data { stream: 1, bytes: b"gone".to_vec(), end: true };
    assert_eq!(ask(&mut pair, 1, false), [headers(1, &fields, false), data]);
    assert_eq!(ask(&mut pair, 3, true), [headers(3, &fields, true)]);
}

#[test]
fn a_client_without_a_table_is_understood() {
    let mut pair = Pair::open();
    for stream in [1, 3, 5] {
        pair.call(stream);
        pair.send(&message(stream, b"", flag::END_STREAM));
        pair.got();
        pair.server.reply(stream, Ok(Bytes::new()));
        assert_eq!(pair.got(), answered(stream, b""));
        pair.send(&setting(HEADER_TABLE_SIZE, 0));
    }
}

#[test]
fn a_graceful_end_has_two_steps() {
    let mut pair = Pair::open();
    pair.call(1);
    pair.server.drain(0);
    let got = pair.got();
    let [Got::Goaway(frame::STREAM_MAX, 0, _), Got::Ping(0, data)] = &got[..] else {
        panic!("{got:?}")
    };
    pair.call(3);
    pair.send(&raw(kind::PING, flag::ACK, 0, data));
    assert_eq!(pair.got(), [Got::Goaway(3, 0, String::new())]);
    pair.send(&request(5, CALL, 0));
    assert!(pair.events().is_empty(), "too late");
    for stream in [1, 3] {
        assert!(!pair.server.is_over());
        pair.server.finish(stream, &Status::OK);
    }
    assert!(pair.server.is_over());
}

#[test]
fn a_client_that_does_not_answer_is_left_all_the_same() {
    let mut pair = Pair::open();
    pair.server.drain(0);
    assert!(pair.server.tick(4_999) && !pair.server.is_over());
    assert!(pair.server.tick(5_000) && pair.server.is_over());
}

#[test]
fn a_packed_call_is_answered_packed() {
    let mut pair = Pair::open();
    let fields = [CALL, &[("grpc-encoding", "gzip")]].concat();
    pair.send(&request(1, &fields, 0));
    let packed = gzip::pack([Bytes::from_static(b"ask")].iter()).unwrap();
    let body = [&packed_header(packed.len())[..], &packed].concat();
    pair.send(&raw(kind::DATA, flag::END_STREAM, 1, &body));
    let events = pair.events();
    let [Event::Call { .. }, Event::Message { body, is_packed, .. }, Event::HalfClose { .. }] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    assert!(*is_packed && gzip::unpack(body, 3).unwrap() == "ask");
    pair.server.reply(1, Ok(Bytes::from_static(b"answer")));
    let got = pair.got();
    let [begin, Got::Data { bytes, .. }, end] = &got[..] else { panic!("{got:?}") };
    let fields = format!("{GRPC_HEADERS}grpc-encoding=gzip;");
    assert_eq!(*begin, headers(1, &fields, false));
    assert_eq!(*end, headers(1, "grpc-status=0;", true));
    let (prefix, packed) = bytes.split_at(HEADER_LEN_OF_MESSAGE);
    assert_eq!(prefix, packed_header(packed.len()));
    assert_eq!(gzip::unpack(packed, 6).unwrap(), "answer");
}

#[test]
fn what_waits_is_counted_as_it_goes() {
    let mut pair = Pair::open();
    let fields = [CALL, &[("grpc-encoding", "gzip")]].concat();
    pair.send(&request(1, &fields, 0));
    pair.events();
    let message = Bytes::from(vec![b'x'; 200_000]);
    let queued = Arc::new(AtomicUsize::new(2 * (message.len() + HEADER_LEN_OF_MESSAGE)));
    assert!(pair.server.attach(1, Arc::clone(&queued)));
    pair.server.message(1, vec![message.clone()]);
    let events = pair.events();
    assert!(matches!(events[..], [Event::Writable { .. }]), "{events:?}");
    pair.server.message(1, vec![message]);
    pair.got();
    assert_eq!(queued.load(Ordering::Relaxed), 0);
}

#[test]
fn the_answer_has_the_type_of_the_call() {
    for (asked, said) in [("+proto", "+proto"), (";proto", "+proto"), ("+", "")] {
        let mut pair = Pair::open();
        let value = format!("application/grpc{asked}");
        let more = [("content-type", value.as_str()), ("host", "here")];
        let fields = [&CALL[..3], &more].concat();
        for stream in [1, 3] {
            pair.send(&request(stream, &fields, flag::END_STREAM));
        }
        let fields = format!(":status=200;content-type=application/grpc{said};");
        pair.server.reply(1, Ok(Bytes::new()));
        assert_eq!(pair.got()[0], headers(1, &fields, false));
        pair.server.reply(3, Err(Status::new(Code::NotFound, "")));
        assert_eq!(pair.got(), [headers(3, &format!("{fields}grpc-status=5;"), true)]);
    }
}

#[test]
fn calls_end_when_their_time_is_up() {
    let mut pair = Pair::open();
    let timed = |timeout| [CALL, &[("grpc-timeout", timeout)]].concat();
    for (stream, timeout) in [(1, "100m"), (3, "200m"), (5, "1H")] {
        pair.send(&request(stream, &timed(timeout), 0));
    }
    pair.events();
    let cancel = |stream| Got::Reset(stream, Reason::Cancel as u32);
    assert_eq!(pair.server.due_ms(), 600);
    pair.server.expire(599);
    assert_eq!(pair.got(), []);
    pair.server.expire(600);
    assert_eq!(pair.got(), [cancel(1)]);
    assert!(matches!(pair.events()[..], [Event::Closed { slot: 0 }]));
    pair.server.reply(3, Ok(Bytes::new()));
    pair.got();
    pair.server.expire(800);
    assert_eq!((pair.got(), pair.server.due_ms()), (Vec::new(), 3_600_500));
}

#[test]
fn a_sign_lasts_as_long_as_its_call() {
    let sign_of = |pair: &mut Pair, stream| {
        let sign = Arc::new(());
        let watched = Arc::downgrade(&sign);
        pair.server.keep_sign(stream, sign);
        watched
    };
    let mut pair = Pair::open();
    for stream in [1, 3, 5, 7] {
        pair.send(&request(stream, CALL, 0));
        pair.events();
    }
    let signs = [1, 3, 5, 7].map(|stream| sign_of(&mut pair, stream));
    let last = |signs: &[std::sync::Weak<()>]| -> Vec<bool> {
        signs.iter().map(|sign| sign.strong_count() > 0).collect()
    };
    assert_eq!(last(&signs), [true; 4]);
    pair.send(&raw(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]));
    assert_eq!(last(&signs), [false, true, true, true], "cancelled");
    pair.send(&raw(kind::DATA, flag::END_STREAM, 3, &[0; 5]));
    pair.server.reply(3, Ok(Bytes::new()));
    pair.got();
    assert_eq!(last(&signs), [false, false, true, true], "answered");
    pair.server.abandon();
    assert_eq!(last(&signs), [false; 4], "the connection is gone");
    assert_eq!(sign_of(&mut pair, 9).strong_count(), 0, "no such call");
}
