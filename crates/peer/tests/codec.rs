//! The two codecs beside the bytes that etcd's transport writes, and against anything else.
//! `golden/peer.txt` is written by `go run ./cmd/peergolden` in `interop`.

#![allow(clippy::unwrap_used)] // the helpers of tests too

use bytes::Bytes;
use peer::codec::{CodecError, Decoder, Encoder, Output, link_heartbeat, message, msgappv2};
use proptest::prelude::*;
use prost::Message as _;
use proto::raftpb::{Entry, Message, MessageType, Snapshot, SnapshotMetadata};

const GOLDEN: &str = include_str!("../../../interop/golden/peer.txt");
const SENDER: u64 = 0xa;
const RECEIVER: u64 = 0xb;
const BYTES_MAX: usize = 1 << 20;

/// One stream as it was recorded.
struct Recorded {
    kind: String,
    messages: Vec<Message>,
    bytes: Vec<u8>,
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn recorded() -> Vec<Recorded> {
    let mut streams: Vec<Recorded> = Vec::new();
    for line in GOLDEN.lines() {
        let (word, rest) = line.split_once(' ').unwrap();
        match word {
            "stream" => streams.push(Recorded {
                kind: rest.to_owned(),
                messages: vec![link_heartbeat()],
                bytes: Vec::new(),
            }),
            "message" => {
                let message = Message::decode(unhex(rest).as_slice()).unwrap();
                streams.last_mut().unwrap().messages.push(message);
            }
            "bytes" => streams.last_mut().unwrap().bytes = unhex(rest),
            other => panic!("unknown word {other}"),
        }
    }
    streams
}

fn encoder(kind: &str) -> Encoder {
    match kind {
        "msgapp" => Encoder::MsgApp(msgappv2::Encoder::default()),
        _ => Encoder::Message,
    }
}

fn decoder(kind: &str) -> Decoder {
    match kind {
        "msgapp" => Decoder::MsgApp(msgappv2::Decoder::new(RECEIVER, SENDER, BYTES_MAX)),
        _ => Decoder::Message(message::Decoder::new(BYTES_MAX)),
    }
}

fn encode(kind: &str, messages: &[Message]) -> Vec<u8> {
    let (mut encoder, mut output) = (encoder(kind), Output::default());
    for message in messages {
        encoder.encode(message, &mut output);
    }
    let (mut bytes, len) = (Vec::new(), output.len());
    while let Some(piece) = output.pop() {
        assert!(!piece.is_empty());
        bytes.extend_from_slice(&piece);
    }
    assert!(output.is_empty());
    assert_eq!(bytes.len(), len);
    bytes
}

fn decode(kind: &str, bytes: &[u8], piece_len: usize) -> Result<Vec<Message>, CodecError> {
    let (mut decoder, mut messages) = (decoder(kind), Vec::new());
    for piece in bytes.chunks(piece_len) {
        decoder.push(Bytes::copy_from_slice(piece));
        while let Some(message) = decoder.message()? {
            messages.push(message);
        }
    }
    decoder.finish()?;
    Ok(messages)
}

#[test]
fn bytes_are_etcds() {
    for Recorded { kind, messages, bytes } in recorded() {
        assert!(messages.len() > 5, "{kind}");
        assert_eq!(encode(&kind, &messages), bytes, "{kind}");
        for piece_len in [1, 7, bytes.len()] {
            assert_eq!(decode(&kind, &bytes, piece_len).as_ref(), Ok(&messages), "{kind}");
        }
    }
}

#[test]
fn a_stream_that_breaks_off_within_a_message_is_an_error() {
    for Recorded { kind, messages, bytes } in recorded() {
        let ends: Vec<usize> =
            (0..=messages.len()).map(|n| encode(&kind, &messages[..n]).len()).collect();
        for len in 0..bytes.len() {
            let expected_end = ends.contains(&len);
            let result = decode(&kind, &bytes[..len], 5);
            assert_eq!(result.is_ok(), expected_end, "{kind}, {len} bytes");
        }
    }
}

#[test]
fn lengths_above_the_limit_are_refused_before_anything_is_held() {
    let long = u64::MAX.to_be_bytes();
    let cases: [(&str, Vec<u8>); 4] = [
        ("message", long.to_vec()),
        ("msgapp", [&[2], long.as_slice()].concat()),
        ("msgapp", [&[1], long.as_slice()].concat()),
        ("msgapp", [&[1], 1_u64.to_be_bytes().as_slice(), &long].concat()),
    ];
    for (kind, bytes) in cases {
        assert_eq!(decode(kind, &bytes, 64), Err(CodecError::TooLong), "{kind}");
    }
    assert_eq!(decode("msgapp", &[3], 1), Err(CodecError::UnknownKind(3)));
}

#[test]
fn many_entries_share_one_limit() {
    let entry = Entry { data: Some(Bytes::from(vec![1; BYTES_MAX / 4])), ..Entry::default() };
    let message = Message {
        r#type: Some(MessageType::MsgApp.into()),
        from: Some(SENDER),
        to: Some(RECEIVER),
        entries: vec![entry; 5],
        ..Message::default()
    };
    let bytes = encode("msgapp", &[message]);
    assert_eq!(bytes[0], 1, "an append at the beginning is bare entries");
    assert_eq!(decode("msgapp", &bytes, 4096), Err(CodecError::TooLong));
}

#[test]
fn long_data_is_passed_on_where_it_lies() {
    let data = Bytes::from(vec![7; 100_000]);
    let entry = Entry { data: Some(data.clone()), ..Entry::default() };
    let message = Message {
        r#type: Some(MessageType::MsgApp.into()),
        from: Some(SENDER),
        to: Some(RECEIVER),
        entries: vec![entry],
        ..Message::default()
    };
    let (mut encoder, mut output) = (msgappv2::Encoder::default(), Output::default());
    encoder.encode(&message, &mut output);
    let pieces: Vec<Bytes> = std::iter::from_fn(|| output.pop()).collect();
    assert!(pieces.iter().any(|piece| piece.as_ptr() == data.as_ptr()));

    let whole = Bytes::from(pieces.concat());
    let mut decoder = msgappv2::Decoder::new(RECEIVER, SENDER, BYTES_MAX);
    decoder.push(whole.clone());
    let decoded = decoder.message().unwrap().unwrap();
    let decoded = decoded.entries[0].data.clone().unwrap();
    assert_eq!(decoded, data);
    assert!(whole.as_ptr_range().contains(&decoded.as_ptr()));
}

#[test]
fn short_data_keeps_no_buffer_alive() {
    let entry = Entry { data: Some(Bytes::from_static(b"short")), ..Entry::default() };
    let message = Message { entries: vec![entry], ..Message::default() };
    for kind in ["message", "msgapp"] {
        let whole = Bytes::from(encode(kind, std::slice::from_ref(&message)));
        let mut decoder = decoder(kind);
        decoder.push(whole.clone());
        let decoded = decoder.message().unwrap().unwrap();
        let decoded = decoded.entries[0].data.clone().unwrap();
        assert!(!whole.as_ptr_range().contains(&decoded.as_ptr()), "{kind}");
    }
}

prop_compose! {
    fn entry()(
        kind in proptest::option::of(0..3_i32),
        term in proptest::option::of(any::<u64>()),
        index in proptest::option::of(any::<u64>()),
        data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
        long in proptest::option::weighted(0.05, 16_000..20_000_usize),
    ) -> Entry {
        let data = long.map_or(data, |len| Some(vec![9; len])).map(Bytes::from);
        Entry { r#type: kind, term, index, data }
    }
}

prop_compose! {
    fn any_message()(
        kind in 0..24_i32,
        ids in any::<(Option<u64>, Option<u64>)>(),
        numbers in any::<[Option<u64>; 6]>(),
        reject in any::<Option<bool>>(),
        entries in proptest::collection::vec(entry(), 0..4),
        index in any::<Option<u64>>(),
        data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
    ) -> Message {
        let metadata = index.map(|index| SnapshotMetadata { index: Some(index), ..Default::default() });
        let data = data.map(Bytes::from);
        let snapshot = metadata.map(|metadata| Snapshot { data: data.clone(), metadata: Some(metadata) });
        let [term, log_term, index, commit, reject_hint, vote] = numbers;
        let (from, to) = ids;
        Message {
            r#type: Some(kind), to, from, term, log_term, index, entries, commit, snapshot,
            reject, reject_hint, context: data, vote, responses: Vec::new(),
        }
    }
}

prop_compose! {
    /// What a leader sends over the stream of appends: terms and indices that often go on.
    fn append()(
        (term, log_term) in (1..3_u64, 1..3_u64),
        index in 0..6_u64,
        entries in proptest::collection::vec(entry(), 0..4),
        commit in any::<u64>(),
    ) -> Message {
        Message {
            r#type: Some(MessageType::MsgApp.into()), to: Some(RECEIVER), from: Some(SENDER),
            term: Some(term), log_term: Some(log_term), index: Some(index), entries,
            commit: Some(commit), ..Message::default()
        }
    }
}

/// The codec of appends knows an entry's index by counting, as raft does.
fn numbered(mut message: Message) -> Message {
    for (at, entry) in message.entries.iter_mut().enumerate() {
        entry.index = message.index.map(|index| index + 1 + at as u64);
    }
    message
}

proptest! {
    #[test]
    fn any_messages_come_back(
        messages in proptest::collection::vec(any_message(), 0..6), piece_len in 1..2000_usize,
    ) {
        let bytes = encode("message", &messages);
        prop_assert_eq!(decode("message", &bytes, piece_len), Ok(messages));
    }

    #[test]
    fn any_appends_come_back(
        messages in proptest::collection::vec(append(), 0..12), piece_len in 1..2000_usize,
    ) {
        let messages: Vec<Message> = messages.into_iter().map(numbered).collect();
        let bytes = encode("msgapp", &messages);
        prop_assert_eq!(decode("msgapp", &bytes, piece_len), Ok(messages));
    }

    #[test]
    fn no_bytes_panic(
        bytes in proptest::collection::vec(prop_oneof![0..3_u8, any::<u8>()], 0..200),
        piece_len in 1..50_usize,
    ) {
        let _ = decode("message", &bytes, piece_len);
        let _ = decode("msgapp", &bytes, piece_len);
    }

    #[test]
    fn a_changed_byte_never_panics(
        messages in proptest::collection::vec(append(), 1..6), at in any::<prop::sample::Index>(), by in 1..255_u8,
    ) {
        for kind in ["message", "msgapp"] {
            let mut bytes = encode(kind, &messages);
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            let _ = decode(kind, &bytes, 100);
        }
    }
}
