//! Log matching: entries of the same index and term are the same, and so is all before them.

use super::{Violation, ensure};
use crate::hashes::fold;
use proto::raftpb::{Entry, Message, MessageType};
use std::collections::BTreeMap;

const PROPERTY: &str = "log matching";

/// Every entry ever seen in a log or on its way, committed or not.
#[derive(Default)]
pub(crate) struct LogMatching {
    /// Index and term -> hash.
    entries: BTreeMap<(u64, u64), u64>,
    /// Index and term -> term of the entry before.
    before: BTreeMap<(u64, u64), u64>,
}

impl LogMatching {
    /// Entries go into a log, one after another.
    pub(crate) fn appends(&mut self, entries: &[Entry]) -> Result<(), Violation> {
        let mut before: Option<u64> = None;
        for entry in entries {
            self.sees(entry, before)?;
            before = Some(entry.term());
        }
        Ok(())
    }

    /// A member sends a message.
    pub(crate) fn sends(&mut self, message: &Message) -> Result<(), Violation> {
        if message.r#type() != MessageType::MsgApp {
            return Ok(());
        }
        if let Some(first) = message.entries.first() {
            self.sees(first, Some(message.log_term()))?;
        }
        self.appends(&message.entries)
    }

    fn sees(&mut self, entry: &Entry, before: Option<u64>) -> Result<(), Violation> {
        let place = (entry.index(), entry.term());
        let hash = fold(entry.r#type() as u64, entry.data());
        let known = *self.entries.entry(place).or_insert(hash);
        ensure(PROPERTY, known == hash, || format!("two entries at index and term {place:?}"))?;
        let Some(term) = before else { return Ok(()) };
        let known = *self.before.entry(place).or_insert(term);
        ensure(PROPERTY, known == term, || {
            format!("before the entry at {place:?} there is one of term {known}, and of {term}")
        })
    }
}
