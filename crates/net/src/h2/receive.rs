//! What a client sends, frame by frame.

use super::blocks::OpenBlock;
use super::connection::{Connection, Event, Phase};
use super::flow::SendWindow;
use super::frame::{self, Failure, Header, PREFACE, Reason, be32, flag, kind, setting};
use super::head::{Head, Packing, Verdict};
use super::policy::millis;
use super::stream::{Body, Stream};
use crate::frame::Deframer;
use crate::rpc::Status;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;

/// A client's clock ends its call first. If it heard from here that its time is up while its own goes on,
/// it might take that for the loss of an attempt, and write a second time: etcd's clients do.
const DEADLINE_GRACE_MS: u64 = 500;

/// Plain requests have bodies up to this long.
const HTTP_BODY_MAX: usize = 2 * 1024 * 1024;
/// While this much waits for a client that does not read, it may not ask for more.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bodies that are not whole may hold this much on one connection.
const HELD_BYTES_MAX: usize = 256 * 1024 * 1024;

const fn protocol(text: &'static str) -> Failure {
    Failure::Connection(Reason::Protocol, text)
}

const BAD_SIZE: Failure = Failure::Connection(Reason::FrameSize, "a frame of the wrong size");
const BAD_SETTING: Failure = protocol("a setting without sense");

impl Connection {
    /// Reads whole frames; how much was used, or `None` if this is no HTTP/2.
    pub(super) fn read(&mut self, bytes: &[u8], now_ms: u64) -> Option<usize> {
        let mut used = 0;
        if self.phase == Phase::Preface {
            let begin = &bytes[..bytes.len().min(PREFACE.len())];
            if !PREFACE.starts_with(begin) {
                return None;
            }
            if begin.len() < PREFACE.len() {
                return Some(0);
            }
            used = PREFACE.len();
            self.phase = Phase::Settings;
            self.greet();
        }
        while self.phase != Phase::Failed {
            let Some(header) = Header::read(&bytes[used..]) else { return Some(used) };
            if header.len > frame::PAYLOAD_MAX {
                self.punish(BAD_SIZE);
                break;
            }
            let begin = used + frame::HEADER_LEN;
            let Some(payload) = bytes.get(begin..begin + header.len) else { return Some(used) };
            used = begin + header.len;
            if let Err(failure) = self.frame(header, payload, now_ms) {
                self.punish(failure);
            }
        }
        Some(bytes.len())
    }

    fn frame(&mut self, header: Header, payload: &[u8], now_ms: u64) -> Result<(), Failure> {
        if let Some(block) = &self.block
            && (header.kind != kind::CONTINUATION || header.stream != block.stream)
        {
            return Err(protocol("headers were interrupted"));
        }
        if self.phase == Phase::Settings && header.kind != kind::SETTINGS {
            return Err(protocol("settings must come first"));
        }
        match header.kind {
            kind::DATA => self.data(header, payload, now_ms),
            kind::HEADERS => self.headers(header, payload),
            kind::CONTINUATION => self.continuation(header, payload),
            kind::SETTINGS => self.settings(header, payload, now_ms),
            kind::WINDOW_UPDATE => self.window_update(header, payload),
            kind::PING => self.on_ping(header, payload, now_ms),
            kind::RST_STREAM => self.rst_stream(header, payload, now_ms),
            kind::GOAWAY if header.stream != 0 => Err(protocol("GOAWAY on a stream")),
            kind::PUSH_PROMISE => Err(protocol("clients do not push")),
            kind::PRIORITY => self.priority(header, now_ms),
            // GOAWAY needs no answer: the client finishes what it has begun and closes.
            _ => self.idle_frame(now_ms),
        }
    }

    fn idle_frame(&mut self, now_ms: u64) -> Result<(), Failure> {
        if self.idle_frames.take(now_ms) {
            return Ok(());
        }
        Err(Failure::Connection(Reason::EnhanceYourCalm, "too many frames that say nothing"))
    }

    fn priority(&mut self, header: Header, now_ms: u64) -> Result<(), Failure> {
        match (header.stream, header.len) {
            (0, _) => Err(protocol("PRIORITY without a stream")),
            (_, 5) => self.idle_frame(now_ms),
            (stream, _) => Err(Failure::Stream(stream, Reason::FrameSize)),
        }
    }

    fn settings(&mut self, header: Header, payload: &[u8], now_ms: u64) -> Result<(), Failure> {
        if header.stream != 0 {
            return Err(protocol("SETTINGS on a stream"));
        }
        if header.has(flag::ACK) {
            return if payload.is_empty() { self.idle_frame(now_ms) } else { Err(BAD_SIZE) };
        }
        if !payload.len().is_multiple_of(6) {
            return Err(BAD_SIZE);
        }
        self.idle_frame(now_ms)?;
        for entry in payload.chunks_exact(6) {
            self.setting(u16::from_be_bytes([entry[0], entry[1]]), be32(&entry[2..]))?;
        }
        if self.phase == Phase::Settings {
            self.phase = Phase::Open;
        }
        frame::put_settings_ack(self.out.tail());
        Ok(())
    }

    fn setting(&mut self, id: u16, value: u32) -> Result<(), Failure> {
        match id {
            setting::HEADER_TABLE_SIZE => self.encoder.limit(value),
            setting::ENABLE_PUSH if value > 1 => return Err(BAD_SETTING),
            setting::INITIAL_WINDOW_SIZE => return self.initial_window(i64::from(value)),
            setting::MAX_FRAME_SIZE => {
                if !(frame::PAYLOAD_MAX..1 << 24).contains(&(value as usize)) {
                    return Err(BAD_SETTING);
                }
                self.peer.frame_max = value as usize;
            }
            _ => {}
        }
        Ok(())
    }

    fn initial_window(&mut self, window: i64) -> Result<(), Failure> {
        let too_large = Failure::Connection(Reason::FlowControl, "a window above 2^31-1");
        if window > frame::WINDOW_MAX {
            return Err(too_large);
        }
        let change = window - std::mem::replace(&mut self.peer.window, window);
        let mut waiting = Vec::new();
        for (slot, stream) in self.streams.iter_mut() {
            if !stream.send.give(change) {
                return Err(too_large);
            }
            waiting.push(slot);
        }
        for slot in waiting {
            self.make_ready(slot);
        }
        Ok(())
    }

    fn window_update(&mut self, header: Header, payload: &[u8]) -> Result<(), Failure> {
        if payload.len() != 4 {
            return Err(BAD_SIZE);
        }
        let increment = i64::from(be32(payload) & frame::STREAM_MAX);
        if header.stream == 0 {
            if increment == 0 {
                return Err(protocol("a window grows by nothing"));
            }
            if !self.send.give(increment) {
                return Err(Failure::Connection(Reason::FlowControl, "a window above 2^31-1"));
            }
            return Ok(());
        }
        let Some(slot) = self.existing(header.stream)? else { return Ok(()) };
        if increment == 0 {
            return Err(Failure::Stream(header.stream, Reason::Protocol));
        }
        if !self.streams.at(slot).send.give(increment) {
            return Err(Failure::Stream(header.stream, Reason::FlowControl));
        }
        self.make_ready(slot);
        Ok(())
    }

    /// The slot of a stream that was begun; `None` if it is over.
    fn existing(&self, stream: u32) -> Result<Option<u32>, Failure> {
        if stream.is_multiple_of(2) || stream > self.last_stream {
            return Err(protocol("a frame for a stream that was not begun"));
        }
        Ok(self.streams.find(stream))
    }

    fn on_ping(&mut self, header: Header, payload: &[u8], now_ms: u64) -> Result<(), Failure> {
        let data: &[u8; 8] = payload.try_into().map_err(|_| BAD_SIZE)?;
        if header.stream != 0 {
            return Err(protocol("PING on a stream"));
        }
        if !header.has(flag::ACK) {
            return self.ping(data, now_ms);
        }
        self.ponged(data);
        Ok(())
    }

    fn rst_stream(&mut self, header: Header, payload: &[u8], now_ms: u64) -> Result<(), Failure> {
        if payload.len() != 4 {
            return Err(BAD_SIZE);
        }
        let Some(slot) = self.existing(header.stream)? else { return self.idle_frame(now_ms) };
        self.close(slot, true);
        if self.resets.take(now_ms) {
            return Ok(());
        }
        Err(Failure::Connection(Reason::EnhanceYourCalm, "too many calls given up"))
    }

    fn headers(&mut self, header: Header, payload: &[u8]) -> Result<(), Failure> {
        if header.stream.is_multiple_of(2) {
            return Err(protocol("clients' streams are odd"));
        }
        let mut block = header.unpadded(payload)?;
        if header.has(flag::PRIORITY) {
            block = block.get(5..).ok_or(BAD_SIZE)?;
        }
        let end_stream = header.has(flag::END_STREAM);
        if header.has(flag::END_HEADERS) {
            return self.whole_block(header.stream, end_stream, block);
        }
        self.block = Some(OpenBlock::new(header.stream, end_stream, block));
        Ok(())
    }

    fn continuation(&mut self, header: Header, payload: &[u8]) -> Result<(), Failure> {
        let mut block = self.block.take().ok_or(protocol("nothing to continue"))?;
        block.push(payload)?;
        if header.has(flag::END_HEADERS) {
            return self.whole_block(block.stream, block.end_stream, &block.bytes);
        }
        self.block = Some(block);
        Ok(())
    }

    fn whole_block(&mut self, id: u32, end_stream: bool, block: &[u8]) -> Result<(), Failure> {
        if let Some(slot) = self.streams.find(id) {
            return self.trailers(id, slot, end_stream, block);
        }
        if id <= self.last_stream {
            return Err(protocol("a stream cannot begin again"));
        }
        if self.phase == Phase::Leaving {
            return self.requests.skip(block);
        }
        self.last_stream = id;
        let head = self.requests.request(block)?;
        if self.streams.len() >= self.streams_max() as usize
            || self.waiting_bytes > WAITING_BYTES_MAX
        {
            return Err(Failure::Stream(id, Reason::RefusedStream));
        }
        self.begin(id, end_stream, &head)
    }

    fn trailers(
        &mut self,
        id: u32,
        slot: u32,
        end_stream: bool,
        block: &[u8],
    ) -> Result<(), Failure> {
        let sound = self.requests.trailers(block)?;
        if self.streams.at(slot).client_done {
            return Err(Failure::Stream(id, Reason::StreamClosed));
        }
        if !sound || !end_stream {
            return Err(Failure::Stream(id, Reason::Protocol));
        }
        self.client_done(slot)
    }

    fn begin(&mut self, id: u32, end_stream: bool, head: &Arc<Head>) -> Result<(), Failure> {
        let body = match &head.verdict {
            Verdict::Malformed => return Err(Failure::Stream(id, Reason::Protocol)),
            Verdict::TooLarge => return Err(Failure::Stream(id, Reason::FrameSize)),
            Verdict::Grpc => match &head.packing {
                Packing::None => Body::Call(Deframer::default()),
                Packing::Gzip => Body::Call(Deframer::of_packed()),
                // It is refused, for this or because there is no such method.
                Packing::Unknown(_) => Body::Ignored,
            },
            Verdict::Plain => Body::Plain(Arc::clone(head), BytesMut::new()),
            Verdict::Abort(..) => Body::Ignored,
        };
        let mut stream = Stream::new(id, SendWindow::new(self.peer.window), body);
        stream.promised = head.content_length;
        if head.is_unusual() {
            stream.unusual = Some(Arc::clone(head));
        }
        let slot = self.streams.insert(stream);
        match &head.verdict {
            Verdict::Grpc => {
                if let Some(timeout) = head.call.timeout {
                    // Never before the client's own clock says so.
                    self.limit(slot, millis(timeout).saturating_add(DEADLINE_GRACE_MS));
                }
                self.events.push(Event::Call { stream: id, slot, head: Arc::clone(head) });
            }
            Verdict::Abort(http, status) => {
                self.streams.at(slot).client_done = end_stream;
                self.abort(slot, *http, status);
                return Ok(());
            }
            _ => {}
        }
        if end_stream { self.client_done(slot) } else { Ok(()) }
    }

    /// Gives a stream so much time from now on.
    pub(super) fn limit(&mut self, slot: u32, time_ms: u64) {
        let due_ms = self.now_ms.saturating_add(time_ms);
        self.streams.at(slot).due_ms = due_ms;
        self.deadlines.add(due_ms);
    }

    fn data(&mut self, header: Header, payload: &[u8], now_ms: u64) -> Result<(), Failure> {
        let slot = self.existing(header.stream)?;
        if !self.receive.take(payload.len()) {
            return Err(Failure::Connection(Reason::FlowControl, "more data than the window"));
        }
        if let Some(more) = self.receive.give(payload.len()) {
            frame::put_window_update(self.out.tail(), 0, more);
        }
        let body = header.unpadded(payload)?;
        let end_stream = header.has(flag::END_STREAM);
        if body.is_empty() && !end_stream {
            self.idle_frame(now_ms)?;
        }
        let Some(slot) = slot else {
            if self.is_late(header.stream) {
                return Ok(());
            }
            return Err(Failure::Stream(header.stream, Reason::StreamClosed));
        };
        self.accept(slot, payload.len(), body, end_stream)?;
        if end_stream && self.streams.find(header.stream).is_some() {
            return self.client_done(slot);
        }
        Ok(())
    }

    /// Takes a piece of a body; `len` is what it counts against windows.
    fn accept(
        &mut self,
        slot: u32,
        len: usize,
        body: &[u8],
        end_stream: bool,
    ) -> Result<(), Failure> {
        let stream = self.streams.at(slot);
        let id = stream.id;
        if stream.client_done {
            return Err(Failure::Stream(id, Reason::StreamClosed));
        }
        if !stream.receive.take(len) {
            return Err(Failure::Stream(id, Reason::FlowControl));
        }
        if let Some(promised) = &mut stream.promised {
            let left = promised.checked_sub(body.len() as u64);
            *promised = left.ok_or(Failure::Stream(id, Reason::Protocol))?;
        }
        // Whoever is done needs no more room, nor whoever hears that the stream is over.
        stream.client_done = end_stream;
        if let Some(more) = stream.earn(len) {
            frame::put_window_update(self.out.tail(), id, more);
        }
        let held = self.streams.at(slot).held();
        self.held_bytes -= held;
        let fed = self.feed(slot, body);
        self.held_bytes += self.streams.at(slot).held();
        match fed {
            Ok(()) => {}
            Err(Refusal::Grpc(status)) => self.finish_at(slot, &status),
            Err(Refusal::TooLong) => self.refuse_plain(slot, 413),
            Err(Refusal::Memory) => return Err(Failure::Stream(id, Reason::EnhanceYourCalm)),
        }
        Ok(())
    }

    fn feed(&mut self, slot: u32, mut input: &[u8]) -> Result<(), Refusal> {
        if self.held_bytes + input.len() > HELD_BYTES_MAX {
            return Err(Refusal::Memory);
        }
        let stream = self.streams.at(slot);
        let id = stream.id;
        match &mut stream.body {
            Body::Call(deframer) => {
                while let Some(body) =
                    deframer.next(&mut input, self.limits.recv_max_bytes).map_err(Refusal::Grpc)?
                {
                    let is_packed = deframer.is_packed();
                    self.events.push(Event::Message { stream: id, slot, body, is_packed });
                }
            }
            Body::Plain(_, bytes) if bytes.len() + input.len() > HTTP_BODY_MAX => {
                return Err(Refusal::TooLong);
            }
            Body::Plain(_, bytes) => bytes.extend_from_slice(input),
            Body::Ignored => {}
        }
        Ok(())
    }

    /// The client has sent everything on a stream.
    fn client_done(&mut self, slot: u32) -> Result<(), Failure> {
        let stream = self.streams.at(slot);
        stream.client_done = true;
        let id = stream.id;
        if stream.promised.is_some_and(|left| left > 0) {
            return Err(Failure::Stream(id, Reason::Protocol));
        }
        if stream.answered {
            self.close(slot, false);
            return Ok(());
        }
        self.held_bytes -= stream.held();
        let body = std::mem::replace(&mut stream.body, Body::Ignored);
        match body {
            Body::Call(deframer) => match deframer.end() {
                Ok(()) => self.events.push(Event::HalfClose { stream: id, slot }),
                Err(status) => self.finish_at(slot, &status),
            },
            Body::Plain(head, bytes) => {
                let body = Bytes::from(bytes);
                self.events.push(Event::Plain { stream: id, head, body });
            }
            Body::Ignored => {}
        }
        Ok(())
    }
}

/// Why a body is not taken.
enum Refusal {
    Grpc(Status),
    TooLong,
    Memory,
}
