//! Election safety: one leader in a term, one vote of a member in a term, crashes or not.

use super::{Violation, ensure};
use proto::raftpb::{Message, MessageType};
use std::collections::BTreeMap;

const PROPERTY: &str = "election safety";

/// Leaders and votes so far.
#[derive(Default)]
pub(crate) struct Election {
    /// Term -> leader, and which of its lives.
    leaders: BTreeMap<u64, (u64, u32)>,
    /// Voter and term -> candidate.
    votes: BTreeMap<(u64, u64), u64>,
}

impl Election {
    /// A member leads. Whether that is new comes back.
    pub(crate) fn leads(&mut self, term: u64, id: u64, life: u32) -> Result<bool, Violation> {
        let before = self.leaders.insert(term, (id, life));
        let same = before.is_none_or(|before| before == (id, life));
        ensure(PROPERTY, same, || {
            format!("term {term} is led by {id:x} in its life {life}, and was by {before:x?}")
        })?;
        Ok(before.is_none())
    }

    /// A member sends a message.
    pub(crate) fn sends(&mut self, message: &Message) -> Result<(), Violation> {
        if message.r#type() != MessageType::MsgVoteResp || message.reject() {
            return Ok(());
        }
        let (voter, term, candidate) = (message.from(), message.term(), message.to());
        let before = *self.votes.entry((voter, term)).or_insert(candidate);
        ensure(PROPERTY, before == candidate, || {
            format!("{voter:x} votes for {before:x} and {candidate:x} in term {term}")
        })
    }

    /// The highest term that had a leader.
    pub(crate) fn terms(&self) -> u64 {
        self.leaders.len() as u64
    }
}
