//! State machine safety: members apply the same entries, and each leads to what it says.

use super::{Violation, ensure};
use crate::member::Seen;
use crate::model::Model;

const PROPERTY: &str = "state machine safety";

/// Entries applied by anyone.
#[derive(Default)]
pub(crate) struct StateMachine {
    applied: u64,
}

impl StateMachine {
    /// An entry was applied somewhere. Whether nobody had applied it before comes back.
    pub(crate) fn applied(&mut self, model: &mut Model, seen: &Seen) -> Result<bool, Violation> {
        self.applied += 1;
        let Seen { entry, is_replay, is_accepted, .. } = seen;
        let (is_replay, accepted) = (*is_replay, *is_accepted);
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
        ensure(PROPERTY, accepted == committed.accepted, || {
            format!("entry {index} leads to {:?}, not accepted={}", seen.result, !accepted)
        })?;
        ensure(PROPERTY, seen.id == committed.id, || format!("entry {index} lost its id"))?;
        Ok(is_first)
    }

    /// How many entries were applied, by all members together.
    pub(crate) fn count(&self) -> u64 {
        self.applied
    }
}
