//! A transport on a string: prints what comes, one line each, and sends what standard input says.
//! The interop tests let etcd's own transport talk to it.
//!
//! ```text
//! peer_echo ID CLUSTER SNAP_DIR [ADDR]   listens there or on a free port; ids are hexadecimal
//!
//! in   peer ID URL,..    remote ID URL,..    update ID URL,..    remove ID    forget ID
//!      send HEX          database HEX PATH   stats
//! out  listening ADDR    message HEX         snapshot HEX PATH   http METHOD PATH
//!      unreachable ID    done ID true|false  expelled ID         active ID    inactive ID
//!      stream ID msgapp|message
//!      stats ID SENT RECEIVED RTT_NS STREAMS
//! ```
#![allow(clippy::unwrap_used)] // a tool of tests

use bytes::Bytes;
use net::http::{HeaderMap, HttpRequest, HttpResponder, HttpResponse, StatusCode};
use parking_lot::Mutex;
use peer::{Config, Handler, Intake, Note, Overloaded, Transport};
use prost::Message as _;
use proto::raftpb::Message;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufRead, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

struct Echo {
    removed: Mutex<HashSet<u64>>,
    /// Where databases go.
    snap_dir: PathBuf,
}

/// A database saved under its index, without a look into it.
struct Saved {
    file: File,
    temporary: PathBuf,
    named: PathBuf,
}

/// The file that a database of this message has at last.
fn named(dir: &Path, message: &Message) -> PathBuf {
    let metadata = message.snapshot.as_ref().and_then(|snapshot| snapshot.metadata.as_ref());
    dir.join(format!("{:016x}.snap.db", metadata.map_or(0, |metadata| metadata.index())))
}

impl Intake for Saved {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        fs::rename(&self.temporary, &self.named)
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        // It has another name, or is not wanted.
        let _ = fs::remove_file(&self.temporary);
    }
}

fn say(line: &str) {
    // Whoever does not listen any more has ended the test.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

impl Handler for Echo {
    fn process(&self, message: Message) -> Result<(), Overloaded> {
        say(&format!("message {}", hex(&message.encode_to_vec())));
        Ok(())
    }

    fn is_removed(&self, id: u64) -> bool {
        self.removed.lock().contains(&id)
    }

    fn unreachable(&self, id: u64) {
        say(&format!("unreachable {id:x}"));
    }

    fn snapshot_done(&self, id: u64, ok: bool) {
        say(&format!("done {id:x} {ok}"));
    }

    fn take_database(&self, message: &Message) -> io::Result<Box<dyn Intake>> {
        let named = named(&self.snap_dir, message);
        let temporary = named.with_extension("tmp");
        Ok(Box::new(Saved { file: File::create(&temporary)?, temporary, named }))
    }

    fn snapshot_received(&self, message: Message) -> Result<(), Overloaded> {
        let database = named(&self.snap_dir, &message);
        say(&format!("snapshot {} {}", hex(&message.encode_to_vec()), database.display()));
        Ok(())
    }

    fn http(&self, request: HttpRequest, reply: HttpResponder) {
        say(&format!("http {} {}", request.method, request.path));
        let body = Bytes::from_static(b"echo\n");
        reply.reply(HttpResponse { status: StatusCode::OK, headers: HeaderMap::new(), body });
    }

    fn expelled(&self, by: u64) {
        say(&format!("expelled {by:x}"));
    }

    fn note(&self, note: &Note<'_>) {
        match note {
            Note::Active { id } => say(&format!("active {id:x}")),
            Note::Inactive { id, .. } => say(&format!("inactive {id:x}")),
            Note::StreamOpened { id, stream } => say(&format!("stream {id:x} {stream}")),
            // On standard error, for whoever looks into a failed test.
            other => drop(writeln!(std::io::stderr().lock(), "{other:?}")),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn id(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap()
}

fn message(text: &str) -> Message {
    Message::decode(unhex(text).as_slice()).unwrap()
}

fn obey(transport: &Transport, echo: &Echo, words: &[&str]) {
    let urls = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    match words {
        ["peer", peer, at] => transport.add_peer(id(peer), &urls(at)).unwrap(),
        ["remote", peer, at] => transport.add_remote(id(peer), &urls(at)).unwrap(),
        ["update", peer, at] => transport.update_peer(id(peer), &urls(at)).unwrap(),
        ["remove", peer] => transport.remove_peer(id(peer)),
        ["forget", peer] => drop(echo.removed.lock().insert(id(peer))),
        ["send", hex] => transport.send(vec![message(hex)]),
        ["database", hex, path] => {
            let file = File::open(path).unwrap();
            let len = file.metadata().unwrap().len();
            transport.send_snapshot(message(hex), len, Box::new(file));
        }
        ["stats"] => {
            for (id, stats) in transport.stats() {
                let (sent, received) = (stats.sent_bytes, stats.received_bytes);
                let streams = u8::from(stats.msgapp_stream) + u8::from(stats.message_stream);
                let rtt_ns = stats.rtt.as_nanos();
                say(&format!("stats {id:x} {sent} {received} {rtt_ns} {streams}"));
            }
        }
        other => panic!("unknown command {other:?}"),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (member, cluster, snap_dir, address) = match arguments.as_slice() {
        [member, cluster, snap_dir] => (member, cluster, snap_dir, "127.0.0.1:0"),
        [member, cluster, snap_dir, address] => (member, cluster, snap_dir, address.as_str()),
        _ => panic!("usage: peer_echo ID CLUSTER SNAP_DIR [ADDRESS]"),
    };
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = Config::new(id(member), id(cluster));
    config.local_urls = vec![format!("http://{address}")];
    config.limits.probe_interval = Duration::from_millis(200);
    let echo = Arc::new(Echo { removed: Mutex::default(), snap_dir: PathBuf::from(snap_dir) });
    let handler: Arc<dyn Handler> = Arc::<Echo>::clone(&echo);
    let transport = Transport::start(config, vec![listener.into()], handler, None).unwrap();
    say(&format!("listening {address}"));
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        obey(&transport, &echo, &line.split(' ').collect::<Vec<_>>());
    }
    transport.stop();
}
