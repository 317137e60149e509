//! Streams of one connection: what has come, what waits to go.

use super::flow::{ReceiveWindow, SendWindow};
use super::head::{Head, Packing};
use crate::frame::Deframer;
use crate::rpc::Status;
use bytes::{Bytes, BytesMut};
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a client may send on a stream before it is told of more room.
pub(crate) const STREAM_WINDOW_BYTES: usize = 1024 * 1024;
/// While this much waits for a client on a stream, what it sends there wins it no more room: whoever
/// asks and does not read the answers comes to a halt.
const WITHHOLDING_BYTES: usize = 1024 * 1024;

/// Where a request's body goes.
pub(crate) enum Body {
    /// Messages of a gRPC call.
    Call(Deframer),
    /// A plain request, gathered whole.
    Plain(Arc<Head>, BytesMut),
    /// Nobody wants it any more.
    Ignored,
}

/// What follows the data that waits.
pub(crate) enum End {
    /// Trailers with this status.
    Trailers(Status),
    /// The mark on the last data frame.
    Data,
}

/// One stream.
///
/// Always true: `pending_bytes` is the length of everything in `pending`; a stream stands in the
/// connection's ready queue exactly if `is_ready`.
pub(crate) struct Stream {
    pub(crate) id: u32,
    pub(crate) receive: ReceiveWindow,
    pub(crate) send: SendWindow,
    pub(crate) body: Body,
    /// Bytes of the body that its content-length still promises.
    pub(crate) promised: Option<u64>,
    /// What the answer's headers depend on, where it is not the usual.
    pub(crate) unusual: Option<Arc<Head>>,
    /// When time is up for it, in milliseconds of the engine's clock.
    pub(crate) due_ms: u64,
    /// Everything is said; it stays for what the client is still sending.
    pub(crate) answered: bool,
    /// The client has sent everything.
    pub(crate) client_done: bool,
    pub(crate) sent_headers: bool,
    pub(crate) pending: VecDeque<Bytes>,
    pub(crate) pending_bytes: usize,
    pub(crate) end: Option<End>,
    pub(crate) is_ready: bool,
    /// Room that the client has earned, and gets once it reads.
    withheld: usize,
    /// For streams with a handler: bytes given to us and not yet in the output.
    pub(crate) queued: Option<Arc<AtomicUsize>>,
    /// Goes with the stream, and tells whoever works for it that the client does not wait any more.
    pub(crate) sign: Option<Arc<()>>,
}

impl Stream {
    pub(crate) fn new(id: u32, send: SendWindow, body: Body) -> Stream {
        Stream {
            id,
            receive: ReceiveWindow::new(STREAM_WINDOW_BYTES),
            send,
            body,
            promised: None,
            unusual: None,
            due_ms: u64::MAX,
            answered: false,
            client_done: false,
            sent_headers: false,
            pending: VecDeque::new(),
            pending_bytes: 0,
            end: None,
            is_ready: false,
            withheld: 0,
            queued: None,
            sign: None,
        }
    }

    /// Adds data that waits.
    pub(crate) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.pending_bytes += piece.len();
            self.pending.push_back(piece);
        }
    }

    /// `bytes` that came were handed on: the room to give back for them now, if any.
    pub(crate) fn earn(&mut self, bytes: usize) -> Option<u32> {
        self.withheld += bytes;
        if self.client_done || self.pending_bytes > WITHHOLDING_BYTES {
            return None;
        }
        self.receive.give(std::mem::take(&mut self.withheld))
    }

    /// Bytes held of a body that is not whole.
    pub(crate) fn held(&self) -> usize {
        match &self.body {
            Body::Call(deframer) => deframer.held(),
            Body::Plain(_, bytes) => bytes.len(),
            Body::Ignored => 0,
        }
    }

    /// Whether messages to the client are packed.
    pub(crate) fn packs(&self) -> bool {
        self.unusual.as_ref().is_some_and(|head| head.packing == Packing::Gzip)
    }

    /// `bytes` left the handler's queue: how much was in it before, and is now.
    pub(crate) fn unqueue(&self, bytes: usize) -> Option<(usize, usize)> {
        let before = self.queued.as_ref()?.fetch_sub(bytes, Ordering::Relaxed);
        Some((before, before.saturating_sub(bytes)))
    }
}

/// All open streams, each at a slot that it keeps.
#[derive(Default)]
pub(crate) struct Streams {
    slots: Vec<Option<Stream>>,
    free: Vec<u32>,
    by_id: HashMap<u32, u32>,
}

impl Streams {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The slot of an open stream.
    pub(crate) fn find(&self, id: u32) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    /// The stream at a slot that is known to be in use.
    pub(crate) fn at(&mut self, slot: u32) -> &mut Stream {
        self.slots[slot as usize].as_mut().expect("slots of open streams are filled")
    }

    pub(crate) fn insert(&mut self, stream: Stream) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.by_id.insert(stream.id, slot);
        self.slots[slot as usize] = Some(stream);
        slot
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Stream {
        let stream = self.slots[slot as usize].take().expect("slots of open streams are filled");
        self.by_id.remove(&stream.id);
        self.free.push(slot);
        stream
    }

    /// Every open stream with its slot.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Stream)> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter_map(|(slot, stream)| Some((slot as u32, stream.as_mut()?)))
    }
}
