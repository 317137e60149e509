//! What a node asks its owner to do.

use crate::raft::{Raft, ReadState, Role};
use crate::storage::Storage;
use crate::wire::{self, APPEND_THREAD, APPLY_THREAD};
use proto::raftpb::{Entry, HardState, Message, MessageType, Snapshot};

/// What need not be persisted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftState {
    /// The leader, 0 for none.
    pub leader: u64,
    /// The node's role.
    pub role: Role,
}

/// What the owner must do now. Everything in it is handed out once.
///
/// **In turn** (without [`crate::Config::async_storage_writes`]): persist `hard_state`, `entries`
/// and `snapshot`; then send `messages`; apply `committed`; then call [`crate::Node::advance`].
///
/// **With asynchronous storage writes**, `entries` and `committed` are empty and travel in messages
/// instead: [`MessageType::MsgStorageAppend`] to [`APPEND_THREAD`] carries hard state, entries and
/// snapshot to be persisted, [`MessageType::MsgStorageApply`] to [`APPLY_THREAD`] entries to be
/// applied. Those for one thread are done in their order. When one is done, its `responses` are
/// delivered, to this node or to others; an append without responses need not even be durable. All
/// other messages go at once: the leader's entries reach its followers while its own disk is
/// writing (thesis, section 10.2.1), and promises wait for the disk, since they are among the
/// responses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ready {
    /// The leader and role, where they changed.
    pub soft_state: Option<SoftState>,
    /// To be persisted, where it has changed.
    pub hard_state: Option<HardState>,
    /// Reads that may be served once their index is applied.
    pub read_states: Vec<ReadState>,
    /// To be persisted, in this order.
    pub entries: Vec<Entry>,
    /// To be persisted and installed before any entry.
    pub snapshot: Option<Snapshot>,
    /// To be applied, in this order.
    pub committed: Vec<Entry>,
    /// To be sent. If a snapshot is among them, what became of it must be reported.
    pub messages: Vec<Message>,
    /// Whether what is persisted must be durable; a moved commit index alone need not be.
    pub must_sync: bool,
}

impl Ready {
    /// What is to be persisted, wherever it travels.
    pub fn to_persist(&self) -> &[Entry] {
        self.storage_entries(MessageType::MsgStorageAppend).unwrap_or(&self.entries)
    }

    /// What is to be applied, wherever it travels.
    pub fn to_apply(&self) -> &[Entry] {
        self.storage_entries(MessageType::MsgStorageApply).unwrap_or(&self.committed)
    }

    fn storage_entries(&self, kind: MessageType) -> Option<&[Entry]> {
        let mut newest = self.messages.iter().rev().take(2);
        newest.find(|message| message.r#type() == kind).map(|message| &message.entries[..])
    }
}

/// The message for the append thread, if there is anything to persist or to wait for.
pub(crate) fn storage_append<S: Storage>(raft: &mut Raft<S>, ready: &mut Ready) -> Option<Message> {
    let mut responses = std::mem::take(&mut raft.messages_after_append);
    let is_needed = !ready.entries.is_empty()
        || ready.hard_state.is_some()
        || ready.snapshot.is_some()
        || !responses.is_empty();
    if !is_needed {
        return None;
    }
    // Behind the node's acknowledgement to itself: what that commits is still at hand then.
    responses.extend(append_response(raft, ready));
    let hard_state = ready.hard_state.unwrap_or_default();
    Some(Message {
        from: Some(raft.config.id),
        term: hard_state.term,
        vote: hard_state.vote,
        commit: hard_state.commit,
        entries: std::mem::take(&mut ready.entries),
        snapshot: ready.snapshot.clone(),
        responses,
        ..wire::message(MessageType::MsgStorageAppend, APPEND_THREAD)
    })
}

/// What tells the node that entries or a snapshot are persisted, if it waits for that.
///
/// It names the last entry of the log as of now, even where that was handed out before: answers of
/// an earlier term are ignored, since the entries they speak of may have been replaced, and even
/// replaced back while the replacement is still on its way to the disk. So every write says again
/// what is in the log, and the first one of the newest term settles it.
pub(crate) fn append_response<S: Storage>(raft: &Raft<S>, ready: &Ready) -> Option<Message> {
    let has_entries = raft.log.unstable.has_entries();
    if !has_entries && ready.snapshot.is_none() {
        return None;
    }
    let last = has_entries.then(|| raft.log.last_id());
    Some(Message {
        from: Some(APPEND_THREAD),
        term: Some(raft.term),
        index: last.map(|last| last.index),
        log_term: last.map(|last| last.term),
        snapshot: ready.snapshot.clone(),
        ..wire::message(MessageType::MsgStorageAppendResp, raft.config.id)
    })
}

/// The message for the apply thread. It is of no term, since what is committed stays so.
pub(crate) fn storage_apply(id: u64, entries: Vec<Entry>) -> Message {
    let response = apply_response(id, entries.clone());
    Message {
        from: Some(id),
        term: Some(0),
        entries,
        responses: vec![response],
        ..wire::message(MessageType::MsgStorageApply, APPLY_THREAD)
    }
}

/// What tells the node that entries are applied.
pub(crate) fn apply_response(id: u64, entries: Vec<Entry>) -> Message {
    Message {
        from: Some(APPLY_THREAD),
        term: Some(0),
        entries,
        ..wire::message(MessageType::MsgStorageApplyResp, id)
    }
}
