//! What operators, and the scripts they wrote, read in the log of a member's life: messages, levels and
//! names of fields are etcd's. None is written where requests pass, only where something ends or changes.
//!
//! A field given as bytes is JSON.

use crate::ticks::Ticks;
use membership::{Member, Members, Version};
use proto::VERSION;
use proto::raftpb::ConfState;
use raft::Role;
use replica::turn::SizeFigures as Sizes;
use replica::{Parts, SnapshotDue};
use services::lines::{hex, list, size};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A version's first two numbers, as etcd shows a cluster's.
fn minor(version: &str) -> String {
    version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
}

// ---- the start -----------------------------------------------------------------------------------

/// What was found and what begins.
pub(crate) fn opened(parts: &Parts, quota_flag: i64, db: &Path, took: Duration) {
    let machine = &parts.applier.machine;
    let (cluster, local) = (hex(parts.identity.cluster_id), hex(parts.identity.member_id));
    tracing::info!(path = %db.display(), ?took, "opened backend db");
    tracing::info!(index = machine.backend.applied().index, "restore consistentIndex");
    if let Some(torn) = &parts.torn {
        let (path, offset) = (torn.path.display(), torn.offset);
        tracing::warn!(%path, offset, error = %torn.tear, "repaired WAL");
    }
    if parts.is_new {
        tracing::info!(local_member_id = local, cluster_id = cluster, "starting local member");
    } else {
        let (total, in_use) = (machine.backend.size(), machine.backend.size_in_use());
        tracing::info!(
            backend_size_bytes = total,
            backend_size = size(total),
            backend_size_in_use_bytes = in_use,
            backend_size_in_use = size(in_use),
            "recovered v3 backend"
        );
        tracing::info!(
            cluster_id = cluster,
            local_member_id = local,
            commit_index = parts.core.status().committed,
            "restarting local member"
        );
        recovered(&machine.members, &cluster, &local);
    }
    let (compacted, revision) = (machine.store.compacted(), machine.store.revision());
    if compacted > 0 {
        tracing::info!(
            meta_bucket_name_key = "finishedCompactRev",
            restored_compact_revision = compacted,
            "restored last compact revision"
        );
    }
    tracing::info!(current_rev = revision, "kvstore restored");
    purged(&parts.purged);
    quota(quota_flag);
    starting(&machine.members, &cluster, &local);
}

/// Requests that are larger than this hold up all others.
const RECOMMENDED_REQUEST_BYTES: usize = 10 * 1024 * 1024;

/// A limit on requests that is higher than recommended.
pub(crate) fn request_limit(bytes: usize) {
    if bytes > RECOMMENDED_REQUEST_BYTES {
        tracing::warn!(
            max_request_bytes = bytes,
            max_request_size = size(bytes as u64),
            recommended_request_bytes = RECOMMENDED_REQUEST_BYTES,
            recommended_request_size = size(RECOMMENDED_REQUEST_BYTES as u64),
            "exceeded recommended request limit"
        );
    }
}

fn recovered(members: &Members, cluster: &str, local: &str) {
    if let Some(version) = members.cluster_version() {
        tracing::info!(cluster_version = minor(version), "enabled capabilities for version");
    }
    for member in members.list() {
        tracing::info!(
            cluster_id = cluster,
            local_member_id = local,
            recovered_remote_peer_id = hex(member.id),
            recovered_remote_peer_urls = &list(&member.peer_urls)[..],
            recovered_remote_peer_is_learner = member.is_learner,
            "recovered/added member from store"
        );
    }
    if let Some(version) = members.cluster_version() {
        tracing::info!(cluster_version = minor(version), "set cluster version from store");
    }
}

fn quota(flag: i64) {
    const NAME: &str = "v3-applier";
    match apply::quota::Quota::from_flag(flag).limit_bytes() {
        None => {
            tracing::info!(quota_name = NAME, quota_size_bytes = flag, "disabled backend quota");
        }
        Some(limit) => {
            let text = if flag == 0 {
                "enabled backend quota with default value"
            } else {
                "enabled backend quota"
            };
            let most = apply::quota::RECOMMENDED_BYTES_MAX;
            if limit > most {
                tracing::warn!(
                    quota_name = NAME,
                    quota_size_bytes = limit,
                    quota_size = size(limit),
                    quota_maximum_size_bytes = most,
                    quota_maximum_size = size(most),
                    "quota exceeds the maximum value"
                );
            }
            tracing::info!(
                quota_name = NAME,
                quota_size_bytes = limit,
                quota_size = size(limit),
                "{text}"
            );
        }
    }
}

fn starting(members: &Members, cluster: &str, local: &str) {
    match members.cluster_version() {
        Some(version) => tracing::info!(
            local_member_id = local,
            local_server_version = VERSION,
            cluster_id = cluster,
            cluster_version = minor(version),
            "starting etcd server"
        ),
        None => tracing::info!(
            local_member_id = local,
            local_server_version = VERSION,
            cluster_version = "to_be_decided",
            "starting etcd server"
        ),
    }
}

/// The cluster knows the member's name and client URLs.
pub(crate) fn published(
    ids: (u64, u64),
    name: &str,
    client_urls: &[String],
    request_timeout: Duration,
) {
    let attributes = format!("{{Name:{name} ClientURLs:[{}]}}", client_urls.join(" "));
    tracing::info!(
        local_member_id = hex(ids.0),
        local_member_attributes = attributes,
        cluster_id = hex(ids.1),
        publish_timeout = ?request_timeout,
        "published local member to cluster through raft"
    );
}

// ---- raft ----------------------------------------------------------------------------------------

/// The member has another role, or the same in another term.
pub(crate) fn role(own_id: u64, role: Role, term: u64) {
    if role == Role::PreCandidate {
        tracing::info!(logger = "raft", "{own_id:x} is starting a new election at term {term}");
    }
    let role = match role {
        Role::Follower => "follower",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
    };
    tracing::info!(logger = "raft", "{own_id:x} became {role} at term {term}");
}

/// There is another leader, or none.
pub(crate) fn leader(own_id: u64, before: u64, leader: u64, term: u64) {
    let text = match (before, leader) {
        (_, 0) => format!("raft.node: {own_id:x} lost leader {before:x} at term {term}"),
        (0, _) => format!("raft.node: {own_id:x} elected leader {leader:x} at term {term}"),
        _ => format!(
            "raft.node: {own_id:x} changed leader from {before:x} to {leader:x} at term {term}"
        ),
    };
    tracing::info!(logger = "raft", "{text}");
}

/// The first wait for an election was shortened.
pub(crate) fn election_shortened(own_id: u64, ticks: &Ticks, by: u32, active_peers: usize) {
    tracing::info!(
        local_member_id = hex(own_id),
        forward_ticks = by,
        forward_duration = ?(ticks.tick * by),
        election_ticks = ticks.election_ticks,
        election_timeout = ?(ticks.tick * ticks.election_ticks),
        active_remote_members = active_peers,
        "initialized peer connections; fast-forwarding election ticks"
    );
}

/// Others vote from now on.
pub(crate) fn configuration(own_id: u64, state: &ConfState) {
    let ids = |ids: &[u64]| ids.iter().map(|id| hex(*id)).collect::<Vec<_>>().join(" ");
    let learners = match &state.learners[..] {
        [] => String::new(),
        learners => format!(" learners=({})", ids(learners)),
    };
    let voters = ids(&state.voters);
    tracing::info!(
        logger = "raft",
        "{own_id:x} switched to configuration voters=({voters}){learners}"
    );
}

// ---- members and versions ------------------------------------------------------------------------

/// Who came and went, and the cluster's version, with what was applied just now.
pub(crate) fn members_changed(ids: (u64, u64), before: &Members, after: &Members) {
    let (local, cluster) = (hex(ids.0), hex(ids.1));
    for member in after.list() {
        match before.get(member.id) {
            None => added(&cluster, &local, member),
            Some(old) => changed(&cluster, &local, old, member),
        }
    }
    for member in before.list().filter(|member| after.get(member.id).is_none()) {
        tracing::info!(
            cluster_id = cluster,
            local_member_id = local,
            removed_remote_peer_id = hex(member.id),
            removed_remote_peer_urls = &list(&member.peer_urls)[..],
            removed_remote_peer_is_learner = member.is_learner,
            "removed member"
        );
    }
    version_changed(&cluster, &local, before.cluster_version(), after.cluster_version());
}

fn added(cluster: &str, local: &str, member: &Member) {
    tracing::info!(
        cluster_id = cluster,
        local_member_id = local,
        added_peer_id = hex(member.id),
        added_peer_peer_urls = &list(&member.peer_urls)[..],
        added_peer_is_learner = member.is_learner,
        "added member"
    );
}

fn changed(cluster: &str, local: &str, old: &Member, member: &Member) {
    if old.is_learner && !member.is_learner {
        tracing::info!(
            cluster_id = cluster,
            local_member_id = local,
            promoted_member_id = hex(member.id),
            "promote member"
        );
    }
    if old.peer_urls != member.peer_urls {
        tracing::info!(
            cluster_id = cluster,
            local_member_id = local,
            updated_remote_peer_id = hex(member.id),
            updated_remote_peer_urls = &list(&member.peer_urls)[..],
            updated_remote_peer_is_learner = member.is_learner,
            "updated member"
        );
    }
}

fn version_changed(cluster: &str, local: &str, before: Option<&str>, after: Option<&str>) {
    match (before, after) {
        (None, Some(version)) => tracing::info!(
            cluster_id = cluster,
            local_member_id = local,
            cluster_version = minor(version),
            "set initial cluster version"
        ),
        (Some(before), Some(after)) if before != after => tracing::info!(
            cluster_id = cluster,
            local_member_id = local,
            from = minor(before),
            to = minor(after),
            "updated cluster version"
        ),
        _ => return,
    }
    if let (Some(before), Some(after)) = (before, after)
        && Version::parse(after) < Version::parse(before)
    {
        tracing::info!(
            new_cluster_version = after,
            prev_cluster_version = before,
            "Cluster version downgrade detected, forcing snapshot"
        );
    }
    let version = after.map(minor).unwrap_or_default();
    tracing::info!(cluster_version = version, "enabled capabilities for version");
}

/// The storage is of another version than the cluster.
pub(crate) fn storage_version_differs(cluster: &Version, storage: &Version) {
    tracing::info!(
        cluster_version = %cluster,
        storage_version = %storage,
        "cluster version differs from storage version."
    );
}

/// The storage cannot take the cluster's version.
pub(crate) fn storage_version_failed(cluster: &Version, error: &str) {
    tracing::error!(cluster_version = %cluster, error, "failed to update storage version");
}

/// The storage has taken the cluster's version.
pub(crate) fn storage_version(version: &Version, downgrade_target: Option<&str>) {
    tracing::info!(new_storage_version = %version, "updated storage version");
    if let Some(target_version) = downgrade_target {
        tracing::info!(
            target_version,
            server_version = VERSION,
            "The server is ready to downgrade"
        );
    }
}

/// The cluster's version is about to be set.
pub(crate) fn sets_version(before: Option<&str>, version: &str) {
    match before {
        None => tracing::info!(
            cluster_version = minor(version),
            "setting up initial cluster version using v3 API"
        ),
        Some(before) => tracing::info!(
            from = minor(before),
            to = minor(version),
            "updating cluster version using v3 API"
        ),
    }
}

/// The cluster's version was set.
pub(crate) fn version_set(version: &str) {
    tracing::info!(cluster_version = minor(version), "cluster version is updated");
}

/// There is another way to a member.
pub(crate) fn peer_added(own_id: u64, id: u64, urls: &[String]) {
    tracing::info!(
        local_member_id = hex(own_id),
        remote_peer_id = hex(id),
        remote_peer_urls = &list(urls)[..],
        "added remote peer"
    );
}

/// A member is spoken to no more.
pub(crate) fn peer_removed(own_id: u64, id: u64) {
    tracing::info!(
        local_member_id = hex(own_id),
        removed_remote_peer_id = hex(id),
        "removed remote peer"
    );
}

/// A member is reached elsewhere.
pub(crate) fn peer_updated(own_id: u64, id: u64, urls: &[String]) {
    tracing::info!(
        local_member_id = hex(own_id),
        updated_remote_peer_id = hex(id),
        updated_remote_peer_urls = &list(urls)[..],
        "updated remote peer"
    );
}

// ---- snapshots, compaction, defragmentation ------------------------------------------------------

/// The log is to record that everything up to here is in the database.
pub(crate) fn triggers_snapshot(own_id: u64, due: &SnapshotDue, before: u64, count: u64) {
    tracing::info!(
        local_member_id = hex(own_id),
        local_member_applied_index = due.index,
        local_member_snapshot_index = before,
        local_member_snapshot_count = count,
        snapshot_forced = due.index < before + count,
        "triggering snapshot"
    );
}

/// The log has recorded it.
pub(crate) fn snapshot_saved(index: u64) {
    tracing::info!(snapshot_index = index, "saved snapshot to disk");
}

/// Old files that were too many have been removed.
pub(crate) fn purged(paths: &[PathBuf]) {
    for path in paths {
        tracing::info!(path = %path.display(), "purged");
    }
}

/// History up to this revision is to go.
pub(crate) fn compacts(revision: i64) {
    tracing::info!(revision, "compact tree index");
}

/// History up to this revision is gone.
pub(crate) fn compacted(revision: i64, took: Duration, rows: u64, sizes: Sizes) {
    tracing::info!(
        compact_revision = revision,
        ?took,
        number_of_keys_compacted = rows,
        current_db_size_bytes = sizes.total,
        current_db_size = size(sizes.total),
        current_db_size_in_use_bytes = sizes.in_use,
        current_db_size_in_use = size(sizes.in_use),
        "finished scheduled compaction"
    );
}

/// The database is copied without its holes.
pub(crate) fn defragments(db: &Path, sizes: Sizes) {
    tracing::info!("starting defragment");
    tracing::info!(
        path = %db.display(),
        current_db_size_bytes = sizes.total,
        current_db_size = size(sizes.total),
        current_db_size_in_use_bytes = sizes.in_use,
        current_db_size_in_use = size(sizes.in_use),
        "defragmenting"
    );
}

/// It was.
pub(crate) fn defragmented(db: &Path, before: Sizes, after: Sizes, took: Duration) {
    tracing::info!(
        path = %db.display(),
        current_db_size_bytes_diff = after.total.wrapping_sub(before.total) as i64,
        current_db_size_bytes = after.total,
        current_db_size = size(after.total),
        current_db_size_in_use_bytes_diff = after.in_use.wrapping_sub(before.in_use) as i64,
        current_db_size_in_use_bytes = after.in_use,
        current_db_size_in_use = size(after.in_use),
        ?took,
        "finished defragmenting directory"
    );
    tracing::info!("finished defragment");
}

/// A member that lags behind is to be sent the database.
pub(crate) fn sends_snapshot(own_id: u64, to: u64, bytes: u64) {
    tracing::info!(
        from = hex(own_id),
        to = hex(to),
        bytes,
        size = size(bytes),
        "sending merged snapshot"
    );
}

/// A leader's snapshot is in the log.
pub(crate) fn snapshot_recorded(index: u64) {
    tracing::info!(snapshot_index = index, "applied incoming Raft snapshot");
}

/// A leader's snapshot takes the place of everything: `text` says whether it does or did.
pub(crate) fn applies_snapshot(text: &str, recorded: u64, applied: u64, index: u64, term: u64) {
    tracing::info!(
        current_snapshot_index = recorded,
        current_applied_index = applied,
        incoming_leader_snapshot_index = index,
        incoming_leader_snapshot_term = term,
        "{text}"
    );
}

/// The quota is used up.
pub(crate) fn out_of_space(quota: u64, error: &str) {
    tracing::warn!(
        quota_size_bytes = quota,
        quota_size = size(quota),
        error,
        "message exceeded backend quota; raising alarm"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_shown_as_etcd_does() {
        assert_eq!(minor("3.7.0"), "3.7");
    }
}
