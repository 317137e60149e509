//! What is said again and again, said less often.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Kinds of lines that are remembered. Strangers can make up ids, but no more than this many.
const KEYS_MAX: usize = 1024;

/// The member that a line is about, and the kind of the line.
type Key = (u64, &'static str);

/// When what was said last, and how often it was not said since.
#[derive(Default)]
pub(crate) struct Repeats {
    said: Mutex<HashMap<Key, (Instant, u64)>>,
}

impl Repeats {
    /// Whether a line about `id` may be said now, at most once in `interval`: then how many like it were
    /// left out since the last one.
    pub(crate) fn admit(
        &self,
        id: u64,
        line: &'static str,
        interval: Duration,
        now: Instant,
    ) -> Option<u64> {
        let mut said = self.said.lock();
        let is_old = |at: Instant| now.duration_since(at) >= interval;
        let mut key = (id, line);
        if !said.contains_key(&key) && said.len() >= KEYS_MAX {
            said.retain(|_, (at, _)| !is_old(*at));
            if said.len() >= KEYS_MAX {
                // Those for whom there is no room share one.
                key = (0, line);
            }
        }
        let Some((at, left_out)) = said.get_mut(&key) else {
            said.insert(key, (now, 0));
            return Some(0);
        };
        if is_old(*at) {
            *at = now;
            return Some(std::mem::take(left_out));
        }
        *left_out += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_line_is_said_at_once_and_then_at_intervals() {
        let (repeats, begun) = (Repeats::default(), Instant::now());
        let admit =
            |id, line, ms| repeats.admit(id, line, SECOND, begun + Duration::from_millis(ms));
        assert_eq!(admit(1, "a", 0), Some(0));
        assert_eq!(admit(1, "b", 0), Some(0), "another line");
        assert_eq!(admit(2, "a", 0), Some(0), "about another member");
        for ms in 1..=100 {
            assert_eq!(admit(1, "a", ms), None);
        }
        assert_eq!(admit(1, "a", 1000), Some(100), "those left out are counted");
        assert_eq!(admit(1, "a", 1999), None);
    }

    #[test]
    fn strangers_cost_no_more_than_so_many_lines_and_so_much_memory() {
        let (repeats, begun) = (Repeats::default(), Instant::now());
        let said = (1..100_000).filter(|id| repeats.admit(*id, "a", SECOND, begun).is_some());
        assert_eq!(said.count(), KEYS_MAX + 1);
        assert_eq!(repeats.said.lock().len(), KEYS_MAX + 1);
        assert_eq!(repeats.admit(200_000, "a", SECOND, begun + SECOND), Some(0));
        assert_eq!(repeats.said.lock().len(), 1, "what is old is forgotten");
    }
}
