//! Revisions and their bytes.
//!
//! ```text
//! | main, 8 bytes big-endian | '_' | sub, 8 bytes big-endian |  't' for a tombstone |
//! ```

/// One change: `main` counts write requests, `sub` the changes within one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// The store's revision after the request.
    pub main: i64,
    /// The change's place in it.
    pub sub: i64,
}

const LEN: usize = 17;

/// The first key of the table at or after a main revision.
pub(crate) fn start_of(main: i64) -> [u8; LEN] {
    Revision { main, sub: 0 }.encode()
}

impl Revision {
    /// The key of a put.
    pub(crate) fn encode(self) -> [u8; LEN] {
        let mut bytes = [b'_'; LEN];
        bytes[..8].copy_from_slice(&self.main.to_be_bytes());
        bytes[9..].copy_from_slice(&self.sub.to_be_bytes());
        bytes
    }

    /// The key of a tombstone.
    pub(crate) fn encode_tombstone(self) -> [u8; LEN + 1] {
        let mut bytes = [b't'; LEN + 1];
        bytes[..LEN].copy_from_slice(&self.encode());
        bytes
    }

    /// Reads a key of the table; whether it is a tombstone comes with it.
    pub fn decode(key: &[u8]) -> Option<(Revision, bool)> {
        let is_tombstone = match key.get(LEN..)? {
            [] => false,
            [b't'] => true,
            _ => return None,
        };
        // What is not ordered as its numbers are is none: so revisions of the table ascend.
        let number = |at: usize| -> Option<i64> {
            let number = i64::from_be_bytes(key.get(at..at + 8)?.try_into().ok()?);
            (number >= 0).then_some(number)
        };
        let is_separated = key[8] == b'_';
        is_separated.then_some(())?;
        Some((Revision { main: number(0)?, sub: number(9)? }, is_tombstone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_the_order_and_read_back() {
        let revision = Revision { main: 258, sub: 3 };
        let key = revision.encode();
        assert_eq!(key, *b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03");
        assert_eq!(Revision::decode(&key), Some((revision, false)));
        let tombstone = revision.encode_tombstone();
        assert_eq!(Revision::decode(&tombstone), Some((revision, true)));
        assert!(key[..] < tombstone[..]);
        assert!(tombstone[..] < Revision { main: 258, sub: 4 }.encode()[..]);
        assert_eq!(Revision::decode(b"short"), None);
        let negative = b"\xff\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03";
        assert_eq!(Revision::decode(negative), None);
        assert_eq!(Revision::decode(b"\0\0\0\0\0\0\x01\x02-\0\0\0\0\0\0\0\x03"), None);
        assert_eq!(Revision::decode(b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03x"), None);
    }
}
