//! Which changes of the membership may be proposed: those after which the members that run still
//! are a majority (reference: `server/etcdserver/server.go`, `api/membership/cluster.go`).

use crate::{Error, Services};
use membership::Members;
use std::time::Duration;

/// A member must have been connected this long to count.
const HEALTHY: Duration = Duration::from_secs(5);
/// How far a learner's log must reach, of the leader's.
pub(crate) const READY_SHARE: f64 = 0.9;

/// Voters, and those of them that have started, without one of them.
fn voters(members: &Members, without: Option<u64>) -> (usize, usize) {
    let counted = |member: &&membership::Member| !member.is_learner && Some(member.id) != without;
    let all = members.list().filter(counted);
    all.fold((0, 0), |(all, started), member| {
        (all + 1, started + usize::from(!member.name.is_empty()))
    })
}

/// How many voters this member has been connected to for a while, itself included.
fn connected(services: &Services, members: &Members) -> usize {
    let now = services.now();
    let is_healthy = |id| {
        let since = services.member().active_since(id);
        id == services.member_id || since.is_some_and(|at| now.saturating_sub(at) >= HEALTHY)
    };
    let voters = members.list().filter(|member| !member.is_learner);
    voters.filter(|member| is_healthy(member.id)).count()
}

/// Whether a member may be added.
///
/// # Errors
/// Too few have started, or are connected.
pub(crate) fn may_add(services: &Services, is_learner: bool) -> Result<(), Error> {
    let members = services.common().members();
    let (all, started) = voters(&members, None);
    let after = all + 1;
    // A second member is how a cluster is restored from one.
    let restores = started == 1 && after == 2;
    if !is_learner && !restores && started < after / 2 + 1 {
        return Err(Error::NotEnoughStarted);
    }
    if all > 1 && connected(services, &members) < after / 2 + 1 {
        return Err(Error::Unhealthy);
    }
    Ok(())
}

/// Whether a member may be removed.
///
/// # Errors
/// Too few of the others have started, or are connected.
pub(crate) fn may_remove(services: &Services, id: u64) -> Result<(), Error> {
    let members = services.common().members();
    if members.get(id).is_some_and(|member| member.is_learner) {
        return Ok(());
    }
    let (others, started) = voters(&members, Some(id));
    if started < others / 2 + 1 {
        return Err(Error::NotEnoughStarted);
    }
    if id != services.member_id && services.member().active_since(id).is_none() {
        // One that is down anyway is no part of the majority that runs.
        return Ok(());
    }
    let (all, _) = voters(&members, None);
    if connected(services, &members) < 2 + (all - 1) / 2 {
        return Err(Error::Unhealthy);
    }
    Ok(())
}

/// Whether a learner may get a vote: `matched` of the leader's `last` entry.
///
/// # Errors
/// The learner lags behind, or too few members have started.
pub(crate) fn may_promote(
    services: &Services,
    matched: Option<u64>,
    last: u64,
) -> Result<(), Error> {
    let matched = matched.ok_or(Error::MemberNotFound)?;
    if (matched as f64) < last as f64 * READY_SHARE {
        return Err(Error::LearnerNotReady);
    }
    let (all, started) = voters(&services.common().members(), None);
    let after = all + 1;
    if services.limits.strict_changes && started + 1 < after / 2 + 1 {
        return Err(Error::NotEnoughStarted);
    }
    Ok(())
}
