//! The revisions of one key.
//!
//! A generation begins with the put of a key that is not there and ends with its tombstone. Between
//! generations the key does not exist.

use crate::Revision;

/// What is known of a key at some revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its last change.
    pub(crate) modified: Revision,
    /// The main revision that created its generation.
    pub(crate) created: i64,
    /// How many puts its generation has had.
    pub(crate) version: i64,
}

/// A generation.
///
/// Always true:
/// 1. `revisions` is not empty and ascends; compaction may have cut its front.
/// 2. It was created no later than its first revision, and has had at least so many puts as are left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Generation {
    created: i64,
    /// Puts so far, those cut off included.
    version: i64,
    revisions: Vec<Revision>,
    /// The last revision is a tombstone.
    ended: bool,
}

/// All generations of a key. Most keys are put once: those cost no allocation.
///
/// Always true: there is a generation, they ascend, and all but the last have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum History {
    /// One put.
    Once { main: i64, sub: u32 },
    /// Ascending; never empty.
    #[allow(clippy::box_collection)] // keeps the other kind, that most keys are of, small
    Many(Box<Vec<Generation>>),
}

/// A key's whole cost in the index, beside its name and what it points to.
const _: () = assert!(size_of::<History>() == 16);

impl Generation {
    fn begun_by(put: Revision) -> Generation {
        Generation { created: put.main, version: 1, revisions: vec![put], ended: false }
    }

    fn check(&self) {
        let first = self.revisions.first().expect("a generation has a revision");
        for pair in self.revisions.windows(2) {
            assert!(pair[0] < pair[1], "revisions ascend: {:?} before {:?}", pair[0], pair[1]);
        }
        assert!(self.created <= first.main, "{first:?} is of a generation of {}", self.created);
        let puts = self.revisions.len() as i64 - i64::from(self.ended);
        // What raised the revision (see `bump_revision`) was no put, nor is a tombstone alone.
        let is_put = self.created > 0;
        assert!(!is_put || puts <= self.version, "{puts} puts are left of {}", self.version);
    }

    fn last(&self) -> Revision {
        *self.revisions.last().expect("a generation has a revision")
    }

    /// The newest revision not after `at`; `None` where all are after it.
    fn at_or_before(&self, at: i64) -> Option<usize> {
        self.revisions.partition_point(|revision| revision.main <= at).checked_sub(1)
    }
}

impl History {
    /// A key that is put for the first time.
    pub(crate) fn once(revision: Revision) -> History {
        match u32::try_from(revision.sub) {
            Ok(sub) => History::Once { main: revision.main, sub },
            Err(_) => History::one(Generation::begun_by(revision)),
        }
    }

    /// A key whose first known change is this put.
    pub(crate) fn restored(modified: Revision, created: i64, version: i64) -> History {
        if created == modified.main && version == 1 {
            return History::once(modified);
        }
        History::one(Generation { created, version, revisions: vec![modified], ended: false })
    }

    /// A key whose first known change is this tombstone.
    pub(crate) fn restored_tombstone(at: Revision) -> History {
        History::one(Generation { created: 0, version: 0, revisions: vec![at], ended: true })
    }

    /// Asserts what is always true.
    pub(crate) fn check(&self) {
        let History::Many(generations) = self else { return };
        assert!(!generations.is_empty(), "a history has a generation");
        generations.iter().for_each(Generation::check);
        for pair in generations.windows(2) {
            let (last, first) = (pair[0].last(), pair[1].revisions[0]);
            assert!(pair[0].ended, "a generation ends before the next begins at {first:?}");
            assert!(last < first, "generations ascend: {last:?} before {first:?}");
        }
    }

    /// How many revisions are known; hands each to `see`, with whether it is a tombstone.
    pub(crate) fn for_each(&self, mut see: impl FnMut(Revision, bool)) {
        let generations = match self {
            &History::Once { main, sub } => return see(Revision { main, sub: sub.into() }, false),
            History::Many(generations) => generations,
        };
        for generation in generations.iter() {
            let last = generation.revisions.len() - 1;
            for (place, revision) in generation.revisions.iter().enumerate() {
                see(*revision, generation.ended && place == last);
            }
        }
    }

    fn one(generation: Generation) -> History {
        History::Many(Box::new(vec![generation]))
    }

    fn generations(&mut self) -> &mut Vec<Generation> {
        if let History::Once { main, sub } = *self {
            *self = History::one(Generation::begun_by(Revision { main, sub: sub.into() }));
        }
        match self {
            History::Many(generations) => generations,
            History::Once { .. } => unreachable!("it was just unfolded"),
        }
    }

    /// Takes the small form where it is enough.
    fn fold(&mut self) {
        let History::Many(generations) = self else { return };
        if let [only] = generations.as_slice()
            && let [revision] = only.revisions.as_slice()
            && *only == Generation::begun_by(*revision)
        {
            *self = History::once(*revision);
        }
    }

    /// Adds a put; gives the creating revision and the version it has now.
    pub(crate) fn put(&mut self, revision: Revision) -> (i64, i64) {
        debug_assert!(self.newest() <= revision.main, "{revision:?} follows {}", self.newest());
        let generations = self.generations();
        match generations.last_mut().filter(|generation| !generation.ended) {
            Some(generation) => {
                generation.version += 1;
                generation.revisions.push(revision);
                (generation.created, generation.version)
            }
            None => {
                generations.push(Generation::begun_by(revision));
                (revision.main, 1)
            }
        }
    }

    /// Ends the key's generation. The key must exist.
    pub(crate) fn tombstone(&mut self, revision: Revision) {
        let last = self.generations().last_mut().expect("a history has a generation");
        assert!(!last.ended, "only a key that exists is deleted");
        let before = last.last();
        assert!(before < revision, "a tombstone at {revision:?} follows {before:?}");
        last.revisions.push(revision);
        last.ended = true;
    }

    /// Takes back the newest change. `false` means that nothing is left.
    pub(crate) fn undo(&mut self) -> bool {
        let History::Many(generations) = self else { return false };
        let last = generations.last_mut().expect("a history has a generation");
        let undone = last.revisions.pop();
        assert!(undone.is_some(), "what is taken back was there");
        if last.ended {
            last.ended = false;
        } else {
            last.version -= 1;
        }
        if last.revisions.is_empty() {
            generations.pop();
        }
        let is_left = !generations.is_empty();
        self.fold();
        is_left
    }

    /// Adds what is known of the same key from later revisions. A tombstone that finds the key
    /// gone already changes nothing.
    pub(crate) fn join(&mut self, mut later: History) {
        let later = std::mem::take(later.generations());
        for generation in later {
            let generations = self.generations();
            let last = generations.last_mut().expect("a history has a generation");
            let is_tombstone_alone = generation.version == 0;
            if last.ended && is_tombstone_alone {
                continue;
            }
            if last.ended {
                generations.push(generation);
                continue;
            }
            if !is_tombstone_alone {
                last.version = generation.version;
            }
            last.revisions.extend(generation.revisions);
            last.ended = generation.ended;
        }
    }

    /// Whether the key exists now.
    pub(crate) fn is_alive(&self) -> bool {
        match self {
            History::Once { .. } => true,
            History::Many(generations) => generations.last().is_some_and(|last| !last.ended),
        }
    }

    /// The main revision of its newest change.
    pub(crate) fn newest(&self) -> i64 {
        match self {
            History::Once { main, .. } => *main,
            History::Many(generations) => {
                generations.last().expect("a history has a generation").last().main
            }
        }
    }

    /// The key as it was at a main revision, if it existed then.
    pub(crate) fn get(&self, at: i64) -> Option<Found> {
        let generations = match self {
            &History::Once { main, sub } => {
                let modified = Revision { main, sub: sub.into() };
                return (main <= at).then_some(Found { modified, created: main, version: 1 });
            }
            History::Many(generations) => generations,
        };
        let generation =
            generations.iter().rev().find(|generation| generation.revisions[0].main <= at)?;
        let place = generation.at_or_before(at)?;
        let is_last = place + 1 == generation.revisions.len();
        if generation.ended && is_last {
            return None;
        }
        // Versions count puts; the tombstone is none.
        let puts_after = generation.revisions.len() - 1 - place - usize::from(generation.ended);
        Some(Found {
            modified: generation.revisions[place],
            created: generation.created,
            version: generation.version - puts_after as i64,
        })
    }

    /// The revision that must be kept so that the key can be read at `at` and later, if there is
    /// one that old; a tombstone only exactly at `at`. With it, whether it ends a generation.
    fn needed_at(&self, at: i64) -> Option<(usize, usize)> {
        let History::Many(generations) = self else {
            return None;
        };
        // The first generation that was alive at `at`, ended there, or began later.
        let chosen = generations
            .iter()
            .position(|generation| !generation.ended || generation.last().main >= at)?;
        Some((chosen, generations[chosen].at_or_before(at)?))
    }

    /// The revision that a hash at `at` counts for this key.
    pub(crate) fn hashed_at(&self, at: i64) -> Option<Revision> {
        if let History::Once { main, sub } = *self {
            return (main <= at).then_some(Revision { main, sub: sub.into() });
        }
        let (chosen, place) = self.needed_at(at)?;
        let History::Many(generations) = self else {
            return None;
        };
        let generation = &generations[chosen];
        let is_tombstone = generation.ended && place + 1 == generation.revisions.len();
        (!is_tombstone).then(|| generation.revisions[place])
    }

    /// Whether a revision is still known.
    pub(crate) fn contains(&self, revision: Revision) -> bool {
        match self {
            History::Once { main, sub } => {
                *main == revision.main && i64::from(*sub) == revision.sub
            }
            History::Many(generations) => generations
                .iter()
                .any(|generation| generation.revisions.binary_search(&revision).is_ok()),
        }
    }

    /// Whether a compaction at `at` keeps any revision up to it.
    pub(crate) fn keeps_any(&self, at: i64) -> bool {
        match self {
            History::Once { main, .. } => *main <= at,
            History::Many(_) => self.needed_at(at).is_some(),
        }
    }

    /// Forgets what cannot be read any more. `false` means that nothing is left.
    pub(crate) fn compact(&mut self, at: i64) -> bool {
        let needed = self.needed_at(at);
        let History::Many(generations) = self else {
            return true;
        };
        let gone = generations
            .iter()
            .position(|generation| !generation.ended || generation.last().main >= at)
            .unwrap_or(generations.len());
        generations.drain(..gone);
        if let (Some((_, place)), Some(first)) = (needed, generations.first_mut()) {
            first.revisions.drain(..place);
            first.revisions.shrink_to_fit();
        }
        generations.shrink_to_fit();
        let is_left = !generations.is_empty();
        self.fold();
        is_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r(main: i64) -> Revision {
        Revision { main, sub: 0 }
    }

    /// Puts at 2, 4, 6, deleted at 8, put at 10 and 12.
    fn sample() -> History {
        let mut history = History::once(r(2));
        assert_eq!(history.put(r(4)), (2, 2));
        assert_eq!(history.put(r(6)), (2, 3));
        history.tombstone(r(8));
        assert_eq!(history.put(r(10)), (10, 1));
        assert_eq!(history.put(r(12)), (10, 2));
        history
    }

    fn seen(history: &History, at: i64) -> Option<(i64, i64, i64)> {
        history.get(at).map(|found| (found.modified.main, found.created, found.version))
    }

    #[test]
    fn every_revision_shows_its_state() {
        let history = sample();
        let expected = [
            (1, None),
            (2, Some((2, 2, 1))),
            (5, Some((4, 2, 2))),
            (7, Some((6, 2, 3))),
            (8, None),
            (9, None),
            (11, Some((10, 10, 1))),
            (99, Some((12, 10, 2))),
        ];
        for (at, state) in expected {
            assert_eq!(seen(&history, at), state, "at {at}");
        }
    }

    #[test]
    fn compaction_keeps_what_can_be_read_and_the_tombstone_at_the_horizon() {
        for at in 1..14 {
            let mut compacted = sample();
            assert!(compacted.compact(at));
            for later in at..14 {
                assert_eq!(seen(&compacted, later), seen(&sample(), later), "{at} {later}");
            }
        }
        let mut at_tombstone = sample();
        at_tombstone.compact(8);
        assert!(at_tombstone.contains(r(8)) && !at_tombstone.contains(r(6)));
        let mut after = sample();
        after.compact(9);
        assert!(!after.contains(r(8)));
    }

    #[test]
    fn a_deleted_key_is_forgotten_after_its_tombstone() {
        let mut history = History::once(r(2));
        history.tombstone(r(5));
        assert!(history.compact(5));
        assert_eq!(history, History::restored_tombstone(r(5)).clone_as_ended(2, 1));
        assert!(!history.compact(6));
    }

    #[test]
    fn hashes_count_live_revisions_only() {
        let history = sample();
        let hashed = |at| history.hashed_at(at).map(|revision| revision.main);
        assert_eq!(
            [hashed(1), hashed(5), hashed(8), hashed(9), hashed(12)],
            [None, Some(4), None, None, Some(12)]
        );
    }

    #[test]
    fn a_key_put_once_again_becomes_small() {
        let mut history = History::once(r(2));
        history.tombstone(r(3));
        history.put(r(4));
        history.compact(4);
        assert_eq!(history, History::once(r(4)));
    }

    fn broken(act: impl FnOnce(&mut Vec<Generation>)) {
        let mut history = sample();
        history.check();
        act(history.generations());
        history.check();
    }

    #[test]
    #[should_panic(expected = "revisions ascend")]
    fn revisions_that_do_not_ascend_are_found() {
        broken(|generations| generations[1].revisions.reverse());
    }

    #[test]
    #[should_panic(expected = "a generation ends before the next begins")]
    fn a_generation_that_did_not_end_is_found() {
        broken(|generations| {
            generations[0].ended = false;
            generations[0].version += 1;
        });
    }

    #[test]
    #[should_panic(expected = "puts are left of")]
    fn puts_that_were_not_counted_are_found() {
        broken(|generations| generations[1].version = 1);
    }

    impl History {
        fn clone_as_ended(mut self, created: i64, version: i64) -> History {
            let only = &mut self.generations()[0];
            (only.created, only.version) = (created, version);
            self
        }
    }
}
