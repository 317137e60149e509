//! Why a proposal was not applied in time, as far as a member can tell
//! (reference: `parseProposeCtxErr` in `server/etcdserver/server.go`).

use super::{Company, Failure, Time};

/// What is known when a proposal's time is over.
pub(crate) struct Lateness<'a> {
    /// Everybody, voters and learners.
    pub(crate) members: &'a [u64],
    pub(crate) company: &'a dyn Company,
    pub(crate) own_id: u64,
    /// Who leads, 0 for nobody.
    pub(crate) leader: u64,
    /// Since when somebody leads without a change.
    pub(crate) elected_at: Option<Time>,
    pub(crate) election_timeout: Time,
}

impl Lateness<'_> {
    /// The reason for one that was made at `begun`.
    pub(crate) fn reason(&self, begun: Time) -> Failure {
        if self.was_between_leaders(begun) {
            return Failure::LeaderFailed;
        }
        match self.leader {
            0 => Failure::Timeout,
            leader if leader == self.own_id && !self.has_majority_since(begun) => {
                Failure::ConnectionLost
            }
            leader if leader != self.own_id && !self.is_connected_since(leader, begun) => {
                Failure::ConnectionLost
            }
            _ => Failure::Timeout,
        }
    }

    /// Whether it was made after the leader before was lost, which takes two timeouts to notice.
    fn was_between_leaders(&self, begun: Time) -> bool {
        let is_between = |at: Time| begun < at && begun + 2 * self.election_timeout > at;
        self.elected_at.is_some_and(is_between)
    }

    fn is_connected_since(&self, id: u64, begun: Time) -> bool {
        self.company.active_since(id).is_some_and(|since| since < begun)
    }

    fn has_majority_since(&self, begun: Time) -> bool {
        let is_connected = |id: &&u64| **id == self.own_id || self.is_connected_since(**id, begun);
        self.members.iter().filter(is_connected).count() > self.members.len() / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Company for Nobody {
        fn active_since(&self, _: u64) -> Option<Time> {
            None
        }
        fn active_peers(&self) -> usize {
            0
        }
    }

    #[test]
    fn what_was_proposed_while_a_leader_was_lost_is_late_for_that() {
        let (second, begun) = (Time::from_secs(1), Time::from_secs(10));
        let late = |leader, elected_at| Lateness {
            members: &[1, 2, 3],
            company: &Nobody,
            own_id: 1,
            leader,
            elected_at,
            election_timeout: second,
        };
        assert_eq!(late(2, Some(begun + second)).reason(begun), Failure::LeaderFailed);
        assert_eq!(late(0, Some(begun + 3 * second)).reason(begun), Failure::Timeout);
        assert_eq!(late(2, Some(begun)).reason(begun), Failure::ConnectionLost);
        assert_eq!(late(0, None).reason(begun), Failure::Timeout);
    }
}
