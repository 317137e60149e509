//! Why a proposal was not applied in time, as far as a member can tell
//! (reference: `parseProposeCtxErr` in `server/etcdserver/server.go`).

use super::Roster;
use crate::rpc::Error;
use std::time::{Duration, Instant};

/// What is known when a proposal's time is over.
pub(crate) struct Lateness<'a> {
    pub(crate) roster: &'a Roster,
    pub(crate) own_id: u64,
    /// Who leads, 0 for nobody.
    pub(crate) leader: u64,
    /// Since when somebody leads without a change.
    pub(crate) elected_at: Option<Instant>,
    pub(crate) election_timeout: Duration,
}

impl Lateness<'_> {
    /// The reason for one that was made at `begun`.
    pub(crate) fn reason(&self, begun: Instant) -> Error {
        if self.was_between_leaders(begun) {
            return Error::LeaderFailed;
        }
        match self.leader {
            0 => Error::Timeout,
            leader if leader == self.own_id && !self.has_majority_since(begun) => {
                Error::ConnectionLost
            }
            leader if leader != self.own_id && !self.is_connected_since(leader, begun) => {
                Error::ConnectionLost
            }
            _ => Error::Timeout,
        }
    }

    /// Whether it was made after the leader before was lost, which takes two timeouts to notice.
    fn was_between_leaders(&self, begun: Instant) -> bool {
        let is_between = |at: Instant| begun < at && begun + 2 * self.election_timeout > at;
        self.elected_at.is_some_and(is_between)
    }

    fn is_connected_since(&self, id: u64, begun: Instant) -> bool {
        let since = self.roster.network().and_then(|network| network.active_since(id));
        since.is_some_and(|since| since < begun)
    }

    fn has_majority_since(&self, begun: Instant) -> bool {
        let members = self.roster.members();
        let is_connected = |id| id == self.own_id || self.is_connected_since(id, begun);
        let connected = members.list().filter(|member| is_connected(member.id)).count();
        connected > members.list().count() / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn what_was_proposed_while_a_leader_was_lost_is_late_for_that() {
        let bench = Bench::start();
        let roster = &bench.shared().roster;
        let second = Duration::from_secs(1);
        let begun = Instant::now();
        let late = |leader, elected_at| Lateness {
            roster,
            own_id: 1,
            leader,
            elected_at,
            election_timeout: second,
        };
        assert_eq!(late(2, Some(begun + second)).reason(begun), Error::LeaderFailed);
        assert_eq!(late(0, Some(begun + 3 * second)).reason(begun), Error::Timeout);
        assert_eq!(late(2, Some(begun)).reason(begun), Error::ConnectionLost);
        assert_eq!(late(0, None).reason(begun), Error::Timeout);
    }
}
