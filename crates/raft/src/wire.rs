//! Messages and entries: names, kinds and sizes.

use prost::Message as _;
use proto::raftpb::{
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeV2, Entry, EntryType, Message,
    MessageType,
};

/// No member: where a message is local, or no leader is known.
pub const NONE: u64 = 0;
/// Whom [`MessageType::MsgStorageAppend`] is for: what persists entries, votes and snapshots.
pub const APPEND_THREAD: u64 = u64::MAX;
/// Whom [`MessageType::MsgStorageApply`] is for: what applies committed entries.
pub const APPLY_THREAD: u64 = u64::MAX - 1;
/// No limit of bytes.
pub const NO_LIMIT: u64 = u64::MAX;
/// What a request for votes says that a leader asked for, so that no lease holds it up.
pub(crate) const CAMPAIGN_TRANSFER: &[u8] = b"CampaignTransfer";

/// Whether a message must not come from another member.
pub fn is_local(kind: MessageType) -> bool {
    use MessageType::*;
    matches!(
        kind,
        MsgHup
            | MsgBeat
            | MsgUnreachable
            | MsgSnapStatus
            | MsgCheckQuorum
            | MsgStorageAppend
            | MsgStorageAppendResp
            | MsgStorageApply
            | MsgStorageApplyResp
    )
}

/// Whether a message answers another one, so that it must come from a member that is known.
pub fn is_response(kind: MessageType) -> bool {
    use MessageType::*;
    matches!(
        kind,
        MsgAppResp
            | MsgVoteResp
            | MsgHeartbeatResp
            | MsgUnreachable
            | MsgReadIndexResp
            | MsgPreVoteResp
            | MsgStorageAppendResp
            | MsgStorageApplyResp
    )
}

/// Whether this names a part of the own process instead of a member.
pub fn is_local_target(id: u64) -> bool {
    id == APPEND_THREAD || id == APPLY_THREAD
}

/// What answers a request for votes.
pub(crate) fn vote_response(kind: MessageType) -> MessageType {
    match kind {
        MessageType::MsgVote => MessageType::MsgVoteResp,
        MessageType::MsgPreVote => MessageType::MsgPreVoteResp,
        other => panic!("{} asks for no vote", other.as_str_name()),
    }
}

/// A message of a kind for a member.
pub(crate) fn message(kind: MessageType, to: u64) -> Message {
    Message { r#type: Some(kind as i32), to: Some(to), ..Message::default() }
}

/// A message that a node is told by its owner.
pub(crate) fn local(kind: MessageType, from: u64) -> Message {
    Message { r#type: Some(kind as i32), from: Some(from), ..Message::default() }
}

/// The encoded size of entries.
pub fn encoded_bytes(entries: &[Entry]) -> u64 {
    entries.iter().map(entry_bytes).sum()
}

fn entry_bytes(entry: &Entry) -> u64 {
    prost::Message::encoded_len(entry) as u64
}

/// The size of what entries carry. An empty entry counts for nothing, so one is never refused.
pub fn payload_bytes(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| entry.data.as_ref().map_or(0, |data| data.len() as u64)).sum()
}

/// Copies entries from the first on, while they fit; at least one where there are any.
pub(crate) fn take_limited<'a>(
    entries: impl ExactSizeIterator<Item = &'a Entry>,
    bytes_max: u64,
) -> Vec<Entry> {
    if bytes_max == NO_LIMIT {
        return entries.cloned().collect();
    }
    let mut taken = Vec::new();
    let mut bytes: u64 = 0;
    for entry in entries {
        bytes = bytes.saturating_add(entry_bytes(entry));
        if bytes > bytes_max && !taken.is_empty() {
            break;
        }
        taken.push(entry.clone());
    }
    taken
}

/// A change of one member as a change of many.
pub fn conf_change_v2(change: &ConfChange) -> ConfChangeV2 {
    let single =
        ConfChangeSingle { r#type: Some(change.r#type() as i32), node_id: Some(change.node_id()) };
    ConfChangeV2 { transition: None, changes: vec![single], context: change.context.clone() }
}

/// What a change asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transition {
    /// At most one voter moves.
    Simple,
    /// Into a joint configuration, to be left by itself or when asked.
    EnterJoint { auto_leave: bool },
    /// Out of a joint configuration.
    LeaveJoint,
}

/// What a change asks for. Several changes at once are always made jointly, for whether they could
/// be made simply depends on the configuration that they will meet.
pub(crate) fn transition(change: &ConfChangeV2) -> Transition {
    match (change.transition(), change.changes.len()) {
        (ConfChangeTransition::Auto, 0) => Transition::LeaveJoint,
        (ConfChangeTransition::Auto, 1) => Transition::Simple,
        (ConfChangeTransition::JointExplicit, _) => Transition::EnterJoint { auto_leave: false },
        _ => Transition::EnterJoint { auto_leave: true },
    }
}

/// A proposal of a change, or to leave a joint configuration.
pub(crate) fn conf_change(change: Option<&ConfChangeV2>) -> Message {
    let data = change.map(|change| change.encode_to_vec().into());
    let kind = Some(EntryType::EntryConfChangeV2 as i32);
    let entry = Entry { r#type: kind, data, ..Entry::default() };
    Message { entries: vec![entry], ..local(MessageType::MsgProp, NONE) }
}
