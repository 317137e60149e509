//! Replies on their way out: framed, within the client's windows, streams taking turns.

use super::connection::{Connection, Event};
use super::frame::{self, flag, kind};
use super::head::Packing;
use super::hpack::{ResponseEncoder, literal};
use super::stream::{Body, End, Stream};
use crate::frame::{HEADER_LEN, header, packed_header, percent_encode};
use crate::gzip;
use crate::http::HttpResponse;
use crate::rpc::{Code, Status};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Data is framed only while less than this waits for the socket; the rest stays with its stream,
/// where handlers see it.
const OUTPUT_BYTES_TARGET: usize = 256 * 1024;
/// Below this many queued bytes a stream's handler hears that it may send again.
const LOW_WATER_BYTES: usize = 256 * 1024;

/// How long a client may go on sending after its plain request was refused. Some clients forget the
/// answer when the stream is reset at once.
const REFUSED_MS: u64 = 5_000;

/// A header block that is being written, begun at this offset of the output.
struct Begun(usize);

impl Connection {
    /// Gives a stream a handler that wants to know what is queued; `false` if the stream is over.
    pub(crate) fn attach(&mut self, stream: u32, queued: Arc<AtomicUsize>) -> bool {
        let Some(slot) = self.streams.find(stream) else { return false };
        self.streams.at(slot).queued = Some(queued);
        true
    }

    /// The answer to a unary call; nothing happens if the call is over.
    pub(crate) fn reply(&mut self, stream: u32, result: Result<Bytes, Status>) {
        let Some(slot) = self.streams.find(stream) else { return };
        match result {
            Ok(message) if self.fits(slot, message.len() + HEADER_LEN) => {
                self.reply_at_once(slot, message);
            }
            Ok(message) => {
                self.send_headers(slot);
                self.enqueue(slot, [message]);
                self.finish_at(slot, &Status::OK);
            }
            Err(status) => self.finish_at(slot, &status),
        }
    }

    /// A message on a stream, in pieces.
    pub(crate) fn message(&mut self, stream: u32, pieces: Vec<Bytes>) {
        let Some(slot) = self.streams.find(stream) else { return };
        if self.streams.at(slot).end.is_some() {
            return;
        }
        self.send_headers(slot);
        let before: usize = pieces.iter().map(Bytes::len).sum();
        let after = self.enqueue(slot, pieces);
        if after != before {
            self.requeue(slot, before, after);
        }
    }

    /// A message became another one on its way: what its handler sees follows.
    fn requeue(&mut self, slot: u32, before: usize, after: usize) {
        let stream = self.streams.at(slot);
        let Some(queued) = &stream.queued else { return };
        queued.fetch_add(after, Ordering::Relaxed);
        if let Some(change) = stream.unqueue(before) {
            self.note_room(slot, change);
        }
    }

    /// Tells a handler that it may send again, where there was too much and is not now.
    fn note_room(&mut self, slot: u32, (before, after): (usize, usize)) {
        if before >= LOW_WATER_BYTES && after < LOW_WATER_BYTES {
            self.events.push(Event::Writable { slot });
        }
    }

    /// The end of a stream, once what is queued is sent.
    pub(crate) fn finish(&mut self, stream: u32, status: &Status) {
        if let Some(slot) = self.streams.find(stream) {
            self.finish_at(slot, status);
        }
    }

    /// The answer to a plain request. `is_head`: without the body that it speaks of.
    pub(crate) fn respond(&mut self, stream: u32, response: HttpResponse, is_head: bool) {
        let Some(slot) = self.streams.find(stream) else { return };
        let len = response.body.len();
        let body = if is_head { Bytes::new() } else { response.body };
        let begun = self.begin_headers(stream);
        let out = self.out.tail();
        self.encoder.status(out, response.status.as_u16());
        for (name, value) in &response.headers {
            literal(out, name.as_str().as_bytes(), value.as_bytes());
        }
        if !response.headers.contains_key("content-length") {
            literal(out, b"content-length", len.to_string().as_bytes());
        }
        let end = if body.is_empty() { flag::END_STREAM } else { 0 };
        self.end_headers(&begun, end, stream);
        if body.is_empty() {
            return self.close_own_side(slot);
        }
        self.streams.at(slot).end = Some(End::Data);
        self.hold(slot, [body]);
    }

    /// Frames what waits, as far as windows and output allow.
    pub(crate) fn pump(&mut self) {
        while self.out.len() < OUTPUT_BYTES_TARGET
            && self.send.room() > 0
            && let Some(stream) = self.ready.pop_front()
        {
            // The stream may be over since it was put there.
            if let Some(slot) = self.streams.find(stream) {
                self.send_data(slot);
            }
        }
    }

    /// Whether [`Connection::pump`] can do something once the output is written.
    pub(crate) fn has_ready(&self) -> bool {
        self.send.room() > 0 && !self.ready.is_empty()
    }

    /// Lets a stream take its turn, if it has something to send and may.
    pub(super) fn make_ready(&mut self, slot: u32) {
        let stream = self.streams.at(slot);
        if !stream.is_ready && stream.pending_bytes > 0 && stream.send.room() > 0 {
            stream.is_ready = true;
            self.ready.push_back(stream.id);
        }
    }

    /// Ends a call with a status, behind what waits.
    pub(super) fn finish_at(&mut self, slot: u32, status: &Status) {
        let stream = self.streams.at(slot);
        if stream.end.is_some() {
            return;
        }
        if stream.pending_bytes > 0 {
            stream.end = Some(End::Trailers(status.clone()));
            return;
        }
        self.send_trailers(slot, status);
    }

    /// Ends a call that was never begun with an HTTP status of its own.
    pub(super) fn abort(&mut self, slot: u32, http: u16, status: &Status) {
        let stream = self.streams.at(slot).id;
        let begun = self.begin_headers(stream);
        if http == 200 {
            self.put_call_headers(slot, false);
        } else {
            self.encoder.status(self.out.tail(), http);
            let unusual = self.streams.at(slot).unusual.as_ref();
            let content_type = unusual.map(|head| head.content_type());
            let content_type = content_type.as_deref().unwrap_or(b"application/grpc");
            literal(self.out.tail(), b"content-type", content_type);
        }
        put_status(self.out.tail(), status);
        self.end_headers(&begun, flag::END_STREAM, stream);
        self.close_own_side(slot);
    }

    /// Ends a plain request with a bare status.
    pub(super) fn refuse_plain(&mut self, slot: u32, http: u16) {
        let stream = self.streams.at(slot).id;
        let begun = self.begin_headers(stream);
        self.encoder.status(self.out.tail(), http);
        self.end_headers(&begun, flag::END_STREAM, stream);
        let stream = self.streams.at(slot);
        if stream.client_done {
            return self.close_own_side(slot);
        }
        stream.answered = true;
        self.held_bytes -= stream.held();
        stream.body = Body::Ignored;
        self.limit(slot, REFUSED_MS);
    }

    /// Whether a message can go out whole and now.
    fn fits(&mut self, slot: u32, len: usize) -> bool {
        let room = self.send.room().min(self.peer.frame_max);
        self.out.len() < OUTPUT_BYTES_TARGET && len <= room && {
            let stream = self.streams.at(slot);
            len <= stream.send.room()
                && stream.pending_bytes == 0
                && !stream.sent_headers
                && stream.unusual.is_none()
        }
    }

    /// Headers, one frame of data, trailers: most answers.
    fn reply_at_once(&mut self, slot: u32, message: Bytes) {
        let (id, client_done) = {
            let stream = self.streams.at(slot);
            (stream.id, stream.client_done)
        };
        let len = message.len() + HEADER_LEN;
        self.send.take(len);
        self.put_block(id, flag::END_HEADERS, ResponseEncoder::grpc_headers);
        let out = self.out.tail();
        frame::put_header(out, len, kind::DATA, 0, id);
        out.extend_from_slice(&header(message.len()));
        self.out.put(message);
        self.put_block(id, flag::END_HEADERS | flag::END_STREAM, ResponseEncoder::grpc_ok);
        self.pings.forgive();
        if !client_done {
            self.end_early(id);
        }
        self.close(slot, false);
    }

    /// Writes a block that is known to be short.
    fn put_block(
        &mut self,
        id: u32,
        flags: u8,
        encode: impl FnOnce(&mut ResponseEncoder, &mut BytesMut),
    ) {
        let out = self.out.tail();
        let at = out.len();
        frame::put_header(out, 0, kind::HEADERS, flags, id);
        encode(&mut self.encoder, out);
        out[at + 2] = (out.len() - at - frame::HEADER_LEN) as u8;
    }

    fn send_headers(&mut self, slot: u32) {
        let stream = self.streams.at(slot);
        if std::mem::replace(&mut stream.sent_headers, true) {
            return;
        }
        let id = stream.id;
        if stream.unusual.is_none() {
            self.put_block(id, flag::END_HEADERS, ResponseEncoder::grpc_headers);
        } else {
            let begun = self.begin_headers(id);
            self.put_call_headers(slot, true);
            self.end_headers(&begun, 0, id);
        }
        self.pings.forgive();
    }

    /// The fields that begin an answer, in a block that is begun; with messages behind it, how they
    /// are packed.
    fn put_call_headers(&mut self, slot: u32, with_messages: bool) {
        let Some(head) = &self.streams.at(slot).unusual else {
            return self.encoder.grpc_headers(self.out.tail());
        };
        let head = Arc::clone(head);
        let out = self.out.tail();
        self.encoder.status(out, 200);
        literal(out, b"content-type", &head.content_type());
        if with_messages && head.packing == Packing::Gzip {
            literal(out, b"grpc-encoding", b"gzip");
        }
    }

    /// Adds a message that lies in pieces to what waits; how long it became.
    fn enqueue(
        &mut self,
        slot: u32,
        pieces: impl IntoIterator<Item = Bytes> + AsRef<[Bytes]>,
    ) -> usize {
        if self.streams.at(slot).packs()
            && let Some(packed) = gzip::pack(pieces.as_ref().iter())
        {
            let len = packed.len();
            let prefix = Bytes::copy_from_slice(&packed_header(len));
            self.hold(slot, [prefix, packed]);
            return len;
        }
        let len = pieces.as_ref().iter().map(Bytes::len).sum();
        let prefix = Bytes::copy_from_slice(&header(len));
        self.hold(slot, std::iter::once(prefix).chain(pieces));
        len
    }

    fn hold(&mut self, slot: u32, pieces: impl IntoIterator<Item = Bytes>) {
        let stream = self.streams.at(slot);
        let before = stream.pending_bytes;
        for piece in pieces {
            stream.push(piece);
        }
        self.waiting_bytes += stream.pending_bytes - before;
        self.make_ready(slot);
    }

    /// One frame of a stream whose turn it is.
    fn send_data(&mut self, slot: u32) {
        let room = self.send.room().min(self.peer.frame_max);
        let stream = self.streams.at(slot);
        stream.is_ready = false;
        let len = room.min(stream.send.room()).min(stream.pending_bytes);
        if len == 0 {
            return;
        }
        let is_last = len == stream.pending_bytes;
        let ends = is_last && matches!(stream.end, Some(End::Data));
        let flags = if ends { flag::END_STREAM } else { 0 };
        frame::put_header(self.out.tail(), len, kind::DATA, flags, stream.id);
        stream.send.take(len);
        self.send.take(len);
        self.waiting_bytes -= len;
        for piece in pieces(stream, len) {
            self.out.put(piece);
        }
        let stream = self.streams.at(slot);
        if let Some(more) = stream.earn(0) {
            frame::put_window_update(self.out.tail(), stream.id, more);
        }
        self.pings.forgive();
        if let Some(change) = stream.unqueue(len) {
            self.note_room(slot, change);
        }
        if is_last { self.sent_all(slot) } else { self.make_ready(slot) }
    }

    /// Nothing waits on a stream any more: what follows the data?
    fn sent_all(&mut self, slot: u32) {
        match self.streams.at(slot).end.take() {
            Some(End::Trailers(status)) => self.send_trailers(slot, &status),
            Some(End::Data) => self.close_own_side(slot),
            None => {}
        }
    }

    fn send_trailers(&mut self, slot: u32, status: &Status) {
        let stream = self.streams.at(slot);
        let (id, sent_headers) = (stream.id, stream.sent_headers);
        let begun = self.begin_headers(id);
        if !sent_headers {
            self.put_call_headers(slot, false);
        }
        if status.code == Code::Ok && sent_headers {
            self.encoder.grpc_ok(self.out.tail());
        } else {
            self.encoder.begin(self.out.tail());
            put_status(self.out.tail(), status);
        }
        self.end_headers(&begun, flag::END_STREAM, id);
        self.close_own_side(slot);
    }

    /// Everything of ours is framed; a client that is not done need not go on.
    fn close_own_side(&mut self, slot: u32) {
        let stream = self.streams.at(slot);
        if !stream.client_done {
            let id = stream.id;
            self.end_early(id);
        }
        self.pings.forgive();
        self.close(slot, false);
    }

    fn begin_headers(&mut self, stream: u32) -> Begun {
        let out = self.out.tail();
        let at = out.len();
        frame::put_header(out, 0, kind::HEADERS, 0, stream);
        Begun(at)
    }

    /// Settles length and flags, and cuts a block that is longer than a frame.
    fn end_headers(&mut self, begun: &Begun, flags: u8, stream: u32) {
        let out = self.out.tail();
        let begin = begun.0 + frame::HEADER_LEN;
        let len = out.len() - begin;
        let first = len.min(frame::PAYLOAD_MAX);
        let whole = if first == len { flag::END_HEADERS } else { 0 };
        out[begun.0..begun.0 + 3].copy_from_slice(&(first as u32).to_be_bytes()[1..]);
        out[begun.0 + 4] = flags | whole;
        if first < len {
            let rest = out.split_off(begin + first);
            continue_block(out, &rest, stream);
        }
    }
}

fn continue_block(out: &mut BytesMut, rest: &[u8], stream: u32) {
    let mut pieces = rest.chunks(frame::PAYLOAD_MAX).peekable();
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { flag::END_HEADERS } else { 0 };
        frame::put_header(out, piece.len(), kind::CONTINUATION, flags, stream);
        out.extend_from_slice(piece);
    }
}

fn put_status(out: &mut BytesMut, status: &Status) {
    literal(out, b"grpc-status", (status.code as u32).to_string().as_bytes());
    if !status.message.is_empty() {
        literal(out, b"grpc-message", percent_encode(&status.message).as_bytes());
    }
}

/// Takes the first `len` bytes of what waits.
fn pieces(stream: &mut Stream, len: usize) -> impl Iterator<Item = Bytes> + use<'_> {
    stream.pending_bytes -= len;
    let pending = &mut stream.pending;
    let mut left = len;
    std::iter::from_fn(move || {
        let front = pending.front_mut().filter(|_| left > 0)?;
        let piece = if front.len() <= left { pending.pop_front()? } else { front.split_to(left) };
        left -= piece.len();
        Some(piece)
    })
}
