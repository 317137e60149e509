//! The clients of one loop, each at a slot that it keeps.

use super::connection::Connection;
use super::inbox::Address;
use super::session::Session;
use super::socket::Socket;
use crate::permits::ConnectionPermit;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// How long a connection that is over waits for the client's end.
const LINGER_MS: u64 = 1_000;
/// How long it waits for a client that does not read the rest.
const LAST_WORDS_MS: u64 = 20_000;

/// One client.
pub(super) struct Peer {
    pub(super) socket: Socket,
    pub(super) addr: SocketAddr,
    pub(super) permit: ConnectionPermit,
    pub(super) connection: Connection,
    pub(super) session: Session,
    /// There may be something to read.
    pub(super) readable: bool,
    serial: u64,
    /// It stands among those to settle.
    touched: bool,
    ending: Ending,
}

/// How far a client's farewell is.
enum Ending {
    No,
    /// There is output left, for which this is the deadline.
    Speaking(u64),
    /// Everything is said, and the client has until then to close.
    Silent(u64),
}

/// All clients of a loop.
///
/// Always true: a slot is in `free` exactly if it is empty and not reserved; `touched` names no slot
/// twice.
#[derive(Default)]
pub(super) struct Peers {
    slots: Vec<Option<Peer>>,
    free: Vec<u32>,
    next_serial: u64,
    touched: VecDeque<u32>,
}

impl Peer {
    pub(super) fn new(
        (socket, addr, permit): (Socket, SocketAddr, ConnectionPermit),
        serial: u64,
        connection: Connection,
        session: Session,
    ) -> Peer {
        let (readable, touched, ending) = (false, false, Ending::No);
        Peer { socket, addr, permit, connection, session, readable, serial, touched, ending }
    }

    /// What was to be written is written, or not; where the connection is over, the farewell goes on.
    pub(super) fn part(&mut self, all_written: bool, now_ms: u64) {
        if !self.connection.is_over() {
            return;
        }
        match self.ending {
            Ending::No if !all_written => self.ending = Ending::Speaking(now_ms + LAST_WORDS_MS),
            Ending::No | Ending::Speaking(_) if all_written => {
                self.ending = Ending::Silent(now_ms + LINGER_MS);
                self.socket.finish();
            }
            _ => {}
        }
    }

    /// Looks at the time; `false` if the client is to be dropped.
    pub(super) fn tick(&mut self, now_ms: u64) -> bool {
        match self.ending {
            Ending::No => self.connection.tick(now_ms),
            Ending::Speaking(until) | Ending::Silent(until) => now_ms < until,
        }
    }
}

impl Peers {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Every slot there is, in use or not.
    pub(super) fn slots(&self) -> std::ops::Range<u32> {
        0..self.slots.len() as u32
    }

    /// A place for one more, to be filled or given back.
    pub(super) fn reserve(&mut self) -> Address {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.next_serial += 1;
        Address { slot, serial: self.next_serial }
    }

    /// Gives a reserved place back.
    pub(super) fn release(&mut self, address: Address) {
        self.free.push(address.slot);
    }

    /// Fills a reserved place.
    pub(super) fn insert(&mut self, slot: u32, peer: Peer) {
        self.slots[slot as usize] = Some(peer);
    }

    pub(super) fn get(&mut self, slot: u32) -> Option<&mut Peer> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Peer> {
        let peer = self.slots[slot as usize].take()?;
        self.free.push(slot);
        Some(peer)
    }

    /// Has a client settled at the end of this wake-up.
    pub(super) fn touch(&mut self, slot: u32) {
        if let Some(Some(peer)) = self.slots.get_mut(slot as usize)
            && !std::mem::replace(&mut peer.touched, true)
        {
            self.touched.push_back(slot);
        }
    }

    /// The connection at an address, which is then settled; `None` if it is gone.
    pub(super) fn find(&mut self, to: Address) -> Option<&mut Connection> {
        Some(&mut self.find_peer(to)?.connection)
    }

    /// As [`Peers::find`], with all that belongs to the client.
    pub(super) fn find_peer(&mut self, to: Address) -> Option<&mut Peer> {
        let peer = self.slots.get_mut(to.slot as usize)?.as_mut()?;
        if peer.serial != to.serial {
            return None;
        }
        if !std::mem::replace(&mut peer.touched, true) {
            self.touched.push_back(to.slot);
        }
        Some(peer)
    }

    /// Whether the client at an address is there, and its handshake under way.
    pub(super) fn is_shaking(&self, at: Address) -> bool {
        let peer = self.slots.get(at.slot as usize).and_then(Option::as_ref);
        peer.is_some_and(|peer| peer.serial == at.serial && peer.socket.is_shaking())
    }

    /// Whether some are to be settled.
    pub(super) fn has_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// The next to settle.
    pub(super) fn next_touched(&mut self) -> Option<u32> {
        let slot = self.touched.pop_front()?;
        if let Some(peer) = self.get(slot) {
            peer.touched = false;
        }
        Some(slot)
    }
}
