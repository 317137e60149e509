//! Pages as they lie in the file, read in place.
//!
//! ```text
//! 0        8       10      12         16
//! | id u64 | flags | count | overflow | elements, then keys and values ...      (little-endian)
//!
//! branch element, 16 bytes: | pos u32 | ksize u32 | child page id u64 |
//! leaf element, 16 bytes:   | flags u32 | pos u32 | ksize u32 | vsize u32 |
//! ```
//! `pos` counts from the start of its element to the key; a value follows its key.

use std::ops::Range;

/// A page's number; its offset is this times the page size.
pub(crate) type PageId = u64;

pub(crate) const HEADER_LEN: usize = 16;
pub(crate) const ELEMENT_LEN: usize = 16;
pub(crate) const BRANCH: u16 = 0x01;
pub(crate) const LEAF: u16 = 0x02;
pub(crate) const META: u16 = 0x04;
pub(crate) const FREELIST: u16 = 0x10;
/// A leaf element whose value is a bucket.
pub(crate) const BUCKET_FLAG: u32 = 0x01;

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// A page with its overflow.
#[derive(Clone, Copy)]
pub(crate) struct Page<'d> {
    bytes: &'d [u8],
}

impl<'d> Page<'d> {
    /// A page that has been checked when the file was opened, or was written since.
    pub(crate) fn at(data: &'d [u8], page_size: usize, id: PageId) -> Page<'d> {
        let start = id as usize * page_size;
        let overflow = u32_at(data, start + 12) as usize;
        Page { bytes: &data[start..start + (overflow + 1) * page_size] }
    }

    /// A page of unknown worth: `None` where it does not lie within the data.
    pub(crate) fn try_at(data: &'d [u8], page_size: usize, id: PageId) -> Option<Page<'d>> {
        let start = usize::try_from(id).ok()?.checked_mul(page_size)?;
        let header = data.get(start..start.checked_add(HEADER_LEN)?)?;
        let pages = u32_at(header, 12) as usize + 1;
        let bytes = data.get(start..start.checked_add(pages.checked_mul(page_size)?)?)?;
        Some(Page { bytes })
    }

    /// A page inside the value of an inline bucket.
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

    pub(crate) fn bytes(self) -> &'d [u8] {
        self.bytes
    }

    fn element(self, index: usize) -> usize {
        HEADER_LEN + index * ELEMENT_LEN
    }

    /// Where a leaf element's key and value lie in the page.
    pub(crate) fn leaf_ranges(self, index: usize) -> (Range<usize>, Range<usize>) {
        let at = self.element(index);
        let key = at + u32_at(self.bytes, at + 4) as usize;
        let value = key + u32_at(self.bytes, at + 8) as usize;
        (key..value, value..value + u32_at(self.bytes, at + 12) as usize)
    }

    pub(crate) fn leaf_flags(self, index: usize) -> u32 {
        u32_at(self.bytes, self.element(index))
    }

    pub(crate) fn leaf(self, index: usize) -> (&'d [u8], &'d [u8]) {
        let (key, value) = self.leaf_ranges(index);
        (&self.bytes[key], &self.bytes[value])
    }

    pub(crate) fn branch_range(self, index: usize) -> Range<usize> {
        let at = self.element(index);
        let key = at + u32_at(self.bytes, at) as usize;
        key..key + u32_at(self.bytes, at + 4) as usize
    }

    pub(crate) fn child(self, index: usize) -> PageId {
        u64_at(self.bytes, self.element(index) + 8)
    }

    pub(crate) fn key(self, index: usize) -> &'d [u8] {
        let range =
            if self.is_leaf() { self.leaf_ranges(index).0 } else { self.branch_range(index) };
        &self.bytes[range]
    }

    /// The first element whose key is not below `key`, and whether it is equal.
    pub(crate) fn search(self, key: &[u8]) -> (usize, bool) {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = (low + high) / 2;
            match self.key(middle).cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return (middle, true),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        (low, false)
    }

    /// The child of a branch page under which `key` belongs.
    pub(crate) fn child_index(self, key: &[u8]) -> usize {
        let (index, exact) = self.search(key);
        if exact { index } else { index.saturating_sub(1) }
    }

    /// Says what makes the page unusable as a branch or leaf, if anything does.
    pub(crate) fn defect(self) -> Option<String> {
        let flags = self.flags();
        if flags != BRANCH && flags != LEAF {
            return Some(format!("flags {flags:#x} are neither those of a branch nor of a leaf"));
        }
        let count = self.count();
        if self.element(count) > self.bytes.len() {
            return Some(format!("{count} elements do not fit"));
        }
        if flags == BRANCH && count == 0 {
            return Some("a branch without children".into());
        }
        for index in 0..count {
            let end = if flags == LEAF {
                self.leaf_ranges(index).1.end
            } else {
                self.branch_range(index).end
            };
            if end > self.bytes.len() {
                return Some(format!("element {index} ends beyond the page"));
            }
            if index > 0 && self.key(index - 1) >= self.key(index) {
                return Some(format!("key {index} is not above the one before it"));
            }
        }
        None
    }
}
