//! Request ids: unique within a cluster without asking anyone.

use std::sync::atomic::{AtomicU64, Ordering};

/// Hands out ids as etcd does (reference: `pkg/idutil/id.go`).
///
/// ```text
/// | 16 bits: member | 40 bits: start time in ms | 8 bits: counter |
/// ```
/// The low 48 bits count on from the start time, so ids differ across restarts too.
#[derive(Debug)]
pub struct RequestIds {
    prefix: u64,
    suffix: AtomicU64,
}

const SUFFIX_BITS: u32 = 48;
const COUNTER_BITS: u32 = 8;

impl RequestIds {
    /// For a member, started at this wall-clock time in milliseconds.
    pub fn new(member_id: u64, unix_ms: u64) -> RequestIds {
        let prefix = member_id << SUFFIX_BITS;
        let suffix = AtomicU64::new((unix_ms & ((1 << 40) - 1)) << COUNTER_BITS);
        RequestIds { prefix, suffix }
    }

    /// The next id, never 0.
    pub fn next(&self) -> u64 {
        let suffix = self.suffix.fetch_add(1, Ordering::Relaxed) + 1;
        self.prefix | (suffix & ((1 << SUFFIX_BITS) - 1))
    }

    /// The next lease id: positive as an `i64`.
    pub fn next_lease(&self) -> i64 {
        loop {
            let id = (self.next() & (u64::MAX >> 1)) as i64;
            if id != 0 {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_carry_the_member_and_differ() {
        let ids = RequestIds::new(0xabcd, 1000);
        let (a, b) = (ids.next(), ids.next());
        assert_eq!(a >> 48, 0xabcd);
        assert_eq!(b, a + 1);
        assert!(ids.next_lease() > 0);
        let later = RequestIds::new(0xabcd, 1001);
        assert!(later.next() > a);
    }
}
