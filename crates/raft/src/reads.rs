//! The reads that wait for a quorum to confirm them, and how far each member has.

use crate::tracker::Configuration;
use bytes::Bytes;
use proto::raftpb::Message;
use std::collections::{BTreeMap, VecDeque};

/// Reads that wait for a quorum. Their positions count from 1 in each leader's term.
///
/// Always true: indexes at which reads wait never fall, since the commit index does not.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// The position up to which each member has answered.
    acked: BTreeMap<u64, u64>,
    /// Requests with the commit index of when they came.
    unconfirmed: VecDeque<(Message, u64)>,
    /// The position of the last confirmed read.
    confirmed: u64,
}

impl Reads {
    /// Whether no read waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.unconfirmed.is_empty()
    }

    /// Asserts what is always true of [`Reads`].
    pub(crate) fn check(&self) {
        let indexes = self.unconfirmed.iter().map(|(_, index)| *index);
        assert!(indexes.is_sorted(), "a later read waits for an earlier index");
    }

    pub(crate) fn add(&mut self, request: Message, committed: u64) {
        let before = self.unconfirmed.back().map_or(0, |(_, index)| *index);
        assert!(committed >= before, "a read at {committed} comes after one at {before}");
        self.unconfirmed.push_back((request, committed));
    }

    pub(crate) fn last(&self) -> u64 {
        self.confirmed + self.unconfirmed.len() as u64
    }

    /// What a heartbeat carries while reads wait: the position of the last, in little-endian order.
    pub(crate) fn heartbeat_context(&self) -> Option<Bytes> {
        let wait = !self.unconfirmed.is_empty();
        wait.then(|| Bytes::copy_from_slice(&self.last().to_le_bytes()))
    }

    pub(crate) fn ack(&mut self, from: u64, position: u64) {
        let acked = self.acked.entry(from).or_default();
        *acked = position.max(*acked);
    }

    /// Takes the reads that a quorum has confirmed.
    pub(crate) fn take_confirmed(&mut self, config: &Configuration) -> Vec<(Message, u64)> {
        let acked = config.voters.committed_index(|id| self.acked.get(&id).copied());
        let confirmed = acked.clamp(self.confirmed, self.last());
        let count = (confirmed - self.confirmed) as usize;
        assert!(count <= self.unconfirmed.len(), "{count} reads are confirmed of fewer");
        self.confirmed = confirmed;
        self.unconfirmed.drain(..count).collect()
    }
}
