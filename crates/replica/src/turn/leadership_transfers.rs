//! Who waits for the leadership to move.

use super::{Failure, Time};

/// At most this many wait at once.
const TRANSFERS_MAX: usize = 1000;

struct Waiting<T> {
    to: u64,
    deadline: Time,
    ticket: T,
}

/// All that wait. `T` is what the caller keeps of each.
pub(crate) struct LeadershipTransfers<T> {
    waiting: Vec<Waiting<T>>,
}

impl<T> Default for LeadershipTransfers<T> {
    fn default() -> LeadershipTransfers<T> {
        LeadershipTransfers { waiting: Vec::new() }
    }
}

impl<T> LeadershipTransfers<T> {
    /// Somebody waits for `to` to lead; handed back where too many wait.
    pub(crate) fn push(&mut self, to: u64, deadline: Time, ticket: T) -> Result<(), T> {
        if self.waiting.len() >= TRANSFERS_MAX {
            return Err(ticket);
        }
        self.waiting.push(Waiting { to, deadline, ticket });
        Ok(())
    }

    /// This member leads now: who waited for it hears so.
    pub(crate) fn follow(&mut self, leader: u64, mut tell: impl FnMut(T, Result<(), Failure>)) {
        for done in self.waiting.extract_if(.., |waiting| waiting.to == leader) {
            tell(done.ticket, Ok(()));
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Refuses those whose time is over.
    pub(crate) fn expire(&mut self, now: Time, mut tell: impl FnMut(T, Result<(), Failure>)) {
        for late in self.waiting.extract_if(.., |waiting| waiting.deadline <= now) {
            tell(late.ticket, Err(Failure::TransferTimeout));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hears_of_its_own_member_or_that_time_is_over() {
        let (mut transfers, now) = (LeadershipTransfers::default(), Time::from_secs(5));
        let mut told = Vec::new();
        for to in [1, 2] {
            transfers.push(to, now + Time::from_secs(to), to).unwrap();
        }
        transfers.follow(0, |to, result| told.push((to, result)));
        transfers.follow(2, |to, result| told.push((to, result)));
        transfers.expire(now, |to, result| told.push((to, result)));
        assert_eq!(told, [(2, Ok(()))]);
        transfers.expire(now + Time::from_secs(1), |to, result| told.push((to, result)));
        assert_eq!(told[1..], [(1, Err(Failure::TransferTimeout))]);
        assert!(transfers.waiting.is_empty());
    }
}
