//! Streams: answers without an end, over which one member gives another its messages.
//!
//! The receiver asks (`GET /raft/stream/{kind}/{its id}`) and the sender answers with a body that is
//! written as messages come. An [`Outgoing`] is the sender's place for such a stream; while one is
//! attached, messages go into its queue, and the connection's task encodes what waits there, as much
//! as there is, whenever the connection takes more.

use crate::codec::{Encoder, Output, link_heartbeat, msgappv2};
use crate::shared::Shared;
use crate::status::Status;
use bytes::Bytes;
use hyper::body::{Body, Frame};
use parking_lot::Mutex;
use prost::Message as _;
use proto::raftpb::Message;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Encoded at once, about.
const BATCH_BYTES: usize = 64 * 1024;
/// Heartbeats per read timeout of the receiver.
const HEARTBEATS_PER_TIMEOUT: u32 = 3;

/// The two kinds of stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamKind {
    /// A leader's appends, in the codec made for them.
    MsgApp,
    /// Every kind of message.
    Message,
}

impl StreamKind {
    /// As paths and notes name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            StreamKind::MsgApp => "msgapp",
            StreamKind::Message => "message",
        }
    }

    /// The kind that a path names.
    pub(crate) fn parse(name: &str) -> Option<StreamKind> {
        [StreamKind::MsgApp, StreamKind::Message].into_iter().find(|kind| kind.name() == name)
    }

    fn encoder(self) -> Encoder {
        match self {
            StreamKind::MsgApp => Encoder::MsgApp(msgappv2::Encoder::default()),
            StreamKind::Message => Encoder::Message,
        }
    }
}

/// The place for a stream of one kind to one peer. At most one is attached at a time; a new one
/// takes the place of the old.
#[derive(Debug)]
pub(crate) struct Outgoing {
    kind: StreamKind,
    slot: Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    queue: Option<mpsc::Sender<Message>>,
    /// Counts attached streams, so that an old one cannot take its successor away.
    generation: u64,
}

impl Outgoing {
    pub(crate) fn new(kind: StreamKind) -> Arc<Outgoing> {
        Arc::new(Outgoing { kind, slot: Mutex::default() })
    }

    /// Where messages go while a stream is attached.
    pub(crate) fn queue(&self) -> Option<mpsc::Sender<Message>> {
        self.slot.lock().queue.clone()
    }

    /// Makes the stream whose body is returned the one that messages go to.
    pub(crate) fn attach(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        status: &Arc<Status>,
    ) -> StreamBody {
        let limits = &shared.config.limits;
        let (sender, queue) = mpsc::channel(limits.stream_queue);
        let mut slot = self.slot.lock();
        slot.generation += 1;
        slot.queue = Some(sender);
        let generation = slot.generation;
        drop(slot);
        status.activate();
        let mut heartbeat = interval(limits.read_timeout / HEARTBEATS_PER_TIMEOUT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        heartbeat.reset();
        StreamBody {
            outgoing: Arc::clone(self),
            shared: Arc::clone(shared),
            status: Arc::clone(status),
            generation,
            queue,
            heartbeat,
            encoder: self.kind.encoder(),
            output: Output::default(),
        }
    }

    /// Ends the stream, if one is attached.
    pub(crate) fn detach(&self) {
        let mut slot = self.slot.lock();
        slot.generation += 1;
        slot.queue = None;
    }

    /// Ends the stream of `generation`; says whether it was still attached.
    fn lose(&self, generation: u64) -> bool {
        let mut slot = self.slot.lock();
        if slot.generation != generation {
            return false;
        }
        slot.queue = None;
        true
    }
}

/// The body of an answer without an end. It ends when another takes its place or its peer goes.
pub(crate) struct StreamBody {
    outgoing: Arc<Outgoing>,
    shared: Arc<Shared>,
    status: Arc<Status>,
    generation: u64,
    queue: mpsc::Receiver<Message>,
    heartbeat: Interval,
    encoder: Encoder,
    output: Output,
}

impl StreamBody {
    /// Encodes what waits; says whether there will be more.
    fn fill(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let mut sent = 0;
        let mut ended = false;
        while self.output.len() < BATCH_BYTES {
            match self.queue.poll_recv(context) {
                Poll::Ready(Some(message)) => sent += self.encode(&message),
                Poll::Ready(None) => {
                    ended = true;
                    break;
                }
                Poll::Pending => break,
            }
        }
        if !self.output.is_empty() {
            self.status.sent(sent);
            return Poll::Ready(true);
        }
        if ended {
            return Poll::Ready(false);
        }
        ready!(self.heartbeat.poll_tick(context));
        let sent = self.encode(&link_heartbeat());
        self.status.sent(sent);
        Poll::Ready(true)
    }

    fn encode(&mut self, message: &Message) -> usize {
        self.encoder.encode(message, &mut self.output);
        message.encoded_len()
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let body = self.get_mut();
        loop {
            if let Some(piece) = body.output.pop() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if !ready!(body.fill(context)) {
                return Poll::Ready(None);
            }
        }
    }
}

/// The connection is gone, and with it whatever it had not written.
impl Drop for StreamBody {
    fn drop(&mut self) {
        let lost = self.outgoing.lose(self.generation);
        self.queue.close();
        let waiting = !self.output.is_empty() || self.queue.try_recv().is_ok();
        if lost {
            self.status.deactivate("the stream was cut");
            self.status.send_failed();
        }
        if lost || waiting {
            self.shared.handler.unreachable(self.status.id());
        }
    }
}
