//! State machine safety: members apply the same entries, and each leads to what it says.

use super::{Violation, ensure};
use crate::model::Model;
use proto::raftpb::Entry;
use replica::apply::Outcome;

const PROPERTY: &str = "state machine safety";

/// Entries applied by anyone.
#[derive(Default)]
pub(crate) struct StateMachine {
    applied: u64,
}

impl StateMachine {
    /// An entry was applied somewhere. Whether nobody had applied it before comes back.
    pub(crate) fn applied(
        &mut self,
        model: &mut Model,
        entry: &Entry,
        outcome: &Outcome,
        is_replay: bool,
    ) -> Result<bool, Violation> {
        self.applied += 1;
        let index = entry.index();
        let known = model.index();
        ensure(PROPERTY, index <= known + 1, || format!("entry {index} applied after {known}"))?;
        let is_first = index == known + 1;
        if is_first {
            ensure(PROPERTY, !is_replay, || format!("entry {index} replayed but never applied"))?;
            model.commit(entry);
        }
        let committed = model.at(index).expect("it was just committed");
        let (term, other) = (entry.term(), committed.entry.term());
        ensure(PROPERTY, committed.entry == *entry, || {
            format!("entry {index} is applied with term {term}, elsewhere with {other}, or differs")
        })?;
        if is_replay {
            return Ok(false);
        }
        let accepted = outcome.result.is_ok();
        ensure(PROPERTY, accepted == committed.accepted, || {
            format!("entry {index} leads to {:?}, not accepted={}", outcome.result, !accepted)
        })?;
        ensure(PROPERTY, outcome.id == committed.id, || format!("entry {index} lost its id"))?;
        Ok(is_first)
    }

    /// How many entries were applied, by all members together.
    pub(crate) fn count(&self) -> u64 {
        self.applied
    }
}
