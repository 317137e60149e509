//! What must always be true of a cluster: one file for each property.

mod bounds;
mod completeness;
mod departures;
mod durability;
mod election;
mod leases;
mod liveness;
mod log_matching;
mod reads;
mod revisions;
mod snapshots;
mod state_hash;
mod state_machine;
mod tickets;
mod visibility;
mod watching;

pub(crate) use bounds::hold as bounds_hold;
pub(crate) use completeness::Completeness;
pub(crate) use departures::Departures;
pub(crate) use durability::Durability;
pub(crate) use election::Election;
pub(crate) use leases::Leases;
pub(crate) use liveness::{Liveness, Standing};
pub(crate) use log_matching::LogMatching;
pub(crate) use reads::Reads;
pub(crate) use revisions::Revisions;
pub(crate) use snapshots::goes as snapshot_goes;
pub(crate) use state_hash::StateHash;
pub(crate) use state_machine::StateMachine;
pub(crate) use tickets::{Asked, Tickets, Who};
pub(crate) use visibility::Visibility;
pub(crate) use watching::{Heard, Watched};

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its name.
    pub property: &'static str,
    /// What was seen.
    pub why: String,
}

/// Fails with this property where something is not so.
pub(crate) fn ensure(
    property: &'static str,
    holds: bool,
    why: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { property, why: why() }) }
}

/// All of them.
#[derive(Default)]
pub(crate) struct Checks {
    pub(crate) election: Election,
    pub(crate) log_matching: LogMatching,
    pub(crate) completeness: Completeness,
    pub(crate) state_machine: StateMachine,
    pub(crate) state_hash: StateHash,
    pub(crate) durability: Durability,
    pub(crate) reads: Reads,
    pub(crate) revisions: Revisions,
    pub(crate) liveness: Liveness,
    pub(crate) tickets: Tickets,
    pub(crate) leases: Leases,
    pub(crate) visibility: Visibility,
    pub(crate) departures: Departures,
}
