//! The way from handlers back to the loop that owns a connection.
//!
//! Replies given on other threads are queued under a lock, and wake the loop only if it sleeps: once,
//! whatever follows. A unary reply given on the loop's own thread, while it runs handlers, is put on a
//! list of that thread. A stream's messages always take the queue, so that they keep their order
//! whoever sends them.

use super::event_loop::Accepted;
use crate::http::HttpResponse;
use crate::rpc::{ReplySink, Status};
use bytes::Bytes;
use mio::Waker;
use parking_lot::Mutex;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// Tells loops apart within a process; 0 is none.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// The loop that this thread runs, and the replies given on it.
    static OWN: RefCell<(u64, Vec<Note>)> = const { RefCell::new((0, Vec::new())) };
}

/// A connection of a loop. Slots are used again, serials are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) slot: u32,
    pub(crate) serial: u64,
}

/// What a loop is told.
pub(crate) enum Note {
    /// The answer to a unary call.
    Reply(Address, u32, Result<Bytes, Status>),
    /// A message on a stream, in pieces.
    Message(Address, u32, Vec<Bytes>),
    /// The end of a stream.
    Finish(Address, u32, Status),
    /// To be kept as long as a call is open.
    Sign(Address, u32, Arc<()>),
    /// The answer to a plain request; whether to one for the headers alone.
    Respond(Address, u32, HttpResponse, bool),
    /// A connection to serve.
    Accepted(Accepted),
    /// Begin nothing new, and end when everything open is over.
    Drain,
    /// End now.
    Stop,
}

struct State {
    notes: Vec<Note>,
    asleep: bool,
    closed: bool,
}

/// A loop's inbox. Its length is bounded by what fills it: calls hold one note each, and streams stop
/// sending by what [`ReplySink::queued`] says.
pub(crate) struct Inbox {
    id: u64,
    state: Mutex<State>,
    waker: Waker,
}

impl Inbox {
    pub(crate) fn new(waker: Waker) -> Inbox {
        let state = State { notes: Vec::new(), asleep: false, closed: false };
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Inbox { id, state: Mutex::new(state), waker }
    }

    /// Makes the calling thread this loop's own.
    pub(crate) fn adopt(&self) {
        OWN.with_borrow_mut(|own| own.0 = self.id);
    }

    /// Adds a note, from any thread.
    pub(crate) fn send(&self, note: Note) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        state.notes.push(note);
        let wake = std::mem::take(&mut state.asleep);
        drop(state);
        if wake {
            // A loop that cannot be woken has lost its poll, and with it every connection.
            let _ = self.waker.wake();
        }
    }

    /// Adds a unary reply: without the lock if this is the loop's thread.
    fn reply(&self, note: Note) {
        let mut note = Some(note);
        // The list is gone only while its thread ends.
        let _ = OWN.try_with(|own| {
            let mut own = own.borrow_mut();
            if own.0 == self.id {
                own.1.extend(note.take());
            }
        });
        if let Some(note) = note {
            self.send(note);
        }
    }

    /// Takes what was given on the loop's own thread; `into` must be empty.
    pub(crate) fn take_own(into: &mut Vec<Note>) {
        debug_assert!(into.is_empty());
        OWN.with_borrow_mut(|own| std::mem::swap(&mut own.1, into));
    }

    /// Whether nothing was given on this thread that is not taken.
    pub(crate) fn has_no_own() -> bool {
        OWN.with_borrow(|own| own.1.is_empty())
    }

    /// Takes what other threads gave; `into` must be empty.
    pub(crate) fn take(&self, into: &mut Vec<Note>) {
        debug_assert!(into.is_empty());
        std::mem::swap(&mut self.state.lock().notes, into);
    }

    /// The loop is about to sleep; `false` if there is something to do first.
    pub(crate) fn sleep(&self) -> bool {
        let mut state = self.state.lock();
        state.asleep = state.notes.is_empty();
        state.asleep
    }

    /// The loop is awake and will look again before it sleeps.
    pub(crate) fn awake(&self) {
        self.state.lock().asleep = false;
    }

    /// The loop has ended: what comes is dropped.
    pub(crate) fn close(&self) {
        let notes = {
            let mut state = self.state.lock();
            state.closed = true;
            std::mem::take(&mut state.notes)
        };
        drop(notes);
    }
}

/// Takes the unary replies and the plain answers of one connection.
pub(crate) struct ConnectionSink {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) address: Address,
}

impl ConnectionSink {
    /// The answer to a plain request.
    pub(crate) fn respond(&self, stream: u32, response: HttpResponse, is_head: bool) {
        self.inbox.send(Note::Respond(self.address, stream, response, is_head));
    }
}

impl ReplySink for ConnectionSink {
    fn reply(&self, id: u64, result: Result<Bytes, Status>) {
        self.inbox.reply(Note::Reply(self.address, id as u32, result));
    }

    fn reply_pieces(&self, id: u64, pieces: Vec<Bytes>) {
        self.inbox.send(Note::Message(self.address, id as u32, pieces));
        self.inbox.send(Note::Finish(self.address, id as u32, Status::OK));
    }

    fn message(&self, _id: u64, _pieces: Vec<Bytes>) {}

    fn finish(&self, _id: u64, _status: Status) {}

    fn queued(&self, _id: u64) -> usize {
        0
    }

    fn sign_of_call(&self, id: u64) -> Option<Weak<()>> {
        let sign = Arc::new(());
        let watched = Arc::downgrade(&sign);
        self.inbox.send(Note::Sign(self.address, id as u32, sign));
        Some(watched)
    }
}

/// Takes one stream's messages, and counts what is not on the wire.
pub(crate) struct StreamSink {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) address: Address,
    pub(crate) queued: Arc<AtomicUsize>,
}

impl ReplySink for StreamSink {
    fn reply(&self, _id: u64, _result: Result<Bytes, Status>) {}

    fn message(&self, id: u64, pieces: Vec<Bytes>) {
        let len: usize = pieces.iter().map(Bytes::len).sum();
        self.queued.fetch_add(len + crate::frame::HEADER_LEN, Ordering::Relaxed);
        self.inbox.send(Note::Message(self.address, id as u32, pieces));
    }

    fn finish(&self, id: u64, status: Status) {
        self.inbox.send(Note::Finish(self.address, id as u32, status));
    }

    fn queued(&self, _id: u64) -> usize {
        self.queued.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::Responder;
    use std::time::Duration;

    const ADDRESS: Address = Address { slot: 0, serial: 0 };

    fn inbox() -> (mio::Poll, Arc<Inbox>) {
        let poll = mio::Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), mio::Token(0)).unwrap();
        (poll, Arc::new(Inbox::new(waker)))
    }

    fn woken(poll: &mut mio::Poll) -> bool {
        let mut events = mio::Events::with_capacity(4);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        !events.is_empty()
    }

    #[test]
    fn only_a_sleeping_loop_is_woken_and_only_once() {
        let (mut poll, inbox) = inbox();
        inbox.send(Note::Drain);
        assert!(!woken(&mut poll));
        assert!(!inbox.sleep(), "there is a note");
        let mut notes = Vec::new();
        inbox.take(&mut notes);
        assert!(inbox.sleep());
        inbox.send(Note::Drain);
        assert!(woken(&mut poll));
        inbox.send(Note::Drain);
        assert!(!woken(&mut poll));
        notes.clear();
        inbox.take(&mut notes);
        assert_eq!(notes.len(), 2);
    }

    #[test]
    fn replies_on_the_loops_thread_take_no_lock() {
        let (_poll, inbox) = inbox();
        let sink = Arc::new(ConnectionSink { inbox: Arc::clone(&inbox), address: ADDRESS });
        let give = |sink: &Arc<ConnectionSink>| {
            let sink: Arc<dyn ReplySink> = Arc::<ConnectionSink>::clone(sink);
            Responder::new(sink, 1).reply(Bytes::new());
        };
        give(&sink);
        inbox.adopt();
        give(&sink);
        let (mut own, mut others) = (Vec::new(), Vec::new());
        Inbox::take_own(&mut own);
        inbox.take(&mut others);
        assert_eq!((own.len(), others.len()), (1, 1));
        inbox.close();
        std::thread::scope(|scope| scope.spawn(|| give(&sink)).join().unwrap());
        others.clear();
        inbox.take(&mut others);
        assert!(others.is_empty());
    }
}
