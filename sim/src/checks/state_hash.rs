//! State hash equality: where members have applied the same entries, their stores are the same.

use super::{Violation, ensure};
use crate::hashes::Hashes;
use std::collections::BTreeMap;

const PROPERTY: &str = "state hash equality";

/// Index -> hashes of the state there, and who had it first.
#[derive(Default)]
pub(crate) struct StateHash {
    hashes: BTreeMap<u64, (Hashes, usize)>,
}

impl StateHash {
    /// The state of a member.
    pub(crate) fn is(&mut self, index: u64, hashes: Hashes, place: usize) -> Result<(), Violation> {
        let (known, other) = *self.hashes.entry(index).or_insert((hashes, place));
        ensure(PROPERTY, known == hashes, || {
            format!("after entry {index}, m{other} has {known:x?} and m{place} {hashes:x?}")
        })
    }
}
