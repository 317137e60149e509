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

/// A generation. `revisions` is ascending and not empty; compaction may have cut its front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Generation {
    created: i64,
    /// Puts so far, those cut off included.
    version: i64,
    revisions: Vec<Revision>,
    /// The last revision is a tombstone.
    ended: bool,
}

/// All generations of a key. Most keys are put once: those cost no allocation, and the box keeps
/// them small.
#[allow(clippy::box_collection)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum History {
    Once(Revision),
    Many(Box<Vec<Generation>>),
}

impl Generation {
    fn last(&self) -> Revision {
        *self.revisions.last().expect("a generation has a revision")
    }

    /// The newest revision not after `at`; `None` where all are after it.
    fn at_or_before(&self, at: i64) -> Option<usize> {
        self.revisions.partition_point(|revision| revision.main <= at).checked_sub(1)
    }
}

impl History {
    /// A key whose first known change is this put.
    pub(crate) fn restored(modified: Revision, created: i64, version: i64) -> History {
        if created == modified.main && version == 1 {
            return History::Once(modified);
        }
        let revisions = vec![modified];
        History::Many(Box::new(vec![Generation { created, version, revisions, ended: false }]))
    }

    /// A key whose first known change is this tombstone.
    pub(crate) fn restored_tombstone(at: Revision) -> History {
        let revisions = vec![at];
        History::Many(Box::new(vec![Generation { created: 0, version: 0, revisions, ended: true }]))
    }

    fn generations(&mut self) -> &mut Vec<Generation> {
        if let History::Once(revision) = *self {
            let first = Generation {
                created: revision.main,
                version: 1,
                revisions: vec![revision],
                ended: false,
            };
            *self = History::Many(Box::new(vec![first]));
        }
        match self {
            History::Many(generations) => generations,
            History::Once(_) => unreachable!("it was just unfolded"),
        }
    }

    /// Adds a put; gives the creating revision and the version it has now.
    pub(crate) fn put(&mut self, revision: Revision) -> (i64, i64) {
        let generations = self.generations();
        match generations.last_mut().filter(|generation| !generation.ended) {
            Some(generation) => {
                generation.version += 1;
                generation.revisions.push(revision);
                (generation.created, generation.version)
            }
            None => {
                generations.push(Generation {
                    created: revision.main,
                    version: 1,
                    revisions: vec![revision],
                    ended: false,
                });
                (revision.main, 1)
            }
        }
    }

    /// Ends the key's generation. The key must exist.
    pub(crate) fn tombstone(&mut self, revision: Revision) {
        let last = self.generations().last_mut().expect("a history has a generation");
        assert!(!last.ended, "only a key that exists is deleted");
        last.revisions.push(revision);
        last.ended = true;
    }

    /// The key as it was at a main revision, if it existed then.
    pub(crate) fn get(&self, at: i64) -> Option<Found> {
        let generations = match self {
            History::Once(revision) => {
                let found = Found { modified: *revision, created: revision.main, version: 1 };
                return (revision.main <= at).then_some(found);
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
        if let History::Once(revision) = self {
            return (revision.main <= at).then_some(*revision);
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
            History::Once(only) => *only == revision,
            History::Many(generations) => generations
                .iter()
                .any(|generation| generation.revisions.binary_search(&revision).is_ok()),
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
        if let [only] = generations.as_slice()
            && let [revision] = only.revisions.as_slice()
            && !only.ended
            && only.version == 1
            && only.created == revision.main
        {
            *self = History::Once(*revision);
            return true;
        }
        !generations.is_empty()
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
        let mut history = History::Once(r(2));
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
        let mut history = History::Once(r(2));
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
        let mut history = History::Once(r(2));
        history.tombstone(r(3));
        history.put(r(4));
        history.compact(4);
        assert_eq!(history, History::Once(r(4)));
    }

    impl History {
        fn clone_as_ended(mut self, created: i64, version: i64) -> History {
            let only = &mut self.generations()[0];
            (only.created, only.version) = (created, version);
            self
        }
    }
}
