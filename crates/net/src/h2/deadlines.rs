//! When to look for calls whose time is up.
//!
//! Nearly every call with a deadline ends long before it, so nothing is kept for each: only the
//! earliest time that any of them named. When that comes, whoever asks looks at all that are open, and
//! notes the earliest time again.

/// Looks are at least so far apart, and further where there is more to look at.
const STEP_MS: u64 = 10;
const LOOKED_AT_PER_MS: usize = 1_000;

/// The earliest deadline among some streams, or connections.
///
/// Always true: none of them is due before `next_ms`, unless the last look was a short time ago.
#[derive(Debug)]
pub(crate) struct Deadlines {
    next_ms: u64,
    /// There is no look before.
    rests_until_ms: u64,
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines { next_ms: u64::MAX, rests_until_ms: 0 }
    }
}

impl Deadlines {
    /// One more is due then, [`u64::MAX`] for never.
    pub(crate) fn add(&mut self, due_ms: u64) {
        self.next_ms = self.next_ms.min(due_ms.max(self.rests_until_ms));
    }

    /// When to look next; [`u64::MAX`] for not at all.
    pub(crate) fn next_ms(&self) -> u64 {
        self.next_ms
    }

    /// Whether it is time to look at all `count` of them. Then all is forgotten: who looks adds again
    /// what is not due.
    pub(crate) fn look(&mut self, now_ms: u64, count: usize) -> bool {
        if now_ms < self.next_ms {
            return false;
        }
        self.next_ms = u64::MAX;
        self.rests_until_ms = now_ms + STEP_MS + (count / LOOKED_AT_PER_MS) as u64;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_counts_and_looks_are_apart() {
        let mut deadlines = Deadlines::default();
        assert!(!deadlines.look(u64::MAX - 1, 0));
        for due_ms in [70, 50, u64::MAX, 60] {
            deadlines.add(due_ms);
        }
        assert_eq!(deadlines.next_ms(), 50);
        assert!(!deadlines.look(49, 1));
        assert!(deadlines.look(50, 5 * LOOKED_AT_PER_MS));
        deadlines.add(51);
        assert_eq!(deadlines.next_ms(), 50 + STEP_MS + 5);
        assert!(deadlines.look(65, 1) && !deadlines.look(1_000, 1));
    }
}
