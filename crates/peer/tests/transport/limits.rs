//! What strangers, the slow and the broken may do to a member: little, and not for long.

use crate::common::{Event, Member, PATIENCE, message, read_answer, request, snapshot};
use peer::Question;
use prost::Message as _;
use proto::raftpb::MessageType;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(100);

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

fn framed(index: u64) -> Vec<u8> {
    let message = snapshot(1, 2, index).encode_to_vec();
    [&(message.len() as u64).to_be_bytes(), message.as_slice()].concat()
}

#[test]
fn bodies_have_a_longest_length() {
    let two = Member::with(2, |limits| {
        (limits.post_bytes_max, limits.http_body_bytes_max) = (1000, 100);
        (limits.snapshot_message_bytes_max, limits.database_bytes_max) = (100, 1000);
    });
    let mut long = snapshot(1, 2, 1);
    long.context = Some(vec![0; 900].into());
    assert_eq!(status(&two.ask("POST /raft", &long.encode_to_vec())), "204");
    long.context = Some(vec![0; 1100].into());
    assert_eq!(status(&two.ask("POST /raft", &long.encode_to_vec())), "413");
    assert_eq!(status(&two.ask("POST /leases", &[1; 100])), "200");
    assert_eq!(status(&two.ask("POST /leases", &[1; 101])), "413");
    let database = |len| [framed(1), vec![0; len]].concat();
    assert_eq!(status(&two.ask("POST /raft/snapshot", &database(1000))), "204");
    assert_eq!(status(&two.ask("POST /raft/snapshot", &database(1001))), "500");
    assert_eq!(status(&two.ask("POST /raft/snapshot", &[0, 0, 0, 0, 0, 0, 0, 101])), "400");
    assert_eq!(two.files(), ["0000000000000001.snap.db"]);
}

#[test]
fn all_bodies_together_have_a_longest_length() {
    let two = Member::with(2, |limits| limits.posts_bytes_max = 100);
    assert_eq!(status(&two.ask("POST /raft", &[0; 101])), "503");
    assert_eq!(status(&two.ask("POST /leases", &[0; 100])), "200");
}

#[test]
fn so_many_databases_come_in_at_once() {
    let two = Member::with(2, |limits| limits.snapshots_max = 0);
    assert_eq!(status(&two.ask("POST /raft/snapshot", &framed(1))), "503");
}

#[test]
fn a_body_that_stops_coming_is_given_up() {
    let two = Member::with(2, |limits| limits.read_timeout = SHORT);
    for (path, expected) in [("/raft", "400"), ("/raft/snapshot", "400"), ("/leases", "400")] {
        let mut socket = two.connect();
        socket.write_all(request(&format!("POST {path}"), 10).as_bytes()).unwrap();
        socket.write_all(&[0; 9]).unwrap();
        assert_eq!(status(&read_answer(&mut socket)), expected, "{path}");
    }
}

#[test]
fn a_database_that_stops_coming_leaves_nothing() {
    let two = Member::with(2, |limits| limits.read_timeout = SHORT);
    let mut socket = two.connect();
    socket.write_all(request("POST /raft/snapshot", 1000).as_bytes()).unwrap();
    socket.write_all(&framed(1)).unwrap();
    assert_eq!(status(&read_answer(&mut socket)), "500");
    two.hear(|event| matches!(event, Event::NotSaved(_)).then_some(()));
    assert!(two.files().is_empty());
}

#[test]
fn a_connection_without_a_request_is_cut() {
    let two = Member::with(2, |limits| limits.read_timeout = SHORT);
    let mut socket = two.connect();
    assert_eq!(socket.read(&mut [0; 10]).unwrap_or(0), 0);
    let mut socket = two.connect();
    socket.write_all(b"GET /raft/probing HTTP/1.1\r\n").unwrap();
    assert_eq!(socket.read(&mut [0; 10]).unwrap_or(0), 0);
}

#[test]
fn too_many_connections_wait_for_their_turn() {
    let two = Member::with(2, |limits| limits.connections_max = 1);
    let first = two.connect();
    let mut second = two.connect();
    second.write_all(request("GET /raft/probing", 0).as_bytes()).unwrap();
    drop(first);
    assert_eq!(status(&read_answer(&mut second)), "200");
}

fn open_stream(member: &Member, kind: &str) -> TcpStream {
    let mut socket = member.connect();
    let head = request(&format!("GET /raft/stream/{kind}/1"), 0);
    socket.write_all(head.as_bytes()).unwrap();
    socket
}

#[test]
fn a_silent_stream_has_heartbeats() {
    let two = Member::with(2, |limits| limits.read_timeout = SHORT);
    two.transport.add_peer(1, &["http://127.0.0.1:1"]).unwrap();
    let mut socket = open_stream(&two, "msgapp");
    let mut heard = String::new();
    while heard.matches("1\r\n\0\r\n").count() < 3 {
        let mut piece = [0; 1000];
        let len = socket.read(&mut piece).unwrap();
        assert!(len > 0, "the stream ended: {heard}");
        heard.push_str(str::from_utf8(&piece[..len]).unwrap());
    }
}

#[test]
fn a_stream_that_nobody_reads_is_cut() {
    let two = Member::with(2, |limits| limits.write_timeout = SHORT);
    two.transport.add_peer(1, &["http://127.0.0.1:1"]).unwrap();
    let mut socket = open_stream(&two, "message");
    let mut head = [0; 15];
    socket.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    let mut long = message(MessageType::MsgProp, 2, 1);
    long.context = Some(vec![0; 8 << 20].into());
    two.transport.send(vec![long; 4]);
    two.await_event(&Event::Inactive(1));
    two.await_event(&Event::Unreachable(1));
    assert_eq!(two.transport.active_since(1), None);
}

/// Takes a request and begins to answer it with a stream.
fn give_stream(listener: &TcpListener, framing: &str) -> TcpStream {
    let (mut socket, _) = listener.accept().unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        heard.extend(byte);
    }
    let head = format!("HTTP/1.1 200 OK\r\nX-Server-Version: 3.7.9\r\n{framing}\r\n\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    socket
}

#[test]
fn a_stream_that_brings_nothing_is_dialed_anew() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let two = Member::with(2, |limits| limits.read_timeout = SHORT);
    two.transport.add_peer(1, &[url]).unwrap();
    let framing = "Transfer-Encoding: chunked";
    let _open: Vec<TcpStream> = (0..4).map(|_| give_stream(&silent, framing)).collect();
    two.hear(|event| match event {
        Event::StreamLost(1, _, why) => why.contains("timed out").then_some(()),
        _ => None,
    });
}

#[test]
fn a_stream_of_nonsense_is_dialed_anew() {
    let liar = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", liar.local_addr().unwrap());
    let two = Member::start(2);
    two.transport.add_peer(1, &[url]).unwrap();
    // Two streams are dialed; the third was lost before.
    for _ in 0..3 {
        give_stream(&liar, "Content-Length: 8").write_all(&[255; 8]).unwrap();
    }
    two.hear(|event| match event {
        Event::StreamLost(1, _, why) => {
            (why.contains("limit exceeded") || why.contains("parse type 255")).then_some(())
        }
        _ => None,
    });
    two.await_event(&Event::Inactive(1));
}

#[test]
fn other_requests_are_the_members() {
    let two = Member::start(2);
    let answer = two.ask("POST /lease/internal?a=b", b"body");
    assert!(answer.ends_with("\r\n\r\n/lease/internal?a=b"), "{answer}");
    let body = bytes::Bytes::from_static(b"body");
    two.await_event(&Event::Http("/lease/internal".to_owned(), body));
    assert_eq!(status(&two.ask("GET /raft/other", b"")), "404");
}

#[test]
fn questions_share_a_connection_while_it_is_open() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = thread::spawn(move || {
        for answers in [&["", "Connection: close\r\n"][..], &[""][..]] {
            let (mut socket, _) = listener.accept().unwrap();
            for header in answers {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    socket.read_exact(&mut byte).unwrap();
                    head.push(byte[0]);
                }
                let answer = format!("HTTP/1.1 200 OK\r\n{header}Content-Length: 2\r\n\r\nok");
                socket.write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    let one = Member::start(1);
    for _ in 0..3 {
        let (told, heard) = mpsc::channel();
        let (urls, path) = (vec![url.clone()], "/version".to_owned());
        let question = Question { urls, path, posted: None, limit: PATIENCE };
        one.transport.ask(question, move |page| told.send(page).unwrap());
        assert_eq!(heard.recv_timeout(PATIENCE).unwrap().unwrap().body, "ok");
    }
    asked.join().unwrap();
}
