//! What is done again after a while: looked at with every tick, on no thread of its own.

use parking_lot::Mutex;
use replica::turn::Failure;
use std::time::Instant;

/// More do not wait: they are refused.
const LATER_MAX: usize = 100_000;

/// Done when its time has come, or told why not.
pub(crate) type Due = Box<dyn FnOnce(Result<(), Failure>) + Send>;

/// All that waits for its time.
#[derive(Default)]
pub(crate) struct Later {
    waiting: Mutex<Vec<(Instant, Due)>>,
}

impl Later {
    /// `due` is done at this time or soon after.
    pub(crate) fn push(&self, at: Instant, due: Due) {
        let mut waiting = self.waiting.lock();
        if waiting.len() < LATER_MAX {
            return waiting.push((at, due));
        }
        drop(waiting);
        due(Err(Failure::TooManyRequests));
    }

    /// Takes what is due now.
    pub(crate) fn take_due(&self, now: Instant) -> Vec<Due> {
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() {
            return Vec::new();
        }
        waiting.extract_if(.., |(at, _)| *at <= now).map(|(_, due)| due).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn everything_comes_once_and_not_before_its_time() {
        let (later, now) = (Later::default(), Instant::now());
        let (tell, told) = mpsc::channel();
        for seconds in [2, 1] {
            let tell = tell.clone();
            let due = Box::new(move |result| tell.send((seconds, result)).expect("it is heard"));
            later.push(now + Duration::from_secs(seconds), due);
        }
        assert!(later.take_due(now).is_empty());
        for at in [1, 2, 3] {
            let now = now + Duration::from_secs(at);
            later.take_due(now).into_iter().for_each(|due| due(Ok(())));
        }
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [(1, Ok(())), (2, Ok(()))]);
    }
}
