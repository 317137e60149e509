//! Proposals that wait for a leader.

use bytes::Bytes;
use std::collections::VecDeque;

/// Bytes of proposals that may wait.
const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Proposals that came while there was no leader, in their order. Each has a waiter with a time
/// limit; when that is over, the proposal is not made any more.
#[derive(Default)]
pub(crate) struct Held {
    proposals: VecDeque<(u64, Bytes)>,
    bytes: usize,
}

impl Held {
    /// Keeps a proposal; not where too many wait.
    pub(crate) fn push(&mut self, id: u64, data: Bytes) -> bool {
        if self.bytes + data.len() > HELD_BYTES_MAX {
            return false;
        }
        self.bytes += data.len();
        self.proposals.push_back((id, data));
        true
    }

    /// The first one.
    pub(crate) fn pop(&mut self) -> Option<(u64, Bytes)> {
        let (id, data) = self.proposals.pop_front()?;
        self.bytes -= data.len();
        Some((id, data))
    }

    /// Forgets those that nobody waits for.
    pub(crate) fn retain(&mut self, is_awaited: impl Fn(u64) -> bool) {
        self.proposals.retain(|(id, _)| is_awaited(*id));
        self.bytes = self.proposals.iter().map(|(_, data)| data.len()).sum();
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
        let mut held = Held::default();
        assert!(held.push(1, Bytes::from_static(b"a")) && held.push(2, Bytes::from_static(b"b")));
        assert!(!held.push(3, vec![0; HELD_BYTES_MAX].into()));
        held.retain(|id| id != 1);
        assert_eq!(held.pop(), Some((2, Bytes::from_static(b"b"))));
        assert!(held.is_empty() && held.bytes == 0);
    }
}
