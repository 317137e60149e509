//! Proposals that wait for a leader.

use bytes::Bytes;
use prost::Message;
use proto::raftpb::ConfChange;
use std::collections::{HashSet, VecDeque};

/// Bytes of proposals that may wait.
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What may be proposed.
#[derive(Clone, Debug, PartialEq)]
pub enum Proposal {
    /// An entry's data.
    Data(Bytes),
    /// The same, if this member leads in this term: it must not go to another leader.
    AsLeader {
        /// The term.
        term: u64,
        /// The entry's data.
        data: Bytes,
    },
    /// A change of the membership.
    Change(ConfChange),
}

impl Proposal {
    fn len(&self) -> usize {
        match self {
            Proposal::Data(data) | Proposal::AsLeader { data, .. } => data.len(),
            Proposal::Change(change) => change.encoded_len(),
        }
    }
}

/// Proposals that came while there was no leader, in their order. Each has a waiter with a time
/// limit; when that is over, the proposal is not made any more.
#[derive(Default)]
pub(crate) struct HeldProposals {
    proposals: VecDeque<(u64, Proposal)>,
    bytes: usize,
}

impl HeldProposals {
    /// Keeps a proposal; not where too many wait.
    pub(crate) fn push(&mut self, id: u64, proposal: Proposal) -> bool {
        if self.bytes + proposal.len() > HELD_BYTES_MAX {
            return false;
        }
        self.bytes += proposal.len();
        self.proposals.push_back((id, proposal));
        true
    }

    /// The first one.
    pub(crate) fn pop(&mut self) -> Option<(u64, Proposal)> {
        let (id, proposal) = self.proposals.pop_front()?;
        self.bytes -= proposal.len();
        Some((id, proposal))
    }

    /// Forgets those that nobody waits for, and gives their ids.
    pub(crate) fn retain(&mut self, is_awaited: impl Fn(u64) -> bool) -> HashSet<u64> {
        let (kept, forgotten) =
            std::mem::take(&mut self.proposals).into_iter().partition(|(id, _)| is_awaited(*id));
        self.proposals = kept;
        self.bytes = self.proposals.iter().map(|(_, proposal)| proposal.len()).sum();
        let forgotten: VecDeque<(u64, Proposal)> = forgotten;
        forgotten.into_iter().map(|(id, _)| id).collect()
    }

    /// Asserts that what waits is counted, and is not more than may.
    pub(crate) fn check(&self) {
        let bytes: usize = self.proposals.iter().map(|(_, proposal)| proposal.len()).sum();
        assert_eq!(bytes, self.bytes, "bytes of {} proposals that wait", self.proposals.len());
        assert!(bytes <= HELD_BYTES_MAX, "{bytes} bytes of proposals wait, more than may");
    }

    /// Whether this request's proposal waits.
    pub(crate) fn contains(&self, id: u64) -> bool {
        self.proposals.iter().any(|(held, _)| *held == id)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.proposals.len()
    }

    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.proposals.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposals_keep_their_order_and_have_a_limit() {
        let mut held = HeldProposals::default();
        let change = Proposal::Change(ConfChange::default());
        assert!(
            held.push(1, Proposal::Data(Bytes::from_static(b"a"))) && held.push(2, change.clone())
        );
        assert!(!held.push(3, Proposal::Data(vec![0; HELD_BYTES_MAX].into())));
        assert_eq!(held.retain(|id| id != 1), HashSet::from([1]));
        assert_eq!(held.pop(), Some((2, change)));
        assert!(held.is_empty() && held.bytes == 0);
    }
}
