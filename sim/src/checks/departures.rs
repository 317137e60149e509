//! Departures: what a client asked is not proposed after the client has left.

use super::{Violation, ensure};
use std::collections::BTreeSet;

/// Requests that must not be in the log.
#[derive(Default)]
pub(crate) struct Departures {
    never: BTreeSet<u64>,
}

impl Departures {
    /// A client has left whose request was in no log.
    pub(crate) fn left(&mut self, request: u64) {
        self.never.insert(request);
    }

    /// An entry with this request is committed.
    pub(crate) fn committed(&self, request: u64) -> Result<(), Violation> {
        ensure("departures", !self.never.contains(&request), || {
            format!("request {request:x} was proposed after its client had left")
        })
    }
}
