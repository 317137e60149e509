//! Handshakes under way in one loop, so that there are never too many.

use super::inbox::Address;
use std::collections::VecDeque;

/// More are not under way at once in one loop: the oldest gives way.
const HANDSHAKES_MAX: usize = 1024;

/// Handshakes in the order in which they began, some of them over.
#[derive(Default)]
pub(super) struct Handshakes {
    begun: VecDeque<Address>,
}

impl Handshakes {
    /// One more; the one that has to give way for it, if there are too many. `is_under_way` tells
    /// whether one is not over.
    pub(super) fn begin(
        &mut self,
        address: Address,
        is_under_way: impl Fn(Address) -> bool,
    ) -> Option<Address> {
        if self.begun.len() >= HANDSHAKES_MAX {
            self.begun.retain(|begun| is_under_way(*begun));
        }
        self.begun.push_back(address);
        if self.begun.len() <= HANDSHAKES_MAX { None } else { self.begun.pop_front() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_gives_way() {
        let mut handshakes = Handshakes::default();
        let at = |serial| Address { slot: 0, serial };
        for serial in 0..HANDSHAKES_MAX as u64 {
            assert!(handshakes.begin(at(serial), |_| true).is_none());
        }
        let gives_way = handshakes.begin(at(9999), |_| true).unwrap();
        assert_eq!(gives_way.serial, 0);
        // Those that are over count no more.
        assert!(handshakes.begin(at(9999), |address| address.serial % 2 == 0).is_none());
    }
}
