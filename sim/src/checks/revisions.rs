//! Revisions strictly increase and are never used again.

use super::{Violation, ensure};
use crate::member::Seen;
use crate::model::Model;
use apply::Reply;
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
        seen: &Seen,
    ) -> Result<(), Violation> {
        let index = seen.entry.index();
        let expected = model.at(index).expect("it is committed").revision;
        if let Some(revision) = seen.result.as_ref().ok().and_then(Reply::revision) {
            ensure(PROPERTY, revision == expected, || {
                format!("entry {index} was answered with revision {revision}, not {expected}")
            })?;
        }
        let Some(revision) = seen.revision else { return Ok(()) };
        let made = *self.made.entry(revision).or_insert(index);
        ensure(PROPERTY, made == index && revision == expected, || {
            format!("revision {revision} is of entry {made} and of {index} (due: {expected})")
        })?;
        let before = self.shown.insert(place, revision).unwrap_or(0);
        ensure(PROPERTY, before < revision, || {
            format!("m{place} made revision {revision} after {before}")
        })
    }

    /// A member is back, with what it has applied.
    pub(crate) fn restarted(&mut self, place: usize) {
        self.shown.remove(&place);
    }
}
