//! Header blocks on their way in: gathered from their frames, decoded, and remembered, since a client
//! that makes the same call again sends the very same bytes.

use super::frame::{Failure, Reason};
use super::head::{Builder, Head, is_trailer};
use super::hpack::Decoder;
use std::net::SocketAddr;
use std::sync::Arc;

/// A block that goes on in CONTINUATION frames may be this long.
const BLOCK_BYTES_MAX: usize = 128 * 1024;
/// And have this many of them.
const CONTINUATIONS_MAX: u32 = 64;
/// Requests remembered.
const MEMORY_MAX: usize = 8;
/// Longer blocks are not remembered.
const REMEMBERED_BYTES_MAX: usize = 1024;

/// A block whose end has not come.
pub(crate) struct OpenBlock {
    pub(crate) stream: u32,
    pub(crate) end_stream: bool,
    pub(crate) bytes: Vec<u8>,
    continuations: u32,
}

impl OpenBlock {
    pub(crate) fn new(stream: u32, end_stream: bool, begin: &[u8]) -> OpenBlock {
        OpenBlock { stream, end_stream, bytes: begin.to_vec(), continuations: 0 }
    }

    /// The next piece.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), Failure> {
        self.continuations += 1;
        let len = self.bytes.len() + piece.len();
        if self.continuations > CONTINUATIONS_MAX || len > BLOCK_BYTES_MAX {
            return Err(Failure::Connection(Reason::EnhanceYourCalm, "endless headers"));
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}

struct Remembered {
    block: Box<[u8]>,
    head: Arc<Head>,
}

/// Turns blocks into requests.
///
/// Always true: everything in `memory` was decoded while the table was as it is now.
pub(crate) struct Requests {
    decoder: Decoder,
    peer: Option<SocketAddr>,
    /// Who the client is by its certificate.
    pub(crate) common_name: Option<Arc<str>>,
    memory: Vec<Remembered>,
    changes: u64,
}

impl Requests {
    pub(crate) fn new(peer: Option<SocketAddr>) -> Requests {
        Requests {
            decoder: Decoder::new(),
            peer,
            common_name: None,
            memory: Vec::new(),
            changes: 0,
        }
    }

    /// The request that a block makes.
    pub(crate) fn request(&mut self, block: &[u8]) -> Result<Arc<Head>, Failure> {
        if let Some(known) = self.memory.iter().find(|known| *known.block == *block) {
            return Ok(Arc::clone(&known.head));
        }
        let mut builder = Builder::default();
        self.decode(block, |field| builder.push(field))?;
        let head = Arc::new(builder.finish(self.peer, self.common_name.clone()));
        self.remember(block, &head);
        Ok(head)
    }

    /// Reads trailers; whether they are sound.
    pub(crate) fn trailers(&mut self, block: &[u8]) -> Result<bool, Failure> {
        let mut sound = true;
        self.decode(block, |field| sound &= is_trailer(&field))?;
        self.forget_if_changed();
        Ok(sound)
    }

    /// Reads a block for the table's sake alone.
    pub(crate) fn skip(&mut self, block: &[u8]) -> Result<(), Failure> {
        self.trailers(block).map(|_| ())
    }

    fn decode(
        &mut self,
        block: &[u8],
        each: impl FnMut(super::hpack::Field),
    ) -> Result<(), Failure> {
        let broken = |_| Failure::Connection(Reason::Compression, "headers cannot be read");
        self.decoder.decode(block, each).map_err(broken)
    }

    fn remember(&mut self, block: &[u8], head: &Arc<Head>) {
        if self.forget_if_changed() || block.len() > REMEMBERED_BYTES_MAX {
            return;
        }
        if self.memory.len() == MEMORY_MAX {
            self.memory.remove(0);
        }
        self.memory.push(Remembered { block: block.into(), head: Arc::clone(head) });
    }

    fn forget_if_changed(&mut self) -> bool {
        let changes = self.decoder.changes();
        let changed = std::mem::replace(&mut self.changes, changes) != changes;
        if changed {
            self.memory.clear();
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_blocks_are_one_request_until_the_table_changes() {
        let mut requests = Requests::new(None);
        // :method GET, :scheme http, :path /, and x: y, which enters the table.
        let teaching = [0x82, 0x86, 0x84, 0x40, 1, b'x', 1, b'y'];
        let short = [0x82, 0x86, 0x84, 0xbe];
        let first = requests.request(&teaching).unwrap();
        let second = requests.request(&short).unwrap();
        assert!(Arc::ptr_eq(&second, &requests.request(&short).unwrap()));
        assert_eq!((first.call.get("x"), second.call.get("x")), (Some("y"), Some("y")));
        requests.skip(&[0x40, 1, b'x', 1, b'z']).unwrap();
        assert_eq!(requests.request(&short).unwrap().call.get("x"), Some("z"));
    }

    #[test]
    fn blocks_do_not_grow_for_ever() {
        let mut block = OpenBlock::new(1, false, b"");
        let pushes = (0..).take_while(|_| block.push(b"").is_ok()).count();
        assert_eq!(pushes as u32, CONTINUATIONS_MAX);
        let mut block = OpenBlock::new(1, false, b"");
        let pushes = (0..).take_while(|_| block.push(&[0; 16_384]).is_ok()).count();
        assert_eq!(pushes, BLOCK_BYTES_MAX / 16_384);
    }
}
