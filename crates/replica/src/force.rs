//! A member that is to go on alone, after the majority of its cluster was lost for good
//! (reference: `server/etcdserver/bootstrap.go`, `server/storage/util.go`).
//!
//! ```text
//! log before   ... committed | not committed
//! log after    ... committed | add itself, if it is none | remove each other member
//!                            ^ the commit index is raised to the end of these
//! ```
//! They are entries as any other: applied one by one, and found again by every later restart. A
//! member that is alone already loses nothing by being forced once more (etcd's drops the last
//! write that it acknowledged, for the commit index rests on the disk later than the entry).

use crate::Fault;
use apply::Machine;
use membership::Member;
use prost::Message;
use proto::raftpb::{ConfChange, ConfChangeType, Entry, EntryType};
use std::collections::BTreeSet;
use wal::Recovered;

/// Where a member is that its cluster does not know, as the reference supposes.
const UNKNOWN_URL: &str = "http://localhost:2380";

/// Changes what was read from a log so that it ends with this member alone. Gives the entries that are
/// to be written with the hard state; none where it is alone already.
///
/// # Errors
/// Changes in the log that cannot be read.
pub(crate) fn alone(
    recovered: &mut Recovered,
    own_id: u64,
    machine: &Machine,
) -> Result<Vec<Entry>, Fault> {
    let applied = machine.backend.applied().index;
    let last = recovered.entries.last().map_or(applied, Entry::index);
    // A commit index alone is not synced, but what is applied is committed.
    let commit = recovered.hard_state.commit().max(applied).min(last.max(applied));
    let known: BTreeSet<u64> = machine.members.list().map(|member| member.id).collect();
    let open = recovered.entries.iter().filter(|one| (applied + 1..=commit).contains(&one.index()));
    let known = after(known, open)?;
    if known.len() == 1 && known.contains(&own_id) {
        // Alone already: everything in its log may have been acknowledged.
        return Ok(Vec::new());
    }
    recovered.entries.retain(|entry| entry.index() <= commit);
    let changes = changes(&known, own_id);
    let term = recovered.hard_state.term();
    let entries: Vec<Entry> = (commit + 1..)
        .zip(&changes)
        .map(|(index, change)| Entry {
            r#type: Some(EntryType::EntryConfChange as i32),
            term: Some(term),
            index: Some(index),
            data: Some(change.encode_to_vec().into()),
        })
        .collect();
    recovered.hard_state.commit = Some(commit + entries.len() as u64);
    recovered.entries.extend_from_slice(&entries);
    Ok(entries)
}

/// The members after these entries.
fn after<'e>(
    mut ids: BTreeSet<u64>,
    entries: impl Iterator<Item = &'e Entry>,
) -> Result<BTreeSet<u64>, Fault> {
    for entry in entries.filter(|entry| entry.r#type() == EntryType::EntryConfChange) {
        let change = ConfChange::decode(entry.data()).map_err(|_| {
            Fault::Config(format!("the change of members in entry {} is unreadable", entry.index()))
        })?;
        match change.r#type() {
            ConfChangeType::ConfChangeRemoveNode => {
                ids.remove(&change.node_id());
            }
            ConfChangeType::ConfChangeAddNode | ConfChangeType::ConfChangeAddLearnerNode => {
                ids.insert(change.node_id());
            }
            ConfChangeType::ConfChangeUpdateNode => {}
        }
    }
    Ok(ids)
}

/// Itself first: there must be a voter at every moment.
fn changes(known: &BTreeSet<u64>, own_id: u64) -> Vec<ConfChange> {
    let me = || Member { id: own_id, peer_urls: vec![UNKNOWN_URL.into()], ..Member::default() };
    let added = (!known.contains(&own_id)).then(|| ConfChange {
        id: None,
        r#type: Some(ConfChangeType::ConfChangeAddNode as i32),
        node_id: Some(own_id),
        context: Some(me().to_json().into()),
    });
    let others = known.iter().filter(|id| **id != own_id);
    let removed = others.map(|id| ConfChange {
        id: None,
        r#type: Some(ConfChangeType::ConfChangeRemoveNode as i32),
        node_id: Some(*id),
        context: None,
    });
    added.into_iter().chain(removed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(index: u64, kind: ConfChangeType, id: u64) -> Entry {
        let change =
            ConfChange { r#type: Some(kind as i32), node_id: Some(id), ..ConfChange::default() };
        Entry {
            r#type: Some(EntryType::EntryConfChange as i32),
            index: Some(index),
            data: Some(change.encode_to_vec().into()),
            ..Entry::default()
        }
    }

    #[test]
    fn who_is_left_follows_from_the_log() {
        let entries = [
            change(5, ConfChangeType::ConfChangeAddNode, 3),
            change(6, ConfChangeType::ConfChangeAddLearnerNode, 4),
            change(7, ConfChangeType::ConfChangeRemoveNode, 2),
            change(8, ConfChangeType::ConfChangeUpdateNode, 9),
        ];
        let ids = after(BTreeSet::from([1, 2]), entries.iter()).unwrap();
        assert_eq!(ids, BTreeSet::from([1, 3, 4]));
    }

    #[test]
    fn there_is_a_voter_at_every_moment() {
        let of = |known: &[u64]| -> Vec<(i32, u64)> {
            let changes = changes(&known.iter().copied().collect(), 1);
            changes.iter().map(|change| (change.r#type() as i32, change.node_id())).collect()
        };
        let (add, remove) =
            (ConfChangeType::ConfChangeAddNode as i32, ConfChangeType::ConfChangeRemoveNode as i32);
        assert_eq!(of(&[1, 2, 3]), [(remove, 2), (remove, 3)]);
        assert_eq!(of(&[2]), [(add, 1), (remove, 2)]);
        assert_eq!(of(&[1]), []);
    }
}
