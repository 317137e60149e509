//! Who must agree: one majority, or two at once while the configuration changes.
//!
//! A plain configuration decides by the majority of its voters (thesis, section 3.1). A joint one
//! decides only where both its halves do (section 4.3). An empty majority agrees with everything,
//! so that a joint configuration with an empty half behaves as its other half.

use std::collections::BTreeSet;
use std::fmt;

/// How a vote stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteResult {
    /// Votes still missing decide.
    Pending,
    /// A quorum cannot be reached any more.
    Lost,
    /// A quorum has said yes.
    Won,
}

impl fmt::Display for VoteResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VoteResult::Pending => "VotePending",
            VoteResult::Lost => "VoteLost",
            VoteResult::Won => "VoteWon",
        })
    }
}

/// A set of voters that decides by majority.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Majority(pub BTreeSet<u64>);

/// Voters whose indexes are sorted without allocating.
const SMALL: usize = 7;

impl Majority {
    /// The highest index that a majority has acknowledged; `u64::MAX` where there are no voters.
    /// `acked` gives each voter's index, where it is known.
    pub fn committed_index(&self, acked: impl Fn(u64) -> Option<u64>) -> u64 {
        let voters = self.0.len();
        if voters == 0 {
            return u64::MAX;
        }
        let (mut small, mut large);
        let indexes: &mut [u64] = if voters <= SMALL {
            small = [0; SMALL];
            &mut small[..voters]
        } else {
            large = vec![0; voters];
            &mut large
        };
        for (place, id) in indexes.iter_mut().zip(&self.0) {
            *place = acked(*id).unwrap_or(0);
        }
        indexes.sort_unstable();
        // As many voters as a majority has acknowledged this one or a higher one.
        indexes[voters - (voters / 2 + 1)]
    }

    /// How a vote stands; `votes` gives what each voter said, where it has spoken.
    pub fn vote_result(&self, votes: impl Fn(u64) -> Option<bool>) -> VoteResult {
        if self.0.is_empty() {
            return VoteResult::Won;
        }
        let quorum = self.0.len() / 2 + 1;
        let said = |wanted| self.0.iter().filter(|id| votes(**id) == wanted).count();
        let (granted, missing) = (said(Some(true)), said(None));
        if granted >= quorum {
            VoteResult::Won
        } else if granted + missing >= quorum {
            VoteResult::Pending
        } else {
            VoteResult::Lost
        }
    }

    /// The voters in order.
    pub fn to_vec(&self) -> Vec<u64> {
        self.0.iter().copied().collect()
    }
}

impl FromIterator<u64> for Majority {
    fn from_iter<I: IntoIterator<Item = u64>>(ids: I) -> Majority {
        Majority(ids.into_iter().collect())
    }
}

impl fmt::Display for Majority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_ids(f, &self.0)
    }
}

/// Identifiers in hexadecimal between parentheses.
pub(crate) fn write_ids(f: &mut fmt::Formatter<'_>, ids: &BTreeSet<u64>) -> fmt::Result {
    f.write_str("(")?;
    for (place, id) in ids.iter().enumerate() {
        let gap = if place > 0 { " " } else { "" };
        write!(f, "{gap}{id:x}")?;
    }
    f.write_str(")")
}

/// Two majorities that must both agree; the second is empty unless the configuration is changing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joint {
    /// The voters that will remain.
    pub incoming: Majority,
    /// The voters from before, while the configuration is joint.
    pub outgoing: Majority,
}

impl Joint {
    /// The highest index that both halves have acknowledged.
    pub fn committed_index(&self, acked: impl Fn(u64) -> Option<u64>) -> u64 {
        self.incoming.committed_index(&acked).min(self.outgoing.committed_index(&acked))
    }

    /// How a vote stands: lost where one half is lost, won where both are won.
    pub fn vote_result(&self, votes: impl Fn(u64) -> Option<bool>) -> VoteResult {
        use VoteResult::{Lost, Pending, Won};
        match (self.incoming.vote_result(&votes), self.outgoing.vote_result(&votes)) {
            (Lost, _) | (_, Lost) => Lost,
            (Won, Won) => Won,
            _ => Pending,
        }
    }

    /// Every voter of either half.
    pub fn ids(&self) -> BTreeSet<u64> {
        self.incoming.0.union(&self.outgoing.0).copied().collect()
    }

    /// Whether this is a voter of either half.
    pub fn contains(&self, id: u64) -> bool {
        self.incoming.0.contains(&id) || self.outgoing.0.contains(&id)
    }

    /// Whether both halves are in force.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.0.is_empty()
    }
}

impl fmt::Display for Joint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.incoming)?;
        if self.is_joint() { write!(f, "&&{}", self.outgoing) } else { Ok(()) }
    }
}
