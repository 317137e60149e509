//! A member tells its cluster its name and where clients reach it; then it may serve.

use crate::cluster::own_version;
use crate::error::StartError;
use crate::promise::Promise;
use crate::shared::Shared;
use apply::Kind;
use prost::Message;
use proto::membershippb::ClusterMemberAttrSetRequest;
use replica::Fault;
use services::{Call, Waiter};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a member that waits for its cluster looks again.
const LOOK: Duration = Duration::from_millis(1);
/// How long a proposal may take before it is made again: it may have been lost on its way to the leader,
/// and to say the same twice does no harm.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the only member of a cluster may take to decide the cluster's version.
const DECIDE_LIMIT: Duration = Duration::from_secs(5);

/// What keeps a member from going on.
pub(crate) struct Stops<'s> {
    /// The data or disk of the member failed.
    pub(crate) failure: &'s Promise<Fault>,
    /// The member is asked to stop.
    pub(crate) give_up: &'s dyn Fn() -> bool,
}

impl Stops<'_> {
    fn check(&self, shared: &Shared) -> Result<(), StartError> {
        if self.failure.is_given() {
            return Err(StartError::Publish("its data or disk failed"));
        }
        if (self.give_up)() || shared.ports.roster.is_removed() {
            return Err(StartError::Publish("it was stopped"));
        }
        Ok(())
    }
}

/// Goes on until it is done, the member fails, or it is to stop. A cluster of one has its version then.
pub(crate) fn publish(
    shared: &Arc<Shared>,
    attributes: &ClusterMemberAttrSetRequest,
    stops: &Stops<'_>,
) -> Result<(), StartError> {
    let request = attributes.encode_to_vec();
    let mut proposals = Vec::new();
    let mut proposed_at = None;
    while !proposals.iter().any(|promise: &Arc<Promise<bool>>| promise.is_given_and(|done| *done)) {
        stops.check(shared)?;
        let is_due = proposed_at.is_none_or(|at: Instant| at.elapsed() >= AGAIN);
        if is_due && is_in_touch(shared) {
            proposals.push(propose(shared, &request));
            proposed_at = Some(Instant::now());
            // Those that failed are not looked at again; the rest are as many as fit their time.
            proposals.retain(|promise| !promise.is_given_and(|done| !*done));
        }
        std::thread::sleep(LOOK);
    }
    let decided_by = Instant::now() + DECIDE_LIMIT;
    let is_undecided =
        || shared.services.may_read() && own_version(&shared.ports.roster.members()).is_some();
    while is_undecided() && Instant::now() < decided_by {
        stops.check(shared)?;
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Whether there is somebody to propose to.
fn is_in_touch(shared: &Shared) -> bool {
    let has_leader = shared.common().figures.leader() != 0;
    shared.services.may_read() || has_leader && shared.ports.roster.network().is_some()
}

/// Gives whether it was applied, as soon as that is known.
fn propose(shared: &Shared, request: &[u8]) -> Arc<Promise<bool>> {
    let promise = Promise::new();
    let promised = Arc::clone(&promise);
    let waiter = Waiter::Own(Box::new(move |result| promised.give(result.is_ok())));
    shared.services.propose(&Call::default(), Kind::ClusterMemberAttrSet, request, waiter);
    promise
}
