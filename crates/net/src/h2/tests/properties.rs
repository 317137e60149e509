//! No bytes do harm, and how they are cut does not matter.

use super::*;
use crate::rpc::{Code, Status};
use bytes::Bytes;
use proptest::prelude::*;

/// A frame that is likely to mean something.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let stream = prop_oneof![Just(0u32), (0u32..8).prop_map(|n| 2 * n + 1), 0u32..10];
    let payload = proptest::collection::vec(any::<u8>(), 0..40);
    let wild = (0u8..12, any::<u8>(), stream, payload)
        .prop_map(|(kind, flags, stream, payload)| raw(kind, flags, stream, &payload));
    let stream = (0u32..30).prop_map(|n| 2 * n + 1);
    let body = proptest::collection::vec(any::<u8>(), 0..300);
    let flags = prop_oneof![Just(0), Just(flag::END_STREAM)];
    prop_oneof![
        1 => wild,
        4 => (stream.clone(), flags.clone()).prop_map(|(id, flags)| request(id, CALL, flags)),
        1 => stream.clone().prop_map(|id| request(id, &CALL[..3], 0)),
        4 => (stream.clone(), body, flags).prop_map(|(id, body, f)| message(id, &body, f)),
        2 => (stream.clone(), 0u32..100_000).prop_map(|(id, more)| window(id, more)),
        1 => (1u16..8, 0u32..70_000).prop_map(|(id, value)| setting(id, value)),
        1 => stream.prop_map(|id| raw(kind::RST_STREAM, 0, id, &[0, 0, 0, 8])),
        1 => Just(window(0, 1000)),
    ]
}

/// Bytes of a client, most of them sound.
fn any_input() -> impl Strategy<Value = Vec<u8>> {
    let frames = proptest::collection::vec(any_frame(), 0..40);
    let flips = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (frames, flips).prop_map(|(frames, flips)| {
        let mut bytes = frames.concat();
        for (at, byte) in flips.iter().filter(|_| !frames.is_empty()) {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        bytes
    })
}

/// A handler that answers everything at once, now rightly, now with an error.
fn answer(pair: &mut Pair, log: &mut Vec<String>) {
    for event in pair.events() {
        log.push(format!("{event:?}"));
        match event {
            Event::Message { stream, body, .. } if body.len() % 3 == 0 => {
                pair.server.reply(stream, Ok(body));
            }
            Event::Message { stream, body, .. } if body.len() % 3 == 1 => {
                pair.server.message(stream, vec![body.clone(), Bytes::from(vec![1; 70_000])]);
            }
            Event::HalfClose { stream, .. } => {
                pair.server.finish(stream, &Status::new(Code::Aborted, "é"));
            }
            _ => {}
        }
    }
}

/// What handlers hear and how much goes out if the bytes come in pieces of this size.
fn fate(input: &[u8], step: usize) -> (Vec<String>, bool) {
    let mut pair = Pair::new();
    let mut log = Vec::new();
    let opening = [&PREFACE[..], &raw(kind::SETTINGS, 0, 0, &[])].concat();
    for piece in opening.chunks(step).chain(input.chunks(step)) {
        pair.send(piece);
        answer(&mut pair, &mut log);
        check(&mut pair.server);
    }
    pair.server.pump();
    pair.server.output().take();
    pair.server.abandon();
    pair.events();
    check(&mut pair.server);
    assert_eq!((pair.server.waiting_bytes, pair.server.held_bytes), (0, 0));
    (log, pair.server.is_over())
}

/// The sums that a connection keeps are right.
fn check(server: &mut Connection) {
    let (mut waiting, mut held) = (0, 0);
    let last = server.last_stream;
    for (_, stream) in server.streams.iter_mut() {
        assert_eq!(stream.pending_bytes, stream.pending.iter().map(Bytes::len).sum::<usize>());
        assert!(stream.id % 2 == 1 && stream.id <= last);
        waiting += stream.pending_bytes;
        held += stream.held();
    }
    assert_eq!((server.waiting_bytes, server.held_bytes), (waiting, held));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn frames_of_any_kind(input in any_input(), step in 1usize..200) {
        fate(&input, step);
    }

    #[test]
    fn bytes_of_any_kind(input in proptest::collection::vec(any::<u8>(), 0..400)) {
        fate(&input, 64);
        let mut server = Pair::new().server;
        server.receive(&input, 0);
    }

    #[test]
    fn header_blocks_of_any_kind(block in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = Decoder::new();
        // Whether it can be read does not matter here.
        let _ = decoder.decode(&block, |field| assert!(field.size() >= 32));
    }
}
