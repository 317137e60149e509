//! One loop: its sockets, their connections, and the order of work in a wake-up.

use super::connection::{Connection, Event, Limits, Protocol};
use super::inbox::{Address, ConnectionSink, Inbox, Note};
use super::session::{Services, Session};
use super::socket::Socket;
use crate::places::{Place, Places};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Sockets reported at once.
const EVENTS_MAX: usize = 1024;
/// Bytes read at once.
const READ_BYTES: usize = 128 * 1024;
/// Reads of one connection before others have their turn.
const READS_MAX: u32 = 8;
/// A connection is not read while this much waits for its socket.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// How long a connection that is over waits for the client's end.
const LINGER_MS: u64 = 1_000;
/// How long accepting rests after it failed, mostly for want of file descriptors.
const ACCEPT_PAUSE_MS: u64 = 50;
/// How often time is looked at, at most and at least.
const SWEEP_MS: (u64, u64) = (10, 1_000);

pub(super) const WAKE: Token = Token(usize::MAX);
/// Listeners count down from here.
const LISTENER_FIRST: usize = usize::MAX - 1;

/// One client.
struct Peer {
    socket: Socket,
    addr: SocketAddr,
    place: Place,
    serial: u64,
    connection: Connection,
    session: Session,
    /// There may be something to read.
    readable: bool,
    /// It stands in the loop's list of those to settle.
    touched: bool,
    /// Everything is said; when to stop waiting for the client's end.
    lingers_until_ms: Option<u64>,
}

/// A loop, run by one thread.
pub(super) struct EventLoop {
    /// For connections accepted here.
    pub(super) places: Places,
    pub(super) poll: Poll,
    pub(super) inbox: Arc<Inbox>,
    pub(super) all: Vec<Arc<Inbox>>,
    pub(super) services: Arc<Services>,
    pub(super) limits: Arc<Limits>,
    pub(super) listeners: Vec<TcpListener>,
    state: State,
}

/// What changes as it runs.
struct State {
    began: Instant,
    now_ms: u64,
    peers: Vec<Option<Peer>>,
    free: Vec<u32>,
    open: usize,
    next_serial: u64,
    next_loop: usize,
    touched: Vec<u32>,
    /// Connections whose turn was cut short.
    unread: Vec<u32>,
    buffer: Box<[u8]>,
    notes: Vec<Note>,
    events: Vec<Event>,
    accept_at_ms: Option<u64>,
    sweep_at_ms: u64,
    draining: bool,
    stopped: bool,
}

impl State {
    fn new() -> State {
        State {
            began: Instant::now(),
            now_ms: 0,
            peers: Vec::new(),
            free: Vec::new(),
            open: 0,
            next_serial: 0,
            next_loop: 0,
            touched: Vec::new(),
            unread: Vec::new(),
            buffer: vec![0; READ_BYTES].into(),
            notes: Vec::new(),
            events: Vec::new(),
            accept_at_ms: None,
            sweep_at_ms: 0,
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
        let places = Places::new(usize::MAX);
        EventLoop { poll, inbox, all, services, limits, listeners, places, state: State::new() }
    }

    /// Has new connections announced.
    pub(super) fn listen(&mut self, mut listener: TcpListener) -> io::Result<()> {
        let token = Token(LISTENER_FIRST - self.listeners.len());
        self.poll.registry().register(&mut listener, token, Interest::READABLE)?;
        self.listeners.push(listener);
        Ok(())
    }

    /// Runs until it is stopped, or drained of its connections.
    pub(super) fn run(&mut self) {
        self.inbox.adopt();
        let mut ready = Events::with_capacity(EVENTS_MAX);
        while !(self.state.stopped || self.state.draining && self.state.open == 0) {
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
        for slot in 0..self.state.peers.len() as u32 {
            self.drop_peer(slot);
        }
    }

    /// How long to sleep; the inbox knows of it.
    fn timeout(&mut self) -> Option<Duration> {
        let state = &self.state;
        let has_work = !state.unread.is_empty() || !state.touched.is_empty();
        if has_work || !Inbox::has_no_own() || !self.inbox.sleep() {
            return Some(Duration::ZERO);
        }
        let accept = state.accept_at_ms;
        let sweep = (state.open > 0).then_some(state.sweep_at_ms);
        let next = accept.into_iter().chain(sweep).min()?;
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
            let Some(peer) = self.state.peers.get_mut(token.0).and_then(Option::as_mut) else {
                continue;
            };
            if event.is_writable() && peer.connection.output().len() > 0 {
                self.state.touch(slot);
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
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
            let Some(place) = self.places.take() else {
                self.state.accept_at_ms = Some(self.state.now_ms + ACCEPT_PAUSE_MS);
                return;
            };
            match self.listeners[listener].accept() {
                Ok((socket, addr)) => {
                    // A socket that refuses the option still works.
                    let _ = socket.set_nodelay(true);
                    self.assign(socket, addr, place);
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
    fn assign(&mut self, socket: TcpStream, addr: SocketAddr, place: Place) {
        let turn = self.state.next_loop;
        self.state.next_loop = (turn + 1) % self.all.len();
        if Arc::ptr_eq(&self.all[turn], &self.inbox) {
            self.add(socket, addr, place);
        } else {
            self.all[turn].send(Note::Accepted(socket, addr, place));
        }
    }

    fn add(&mut self, socket: TcpStream, addr: SocketAddr, place: Place) {
        let state = &mut self.state;
        let slot = state.free.pop().unwrap_or_else(|| {
            state.peers.push(None);
            state.peers.len() as u32 - 1
        });
        let serial = state.next_serial;
        state.next_serial += 1;
        let mut socket = Socket::Plain(socket);
        if state.draining || socket.register(self.poll.registry(), Token(slot as usize)).is_err() {
            return state.free.push(slot);
        }
        let address = Address { slot, serial };
        let sink = ConnectionSink { inbox: Arc::clone(&self.inbox), address };
        let limits = Arc::clone(&self.limits);
        state.peers[slot as usize] = Some(Peer {
            socket,
            addr,
            place,
            serial,
            connection: Connection::new(limits, Some(addr), state.now_ms),
            session: Session::new(sink),
            readable: false,
            touched: false,
            lingers_until_ms: None,
        });
        state.open += 1;
    }

    /// Reads what there is and lets handlers hear of it. `to_end`: the client's end may have come
    /// behind what is read.
    fn read(&mut self, slot: u32, to_end: bool) {
        for _ in 0..READS_MAX {
            let state = &mut self.state;
            let Some(peer) = state.peers[slot as usize].as_mut() else { return };
            peer.readable = true;
            if peer.connection.output().len() > OUTPUT_BYTES_MAX {
                return state.touch(slot);
            }
            match peer.socket.read(&mut state.buffer) {
                Ok(0) => return self.drop_peer(slot),
                Ok(n) => {
                    let got = peer.connection.receive(&state.buffer[..n], state.now_ms);
                    if got == Protocol::Other {
                        return self.hand_over(slot);
                    }
                    // Less than asked for was all there is.
                    peer.readable = to_end || n == READ_BYTES;
                    let readable = peer.readable;
                    self.dispatch(slot);
                    self.state.touch(slot);
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
        let Some(peer) = state.peers[slot as usize].as_mut() else { return };
        let mut events = std::mem::take(&mut state.events);
        peer.connection.take_events(&mut events);
        for event in events.drain(..) {
            peer.session.handle(event, &mut peer.connection, &self.services);
        }
        state.events = events;
    }

    /// Gives a connection that speaks HTTP/1 away.
    fn hand_over(&mut self, slot: u32) {
        let Some(peer) = self.state.remove(slot) else { return };
        if let Ok(socket) = peer.socket.release(self.poll.registry()) {
            let input = peer.connection.into_input();
            self.services.web.adopt(socket, input, peer.addr, peer.place);
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
                if let Some(connection) = self.state.find(to) {
                    connection.reply(stream, result);
                }
            }
            Note::Message(to, stream, pieces) => {
                if let Some(connection) = self.state.find(to) {
                    connection.message(stream, pieces);
                }
            }
            Note::Finish(to, stream, status) => {
                if let Some(connection) = self.state.find(to) {
                    connection.finish(stream, &status);
                }
            }
            Note::Respond(to, stream, response, is_head) => {
                if let Some(connection) = self.state.find(to) {
                    connection.respond(stream, response, is_head);
                }
            }
            Note::Accepted(socket, addr, place) => self.add(socket, addr, place),
            Note::Drain => self.drain(),
            Note::Stop => self.state.stopped = true,
        }
    }

    fn drain(&mut self) {
        let state = &mut self.state;
        state.draining = true;
        state.accept_at_ms = None;
        self.listeners.clear();
        for slot in 0..state.peers.len() as u32 {
            if let Some(peer) = &mut state.peers[slot as usize] {
                peer.connection.drain(state.now_ms);
                state.touch(slot);
            }
        }
    }

    /// Frames what waits and writes, once for each connection that something happened to.
    fn settle(&mut self) {
        let mut touched = std::mem::take(&mut self.state.touched);
        for slot in touched.drain(..) {
            if let Some(peer) = &mut self.state.peers[slot as usize] {
                peer.touched = false;
                self.settle_one(slot);
            }
        }
        // Handlers that were told of room may have touched some again.
        if self.state.touched.is_empty() {
            self.state.touched = touched;
        }
    }

    fn settle_one(&mut self, slot: u32) {
        loop {
            let state = &mut self.state;
            let Some(peer) = state.peers[slot as usize].as_mut() else { return };
            peer.connection.pump();
            let socket = &mut peer.socket;
            let flushed = peer.connection.output().flush(|slices| socket.write(slices));
            let all_written = match flushed {
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
        let Some(peer) = state.peers[slot as usize].as_mut() else { return };
        if !all_written {
            return;
        }
        if peer.connection.is_over() && peer.lingers_until_ms.is_none() {
            peer.lingers_until_ms = Some(state.now_ms + LINGER_MS);
            peer.socket.finish();
        }
        // The rest of a client that did not read our answers.
        if peer.readable && !state.unread.contains(&slot) {
            state.unread.push(slot);
        }
    }

    /// What depends on time.
    fn sweep(&mut self) {
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
        for slot in 0..self.state.peers.len() as u32 {
            self.tick(slot);
        }
    }

    fn tick(&mut self, slot: u32) {
        let now_ms = self.state.now_ms;
        let Some(peer) = self.state.peers[slot as usize].as_mut() else { return };
        let lingers = peer.lingers_until_ms.is_none_or(|until| now_ms < until);
        if !lingers || !peer.connection.tick(now_ms) {
            return self.drop_peer(slot);
        }
        if peer.connection.output().len() > 0 {
            self.state.touch(slot);
        }
    }

    fn drop_peer(&mut self, slot: u32) {
        if let Some(peer) = &mut self.state.peers[slot as usize] {
            peer.connection.abandon();
            self.dispatch(slot);
        }
        self.state.remove(slot);
    }
}

impl State {
    /// Has a connection settled at the end of this wake-up.
    fn touch(&mut self, slot: u32) {
        if let Some(peer) = &mut self.peers[slot as usize]
            && !std::mem::replace(&mut peer.touched, true)
        {
            self.touched.push(slot);
        }
    }

    /// The connection at an address, which is then settled; `None` if it is gone.
    fn find(&mut self, to: Address) -> Option<&mut Connection> {
        let peer = self.peers.get_mut(to.slot as usize)?.as_mut()?;
        if peer.serial != to.serial {
            return None;
        }
        if !std::mem::replace(&mut peer.touched, true) {
            self.touched.push(to.slot);
        }
        Some(&mut peer.connection)
    }

    fn remove(&mut self, slot: u32) -> Option<Peer> {
        let peer = self.peers[slot as usize].take()?;
        self.free.push(slot);
        self.open -= 1;
        Some(peer)
    }
}
