//! The meta page: where everything begins.
//!
//! ```text
//! after the page header (little-endian):
//! 0       4         8           12      16        24         32         40        48     56
//! | magic | version | page size | flags | root id | sequence | freelist | high id | txid | fnv-1a
//! ```

use crate::page::{HEADER_LEN, META, PageId, u32_at, u64_at};

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
const LEN: usize = 64;
/// The freelist's page id where the list is not stored but rebuilt on opening.
pub(crate) const NO_FREELIST: PageId = u64::MAX;

/// One state of the database.
///
/// Always true of a state that is written:
/// 1. The root lies among the pages in use, behind the meta pages.
/// 2. So does the freelist, where it is stored.
/// 3. Another transaction can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) page_size: u32,
    pub(crate) root: PageId,
    pub(crate) sequence: u64,
    pub(crate) freelist: PageId,
    /// The first page id that was never used.
    pub(crate) high_water: PageId,
    pub(crate) txid: u64,
}

impl Meta {
    /// Reads a meta page, or says why it is none. The page's header is not looked at: the checksum
    /// does not cover it, and nothing in it matters.
    pub(crate) fn decode(page: &[u8]) -> Result<Meta, &'static str> {
        let Some(body) = page.get(HEADER_LEN..HEADER_LEN + LEN) else {
            return Err("the file ends before it");
        };
        if u32_at(body, 0) != MAGIC {
            return Err("it does not begin with the magic number");
        }
        if u32_at(body, 4) != VERSION {
            return Err("its version is unknown");
        }
        if u64_at(body, 56) != fnv1a(&body[..56]) {
            return Err("its checksum does not match");
        }
        Ok(Meta {
            page_size: u32_at(body, 8),
            root: u64_at(body, 16),
            sequence: u64_at(body, 24),
            freelist: u64_at(body, 32),
            high_water: u64_at(body, 40),
            txid: u64_at(body, 48),
        })
    }

    /// Asserts what is always true of a state that is written.
    pub(crate) fn check(&self) {
        let (root, list, high) = (self.root, self.freelist, self.high_water);
        assert!((2..high).contains(&root), "the root is page {root} of {high}");
        let is_stored = list != NO_FREELIST;
        assert!(!is_stored || (2..high).contains(&list), "the freelist is page {list} of {high}");
        assert!(!is_stored || root != list, "page {root} is the root and the freelist");
        assert!(self.txid < u64::MAX, "another transaction can follow");
    }

    /// A whole meta page. Page 0 holds even transactions, page 1 odd ones.
    pub(crate) fn encode(&self, page_size: usize) -> Vec<u8> {
        self.encode_as(self.slot(), page_size)
    }

    /// The same as page `id`, for a copy that holds one state twice.
    pub(crate) fn encode_as(&self, id: PageId, page_size: usize) -> Vec<u8> {
        assert!(page_size >= HEADER_LEN + LEN, "a meta page does not fit {page_size} bytes");
        let mut page = vec![0; page_size];
        page[0..8].copy_from_slice(&id.to_le_bytes());
        page[8..10].copy_from_slice(&META.to_le_bytes());
        let body = &mut page[HEADER_LEN..HEADER_LEN + LEN];
        body[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        body[4..8].copy_from_slice(&VERSION.to_le_bytes());
        body[8..12].copy_from_slice(&self.page_size.to_le_bytes());
        let fields = [self.root, self.sequence, self.freelist, self.high_water, self.txid];
        for (index, field) in fields.into_iter().enumerate() {
            body[16 + index * 8..24 + index * 8].copy_from_slice(&field.to_le_bytes());
        }
        let sum = fnv1a(&body[..56]);
        body[56..64].copy_from_slice(&sum.to_le_bytes());
        page
    }

    /// Which of the two pages this state is written to.
    pub(crate) fn slot(&self) -> PageId {
        self.txid % 2
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meta_page_reads_back_and_any_flipped_bit_is_noticed() {
        let meta = Meta {
            page_size: 4096,
            root: 3,
            sequence: 9,
            freelist: NO_FREELIST,
            high_water: 40,
            txid: 17,
        };
        let page = meta.encode(4096);
        assert_eq!(Meta::decode(&page), Ok(meta));
        assert_eq!(u64_at(&page, 0), 1);
        for bit in 0..56 * 8 {
            let mut bad = page.clone();
            bad[HEADER_LEN + bit / 8] ^= 1 << (bit % 8);
            assert!(Meta::decode(&bad).is_err(), "bit {bit}");
        }
        assert!(Meta::decode(&page[..40]).is_err());
    }

    #[test]
    #[should_panic(expected = "the root is page 40 of 40")]
    fn a_root_that_was_never_used_is_found() {
        let freelist = NO_FREELIST;
        Meta { page_size: 4096, root: 40, sequence: 0, freelist, high_water: 40, txid: 1 }.check();
    }
}
