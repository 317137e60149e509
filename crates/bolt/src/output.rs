//! The pages that a commit writes, encoded one after the other and written in the order of their
//! places.

use crate::node::LeafEntry;
use crate::page::{BRANCH, ELEMENT_LEN, ELEMENTS_MAX, LEAF, PageId, Run};
use crate::store::{Span, Store};
use disk::File;
use std::io;

/// The largest single write. The kernel caches a write in pieces as large as it is, and a later
/// write of one page costs time in proportion to the piece it falls into: larger writes are a
/// little cheaper themselves and make every small one after them several times dearer.
const WRITE_MAX: usize = 64 * 1024;

/// Pages on their way to the file.
///
/// Always true: every page has a place of its own, and none that of a meta page.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    /// Each page with its overflow: where it goes, and where it lies in `bytes`.
    pages: Vec<Placed>,
}

#[derive(Clone, Copy, Debug)]
struct Placed {
    id: PageId,
    from: usize,
    len: usize,
}

impl Output {
    /// With room for about as many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Output {
        Output { bytes: Vec::with_capacity(bytes), pages: Vec::new() }
    }

    /// Bytes of all pages.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The pages that are written, each with its overflow.
    pub(crate) fn runs(&self, page_size: usize) -> impl Iterator<Item = Run> {
        self.pages.iter().map(move |page| (page.id, (page.len / page_size) as u64))
    }

    /// Takes a page that `encode` appends; it is filled up to `len` bytes.
    pub(crate) fn page(&mut self, id: PageId, len: usize, encode: impl FnOnce(&mut Vec<u8>)) {
        assert!(id >= 2 && len > 0, "page {id} of {len} bytes is none of a tree");
        let from = self.bytes.len();
        encode(&mut self.bytes);
        assert!(self.bytes.len() <= from + len, "a page fits the place it was given");
        self.bytes.resize(from + len, 0);
        self.pages.push(Placed { id, from, len });
    }

    /// Writes all pages in the order of their places; those that lie side by side here and there
    /// are written at once.
    pub(crate) fn write(&mut self, file: &dyn File, page_size: usize) -> io::Result<()> {
        self.pages.sort_unstable_by_key(|page| page.id);
        let place = |page: &Placed| page.id * page_size as u64;
        for pair in self.pages.windows(2) {
            let (end, next) = (place(&pair[0]) + pair[0].len as u64, pair[1].id);
            assert!(end <= place(&pair[1]), "page {next} is written into {}", pair[0].id);
        }
        let adjoin = |a: &Placed, b: &Placed| {
            place(a) + a.len as u64 == place(b) && a.from + a.len == b.from
        };
        for run in self.pages.chunk_by(adjoin) {
            let len: usize = run.iter().map(|page| page.len).sum();
            let from = run[0].from;
            for (n, piece) in self.bytes[from..from + len].chunks(WRITE_MAX).enumerate() {
                file.write_at(piece, place(&run[0]) + (n * WRITE_MAX) as u64)?;
            }
        }
        Ok(())
    }
}

/// Appends a leaf page, but for what fills it up.
pub(crate) fn encode_leaf(
    entries: &[LeafEntry],
    id: PageId,
    overflow: u32,
    store: &Store,
    out: &mut Vec<u8>,
) {
    assert!(entries.len() <= ELEMENTS_MAX, "{} elements have no page", entries.len());
    encode_header(id, LEAF, entries.len(), overflow, out);
    let mut pos = entries.len() * ELEMENT_LEN;
    for LeafEntry { flags, span } in entries {
        let mut element = [0; ELEMENT_LEN];
        element[0..4].copy_from_slice(&flags.to_le_bytes());
        element[4..8].copy_from_slice(&encode_pos(pos));
        element[8..12].copy_from_slice(&span.key_len.to_le_bytes());
        element[12..16].copy_from_slice(&span.value_len.to_le_bytes());
        out.extend_from_slice(&element);
        pos = pos + span.len() - ELEMENT_LEN;
    }
    for entry in entries {
        out.extend_from_slice(store.bytes(entry.span));
    }
}

/// Appends a branch page of keys and page numbers, but for what fills it up.
pub(crate) fn encode_branch(
    entries: &[(Span, PageId)],
    id: PageId,
    overflow: u32,
    store: &Store,
    out: &mut Vec<u8>,
) {
    let count = entries.len();
    assert!((1..=ELEMENTS_MAX).contains(&count), "a branch has {count} children");
    encode_header(id, BRANCH, entries.len(), overflow, out);
    let mut pos = entries.len() * ELEMENT_LEN;
    for (key, child) in entries {
        let mut element = [0; ELEMENT_LEN];
        element[0..4].copy_from_slice(&encode_pos(pos));
        element[4..8].copy_from_slice(&key.key_len.to_le_bytes());
        element[8..16].copy_from_slice(&child.to_le_bytes());
        out.extend_from_slice(&element);
        pos = pos + key.len() - ELEMENT_LEN;
    }
    for (key, _) in entries {
        out.extend_from_slice(store.key(*key));
    }
}

/// A place in a page that no format can express would lose data: rather stop.
fn encode_pos(pos: usize) -> [u8; 4] {
    u32::try_from(pos).expect("the elements of one page stay below 4 GiB").to_le_bytes()
}

fn encode_header(id: PageId, flags: u16, count: usize, overflow: u32, out: &mut Vec<u8>) {
    let count = u16::try_from(count).expect("a split leaves fewer elements than a page can count");
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&overflow.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Page;
    use disk::sim::SimDisk;
    use disk::{Disk, Mapping, Open};
    use std::path::Path;

    #[test]
    fn pages_read_back_as_they_were_encoded() {
        let mut store = Store::new(Mapping::copied([0; 0]), 1024);
        let leaf = |store: &mut Store, flags, key: &[u8], value: &[u8]| LeafEntry {
            flags,
            span: store.add(key, value),
        };
        let entries = [leaf(&mut store, 0, b"a", b"123"), leaf(&mut store, 1, b"bcd", b"")];
        let mut bytes = Vec::new();
        encode_leaf(&entries, 9, 3, &store, &mut bytes);
        let page = Page::inline(&bytes);
        assert_eq!((page.defect(), page.run()), (None, (9, 4)));
        assert_eq!(page.leaf(0), (0, &b"a"[..], &b"123"[..]));
        assert_eq!(page.leaf(1), (1, &b"bcd"[..], &b""[..]));
        let keys = entries.iter().map(|entry| entry.span.only_key());
        let branch: Vec<(Span, PageId)> = keys.zip([11, 12]).collect();
        let mut bytes = Vec::new();
        encode_branch(&branch, 10, 0, &store, &mut bytes);
        let page = Page::inline(&bytes);
        assert_eq!((page.defect(), page.run()), (None, (10, 1)));
        assert_eq!((page.key(0), page.child(0)), (&b"a"[..], 11));
        assert_eq!((page.key(1), page.child(1)), (&b"bcd"[..], 12));
    }

    #[test]
    fn neighbours_are_written_at_once() {
        let disk = SimDisk::new(0);
        let file = disk.open(Path::new("f"), Open::CREATE).unwrap();
        let mut output = Output::default();
        for (id, len) in [(4, 8), (6, 4), (7, 4), (2, 4), (3, 4)] {
            output.page(id, len, |out| out.push(id as u8));
        }
        let before = disk.ops();
        output.write(&*file, 4).unwrap();
        // 2 and 3; 4 and 5; 6 and 7: the second lies elsewhere in memory, the third goes with it.
        assert_eq!(disk.ops() - before, 2);
        let mut bytes = [0; 32];
        disk::read_exact_at(&*file, &mut bytes, 0).unwrap();
        let firsts: Vec<u8> = bytes.chunks(4).map(|page| page[0]).collect();
        assert_eq!(firsts, [0, 0, 2, 3, 4, 0, 6, 7]);
    }
}
