//! Neighbouring names with their histories.

use crate::history::History;
use crate::names::{Key, Names};

/// Names in a leaf, or children of a branch, at most. Tests want deep trees.
pub(crate) const WIDTH_MAX: usize = if cfg!(test) { 8 } else { 128 };
/// A leaf with this much text is full too, unless it holds one name alone.
const TEXT_MAX: usize = 64 * 1024;
/// Names looked at under one lock.
pub(crate) const PAGE_NAMES: usize = 4 * WIDTH_MAX;

/// What is below a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Names that exist now.
    pub(crate) alive: usize,
    /// All names.
    pub(crate) names: usize,
    /// A main revision that no change is newer than.
    pub(crate) newest: i64,
}

/// Names with their histories.
///
/// Always true:
/// 1. There is one history for every name; each is sound.
/// 2. `tally` counts them, and no change is newer than its `newest`.
/// 3. All names lie within the bounds that the branch above gives.
#[derive(Debug, Default)]
pub(crate) struct Leaf {
    names: Names,
    histories: Vec<History>,
    tally: Tally,
}

/// How much has been looked at, and what was found.
#[derive(Default)]
pub(crate) struct Compacted {
    seen: usize,
    /// Some name keeps a revision up to the compacted one.
    pub(crate) keeps_any: bool,
}

impl Compacted {
    pub(crate) fn is_enough(&self) -> bool {
        self.seen >= PAGE_NAMES
    }
}

impl Leaf {
    pub(crate) fn len(&self) -> usize {
        self.histories.len()
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(crate) fn name(&self, index: usize) -> Key<'_> {
        self.names.key(index)
    }

    pub(crate) fn history(&self, index: usize) -> &History {
        &self.histories[index]
    }

    pub(crate) fn find(&self, name: &[u8]) -> Result<usize, usize> {
        self.names.find(name)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= WIDTH_MAX || (self.names.text_len() >= TEXT_MAX && self.len() > 1)
    }

    pub(crate) fn insert(&mut self, index: usize, name: &[u8], history: History) {
        self.tally.add(&history);
        self.names.insert(index, name);
        if self.histories.len() == self.histories.capacity() {
            self.histories.reserve_exact(WIDTH_MAX / 8);
        }
        self.histories.insert(index, history);
    }

    /// Changes a name's history, or adds the name with one. A leaf that was full gives half of its
    /// names, with their bound.
    pub(crate) fn upsert<T>(
        &mut self,
        name: &[u8],
        change: impl FnOnce(&mut History) -> T,
        new: impl FnOnce() -> (History, T),
    ) -> (T, Option<(Vec<u8>, Leaf)>) {
        let index = match self.names.find(name) {
            Err(index) => index,
            Ok(index) => {
                let history = &mut self.histories[index];
                self.tally.alive -= usize::from(history.is_alive());
                let result = change(history);
                self.tally.alive += usize::from(history.is_alive());
                self.tally.newest = self.tally.newest.max(history.newest());
                return (result, None);
            }
        };
        let (history, result) = new();
        if !self.is_full() {
            self.insert(index, name, history);
            return (result, None);
        }
        // Names often come in order: then leave the full leaf full.
        let at = if index == self.len() { index } else { self.len() / 2 };
        let mut right = self.split_off(at);
        if index < at {
            self.insert(index, name, history);
        } else {
            right.insert(index - at, name, history);
        }
        let bound = right.name(0).to_vec();
        (result, Some((bound, right)))
    }

    pub(crate) fn undo(&mut self, name: &[u8]) {
        let index = self.names.find(name).expect("only what was changed is taken back");
        let history = &mut self.histories[index];
        debug_assert!(
            self.tally.alive >= usize::from(history.is_alive()),
            "who is alive is counted"
        );
        self.tally.alive -= usize::from(history.is_alive());
        if history.undo() {
            self.tally.alive += usize::from(history.is_alive());
        } else {
            self.tally.names -= 1;
            self.names.remove(index);
            self.histories.remove(index);
        }
    }

    fn split_off(&mut self, index: usize) -> Leaf {
        assert!((1..=self.len()).contains(&index), "a leaf of {} splits at {index}", self.len());
        let names = self.names.split_off(index);
        let histories = self.histories.split_off(index);
        self.histories.shrink_to_fit();
        self.tally = Tally::of(&self.histories);
        let tally = Tally::of(&histories);
        Leaf { names, histories, tally }
    }

    /// Takes in names that are all behind these.
    pub(crate) fn append(&mut self, right: Leaf) {
        debug_assert!(
            self.len() == 0
                || right.len() == 0
                || self.name(self.len() - 1).cmp(&right.name(0).to_vec()).is_lt(),
            "what is taken in is behind what is there"
        );
        self.names.append(&right.names);
        self.histories.extend(right.histories);
        self.tally.join(&right.tally);
    }

    /// Forgets what cannot be read from `at` on.
    pub(crate) fn compact(&mut self, at: i64, done: &mut Compacted) {
        done.seen += self.len();
        let mut is_left = Vec::with_capacity(self.len());
        for history in &mut self.histories {
            done.keeps_any |= history.keeps_any(at);
            is_left.push(history.compact(at));
        }
        if is_left.iter().all(|left| *left) {
            return;
        }
        self.names.retain(|index| is_left[index]);
        let mut places = is_left.iter();
        self.histories.retain(|_| *places.next().expect("one for each"));
        self.histories.shrink_to_fit();
        assert_eq!(self.names.len(), self.len(), "names and histories are forgotten together");
        self.tally.names = self.len();
    }

    /// Gives back spare room.
    pub(crate) fn close(&mut self) {
        self.names.shrink();
        self.histories.shrink_to_fit();
    }

    /// Every name with its history, in order.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = (Vec<u8>, History)> {
        let Leaf { names, histories, .. } = self;
        histories
            .into_iter()
            .enumerate()
            .map(move |(index, history)| (names.key(index).to_vec(), history))
    }
}

impl Leaf {
    /// The first place whose name is not below this one.
    pub(crate) fn lower_bound(&self, name: &[u8]) -> usize {
        self.names.lower_bound(name)
    }

    /// Asserts what is always true, and that all names lie between these.
    pub(crate) fn check(&self, from: &[u8], end: Option<&[u8]>) {
        self.names.check();
        assert_eq!(self.names.len(), self.histories.len(), "there is one history for every name");
        self.histories.iter().for_each(History::check);
        Tally::of(&self.histories).check(&self.tally);
        for index in 0..self.len() {
            assert!(self.name(index).cmp(from).is_ge(), "name {index} is below its leaf's bound");
            let is_below = end.is_none_or(|end| self.name(index).cmp(end).is_lt());
            assert!(is_below, "name {index} is beyond the next leaf's bound");
        }
    }
}

impl Tally {
    fn of(histories: &[History]) -> Tally {
        let mut tally = Tally::default();
        histories.iter().for_each(|history| tally.add(history));
        tally
    }

    fn add(&mut self, history: &History) {
        self.alive += usize::from(history.is_alive());
        self.names += 1;
        self.newest = self.newest.max(history.newest());
    }

    /// Asserts that this, counted anew, is what was kept.
    pub(crate) fn check(&self, kept: &Tally) {
        assert_eq!((self.alive, self.names), (kept.alive, kept.names), "the tally adds up");
        assert!(self.newest <= kept.newest, "no change is newer than {}", kept.newest);
        assert!(kept.alive <= kept.names, "{} of {} names are alive", kept.alive, kept.names);
    }

    pub(crate) fn join(&mut self, other: &Tally) {
        self.alive += other.alive;
        self.names += other.names;
        self.newest = self.newest.max(other.newest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Revision;

    fn leaf() -> Leaf {
        let mut leaf = Leaf::default();
        for (name, main) in [("a", 2), ("b", 3)] {
            leaf.insert(leaf.len(), name.as_bytes(), History::once(Revision { main, sub: 0 }));
        }
        leaf.check(b"a", Some(b"c"));
        leaf
    }

    #[test]
    #[should_panic(expected = "the tally adds up")]
    fn a_wrong_tally_is_found() {
        let mut leaf = leaf();
        leaf.tally.alive -= 1;
        leaf.check(b"", None);
    }

    #[test]
    #[should_panic(expected = "name 1 is beyond the next leaf's bound")]
    fn a_name_in_the_wrong_leaf_is_found() {
        leaf().check(b"a", Some(b"b"));
    }
}
