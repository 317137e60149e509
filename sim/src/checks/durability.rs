//! Durability: what a member said was written is there after every crash.

use super::{Violation, ensure};
use proto::raftpb::{Entry, HardState};
use replica::{Core, Persist};
use std::collections::{BTreeMap, VecDeque};

const PROPERTY: &str = "durability";

/// A write under way.
struct Write {
    number: u64,
    /// The last entry that is there once it is written.
    last: Option<u64>,
    hard_state: Option<HardState>,
}

/// What one member has said.
#[derive(Default)]
struct Ledger {
    writes: VecDeque<Write>,
    /// Index -> term, of what was handed to the log writer in this life.
    terms: BTreeMap<u64, u64>,
    /// The last entry that must be there.
    last: u64,
    term: u64,
    vote: u64,
}

/// What members have said.
#[derive(Default)]
pub(crate) struct Durability {
    ledgers: BTreeMap<usize, Ledger>,
}

impl Durability {
    /// A member's core wants this written.
    pub(crate) fn writing(&mut self, place: usize, persist: &Persist) {
        self.ledgers.entry(place).or_default().writing(persist);
    }

    /// A member's core was told that writes up to this number are durable.
    pub(crate) fn written(&mut self, place: usize, number: u64) {
        self.ledgers.entry(place).or_default().written(number);
    }

    /// A member is back.
    pub(crate) fn restarted(&mut self, place: usize, core: &Core) -> Result<(), Violation> {
        self.ledgers.entry(place).or_default().restarted(place, core)
    }
}

impl Ledger {
    fn writing(&mut self, persist: &Persist) {
        let mut last = persist.entries.last().map(Entry::index);
        if let Some(metadata) = persist.snapshot.as_ref().and_then(|one| one.metadata.as_ref()) {
            let (index, term) = (metadata.index(), metadata.term());
            // An entry of another term in its place is replaced as well.
            let agrees = self.terms.get(&index).is_none_or(|known| *known == term);
            self.cut(if agrees { index } else { index - 1 });
            self.terms.insert(index, term);
            last = last.or(metadata.index);
        }
        if let Some(first) = persist.entries.first() {
            self.cut(first.index() - 1);
        }
        self.terms.extend(persist.entries.iter().map(|entry| (entry.index(), entry.term())));
        let Persist { number, hard_state, .. } = *persist;
        self.writes.push_back(Write { number, last, hard_state });
    }

    /// Entries after this one are replaced.
    fn cut(&mut self, index: u64) {
        self.last = self.last.min(index);
        for write in &mut self.writes {
            write.last = write.last.map(|last| last.min(index));
        }
        self.terms.split_off(&(index + 1));
    }

    fn written(&mut self, number: u64) {
        while let Some(write) = self.writes.pop_front_if(|write| write.number <= number) {
            self.last = write.last.unwrap_or(self.last).max(self.last);
            if let Some(hard_state) = write.hard_state {
                (self.term, self.vote) = (hard_state.term(), hard_state.vote());
            }
        }
    }

    fn restarted(&mut self, place: usize, core: &Core) -> Result<(), Violation> {
        self.writes.clear();
        let basic = core.raft_status().basic;
        let (last, said) = (basic.last, self.last);
        ensure(PROPERTY, last >= said, || {
            format!("m{place} said that it had written entry {said}, its log ends with {last}")
        })?;
        let own = core.term_of(said);
        let known = self.terms.get(&said).copied();
        ensure(PROPERTY, own.is_none() || known.is_none() || own == known, || {
            format!("m{place} wrote entry {said} with term {known:?}, now it has {own:?}")
        })?;
        let (term, vote) = (self.term, self.vote);
        let keeps = basic.term > term || (basic.term == term && (vote == 0 || basic.vote == vote));
        ensure(PROPERTY, keeps, || {
            let (now, voted) = (basic.term, basic.vote);
            format!("m{place} wrote vote {vote:x} in term {term}, now {voted:x} in term {now}")
        })?;
        // What is found was in the file by chance, or for good: either way it has been read.
        (self.term, self.vote) = (basic.term, basic.vote);
        Ok(())
    }
}
