//! Pages as they lie in the file, read in place.
//!
//! ```text
//! 0        8       10      12         16
//! | id u64 | flags | count | overflow | elements, then keys and values ...      (little-endian)
//!
//! branch element, 16 bytes: | pos u32 | ksize u32 | child page id u64 |
//! leaf element, 16 bytes:   | flags u32 | pos u32 | ksize u32 | vsize u32 |
//! ```
//! `pos` counts from the start of its element to the key; a value follows its key. `overflow` is
//! the number of pages that follow this one and belong to it.

use crate::order::compare;
use std::cmp::Ordering;

/// A page's number; its offset is this times the page size.
pub(crate) type PageId = u64;

/// A run of pages: the first one and how many.
pub(crate) type Run = (PageId, u64);

pub(crate) const HEADER_LEN: usize = 16;
pub(crate) const ELEMENT_LEN: usize = 16;
pub(crate) const BRANCH: u16 = 0x01;
pub(crate) const LEAF: u16 = 0x02;
pub(crate) const META: u16 = 0x04;
pub(crate) const FREELIST: u16 = 0x10;
/// A leaf element whose value is a bucket.
pub(crate) const BUCKET_FLAG: u32 = 0x01;
/// bbolt keeps `0xffff` to itself, so a page holds fewer elements.
pub(crate) const ELEMENTS_MAX: usize = 0xfffe;

/// Where `pos` lies in an element; `ksize` follows it.
pub(crate) const LEAF_POS: usize = 4;
pub(crate) const BRANCH_POS: usize = 0;

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Where a key and its value lie, counted from the start of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) key: usize,
    pub(crate) value: usize,
    pub(crate) end: usize,
}

/// A page with its overflow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page<'d> {
    bytes: &'d [u8],
}

impl<'d> Page<'d> {
    /// A page that has been checked when the file was opened, or was written since.
    pub(crate) fn at(data: &'d [u8], page_size: usize, id: PageId) -> Page<'d> {
        let start = id as usize * page_size;
        let overflow = u32_at(data, start + 12) as usize;
        let page = Page { bytes: &data[start..start + (overflow + 1) * page_size] };
        debug_assert_eq!(page.id(), id, "a page that was checked says its number");
        page
    }

    /// A page of unknown worth: `None` where it does not lie within the data.
    pub(crate) fn try_at(data: &'d [u8], page_size: usize, id: PageId) -> Option<Page<'d>> {
        let start = usize::try_from(id).ok()?.checked_mul(page_size)?;
        let header = data.get(start..start.checked_add(HEADER_LEN)?)?;
        let pages = u32_at(header, 12) as usize + 1;
        let bytes = data.get(start..start.checked_add(pages.checked_mul(page_size)?)?)?;
        Some(Page { bytes })
    }

    /// A page inside the value of an inline bucket: as long as it must be, and numbered 0.
    pub(crate) fn inline(bytes: &'d [u8]) -> Page<'d> {
        Page { bytes }
    }

    pub(crate) fn id(self) -> PageId {
        u64_at(self.bytes, 0)
    }

    pub(crate) fn flags(self) -> u16 {
        u16_at(self.bytes, 8)
    }

    pub(crate) fn is_leaf(self) -> bool {
        self.flags() & LEAF != 0
    }

    pub(crate) fn count(self) -> usize {
        usize::from(u16_at(self.bytes, 10))
    }

    pub(crate) fn overflow(self) -> u64 {
        u64::from(u32_at(self.bytes, 12))
    }

    /// The pages that it takes.
    pub(crate) fn run(self) -> Run {
        (self.id(), self.overflow() + 1)
    }

    pub(crate) fn bytes(self) -> &'d [u8] {
        self.bytes
    }

    pub(crate) fn elements(self) -> &'d [[u8; ELEMENT_LEN]] {
        let end = HEADER_LEN + self.count() * ELEMENT_LEN;
        self.bytes[HEADER_LEN..end].as_chunks().0
    }

    fn leaf_element(self, index: usize) -> (u32, Place) {
        debug_assert!(index < self.count(), "a page of {} has no element {index}", self.count());
        let element = &self.elements()[index];
        let key = HEADER_LEN + index * ELEMENT_LEN + u32_at(element, LEAF_POS) as usize;
        let value = key + u32_at(element, LEAF_POS + 4) as usize;
        let end = value + u32_at(element, 12) as usize;
        (u32_at(element, 0), Place { key, value, end })
    }

    /// Where a leaf element's key and value lie.
    pub(crate) fn leaf_place(self, index: usize) -> Place {
        self.leaf_element(index).1
    }

    pub(crate) fn leaf_flags(self, index: usize) -> u32 {
        u32_at(&self.elements()[index], 0)
    }

    /// A leaf element's flags, key and value.
    pub(crate) fn leaf(self, index: usize) -> (u32, &'d [u8], &'d [u8]) {
        let (flags, place) = self.leaf_element(index);
        (flags, &self.bytes[place.key..place.value], &self.bytes[place.value..place.end])
    }

    /// Where a branch element's key lies; it has no value.
    pub(crate) fn branch_place(self, index: usize) -> Place {
        let element = &self.elements()[index];
        let key = HEADER_LEN + index * ELEMENT_LEN + u32_at(element, BRANCH_POS) as usize;
        let end = key + u32_at(element, BRANCH_POS + 4) as usize;
        Place { key, value: end, end }
    }

    pub(crate) fn child(self, index: usize) -> PageId {
        debug_assert!(!self.is_leaf(), "a leaf has no children, page {} is one", self.id());
        u64_at(&self.elements()[index], 8)
    }

    fn place(self, index: usize) -> Place {
        if self.is_leaf() { self.leaf_place(index) } else { self.branch_place(index) }
    }

    pub(crate) fn key(self, index: usize) -> &'d [u8] {
        let place = self.place(index);
        &self.bytes[place.key..place.value]
    }

    /// Says what makes the page unusable as a branch or leaf, if anything does.
    ///
    /// Without a defect, every key and value lies within the page and the keys ascend, so the
    /// other methods do not panic.
    pub(crate) fn defect(self) -> Option<String> {
        if self.bytes.len() < HEADER_LEN {
            return Some("it is shorter than a page's header".into());
        }
        let flags = self.flags();
        if flags != BRANCH && flags != LEAF {
            return Some(format!("flags {flags:#x} are neither those of a branch nor of a leaf"));
        }
        let count = self.count();
        if HEADER_LEN + count * ELEMENT_LEN > self.bytes.len() {
            return Some(format!("{count} elements do not fit"));
        }
        if flags == BRANCH && count == 0 {
            return Some("a branch without children".into());
        }
        let mut before: &[u8] = &[];
        for index in 0..count {
            let place = self.place(index);
            if place.end > self.bytes.len() {
                return Some(format!("element {index} ends beyond the page"));
            }
            let key = &self.bytes[place.key..place.value];
            // The first key is compared with nothing: so none is empty.
            if compare(before, key) != Ordering::Less {
                return Some(format!("key {index} is not above the one before it"));
            }
            before = key;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two elements, as bbolt lays them out: `a` -> `1`, `bc` -> a bucket's `xyz`.
    fn leaf() -> Vec<u8> {
        let mut page = vec![0; 64];
        page[0] = 7;
        page[8] = LEAF as u8;
        page[10] = 2;
        page[16..32].copy_from_slice(&[0, 0, 0, 0, 32, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
        page[32..48].copy_from_slice(&[1, 0, 0, 0, 18, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
        page[48..55].copy_from_slice(b"a1bcxyz");
        page
    }

    #[test]
    fn a_leaf_is_read_in_place() {
        let bytes = leaf();
        let page = Page::inline(&bytes);
        assert_eq!(page.defect(), None);
        assert_eq!((page.id(), page.count(), page.run()), (7, 2, (7, 1)));
        assert_eq!(page.leaf(0), (0, &b"a"[..], &b"1"[..]));
        assert_eq!(page.leaf(1), (1, &b"bc"[..], &b"xyz"[..]));
    }

    #[test]
    fn every_defect_has_its_sentence() {
        let defect = |at: usize, byte: u8| {
            let mut bytes = leaf();
            bytes[at] = byte;
            Page::inline(&bytes).defect().unwrap_or_default()
        };
        assert!(defect(8, 3).contains("flags 0x3"));
        assert!(defect(10, 9).contains("do not fit"));
        assert!(defect(28, 200).contains("element 0 ends beyond"));
        assert!(defect(48, b'x').contains("key 1 is not above"));
        assert!(defect(24, 0).contains("key 0 is not above"), "an empty key");
        assert!(Page::inline(&leaf()[..10]).defect().is_some());
        let mut branch = vec![0; 32];
        branch[8] = BRANCH as u8;
        assert!(Page::inline(&branch).defect().is_some_and(|what| what.contains("children")));
    }
}
