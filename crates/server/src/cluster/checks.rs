//! Which changes of the membership may be proposed: those after which the members that run still
//! are a majority (reference: `server/etcdserver/server.go`, `api/membership/cluster.go`).

use super::Roster;
use crate::rpc::Error;
use apply::membership::Members;
use std::time::Duration;

/// A member must have been connected this long to count.
const HEALTHY: Duration = Duration::from_secs(5);
/// How far a learner's log must reach, of the leader's.
pub(crate) const READY_SHARE: f64 = 0.9;

/// Voters, and those of them that have started, without one of them.
fn voters(members: &Members, without: Option<u64>) -> (usize, usize) {
    let counted =
        |member: &&apply::membership::Member| !member.is_learner && Some(member.id) != without;
    let all = members.list().filter(counted);
    all.fold((0, 0), |(all, started), member| {
        (all + 1, started + usize::from(!member.name.is_empty()))
    })
}

/// How many voters this member has been connected to for a while, itself included.
fn connected(roster: &Roster, members: &Members, own_id: u64) -> usize {
    let since = |id| roster.network().and_then(|network| network.active_since(id));
    let is_healthy = |id| id == own_id || since(id).is_some_and(|at| at.elapsed() >= HEALTHY);
    let voters = members.list().filter(|member| !member.is_learner);
    voters.filter(|member| is_healthy(member.id)).count()
}

/// Whether a member may be added.
///
/// # Errors
/// Too few have started, or are connected.
pub(crate) fn may_add(roster: &Roster, own_id: u64, is_learner: bool) -> Result<(), Error> {
    let members = roster.members();
    let (all, started) = voters(&members, None);
    let after = all + 1;
    // A second member is how a cluster is restored from one.
    let restores = started == 1 && after == 2;
    if !is_learner && !restores && started < after / 2 + 1 {
        return Err(Error::NotEnoughStarted);
    }
    if all > 1 && connected(roster, &members, own_id) < after / 2 + 1 {
        return Err(Error::Unhealthy);
    }
    Ok(())
}

/// Whether a member may be removed.
///
/// # Errors
/// Too few of the others have started, or are connected.
pub(crate) fn may_remove(roster: &Roster, own_id: u64, id: u64) -> Result<(), Error> {
    let members = roster.members();
    if members.get(id).is_some_and(|member| member.is_learner) {
        return Ok(());
    }
    let (others, started) = voters(&members, Some(id));
    if started < others / 2 + 1 {
        return Err(Error::NotEnoughStarted);
    }
    let active = |id| roster.network().and_then(|network| network.active_since(id)).is_some();
    if id != own_id && !active(id) {
        // One that is down anyway is no part of the majority that runs.
        return Ok(());
    }
    let (all, _) = voters(&members, None);
    if connected(roster, &members, own_id) < 2 + (all - 1) / 2 {
        return Err(Error::Unhealthy);
    }
    Ok(())
}

/// Whether a learner may get a vote: `matched` of the leader's `last` entry.
///
/// # Errors
/// It lags behind, or too few have started.
pub(crate) fn may_promote(
    roster: &Roster,
    strict: bool,
    matched: Option<u64>,
    last: u64,
) -> Result<(), Error> {
    let matched = matched.ok_or(Error::MemberNotFound)?;
    if (matched as f64) < last as f64 * READY_SHARE {
        return Err(Error::LearnerNotReady);
    }
    let (all, started) = voters(&roster.members(), None);
    let after = all + 1;
    if strict && started + 1 < after / 2 + 1 {
        return Err(Error::NotEnoughStarted);
    }
    Ok(())
}
