//! How often connections that were refused are told of: whoever connects decides how many there are.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Lines that may come at once, after a time without any.
const BURST: u32 = 100;
/// How long it takes until one more may come.
const INTERVAL: Duration = Duration::from_millis(200);

/// Lines of one endpoint.
#[derive(Debug)]
pub(crate) struct Refusals(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Lines that may come now.
    room: u32,
    /// When there was room for one more.
    since: Instant,
    left_out: u64,
}

impl Refusals {
    pub(crate) fn new(now: Instant) -> Refusals {
        Refusals(Mutex::new(State { room: BURST, since: now, left_out: 0 }))
    }

    /// Whether a line may come now; then how many were left out since the last one.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        let more = now.saturating_duration_since(state.since).as_millis() / INTERVAL.as_millis();
        let more = u32::try_from(more).unwrap_or(BURST).min(BURST);
        if more > 0 {
            state.room = (state.room + more).min(BURST);
            state.since = if more == BURST { now } else { state.since + more * INTERVAL };
        }
        if state.room == 0 {
            state.left_out += 1;
            return None;
        }
        state.room -= 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_come_at_once_and_then_one_at_a_time() {
        let begun = Instant::now();
        let refusals = Refusals::new(begun);
        let admitted = |count: u32, ms| {
            (0..count)
                .filter_map(|_| refusals.admit(begun + Duration::from_millis(ms)))
                .collect::<Vec<_>>()
        };
        assert_eq!(admitted(1000, 0), vec![0; BURST as usize]);
        assert_eq!(admitted(10, 199), []);
        assert_eq!(admitted(10, 200), [910]);
        assert_eq!(admitted(10, 650), [9, 0], "those left out are told once");
        assert_eq!(admitted(10, 800), [8]);
        assert_eq!(admitted(1000, 1_000_000), [vec![9], vec![0; BURST as usize - 1]].concat());
    }
}
