//! One loop: its sockets, their connections, and the order of work in a wake-up.

use super::connection::{Connection, Event, Limits, Protocol};
use super::deadlines::Deadlines;
use super::handshakes::Handshakes;
use super::inbox::{Address, ConnectionSink, Inbox, Note};
use super::peers::{Peer, Peers};
use super::session::{Services, Session};
use super::socket::Socket;
use crate::permits::{ConnectionPermit, ConnectionPermits};
use crate::secure::Handshake;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tls::Acceptor;

/// Sockets reported at once.
const EVENTS_MAX: usize = 1024;
/// Bytes read at once.
const READ_BYTES: usize = 128 * 1024;
/// Reads of one connection before others have their turn.
const READS_MAX: u32 = 8;
/// A connection is not read while this much waits for its socket.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// How long accepting rests after it failed, mostly for want of file descriptors.
const ACCEPT_PAUSE_MS: u64 = 50;
/// How often time is looked at, at most and at least.
const SWEEP_MS: (u64, u64) = (10, 1_000);

pub(super) const WAKE: Token = Token(usize::MAX);
/// Listeners count down from here.
const LISTENER_FIRST: usize = usize::MAX - 1;

/// A connection that has just come.
pub(crate) struct Accepted {
    socket: TcpStream,
    addr: SocketAddr,
    permit: ConnectionPermit,
    /// For TLS.
    acceptor: Option<Arc<Acceptor>>,
}

/// A loop, run by one thread.
pub(super) struct EventLoop {
    /// For connections accepted here.
    pub(super) permits: ConnectionPermits,
    pub(super) poll: Poll,
    pub(super) inbox: Arc<Inbox>,
    pub(super) all: Vec<Arc<Inbox>>,
    pub(super) services: Arc<Services>,
    pub(super) limits: Arc<Limits>,
    /// Each with what makes its connections secure.
    pub(super) listeners: Vec<(TcpListener, Option<Arc<Acceptor>>)>,
    state: State,
}

/// What changes as it runs.
struct State {
    began: Instant,
    now_ms: u64,
    peers: Peers,
    handshakes: Handshakes,
    next_loop: usize,
    /// Connections whose turn was cut short.
    unread: Vec<u32>,
    buffer: Box<[u8]>,
    notes: Vec<Note>,
    events: Vec<Event>,
    accept_at_ms: Option<u64>,
    sweep_at_ms: u64,
    /// Of the calls on all connections.
    deadlines: Deadlines,
    draining: bool,
    stopped: bool,
}

impl State {
    fn new() -> State {
        State {
            began: Instant::now(),
            now_ms: 0,
            peers: Peers::default(),
            handshakes: Handshakes::default(),
            next_loop: 0,
            unread: Vec::new(),
            buffer: vec![0; READ_BYTES].into(),
            notes: Vec::new(),
            events: Vec::new(),
            accept_at_ms: None,
            sweep_at_ms: 0,
            deadlines: Deadlines::default(),
            draining: false,
            stopped: false,
        }
    }
}

impl EventLoop {
    pub(super) fn new(
        poll: Poll,
        inbox: Arc<Inbox>,
        services: Arc<Services>,
        limits: Arc<Limits>,
    ) -> EventLoop {
        let (all, listeners) = (Vec::new(), Vec::new());
        let permits = ConnectionPermits::new(usize::MAX);
        EventLoop { poll, inbox, all, services, limits, listeners, permits, state: State::new() }
    }

    /// Has new connections announced.
    pub(super) fn listen(
        &mut self,
        mut listener: TcpListener,
        acceptor: Option<Arc<Acceptor>>,
    ) -> io::Result<()> {
        let token = Token(LISTENER_FIRST - self.listeners.len());
        self.poll.registry().register(&mut listener, token, Interest::READABLE)?;
        self.listeners.push((listener, acceptor));
        Ok(())
    }

    /// Runs until it is stopped, or drained of its connections.
    pub(super) fn run(&mut self) {
        self.inbox.adopt();
        let mut ready = Events::with_capacity(EVENTS_MAX);
        while !(self.state.stopped || self.state.draining && self.state.peers.len() == 0) {
            let timeout = self.timeout();
            // An interrupted wait is one without events.
            let polled = self.poll.poll(&mut ready, timeout);
            self.inbox.awake();
            self.state.now_ms = self.state.began.elapsed().as_millis() as u64;
            if polled.is_ok() {
                self.take_ready(&ready);
            }
            self.read_on();
            self.take_notes();
            self.settle();
            self.sweep();
        }
        self.inbox.close();
        for slot in self.state.peers.slots() {
            self.drop_peer(slot);
        }
    }

    /// How long to sleep; the inbox knows of it.
    fn timeout(&mut self) -> Option<Duration> {
        let state = &self.state;
        let has_work = !state.unread.is_empty() || state.peers.has_touched();
        if has_work || !Inbox::has_no_own() || !self.inbox.sleep() {
            return Some(Duration::ZERO);
        }
        let accept = state.accept_at_ms;
        let sweep = (state.peers.len() > 0).then_some(state.sweep_at_ms);
        let due = Some(state.deadlines.next_ms()).filter(|due| *due < u64::MAX);
        let next = accept.into_iter().chain(sweep).chain(due).min()?;
        let now_ms = state.began.elapsed().as_millis() as u64;
        Some(Duration::from_millis(next.saturating_sub(now_ms)))
    }

    fn take_ready(&mut self, ready: &Events) {
        for event in ready {
            let token = event.token();
            if token == WAKE {
                continue;
            }
            if token.0 > LISTENER_FIRST - self.listeners.len() {
                self.accept(LISTENER_FIRST - token.0);
                continue;
            }
            let slot = token.0 as u32;
            let Some(peer) = self.state.peers.get(slot) else { continue };
            let shakes = peer.socket.is_shaking();
            let has_output = peer.connection.output().len() > 0 || peer.socket.has_pending();
            if event.is_writable() && has_output {
                self.state.peers.touch(slot);
            }
            if shakes || event.is_readable() || event.is_read_closed() || event.is_error() {
                self.read(slot, event.is_read_closed() || event.is_error());
            }
        }
    }

    /// Goes on with connections that were cut short.
    fn read_on(&mut self) {
        for slot in std::mem::take(&mut self.state.unread) {
            self.read(slot, false);
        }
    }

    fn accept(&mut self, listener: usize) {
        loop {
            let Some(permit) = self.permits.take() else {
                self.state.accept_at_ms = Some(self.state.now_ms + ACCEPT_PAUSE_MS);
                return;
            };
            let (listener, acceptor) = &self.listeners[listener];
            match listener.accept() {
                Ok((socket, addr)) => {
                    // A socket that refuses the option still works.
                    let _ = socket.set_nodelay(true);
                    let acceptor = acceptor.clone();
                    self.assign(Accepted { socket, addr, permit, acceptor });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.state.accept_at_ms = Some(self.state.now_ms + ACCEPT_PAUSE_MS);
                    return;
                }
            }
        }
    }

    /// Connections go to the loops in turn.
    fn assign(&mut self, accepted: Accepted) {
        let turn = self.state.next_loop;
        self.state.next_loop = (turn + 1) % self.all.len();
        if Arc::ptr_eq(&self.all[turn], &self.inbox) {
            self.add(accepted);
        } else {
            self.all[turn].send(Note::Accepted(accepted));
        }
    }

    fn add(&mut self, accepted: Accepted) {
        let Accepted { socket, addr, permit, acceptor } = accepted;
        let state = &mut self.state;
        let Ok(mut socket) = Socket::new(socket, acceptor, addr, state.now_ms) else { return };
        let address = state.peers.reserve();
        let token = Token(address.slot as usize);
        if state.draining || socket.register(self.poll.registry(), token).is_err() {
            return state.peers.release(address);
        }
        let session = Session::new(ConnectionSink::new(Arc::clone(&self.inbox), address));
        let mut connection = Connection::new(Arc::clone(&self.limits), Some(addr), state.now_ms);
        let shakes = socket.is_shaking();
        connection.is_secure = shakes;
        let peer = Peer::new((socket, addr, permit), address.serial, connection, session);
        state.peers.insert(address.slot, peer);
        if shakes {
            self.begin_handshake(address);
        }
    }

    fn begin_handshake(&mut self, address: Address) {
        let State { peers, handshakes, .. } = &mut self.state;
        let Some(oldest) = handshakes.begin(address, |begun| peers.is_shaking(begun)) else {
            return;
        };
        if self.state.peers.is_shaking(oldest)
            && let Some(peer) = self.state.peers.get(oldest.slot)
        {
            peer.socket.reject("too many handshakes are under way");
            self.drop_peer(oldest.slot);
        }
    }

    /// Goes on with a handshake; whether HTTP/2 may be read now.
    fn shake(&mut self, slot: u32) -> bool {
        let Some(peer) = self.state.peers.get(slot) else { return false };
        match peer.socket.shake() {
            Ok(Handshake::Waits) => return false,
            Ok(Handshake::Http2) => {
                peer.connection.identify(peer.socket.common_name());
                return true;
            }
            Ok(Handshake::Http1) => self.hand_over(slot),
            Err(_) => self.drop_peer(slot),
        }
        false
    }

    /// Reads what there is and lets handlers hear of it. `to_end`: the client's end may have come
    /// behind what is read.
    fn read(&mut self, slot: u32, to_end: bool) {
        let shakes = self.state.peers.get(slot).is_some_and(|peer| peer.socket.is_shaking());
        if shakes && !self.shake(slot) {
            return;
        }
        for _ in 0..READS_MAX {
            let state = &mut self.state;
            let Some(peer) = state.peers.get(slot) else { return };
            peer.readable = true;
            if peer.connection.output().len() > OUTPUT_BYTES_MAX {
                return state.peers.touch(slot);
            }
            match peer.socket.read(&mut state.buffer) {
                Ok(0) => return self.drop_peer(slot),
                Ok(n) => {
                    let got = peer.connection.receive(&state.buffer[..n], state.now_ms);
                    if got == Protocol::Other {
                        return self.hand_over_plain(slot);
                    }
                    // Less than asked for was all there is.
                    peer.readable = to_end || n == READ_BYTES;
                    let readable = peer.readable;
                    state.deadlines.add(peer.connection.due_ms());
                    self.dispatch(slot);
                    self.state.peers.touch(slot);
                    if !readable {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    peer.readable = false;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.drop_peer(slot),
            }
        }
        self.state.unread.push(slot);
    }

    /// Lets handlers hear of a connection's events.
    fn dispatch(&mut self, slot: u32) {
        let state = &mut self.state;
        let Some(peer) = state.peers.get(slot) else { return };
        let mut events = std::mem::take(&mut state.events);
        peer.connection.take_events(&mut events);
        for event in events.drain(..) {
            peer.session.handle(event, &mut peer.connection, &self.services);
        }
        state.events = events;
    }

    /// Gives a connection that speaks HTTP/1 away, unless HTTP/2 was agreed on.
    fn hand_over_plain(&mut self, slot: u32) {
        let Some(peer) = self.state.peers.get(slot) else { return };
        match peer.socket {
            Socket::Plain(_) => self.hand_over(slot),
            _ => self.drop_peer(slot),
        }
    }

    /// Gives a connection that speaks HTTP/1 away.
    fn hand_over(&mut self, slot: u32) {
        let Some(peer) = self.state.peers.remove(slot) else { return };
        if let Ok(socket) = peer.socket.release(self.poll.registry()) {
            let input = peer.connection.into_input();
            self.services.web.adopt(socket, input, peer.addr, peer.permit);
        }
    }

    /// Takes replies: first those given by this thread.
    fn take_notes(&mut self) {
        let mut notes = std::mem::take(&mut self.state.notes);
        Inbox::take_own(&mut notes);
        for note in notes.drain(..) {
            self.take_note(note);
        }
        self.inbox.take(&mut notes);
        for note in notes.drain(..) {
            self.take_note(note);
        }
        self.state.notes = notes;
    }

    fn take_note(&mut self, note: Note) {
        match note {
            Note::Reply(to, stream, result) => {
                if let Some(peer) = self.state.peers.find_peer(to) {
                    peer.session.settle(stream);
                    peer.connection.reply(stream, result);
                }
            }
            Note::Message(to, stream, pieces) => {
                if let Some(connection) = self.state.peers.find(to) {
                    connection.message(stream, pieces);
                }
            }
            Note::Finish(to, stream, status) => {
                if let Some(peer) = self.state.peers.find_peer(to) {
                    peer.session.settle(stream);
                    peer.connection.finish(stream, &status);
                }
            }
            Note::Respond(to, stream, response, is_head) => {
                if let Some(connection) = self.state.peers.find(to) {
                    connection.respond(stream, response, is_head);
                }
            }
            Note::Accepted(accepted) => self.add(accepted),
            Note::Drain => self.drain(),
            Note::Stop => self.state.stopped = true,
        }
    }

    fn drain(&mut self) {
        self.state.draining = true;
        self.state.accept_at_ms = None;
        self.listeners.clear();
        for slot in self.state.peers.slots() {
            let state = &mut self.state;
            match state.peers.get(slot) {
                // It has not begun anything.
                Some(peer) if peer.socket.is_shaking() => self.drop_peer(slot),
                Some(peer) => {
                    peer.connection.drain(state.now_ms);
                    state.peers.touch(slot);
                }
                None => {}
            }
        }
    }

    /// Frames what waits and writes, once for each connection that something happened to.
    fn settle(&mut self) {
        while let Some(slot) = self.state.peers.next_touched() {
            self.settle_one(slot);
        }
    }

    fn settle_one(&mut self, slot: u32) {
        loop {
            let state = &mut self.state;
            let Some(peer) = state.peers.get(slot) else { return };
            peer.connection.pump();
            let socket = &mut peer.socket;
            let flushed = peer.connection.output().flush(|slices| socket.write(slices));
            let all_written = match flushed.and_then(|all| Ok(all && socket.flush()?)) {
                Ok(all_written) => all_written,
                Err(_) => return self.drop_peer(slot),
            };
            let more = all_written && peer.connection.has_ready();
            self.dispatch(slot);
            if !more {
                return self.after_write(slot, all_written);
            }
        }
    }

    fn after_write(&mut self, slot: u32, all_written: bool) {
        let state = &mut self.state;
        let Some(peer) = state.peers.get(slot) else { return };
        peer.part(all_written, state.now_ms);
        // The rest of a client that did not read our answers.
        if all_written && peer.readable && !state.unread.contains(&slot) {
            state.unread.push(slot);
        }
    }

    /// Ends calls whose time is up.
    fn expire(&mut self) {
        let now_ms = self.state.now_ms;
        let count = self.state.peers.len();
        // A connection costs more to look at than a stream.
        if !self.state.deadlines.look(now_ms, 20 * count) {
            return;
        }
        for slot in self.state.peers.slots() {
            let Some(peer) = self.state.peers.get(slot) else { continue };
            let is_due = peer.connection.due_ms() <= now_ms;
            if is_due {
                peer.connection.expire(now_ms);
            }
            self.state.deadlines.add(peer.connection.due_ms());
            if is_due {
                self.dispatch(slot);
                self.state.peers.touch(slot);
            }
        }
    }

    /// What depends on time.
    fn sweep(&mut self) {
        self.expire();
        let now_ms = self.state.now_ms;
        if self.state.accept_at_ms.is_some_and(|at| at <= now_ms) {
            self.state.accept_at_ms = None;
            (0..self.listeners.len()).for_each(|listener| self.accept(listener));
        }
        if now_ms < self.state.sweep_at_ms {
            return;
        }
        let fine = self.limits.keepalive_interval.min(self.limits.keepalive_timeout) / 4;
        let step = (fine.as_millis() as u64).clamp(SWEEP_MS.0, SWEEP_MS.1);
        self.state.sweep_at_ms = now_ms + step;
        for slot in self.state.peers.slots() {
            self.tick(slot);
        }
    }

    fn tick(&mut self, slot: u32) {
        let now_ms = self.state.now_ms;
        let Some(peer) = self.state.peers.get(slot) else { return };
        if peer.socket.is_late(now_ms) || !peer.tick(now_ms) {
            return self.drop_peer(slot);
        }
        if peer.connection.output().len() > 0 || peer.socket.has_pending() {
            self.state.peers.touch(slot);
        }
    }

    fn drop_peer(&mut self, slot: u32) {
        if let Some(peer) = self.state.peers.get(slot) {
            peer.connection.abandon();
            self.dispatch(slot);
        }
        self.state.peers.remove(slot);
    }
}
