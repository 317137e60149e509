//! Streams that the server fills: one request, many messages, made no faster than they are read.
//!
//! ```text
//! asked ------> beginning ------> idle <------> busy ------> over
//!               until what is sent is known     a piece is made, on a thread of the scans
//! ```
//! A stream that waits, for its beginning or for its client, is a state and holds no thread. Streams
//! that are read at once take turns.

use crate::{Call, Error, Services};
use bytes::Bytes;
use net::rpc::{Status, StreamHandler, StreamSender};
use parking_lot::Mutex;
use std::sync::Arc;

/// A stream is not filled further while this many bytes wait to be sent.
const QUEUED_MAX: usize = 2 * 1024 * 1024;
/// After this many bytes, others have their turn.
const TURN_BYTES: usize = 4 * 1024 * 1024;

/// Makes messages one after another.
pub(crate) trait Producer: Send + 'static {
    /// The next message, `None` after the last.
    fn next(&mut self) -> Result<Option<Bytes>, Error>;
}

type Begin<P> = Box<dyn FnOnce(&Arc<Services>, &Call, Bytes, Ready<P>) + Send>;

/// How far a stream is.
enum State<P> {
    Beginning,
    Idle(P),
    /// A thread has the producer; whether it should look again when it is done.
    Busy {
        again: bool,
    },
    Over,
}

/// The responses to one request, which a producer makes while the client has room for them.
struct ResponseStream<P> {
    services: Arc<Services>,
    /// Who reads.
    call: Call,
    out: StreamSender,
    /// Locked only to look and to change, never while a message is made.
    state: Mutex<State<P>>,
}

/// A stream being filled.
pub(crate) struct Pump<P> {
    responses: Arc<ResponseStream<P>>,
    begin: Option<Begin<P>>,
}

/// Where what a stream sends is handed in, once it is known, from any thread.
pub(crate) struct Ready<P>(Arc<ResponseStream<P>>);

impl<P: Producer> Pump<P> {
    /// A handler that begins with the stream's one request.
    pub(crate) fn open(
        services: &Arc<Services>,
        call: &Call,
        out: StreamSender,
        begin: impl FnOnce(&Arc<Services>, &Call, Bytes, Ready<P>) + Send + 'static,
    ) -> Box<dyn StreamHandler> {
        let services = Arc::clone(services);
        let responses = ResponseStream {
            services,
            call: call.clone(),
            out,
            state: Mutex::new(State::Beginning),
        };
        Box::new(Pump { responses: Arc::new(responses), begin: Some(Box::new(begin)) })
    }
}

impl<P: Producer> Ready<P> {
    /// The stream is filled by this, or ends with an error.
    pub(crate) fn start(self, producer: Result<P, Error>) {
        let Ready(responses) = self;
        let mut state = responses.state.lock();
        // A stream that is over, or that began twice, has no use for it.
        if !matches!(*state, State::Beginning) {
            return;
        }
        match producer {
            Ok(producer) => {
                *state = State::Idle(producer);
                drop(state);
                responses.fill_later();
            }
            Err(error) => {
                *state = State::Over;
                drop(state);
                responses.out.finish(error);
            }
        }
    }
}

impl<P: Producer> ResponseStream<P> {
    /// Fills the stream when a thread comes to it.
    fn fill_later(self: &Arc<Self>) {
        let responses = Arc::clone(self);
        self.services.in_scans(move || responses.fill());
    }

    fn fill(self: &Arc<Self>) {
        let Some(mut producer) = self.take() else { return };
        let mut sent = 0;
        while self.out.queued() < QUEUED_MAX && sent < TURN_BYTES {
            let status = match producer.next() {
                Ok(Some(message)) => {
                    sent += message.len();
                    self.out.send(message);
                    continue;
                }
                Ok(None) => Status::OK,
                Err(error) => error.into(),
            };
            *self.state.lock() = State::Over;
            return self.out.finish(status);
        }
        if self.put_back(producer) || sent >= TURN_BYTES {
            self.fill_later();
        }
    }

    /// The producer, if nobody has it.
    fn take(&self) -> Option<P> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Busy { again: false }) {
            State::Idle(producer) => return Some(producer),
            State::Busy { .. } => *state = State::Busy { again: true },
            other => *state = other,
        }
        None
    }

    /// Gives the producer back; whether somebody has asked for more meanwhile.
    fn put_back(&self, producer: P) -> bool {
        let mut state = self.state.lock();
        match *state {
            State::Busy { again } => {
                *state = State::Idle(producer);
                again
            }
            _ => false,
        }
    }
}

impl<P: Producer> StreamHandler for Pump<P> {
    fn message(&mut self, body: Bytes) {
        if let Some(begin) = self.begin.take() {
            begin(
                &self.responses.services,
                &self.responses.call,
                body,
                Ready(Arc::clone(&self.responses)),
            );
        }
    }

    fn half_close(&mut self) {}

    fn writable(&mut self) {
        self.responses.fill_later();
    }

    fn closed(&mut self) {
        let before = std::mem::replace(&mut *self.responses.state.lock(), State::Over);
        // What is dropped may be large; the lock is free by then.
        drop(before);
    }
}
