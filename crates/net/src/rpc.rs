//! gRPC as handlers see it.

use bytes::Bytes;
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// gRPC's status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)] // gRPC's own names
pub enum Code {
    Ok = 0,
    Canceled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl Code {
    /// Every code, by number.
    pub const ALL: [Code; 17] = [
        Code::Ok,
        Code::Canceled,
        Code::Unknown,
        Code::InvalidArgument,
        Code::DeadlineExceeded,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::FailedPrecondition,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unimplemented,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
        Code::Unauthenticated,
    ];
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The code.
    pub code: Code,
    /// The text; clients compare it.
    pub message: Cow<'static, str>,
}

impl Status {
    /// A status.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Status {
        Status { code, message: message.into() }
    }

    /// Success.
    pub const OK: Status = Status { code: Code::Ok, message: Cow::Borrowed("") };
}

impl fmt::Display for Status {
    /// As Go prints it, for places where a status travels as text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rpc error: code = {:?} desc = {}", self.code, self.message)
    }
}

/// A call's headers, in the order in which they came; names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    fields: Vec<(Bytes, Bytes)>,
}

impl Metadata {
    /// Adds a value.
    pub fn push(&mut self, name: Bytes, value: Bytes) {
        self.fields.push((name, value));
    }

    /// The first value under a name.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        let found = self.fields.iter().find(|(known, _)| known == name.as_bytes());
        found.map(|(_, value)| value)
    }

    /// Every name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.fields.iter().map(|(name, value)| (name, value))
    }
}

/// What comes before a call's messages.
#[derive(Clone, Debug, Default)]
pub struct CallHead {
    /// Metadata.
    pub metadata: Metadata,
    /// How long the client will wait.
    pub timeout: Option<Duration>,
    /// Who calls.
    pub peer: Option<SocketAddr>,
    /// The common name in the certificate that the caller showed, if it had to show one.
    pub common_name: Option<Arc<str>>,
}

impl CallHead {
    /// A text value of the metadata.
    pub fn get(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.metadata.get(name)?).ok()
    }
}

/// Whether a method takes one message or a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One request, one reply.
    Unary,
    /// Messages either way, in any number.
    Stream,
}

/// A method that the service knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// The service's own number for it.
    pub id: u16,
    /// Its kind.
    pub kind: Kind,
}

/// Everything served. Called from the transport's threads, which it must not block for long.
pub trait GrpcService: Send + Sync + 'static {
    /// Finds a method by its path, `/package.Service/Method`.
    ///
    /// # Errors
    /// `Unimplemented`, with the text that the client will see.
    fn lookup(&self, path: &str) -> Result<Method, Status>;

    /// A unary call; the reply may be given later and from elsewhere.
    fn unary(&self, method: u16, head: &CallHead, body: Bytes, reply: Responder);

    /// A stream begins. What comes in is handed to the handler in order.
    ///
    /// # Errors
    /// The status the stream ends with at once.
    fn stream(
        &self,
        method: u16,
        head: &CallHead,
        out: StreamSender,
    ) -> Result<Box<dyn StreamHandler>, Status>;
}

/// The receiving side of a stream.
pub trait StreamHandler: Send {
    /// A message came.
    fn message(&mut self, body: Bytes);
    /// The client will send no more; it may still read.
    fn half_close(&mut self);
    /// What was queued to be sent has become little again.
    fn writable(&mut self);
    /// The stream is over, whoever ended it.
    fn closed(&mut self);
}

/// Where a transport takes replies. `id` is the transport's own.
pub trait ReplySink: Send + Sync {
    /// The reply to a unary call.
    fn reply(&self, id: u64, result: Result<Bytes, Status>);
    /// The reply to a unary call, in pieces.
    fn reply_pieces(&self, id: u64, pieces: Vec<Bytes>) {
        self.reply(id, Ok(pieces.concat().into()));
    }
    /// A message on a stream, in pieces.
    fn message(&self, id: u64, pieces: Vec<Bytes>);
    /// The end of a stream.
    fn finish(&self, id: u64, status: Status);
    /// Bytes of a stream that are not on the wire yet.
    fn queued(&self, id: u64) -> usize;
    /// Whether nobody waits for the reply to a unary call any more, as far as it is known.
    fn is_gone(&self, id: u64) -> bool {
        let _ = id;
        false
    }
}

/// Whether anybody still waits for the answer to a unary call.
#[derive(Clone)]
pub struct CallWatch {
    sink: Option<Arc<dyn ReplySink>>,
    id: u64,
}

impl CallWatch {
    /// As [`Responder::is_gone`], until the call is answered.
    pub fn is_gone(&self) -> bool {
        self.sink.as_ref().is_none_or(|sink| sink.is_gone(self.id))
    }
}

/// Hears how unary calls end.
pub trait CallMeter: Send + Sync {
    /// Call `number` of the meter's own numbering ended, `begun` then, with a message of so many
    /// bytes where the code is [`Code::Ok`].
    fn ended(&self, number: u16, begun: Option<Instant>, code: Code, bytes: usize);
}

struct Metered {
    meter: Arc<dyn CallMeter>,
    number: u16,
    begun: Option<Instant>,
}

/// Answers one unary call, once. Dropped without an answer, it fails the call.
pub struct Responder {
    sink: Option<Arc<dyn ReplySink>>,
    id: u64,
    metered: Option<Metered>,
}

impl Responder {
    /// For a transport: answers of call `id` go to `sink`.
    pub fn new(sink: Arc<dyn ReplySink>, id: u64) -> Responder {
        Responder { sink: Some(sink), id, metered: None }
    }

    /// The same, with a meter that hears of the end.
    pub fn metered(self, meter: Arc<dyn CallMeter>, number: u16, begun: Option<Instant>) -> Self {
        let mut this = self;
        this.metered = Some(Metered { meter, number, begun });
        this
    }

    /// Watches whether the client still waits, for whoever works on the answer.
    pub fn watch(&self) -> CallWatch {
        CallWatch { sink: self.sink.clone(), id: self.id }
    }

    /// Whether nobody waits for the answer any more: the client has reset the call, or its connection is
    /// gone. What was not begun need not be.
    pub fn is_gone(&self) -> bool {
        self.sink.as_ref().is_none_or(|sink| sink.is_gone(self.id))
    }

    /// Answers with a message.
    pub fn reply(self, message: Bytes) {
        self.answer(Ok(message));
    }

    /// Answers with a message that lies in pieces.
    pub fn reply_pieces(mut self, pieces: Vec<Bytes>) {
        let Some(sink) = self.sink.take() else { return };
        self.meter(Code::Ok, pieces.iter().map(Bytes::len).sum());
        sink.reply_pieces(self.id, pieces);
    }

    /// Answers with a status.
    pub fn fail(self, status: impl Into<Status>) {
        self.answer(Err(status.into()));
    }

    fn answer(mut self, result: Result<Bytes, Status>) {
        self.give(result);
    }

    fn give(&mut self, result: Result<Bytes, Status>) {
        let Some(sink) = self.sink.take() else { return };
        let code = result.as_ref().map_or_else(|status| status.code, |_| Code::Ok);
        self.meter(code, result.as_ref().map_or(0, Bytes::len));
        sink.reply(self.id, result);
    }

    fn meter(&mut self, code: Code, bytes: usize) {
        if let Some(Metered { meter, number, begun }) = self.metered.take() {
            meter.ended(number, begun, code, bytes);
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if self.sink.is_some() {
            self.give(Err(Status::new(Code::Unavailable, "etcdserver: server stopped")));
        }
    }
}

/// Sends on one stream; clones send on the same.
#[derive(Clone)]
pub struct StreamSender {
    sink: Arc<dyn ReplySink>,
    id: u64,
}

impl StreamSender {
    /// For a transport: messages of stream `id` go to `sink`.
    pub fn new(sink: Arc<dyn ReplySink>, id: u64) -> StreamSender {
        StreamSender { sink, id }
    }

    /// The same stream behind another sink, which `wrap` makes of this one's.
    pub fn through(self, wrap: impl FnOnce(Arc<dyn ReplySink>) -> Arc<dyn ReplySink>) -> Self {
        StreamSender { sink: wrap(self.sink), id: self.id }
    }

    /// Sends a message.
    pub fn send(&self, message: Bytes) {
        self.sink.message(self.id, vec![message]);
    }

    /// Sends a message that lies in pieces.
    pub fn send_pieces(&self, pieces: Vec<Bytes>) {
        self.sink.message(self.id, pieces);
    }

    /// Ends the stream.
    pub fn finish(&self, status: impl Into<Status>) {
        self.sink.finish(self.id, status.into());
    }

    /// Bytes that are not on the wire yet. Callers stop sending when this is much.
    pub fn queued(&self) -> usize {
        self.sink.queued(self.id)
    }
}
