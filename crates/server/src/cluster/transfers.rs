//! Who waits for the leadership to move.

use crate::rpc::Error;
use std::time::Instant;

/// At most this many wait at once.
const TRANSFERS_MAX: usize = 1000;

/// Hears when the other member leads, or that it does not.
pub(crate) type Transferred = Box<dyn FnOnce(Result<(), Error>) + Send>;

struct Waiting {
    to: u64,
    deadline: Instant,
    then: Transferred,
}

/// All that wait.
#[derive(Default)]
pub(crate) struct Transfers {
    waiting: Vec<Waiting>,
}

impl Transfers {
    /// Somebody waits for `to` to lead.
    pub(crate) fn push(&mut self, to: u64, deadline: Instant, then: Transferred) {
        if self.waiting.len() >= TRANSFERS_MAX {
            return then(Err(Error::TooManyRequests));
        }
        self.waiting.push(Waiting { to, deadline, then });
    }

    /// This member leads now.
    pub(crate) fn follow(&mut self, leader: u64) {
        for done in self.waiting.extract_if(.., |waiting| waiting.to == leader) {
            (done.then)(Ok(()));
        }
    }

    /// Refuses those whose time is over.
    pub(crate) fn expire(&mut self, now: Instant) {
        for late in self.waiting.extract_if(.., |waiting| waiting.deadline <= now) {
            (late.then)(Err(Error::TransferTimeout));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn each_hears_of_its_own_member_or_that_time_is_over() {
        let (mut transfers, now) = (Transfers::default(), Instant::now());
        let (tell, told) = mpsc::channel();
        for to in [1, 2] {
            let tell = tell.clone();
            let then = Box::new(move |result| tell.send((to, result)).expect("the test listens"));
            transfers.push(to, now + Duration::from_secs(to), then);
        }
        transfers.follow(0);
        transfers.follow(2);
        transfers.expire(now);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [(2, Ok(()))]);
        transfers.expire(now + Duration::from_secs(1));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [(1, Err(Error::TransferTimeout))]);
        assert!(transfers.waiting.is_empty());
    }
}
