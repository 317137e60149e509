//! One HTTP/2 connection as a value: bytes go in, events and bytes come out. It knows neither socket
//! nor clock nor handler.
//!
//! ```text
//! preface -> settings -> open -> drained in two steps -> over
//!                 any fault: GOAWAY with its reason -> over
//! ```
//!
//! Requests come in through `receive`, replies go out through `send`; both are further `impl`s of
//! [`Connection`] in files of their own.

use super::blocks::{OpenBlock, Requests};
use super::deadlines::Deadlines;
use super::flow::{ReceiveWindow, SendWindow};
use super::frame::{self, Failure, Reason, flag, setting};
use super::head::{Head, LIST_BYTES_MAX};
use super::hpack::ResponseEncoder;
use super::output::Output;
use super::policy::{Bucket, Keepalive, PingPolicy, Pulse};
use super::stream::{STREAM_WINDOW_BYTES, Streams};
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What a client may send on all streams before it is told of more room.
const CONNECTION_WINDOW_BYTES: usize = 16 * 1024 * 1024;
/// A client has this long for preface and settings.
pub(crate) const HANDSHAKE_MS: u64 = 30_000;
/// How long the first GOAWAY may stay unanswered before the second goes out.
const DRAIN_MS: u64 = 5_000;
/// Frames that cost us work and bring the client nothing: settings, priorities, empty data.
const IDLE_FRAMES_BURST: u32 = 1_000;
const IDLE_FRAMES_PER_SECOND: u32 = 200;
/// Streams that we ended before the client did, whose late data is no fault.
const ENDED_EARLY_MAX: usize = 128;
/// Calls that the client gives up before they are answered.
const RESETS_BURST: u32 = 10_000;
const RESETS_PER_SECOND: u32 = 1_000;

const KEEPALIVE_PING: [u8; 8] = *b"are you?";
const DRAIN_PING: [u8; 8] = *b"last one";

/// What holds for every connection of a server.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) recv_max_bytes: usize,
    pub(crate) concurrent_streams_max: u32,
    pub(crate) keepalive_interval: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) keepalive_min_ms: u64,
}

/// What handlers must hear, in order. `slot` is the stream's place for as long as it is open.
#[derive(Debug)]
pub(crate) enum Event {
    /// A gRPC call began.
    Call { stream: u32, slot: u32, head: Arc<Head> },
    /// A message of a call. Packed ones are unpacked one by one, when it is their turn: many of them
    /// may come at once, and unpacked they are a thousand times as long.
    Message { stream: u32, slot: u32, body: Bytes, is_packed: bool },
    /// The client will send no more.
    HalfClose { stream: u32, slot: u32 },
    /// Little of what the handler sent is left.
    Writable { slot: u32 },
    /// A stream with a handler is over, or a call was given up.
    Closed { slot: u32 },
    /// A plain request came whole.
    Plain { stream: u32, head: Arc<Head>, body: Bytes },
}

/// Whether the bytes so far can be HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http2,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Preface,
    Settings,
    Open,
    /// The first GOAWAY went out at this time.
    Draining(u64),
    /// The last stream that will be served is settled.
    Leaving,
    /// Nothing is read any more.
    Failed,
}

/// What the client's settings say.
pub(super) struct PeerSettings {
    pub(super) window: i64,
    pub(super) frame_max: usize,
}

/// A connection.
///
/// Always true: `waiting_bytes` is the sum of all streams' pending bytes, `held_bytes` that of their
/// bodies that are not whole; ids of streams are odd and at most `last_stream`.
pub(crate) struct Connection {
    pub(super) limits: Arc<Limits>,
    /// Whether TLS is spoken below.
    pub(super) is_secure: bool,
    pub(super) phase: Phase,
    pub(super) input: Vec<u8>,
    pub(super) requests: Requests,
    pub(super) block: Option<OpenBlock>,
    pub(super) streams: Streams,
    pub(super) last_stream: u32,
    pub(super) receive: ReceiveWindow,
    pub(super) send: SendWindow,
    pub(super) peer: PeerSettings,
    pub(super) encoder: ResponseEncoder,
    pub(super) out: Output,
    pub(super) ready: VecDeque<u32>,
    ended_early: VecDeque<u32>,
    pub(super) waiting_bytes: usize,
    pub(super) held_bytes: usize,
    pub(super) events: Vec<Event>,
    pub(super) pings: PingPolicy,
    pub(super) idle_frames: Bucket,
    pub(super) resets: Bucket,
    keepalive: Keepalive,
    began_ms: u64,
    /// When something came last.
    pub(super) now_ms: u64,
    pub(super) deadlines: Deadlines,
}

/// How many streams a client may have where Go's HTTP server is told nothing.
const GO_STREAMS: u32 = 250;

/// How many streams a client may have; `u32::MAX`, of which it is not told, is no limit. As in etcd,
/// where Go's HTTP server speaks TLS and knows 31 bits, and gRPC's all else; 0 leaves it to either.
fn streams_max(set: u32, is_secure: bool) -> u32 {
    match (set, is_secure) {
        (0, true) => GO_STREAMS,
        (0, false) => u32::MAX,
        (set, true) => set.min(i32::MAX as u32),
        (set, false) => set,
    }
}

impl Connection {
    /// Says who the client is by its certificate.
    pub(crate) fn identify(&mut self, common_name: Option<Arc<str>>) {
        self.requests.common_name = common_name;
    }

    /// A connection that was just accepted.
    pub(crate) fn new(limits: Arc<Limits>, peer: Option<SocketAddr>, now_ms: u64) -> Connection {
        let keepalive = Keepalive::new(limits.keepalive_interval, limits.keepalive_timeout, now_ms);
        Connection {
            limits,
            is_secure: false,
            phase: Phase::Preface,
            input: Vec::new(),
            requests: Requests::new(peer),
            block: None,
            streams: Streams::default(),
            last_stream: 0,
            receive: ReceiveWindow::new(CONNECTION_WINDOW_BYTES),
            send: SendWindow::new(frame::WINDOW_DEFAULT),
            peer: PeerSettings { window: frame::WINDOW_DEFAULT, frame_max: frame::PAYLOAD_MAX },
            encoder: ResponseEncoder::new(),
            out: Output::default(),
            ready: VecDeque::new(),
            ended_early: VecDeque::new(),
            waiting_bytes: 0,
            held_bytes: 0,
            events: Vec::new(),
            pings: PingPolicy::default(),
            idle_frames: Bucket::new(IDLE_FRAMES_BURST, IDLE_FRAMES_PER_SECOND),
            resets: Bucket::new(RESETS_BURST, RESETS_PER_SECOND),
            keepalive,
            began_ms: now_ms,
            now_ms,
            deadlines: Deadlines::default(),
        }
    }

    /// What came from the client. Once the protocol is another, [`Connection::into_input`] has all of it.
    pub(crate) fn receive(&mut self, bytes: &[u8], now_ms: u64) -> Protocol {
        if self.phase == Phase::Failed {
            return Protocol::Http2;
        }
        self.keepalive.heard(now_ms);
        self.now_ms = now_ms;
        if self.input.is_empty() {
            let Some(used) = self.read(bytes, now_ms) else {
                self.input.extend_from_slice(bytes);
                return Protocol::Other;
            };
            self.input.extend_from_slice(&bytes[used..]);
            return Protocol::Http2;
        }
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(bytes);
        let used = self.read(&input, now_ms);
        input.drain(..used.unwrap_or(0));
        if !input.is_empty() {
            self.input = input;
        }
        if used.is_some() { Protocol::Http2 } else { Protocol::Other }
    }

    /// Everything that came, where it was not HTTP/2.
    pub(crate) fn into_input(self) -> Vec<u8> {
        self.input
    }

    /// The events since the last call; `into` must be empty, its storage is reused.
    pub(crate) fn take_events(&mut self, into: &mut Vec<Event>) {
        debug_assert!(into.is_empty());
        std::mem::swap(&mut self.events, into);
    }

    /// What waits for the socket.
    pub(crate) fn output(&mut self) -> &mut Output {
        &mut self.out
    }

    /// Whether everything is said: once the output is written, the socket may be closed.
    pub(crate) fn is_over(&self) -> bool {
        match self.phase {
            Phase::Failed => true,
            Phase::Leaving => self.streams.len() == 0,
            _ => false,
        }
    }

    /// Begins a graceful end: what is open is finished, nothing new is begun.
    pub(crate) fn drain(&mut self, now_ms: u64) {
        match self.phase {
            Phase::Preface | Phase::Settings => self.phase = Phase::Failed,
            Phase::Open => {
                self.phase = Phase::Draining(now_ms);
                let out = self.out.tail();
                frame::put_goaway(out, frame::STREAM_MAX, Reason::NoError, "graceful_stop");
                frame::put_ping(out, 0, &DRAIN_PING);
            }
            Phase::Draining(_) | Phase::Leaving | Phase::Failed => {}
        }
    }

    /// Looks at what depends on time alone; `false` if the connection is to be dropped.
    pub(crate) fn tick(&mut self, now_ms: u64) -> bool {
        match self.phase {
            Phase::Preface | Phase::Settings => {
                return now_ms < self.began_ms.saturating_add(HANDSHAKE_MS);
            }
            Phase::Draining(since) if now_ms >= since + DRAIN_MS => self.leave(),
            _ => {}
        }
        match self.keepalive.look(now_ms) {
            Pulse::Alive => true,
            Pulse::Ask => {
                frame::put_ping(self.out.tail(), 0, &KEEPALIVE_PING);
                true
            }
            Pulse::Dead => false,
        }
    }

    /// When [`Connection::expire`] is to be called next, at the earliest.
    pub(crate) fn due_ms(&self) -> u64 {
        self.deadlines.next_ms()
    }

    /// Ends the calls whose time is up, as Go's server does: with a reset, for their clients have given
    /// up as well.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        if !self.deadlines.look(now_ms, self.streams.len()) {
            return;
        }
        let mut over = Vec::new();
        for (_, stream) in self.streams.iter_mut() {
            if stream.due_ms <= now_ms {
                over.push((stream.id, stream.answered));
            } else {
                self.deadlines.add(stream.due_ms);
            }
        }
        for (stream, answered) in over {
            self.reset(stream, if answered { Reason::NoError } else { Reason::Cancel });
        }
    }

    /// How many streams there may be at a time.
    pub(super) fn streams_max(&self) -> u32 {
        streams_max(self.limits.concurrent_streams_max, self.is_secure)
    }

    /// Our first frames.
    pub(super) fn greet(&mut self) {
        let mut settings = vec![
            (setting::INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES as u32),
            (setting::MAX_HEADER_LIST_SIZE, LIST_BYTES_MAX as u32),
        ];
        let max = self.streams_max();
        if max != u32::MAX {
            settings.push((setting::MAX_CONCURRENT_STREAMS, max));
        }
        let out = self.out.tail();
        frame::put_settings(out, &settings);
        let more = CONNECTION_WINDOW_BYTES as i64 - frame::WINDOW_DEFAULT;
        frame::put_window_update(out, 0, more as u32);
    }

    /// The client answered a ping of ours.
    pub(super) fn ponged(&mut self, data: &[u8]) {
        if data == DRAIN_PING && matches!(self.phase, Phase::Draining(_)) {
            self.leave();
        }
    }

    /// Settles the last stream: the second GOAWAY.
    fn leave(&mut self) {
        self.phase = Phase::Leaving;
        frame::put_goaway(self.out.tail(), self.last_stream, Reason::NoError, "");
    }

    /// Ends everything for a fault of the client's.
    pub(super) fn fail(&mut self, reason: Reason, text: &str) {
        frame::put_goaway(self.out.tail(), self.last_stream, reason, text);
        self.abandon();
    }

    /// Ends everything without a word: the socket is gone, or the farewell is said.
    pub(crate) fn abandon(&mut self) {
        self.phase = Phase::Failed;
        self.block = None;
        self.input = Vec::new();
        let open: Vec<u32> = self.streams.iter_mut().map(|(slot, _)| slot).collect();
        for slot in open {
            self.close(slot, true);
        }
    }

    /// Ends one stream for a fault of the client's, or on our own account.
    pub(super) fn reset(&mut self, stream: u32, reason: Reason) {
        frame::put_rst_stream(self.out.tail(), stream, reason);
        if let Some(slot) = self.streams.find(stream) {
            self.close(slot, true);
        }
    }

    /// Tells a client that is not done with a stream that we are.
    pub(super) fn end_early(&mut self, stream: u32) {
        frame::put_rst_stream(self.out.tail(), stream, Reason::NoError);
        if self.ended_early.len() == ENDED_EARLY_MAX {
            self.ended_early.pop_front();
        }
        self.ended_early.push_back(stream);
    }

    /// Whether data for a stream that is over may have been on its way when we ended it.
    pub(super) fn is_late(&self, stream: u32) -> bool {
        self.ended_early.contains(&stream)
    }

    /// Keeps a sign for as long as a stream is open; one of a stream that is over goes at once.
    pub(crate) fn keep_sign(&mut self, stream: u32, sign: Arc<()>) {
        if let Some(slot) = self.streams.find(stream) {
            self.streams.at(slot).sign = Some(sign);
        }
    }

    /// Forgets a stream; its handler hears of it.
    pub(super) fn close(&mut self, slot: u32, given_up: bool) {
        let stream = self.streams.remove(slot);
        self.waiting_bytes -= stream.pending_bytes;
        self.held_bytes -= stream.held();
        stream.unqueue(stream.pending_bytes);
        if given_up || stream.queued.is_some() {
            self.events.push(Event::Closed { slot });
        }
    }

    /// Acts on a failure of what was read.
    pub(super) fn punish(&mut self, failure: Failure) {
        match failure {
            Failure::Stream(stream, reason) => self.reset(stream, reason),
            Failure::Connection(reason, text) => self.fail(reason, text),
        }
    }

    /// A client's ping.
    pub(super) fn ping(&mut self, data: &[u8; 8], now_ms: u64) -> Result<(), Failure> {
        frame::put_ping(self.out.tail(), flag::ACK, data);
        let has_calls = self.streams.len() > 0;
        if self.pings.ping(now_ms, self.limits.keepalive_min_ms, has_calls) {
            return Ok(());
        }
        Err(Failure::Connection(Reason::EnhanceYourCalm, "too_many_pings"))
    }
}
