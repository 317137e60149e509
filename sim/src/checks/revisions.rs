//! Revisions strictly increase and are never used again.

use super::{Violation, ensure};
use crate::model::Model;
use replica::apply::{Outcome, Reply};
use std::collections::BTreeMap;

const PROPERTY: &str = "revisions";

/// Which entry made a revision, as clients and watchers were told.
#[derive(Default)]
pub(crate) struct Revisions {
    made: BTreeMap<i64, u64>,
    /// The last revision that a member showed in this life.
    shown: BTreeMap<usize, i64>,
}

impl Revisions {
    /// An entry was applied here for the first time.
    pub(crate) fn applied(
        &mut self,
        model: &Model,
        place: usize,
        index: u64,
        outcome: &Outcome,
    ) -> Result<(), Violation> {
        let expected = model.at(index).expect("it is committed").revision;
        if let Some(revision) = outcome.result.as_ref().ok().and_then(Reply::revision) {
            ensure(PROPERTY, revision == expected, || {
                format!("entry {index} was answered with revision {revision}, not {expected}")
            })?;
        }
        let Some(change) = &outcome.change else { return Ok(()) };
        let made = *self.made.entry(change.revision).or_insert(index);
        ensure(PROPERTY, made == index && change.revision == expected, || {
            let revision = change.revision;
            format!("revision {revision} is of entry {made} and of {index} (due: {expected})")
        })?;
        let before = self.shown.insert(place, change.revision).unwrap_or(0);
        ensure(PROPERTY, before < change.revision, || {
            format!("m{place} made revision {} after {before}", change.revision)
        })
    }

    /// A member is back, with what it has applied.
    pub(crate) fn restarted(&mut self, place: usize) {
        self.shown.remove(&place);
    }
}
