//! Appends on their way to one follower, bounded by number and by bytes.

use std::collections::VecDeque;

/// A window of appends that are not answered yet, oldest first.
///
/// Always true, and asserted by [`Inflights::check`]:
/// 1. Indexes never decrease, and the last one lies before the next entry that is sent.
/// 2. `bytes` is the sum over the window.
/// 3. The window is no longer than its limit.
#[derive(Clone, Debug)]
pub struct Inflights {
    /// The last index and the bytes of each append.
    window: VecDeque<(u64, u64)>,
    bytes: u64,
    count_max: usize,
    bytes_max: u64,
}

impl Inflights {
    /// An empty window. The last append may go beyond `bytes_max`; 0 sets no such limit.
    pub fn new(count_max: usize, bytes_max: u64) -> Inflights {
        Inflights { window: VecDeque::new(), bytes: 0, count_max, bytes_max }
    }

    /// Notes an append that ends with the entry of this index.
    pub fn add(&mut self, index: u64, bytes: u64) {
        assert!(!self.is_full(), "a full window takes no more appends");
        let last = self.window.back().map_or(0, |(last, _)| *last);
        assert!(index >= last, "an append up to {index} follows one up to {last}");
        self.window.push_back((index, bytes));
        self.bytes += bytes;
    }

    /// Lets go of every append that ends at this index or before.
    pub fn free_to(&mut self, index: u64) {
        while let Some((_, bytes)) = self.window.pop_front_if(|(last, _)| *last <= index) {
            self.bytes -= bytes;
        }
    }

    /// Asserts what is always true of a window whose appends end before `next`.
    pub fn check(&self, next: u64) {
        let sum: u64 = self.window.iter().map(|(_, bytes)| bytes).sum();
        assert_eq!(self.bytes, sum, "bytes counted, and bytes on their way");
        let (count, max) = (self.window.len(), self.count_max);
        assert!(count <= max, "{count} appends are on their way, and {max} may be");
        let indexes = self.window.iter().map(|(last, _)| *last);
        assert!(indexes.is_sorted(), "appends overtake each other: {:?}", self.window);
        let last = self.window.back().map_or(0, |(last, _)| *last);
        assert!(last < next, "{last} is on its way, and {next} is sent next");
    }

    /// Whether nothing more may be sent.
    pub fn is_full(&self) -> bool {
        self.window.len() >= self.count_max || (self.bytes_max != 0 && self.bytes >= self.bytes_max)
    }

    /// How many appends are on their way.
    pub fn count(&self) -> usize {
        self.window.len()
    }

    /// Forgets all of them.
    pub fn reset(&mut self) {
        self.window.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_full_by_number_or_by_bytes() {
        for (count_max, bytes_max, full_at) in [(0, 0, 0), (1, 0, 1), (15, 0, 15), (8, 400, 4)] {
            let mut inflights = Inflights::new(count_max, bytes_max);
            for index in 0..full_at {
                assert!(!inflights.is_full());
                inflights.add(index, 100 + index);
            }
            assert!(inflights.is_full(), "{count_max} {bytes_max}");
        }
    }

    #[test]
    fn answers_free_everything_up_to_their_index() {
        let mut inflights = Inflights::new(10, 1000);
        (1..=5).for_each(|index| inflights.add(index * 2, 7));
        inflights.free_to(1);
        assert_eq!(inflights.count(), 5);
        inflights.free_to(7);
        assert_eq!((inflights.count(), inflights.bytes), (2, 14));
        inflights.free_to(100);
        assert_eq!((inflights.count(), inflights.bytes), (0, 0));
    }
}
