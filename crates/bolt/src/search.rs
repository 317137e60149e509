//! Finding keys in pages.
//!
//! The keys of this crate's main user are revisions: numbers, big-endian, evenly spread. So a
//! branch's two keys around the one that is looked for tell where in the child it probably lies,
//! and the search begins there, widening its steps until it has the key between two others. For
//! keys of another kind this costs a few comparisons more than halving does; a search that only
//! halves touches more keys, each of them in another line of the processor's cache.

use crate::order::{compare, head};
use crate::page::{BRANCH_POS, ELEMENT_LEN, HEADER_LEN, LEAF_POS, Page, u32_at};
use std::cmp::Ordering;

/// Where in a page a key probably lies, if that is known: the share of the elements before it,
/// from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Guess(Option<f32>);

impl Guess {
    pub(crate) const NONE: Guess = Guess(None);

    /// As `key` lies between `low` and `high`.
    fn between(low: &[u8], key: &[u8], high: &[u8]) -> Guess {
        match (head(low), head(key), head(high)) {
            (Some(low), Some(key), Some(high)) if low <= key && low < high => {
                Guess(Some((key - low) as f32 / (high - low) as f32))
            }
            _ => Guess::NONE,
        }
    }

    /// Where to look first, and how far from there next.
    fn start(self, count: usize) -> (usize, usize) {
        match self.0 {
            Some(share) => (((share * count as f32) as usize).min(count.saturating_sub(1)), 0),
            None => (count / 2, usize::MAX / 2),
        }
    }
}

impl<'d> Page<'d> {
    /// The first element whose key is not below `key`, and whether it is equal.
    pub(crate) fn search(self, key: &[u8], guess: Guess) -> (usize, bool) {
        if self.is_leaf() {
            self.search_at::<LEAF_POS>(key, guess)
        } else {
            self.search_at::<BRANCH_POS>(key, guess)
        }
    }

    fn search_at<const POS: usize>(self, key: &[u8], guess: Guess) -> (usize, bool) {
        let elements = self.elements();
        let (mut low, mut high) = (0, elements.len());
        // The step is how far the next key to look at is from the last one; half the rest at most.
        let (mut probe, mut step) = guess.start(high);
        while low < high {
            let element = &elements[probe];
            let start = HEADER_LEN + probe * ELEMENT_LEN + u32_at(element, POS) as usize;
            let end = start + u32_at(element, POS + 4) as usize;
            match compare(&self.bytes()[start..end], key) {
                Ordering::Equal => return (probe, true),
                Ordering::Less => {
                    low = probe + 1;
                    probe = low + step.min((high - low) / 2);
                }
                Ordering::Greater => {
                    high = probe;
                    probe = high.saturating_sub(1 + step.min((high - low) / 2));
                }
            }
            step = step.saturating_mul(2).saturating_add(1);
        }
        (low, false)
    }

    /// The child of a branch page under which `key` belongs, and where in it.
    pub(crate) fn child_index(self, key: &[u8], guess: Guess) -> (usize, Guess) {
        let (index, exact) = self.search_at::<BRANCH_POS>(key, guess);
        let index = if exact { index } else { index.saturating_sub(1) };
        let guess = if index + 1 < self.count() {
            Guess::between(self.key(index), key, self.key(index + 1))
        } else {
            Guess::NONE
        };
        (index, guess)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::LeafEntry;
    use crate::output::encode_leaf;
    use crate::store::Store;
    use disk::Mapping;

    #[test]
    fn the_order_is_that_of_the_bytes() {
        let keys: [&[u8]; 8] = [
            b"",
            b"\0",
            b"\0\0\0\0\0\0\0\x01_",
            b"\0\0\0\0\0\0\x01\0",
            b"\0\0\0\0\0\0\x01\0_",
            b"a",
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\0",
        ];
        for (i, a) in keys.iter().enumerate() {
            for (j, b) in keys.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_guess_is_the_share_of_numbers_before_it() {
        let guess = |low: u64, key: u64, high: u64| {
            Guess::between(&low.to_be_bytes(), &key.to_be_bytes(), &high.to_be_bytes())
        };
        assert_eq!(guess(100, 125, 200), Guess(Some(0.25)));
        assert_eq!(guess(0, u64::MAX, u64::MAX).start(40).0, 39);
        assert_eq!(guess(100, 99, 200), Guess::NONE);
        assert_eq!(guess(100, 100, 100), Guess::NONE);
        assert_eq!(Guess::between(b"a", b"b", b"c"), Guess::NONE);
        assert_eq!(Guess(Some(1.0)).start(0).0, 0);
    }

    #[test]
    fn every_key_is_found_from_every_guess() {
        let mut store = Store::new(Mapping::copied([0; 0]), 4096);
        for count in 0..40_u8 {
            let keys: Vec<[u8; 1]> = (0..count).map(|n| [2 * n + 1]).collect();
            let entry = |key: &[u8; 1]| LeafEntry { flags: 0, span: store.add(key, b"value") };
            let entries: Vec<LeafEntry> = keys.iter().map(entry).collect();
            let mut bytes = Vec::new();
            encode_leaf(&entries, 3, 0, &store, &mut bytes);
            let page = Page::inline(&bytes);
            let shares = (0..=20).map(|n| Guess(Some(n as f32 / 20.0)));
            for guess in shares.chain([Guess::NONE]) {
                for key in 0..=2 * count {
                    let expected = (usize::from(key / 2), key % 2 == 1);
                    assert_eq!(page.search(&[key], guess), expected, "{key} of {count}, {guess:?}");
                }
            }
        }
    }
}
