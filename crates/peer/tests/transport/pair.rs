//! Two transports: what one sends, the other gets.

use crate::common::{Event, Member, await_streams, introduce, message, pair, snapshot};
use bytes::Bytes;
use proto::raftpb::{Entry, Message, MessageType};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

fn numbered(index: u64, data: usize) -> Message {
    let entry = Entry { data: Some(Bytes::from(vec![index as u8; data])), ..Entry::default() };
    let commit = Some(index);
    Message { commit, entries: vec![entry], ..message(MessageType::MsgApp, 1, 2) }
}

#[test]
fn a_stream_keeps_order() {
    let (one, two) = pair();
    let messages: Vec<Message> =
        (0..500).map(|index| numbered(index, (index as usize % 7) * 9_000)).collect();
    one.transport.send(messages.clone());
    for message in messages {
        assert_eq!(two.message().entries, message.entries);
    }
    let stats = &one.transport.stats()[0];
    assert_eq!(stats.0, 2);
    assert!(stats.1.msgapp_stream && stats.1.message_stream && stats.1.sent_bytes > 1_000_000);
    assert!(two.transport.stats()[0].1.received_bytes > 1_000_000);
    assert!(one.transport.active_since(2).is_some());
    assert_eq!(one.transport.active_peers(), 1);
}

#[test]
fn members_speak_tls() {
    let (one, two) = (Member::secure(1), Member::secure(2));
    introduce(&one, &two);
    introduce(&two, &one);
    await_streams(&one, 2);
    await_streams(&two, 1);
    for index in 0..100 {
        let sent = numbered(index, 30_000);
        one.transport.send(vec![sent.clone()]);
        assert_eq!(two.message().entries, sent.entries);
    }
    one.transport.send(vec![snapshot(1, 2, 5)]);
    assert_eq!(two.message(), snapshot(1, 2, 5));
    // Whoever speaks no TLS is not answered.
    let mut stranger = TcpStream::connect(two.address).unwrap();
    stranger.write_all(b"GET /raft/probing HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stranger.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[test]
fn without_a_stream_messages_are_posted() {
    let (one, two) = (Member::start(1), Member::start(2));
    introduce(&one, &two);
    let sent = message(MessageType::MsgVote, 1, 2);
    one.transport.send(vec![sent.clone()]);
    assert_eq!(two.message(), sent);
    // The post told where the sender is.
    let answer = message(MessageType::MsgVoteResp, 2, 1);
    two.transport.send(vec![answer.clone()]);
    assert_eq!(one.message(), answer);
}

#[test]
fn snapshots_are_posted_and_reported_even_with_streams() {
    let (one, two) = pair();
    one.transport.send(vec![snapshot(1, 2, 5)]);
    assert_eq!(two.message(), snapshot(1, 2, 5));
    one.await_event(&Event::SnapshotDone(2, true));
}

#[test]
fn what_is_for_nobody_is_dropped() {
    let (one, two) = pair();
    let nobody = Message { to: None, ..message(MessageType::MsgVote, 1, 2) };
    let wanted = message(MessageType::MsgVote, 1, 2);
    one.transport.send(vec![nobody, message(MessageType::MsgVote, 1, 9), wanted.clone()]);
    assert_eq!(two.message(), wanted);
    one.transport.send_snapshot(snapshot(1, 9, 1), 0, Box::new(io::empty()));
    one.await_event(&Event::SnapshotDone(9, false));
}

#[test]
fn a_member_without_room_drops_what_streams_bring() {
    let (one, two) = pair();
    two.recorder.full.store(true, Ordering::SeqCst);
    one.transport.send(vec![message(MessageType::MsgVote, 1, 2)]);
    two.await_event(&Event::ReceiveDropped(1));
}

#[test]
fn a_full_queue_is_told_to_raft() {
    let one = Member::with(1, |limits| {
        (limits.pipeline_queue, limits.pipeline_workers) = (1, 1);
    });
    // Connections are made, but nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    one.transport.add_peer(2, &[url]).unwrap();
    one.transport.send(vec![snapshot(1, 2, 1), snapshot(1, 2, 2), snapshot(1, 2, 3)]);
    one.await_event(&Event::SendDropped(2));
    one.await_event(&Event::Unreachable(2));
    one.await_event(&Event::SnapshotDone(2, false));
}

#[test]
fn a_peer_that_does_not_answer_a_post_is_unreachable() {
    let one = Member::with(1, |limits| limits.read_timeout = Duration::from_millis(50));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    one.transport.add_remote(2, &[url]).unwrap();
    one.transport.send(vec![message(MessageType::MsgVote, 1, 2)]);
    one.await_event(&Event::Unreachable(2));
}

/// Answers one post of a bare message of term 1.
fn take_post(socket: &mut TcpStream) {
    let mut heard = Vec::new();
    let mut piece = [0; 1000];
    while !heard.ends_with(&[0x20, 1]) {
        let len = socket.read(&mut piece).unwrap();
        assert!(len > 0, "the connection ended");
        heard.extend_from_slice(&piece[..len]);
    }
    let head = String::from_utf8_lossy(&heard).to_lowercase();
    assert!(head.starts_with("post /raft http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-type: application/protobuf\r\n"), "{head}");
    socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
}

#[test]
fn posts_share_a_connection_until_it_breaks() {
    let one = Member::with(1, |limits| limits.pipeline_workers = 1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    one.transport.add_remote(2, &[url]).unwrap();
    let post = || one.transport.send(vec![message(MessageType::MsgVote, 1, 2)]);
    post();
    let (mut first, _) = listener.accept().unwrap();
    take_post(&mut first);
    post();
    take_post(&mut first);
    drop(first);
    post();
    let (mut second, _) = listener.accept().unwrap();
    take_post(&mut second);
    one.await_event(&Event::Active(2));
}

#[test]
fn a_remote_that_becomes_a_peer_gets_streams() {
    let (one, two) = (Member::start(1), Member::start(2));
    introduce(&two, &one);
    one.transport.add_remote(2, &[two.url()]).unwrap();
    introduce(&one, &two);
    await_streams(&one, 2);
    await_streams(&two, 1);
}

#[test]
fn a_peer_that_is_no_more_gets_no_stream() {
    let (one, two) = pair();
    one.transport.remove_peer(2);
    let mut awaited = vec!["msgapp", "message"];
    two.hear(|event| {
        if let Event::StreamLost(1, stream, _) = event {
            awaited.retain(|kind| *kind != stream);
        }
        awaited.is_empty().then_some(())
    });
    assert_eq!(one.transport.active_since(2), None);
    assert!(one.transport.stats().is_empty());
}

#[test]
fn a_peer_that_moved_is_found_again() {
    let (one, two) = pair();
    let moved = Member::start(2);
    introduce(&moved, &one);
    one.transport.update_peer(2, &[moved.url()]).unwrap();
    await_streams(&one, 2);
    let sent = message(MessageType::MsgVote, 2, 1);
    moved.transport.send(vec![sent.clone()]);
    assert_eq!(one.message(), sent);
    drop(two);
}

#[test]
fn an_address_that_fails_gives_way_to_the_next() {
    let (one, two) = (Member::start(1), Member::start(2));
    introduce(&two, &one);
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    one.transport.add_peer(2, &[format!("http://{nowhere}"), two.url()]).unwrap();
    await_streams(&one, 2);
    assert!(one.transport.add_peer::<String>(3, &[]).is_err());
}

#[test]
fn stopping_ends_everything() {
    let (one, two) = pair();
    let address = one.address;
    one.transport.stop();
    two.await_event(&Event::Inactive(1));
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_database_arrives_whole_or_not_at_all() {
    let (one, two) = pair();
    let database: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let send = |index, reader: Box<dyn Read + Send>| {
        one.transport.send_snapshot(snapshot(1, 2, index), database.len() as u64, reader);
    };
    send(0xab, Box::new(io::Cursor::new(database.clone())));
    one.await_event(&Event::SnapshotDone(2, true));
    let path = two.dir.path().join("00000000000000ab.snap.db");
    two.await_event(&Event::Database(snapshot(1, 2, 0xab)));
    assert_eq!(std::fs::read(path).unwrap(), database);

    send(0xac, Box::new(io::Cursor::new(database[1..].to_vec())));
    one.await_event(&Event::SnapshotDone(2, false));
    two.hear(|event| matches!(event, Event::NotSaved(_)).then_some(()));
    assert_eq!(two.files(), ["00000000000000ab.snap.db"]);
}

#[test]
fn a_member_that_cannot_take_a_database_says_so() {
    let (one, two) = pair();
    two.recorder.full.store(true, Ordering::SeqCst);
    one.transport.send_snapshot(snapshot(1, 2, 1), 0, Box::new(io::empty()));
    one.await_event(&Event::SnapshotDone(2, false));
    two.recorder.full.store(false, Ordering::SeqCst);
    two.recorder.removed.store(1, Ordering::SeqCst);
    one.transport.send_snapshot(snapshot(1, 2, 2), 0, Box::new(io::empty()));
    one.await_event(&Event::SnapshotDone(2, false));
    assert_eq!(two.files(), ["0000000000000001.snap.db"]);
}

#[test]
fn a_removed_peer_takes_its_databases_along() {
    /// Never gives a byte before the test ends.
    struct Stuck(std::sync::mpsc::Receiver<()>);
    impl Read for Stuck {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(0)
        }
    }
    let (one, _two) = pair();
    let (_hold, held) = std::sync::mpsc::channel();
    one.transport.send_snapshot(snapshot(1, 2, 1), 10, Box::new(Stuck(held)));
    one.transport.remove_peer(2);
    one.await_event(&Event::SnapshotDone(2, false));
}

#[test]
fn who_is_refused_and_who_refuses_both_hear_why() {
    let (one, two) = (Member::start(1), Member::start(2));
    one.transport.add_peer(2, &[two.url()]).unwrap();
    two.await_event(&Event::Refused(1, peer::Ground::Unknown));
    one.await_event(&Event::Rejected(2, peer::Rejection::Unknown));
    two.recorder.removed.store(1, Ordering::SeqCst);
    two.await_event(&Event::Refused(1, peer::Ground::Removed));
    one.await_event(&Event::Rejected(2, peer::Rejection::Removed));
}
