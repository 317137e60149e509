//! The bytes that a write transaction works on: the mapped file, and what it has added.

use crate::page::{Page, PageId, Place};
use disk::Mapping;

/// Set in a [`Span`] that lies in the added bytes; the rest is chunk number and offset.
const ADDED: u64 = 1 << 63;
const OFFSET_BITS: u32 = 32;
/// Added bytes are kept in chunks of this size, or larger for one large value.
const CHUNK_BYTES: usize = 256 * 1024;

/// A key and the value that follows it, as in a page. Where they lie is known to the [`Store`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    at: u64,
    pub(crate) key_len: u32,
    pub(crate) value_len: u32,
}

impl Span {
    pub(crate) const EMPTY: Span = Span { at: 0, key_len: 0, value_len: 0 };

    /// In the mapping; `base` is where the page begins in it.
    pub(crate) fn mapped(base: usize, place: Place) -> Span {
        debug_assert!(
            place.key <= place.value && place.value <= place.end,
            "{place:?} is in order"
        );
        Span {
            at: (base + place.key) as u64,
            key_len: (place.value - place.key) as u32,
            value_len: (place.end - place.value) as u32,
        }
    }

    /// The key alone.
    pub(crate) fn only_key(self) -> Span {
        Span { value_len: 0, ..self }
    }

    /// Bytes of key and value.
    pub(crate) fn len(self) -> usize {
        self.key_len as usize + self.value_len as usize
    }
}

/// What spans and page numbers refer to.
///
/// Always true:
/// 1. Bytes once handed out as a [`Span`] stay as they are, but for [`Store::overwrite`].
/// 2. `added_bytes` are those in all chunks.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) mapping: Mapping,
    pub(crate) page_size: usize,
    added: Vec<Vec<u8>>,
    added_bytes: usize,
}

impl Store {
    pub(crate) fn new(mapping: Mapping, page_size: usize) -> Store {
        Store { mapping, page_size, added: Vec::new(), added_bytes: 0 }
    }

    /// Asserts what is always true.
    pub(crate) fn check(&self) {
        let held: usize = self.added.iter().map(Vec::len).sum();
        assert_eq!(held, self.added_bytes, "added bytes are counted");
    }

    pub(crate) fn page(&self, id: PageId) -> Page<'_> {
        Page::at(&self.mapping, self.page_size, id)
    }

    /// Bytes that have been added.
    pub(crate) fn added_bytes(&self) -> usize {
        self.added_bytes
    }

    /// Key and value in one piece.
    pub(crate) fn bytes(&self, span: Span) -> &[u8] {
        self.slice(span.at, span.len())
    }

    pub(crate) fn key(&self, span: Span) -> &[u8] {
        self.slice(span.at, span.key_len as usize)
    }

    pub(crate) fn value(&self, span: Span) -> &[u8] {
        &self.bytes(span)[span.key_len as usize..]
    }

    fn slice(&self, at: u64, len: usize) -> &[u8] {
        if at & ADDED == 0 {
            &self.mapping[at as usize..][..len]
        } else {
            let (chunk, offset) = split(at);
            &self.added[chunk][offset..][..len]
        }
    }

    /// Adds a key and a value.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> Span {
        let len = key.len() + value.len();
        if self.added.last().is_none_or(|last| last.capacity() - last.len() < len) {
            self.added.push(Vec::with_capacity(len.max(CHUNK_BYTES)));
        }
        let number = self.added.len() as u64 - 1;
        let chunk = self.added.last_mut().expect("one has room now");
        let (offset, room) = (chunk.len() as u64, chunk.capacity() - chunk.len());
        assert!(number >> (63 - OFFSET_BITS) == 0, "chunk {number} has no room in a span");
        assert!(offset >> OFFSET_BITS == 0 && room >= len, "{len} bytes at {offset}, room {room}");
        let at = ADDED | number << OFFSET_BITS | chunk.len() as u64;
        chunk.extend_from_slice(key);
        chunk.extend_from_slice(value);
        self.added_bytes += len;
        Span { at, key_len: key.len() as u32, value_len: value.len() as u32 }
    }

    /// The same key with another value: in its place where it was added and is long enough, so
    /// that setting one key again and again takes no more memory.
    pub(crate) fn overwrite(&mut self, span: Span, key: &[u8], value: &[u8]) -> Span {
        if span.at & ADDED == 0 || (span.value_len as usize) < value.len() {
            return self.add(key, value);
        }
        debug_assert_eq!(self.key(span), key, "another value is put under the same key");
        let (chunk, offset) = split(span.at);
        let start = offset + span.key_len as usize;
        self.added[chunk][start..start + value.len()].copy_from_slice(value);
        Span { value_len: value.len() as u32, ..span }
    }

    /// Where bytes that lie in the mapping begin in it.
    pub(crate) fn mapped_at(&self, span: Span) -> Option<usize> {
        (span.at & ADDED == 0).then_some(span.at as usize)
    }
}

fn split(at: u64) -> (usize, usize) {
    let at = at & !ADDED;
    ((at >> OFFSET_BITS) as usize, (at & ((1 << OFFSET_BITS) - 1)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_where_they_are_put() {
        let mut store = Store::new(Mapping::copied(*b"0123456789"), 1024);
        let mapped = Span::mapped(2, Place { key: 1, value: 3, end: 6 });
        assert_eq!((store.key(mapped), store.value(mapped)), (&b"34"[..], &b"567"[..]));
        let first = store.add(b"key", b"value");
        let large = store.add(b"large", &vec![7; 2 * CHUNK_BYTES]);
        let last = store.add(b"", b"");
        assert_eq!(store.bytes(first), b"keyvalue");
        assert_eq!(store.value(large).len(), 2 * CHUNK_BYTES);
        assert_eq!(store.bytes(last), b"");
        assert_eq!((store.mapped_at(mapped), store.mapped_at(first)), (Some(3), None));
    }

    #[test]
    fn a_value_that_is_not_longer_is_overwritten_in_place() {
        let mut store = Store::new(Mapping::copied(*b"kv"), 1024);
        let first = store.add(b"key", b"value");
        let shorter = store.overwrite(first, b"key", b"new");
        assert_eq!((store.bytes(shorter), store.added_bytes()), (&b"keynew"[..], 8));
        let longer = store.overwrite(shorter, b"key", b"longer");
        assert_eq!((store.bytes(longer), store.added_bytes()), (&b"keylonger"[..], 17));
        let mapped = Span::mapped(0, Place { key: 0, value: 1, end: 2 });
        let kept = store.overwrite(mapped, b"k", b"w");
        assert_eq!((store.bytes(mapped), store.bytes(kept)), (&b"kv"[..], &b"kw"[..]));
    }
}
