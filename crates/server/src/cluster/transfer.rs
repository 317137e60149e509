//! A leader that stops transfers the leadership to another member first
//! (reference: `EtcdServer.TryTransferLeadershipOnShutdown`).

use crate::shared::Shared;
use services::{CoreEvent, Error};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the old leader looks whether the new one leads.
const LOOK: Duration = Duration::from_millis(5);

/// Transfers the leadership, if this member has it and another voter can take it. Waits until the transfer is
/// done or has taken as long as a request may.
pub(crate) fn transfer_leadership(shared: &Arc<Shared>) {
    let own_id = shared.member_id;
    let id = |id: u64| format!("{id:x}");
    let leader = shared.common().figures.leader();
    if leader != own_id {
        tracing::info!(
            local_member_id = %id(own_id),
            current_leader_member_id = %id(leader),
            "skipped leadership transfer; local server is not leader"
        );
        return;
    }
    let voters = shared.ports.roster.members().list().filter(|member| !member.is_learner).count();
    if voters < 2 {
        tracing::info!(
            local_member_id = %id(own_id),
            current_leader_member_id = %id(leader),
            "skipped leadership transfer for single voting member cluster"
        );
        return;
    }
    if let Err(error) = transfer_to_longest_connected(shared) {
        let (_, error) = error.code_and_text();
        tracing::warn!(local_member_id = %id(own_id), error, "leadership transfer failed");
    }
}

fn transfer_to_longest_connected(shared: &Arc<Shared>) -> Result<(), Error> {
    let own_id = shared.member_id;
    let to = longest_connected(shared).ok_or(Error::Unhealthy)?;
    let (from, id) = (format!("{own_id:x}"), format!("{to:x}"));
    tracing::info!(
        local_member_id = %from,
        current_leader_member_id = %from,
        transferee_member_id = %id,
        "leadership transfer starting"
    );
    let begun = Instant::now();
    shared.ports.core.send(CoreEvent::Transfer { to, ticket: None });
    while shared.common().figures.leader() != to {
        if begun.elapsed() > shared.services.limits.request_timeout {
            return Err(Error::TransferTimeout);
        }
        std::thread::sleep(LOOK);
    }
    tracing::info!(
        local_member_id = %from,
        old_leader_member_id = %from,
        new_leader_member_id = %id,
        took = ?begun.elapsed(),
        "leadership transfer finished"
    );
    Ok(())
}

/// The voter that has been connected without a break for longest.
fn longest_connected(shared: &Shared) -> Option<u64> {
    let network = shared.ports.roster.network()?;
    let members = shared.ports.roster.members();
    let voters = members.list().filter(|member| !member.is_learner);
    let since = voters.filter_map(|member| Some((network.active_since(member.id)?, member.id)));
    since.min().map(|(_, id)| id)
}
