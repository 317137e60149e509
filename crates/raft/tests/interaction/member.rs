//! A member: a node, its storage, and a state machine that appends whatever it is given.

use super::params::NewMembers;
use prost::Message as _;
use proto::raftpb::{
    ConfChange, ConfChangeV2, ConfState, Entry, EntryType, HardState, Message, MessageType,
    Snapshot, SnapshotMetadata,
};
use raft::{Config, MemoryStorage, Node, Ready, Storage, StorageError, wire};
use std::collections::VecDeque;

pub(crate) const ELECTION_TICKS: u32 = 3;
pub(crate) const HEARTBEAT_TICKS: u32 = 1;

/// Storage whose snapshot is always the newest state.
pub(crate) struct HistoryStorage {
    pub(crate) memory: MemoryStorage,
    /// The state after each entry applied.
    pub(crate) history: Vec<Snapshot>,
}

impl Storage for HistoryStorage {
    fn initial_state(&self) -> (HardState, ConfState) {
        self.memory.initial_state()
    }

    fn entries(&self, from: u64, to: u64, bytes_max: u64) -> Result<Vec<Entry>, StorageError> {
        self.memory.entries(from, to, bytes_max)
    }

    fn term(&self, index: u64) -> Result<u64, StorageError> {
        self.memory.term(index)
    }

    fn first_index(&self) -> u64 {
        self.memory.first_index()
    }

    fn last_index(&self) -> u64 {
        self.memory.last_index()
    }

    fn snapshot(&self) -> Result<Snapshot, StorageError> {
        Ok(self.history.last().unwrap().clone())
    }
}

/// A member.
pub(crate) struct Member {
    pub(crate) node: Node<HistoryStorage>,
    is_async: bool,
    /// For the append thread.
    pub(crate) append_work: VecDeque<Message>,
    /// For the apply thread.
    pub(crate) apply_work: VecDeque<Message>,
}

impl Member {
    pub(crate) fn new(id: u64, new: &NewMembers) -> Result<Member, String> {
        let mut memory = MemoryStorage::new();
        let mut metadata = SnapshotMetadata {
            conf_state: Some(new.conf_state.clone()),
            index: Some(new.index),
            term: Some(0),
        };
        let data = (!new.content.is_empty()).then(|| new.content.clone().into());
        let is_empty = new.index == 0
            && data.is_none()
            && new.conf_state.voters.is_empty()
            && new.conf_state.learners.is_empty();
        if !is_empty && new.index <= 1 {
            return Err("index must be specified as > 1 due to bootstrap".into());
        }
        if !is_empty {
            metadata.term = Some(1);
        }
        let snapshot = Snapshot { data, metadata: Some(metadata) };
        if !is_empty {
            memory.apply_snapshot(snapshot.clone()).map_err(|error| error.to_string())?;
        }
        let storage = HistoryStorage { memory, history: vec![snapshot] };
        let config = Config { id, seed: id, ..new.config };
        let node = Node::new(config, storage).map_err(|error| error.to_string())?;
        let is_async = new.config.async_storage_writes;
        Ok(Member { node, is_async, append_work: VecDeque::new(), apply_work: VecDeque::new() })
    }

    pub(crate) fn tick(&mut self, ticks: u32) {
        (0..ticks).for_each(|_| self.node.tick());
    }

    /// Does what a node asks for, or gives it to the storage threads; what is to be sent.
    pub(crate) fn process_ready(&mut self, ready: Ready) -> Result<Vec<Message>, String> {
        if !self.is_async {
            self.persist(ready.hard_state, ready.entries, ready.snapshot)?;
            self.apply(&ready.committed)?;
            assert!(ready.messages.iter().all(|message| !wire::is_local_target(message.to())));
            self.node.advance();
            return Ok(ready.messages);
        }
        let mut others = Vec::new();
        for message in ready.messages {
            match message.r#type() {
                MessageType::MsgStorageAppend => self.append_work.push_back(message),
                MessageType::MsgStorageApply => self.apply_work.push_back(message),
                _ => others.push(message),
            }
        }
        Ok(others)
    }

    /// Does what the append thread is told.
    pub(crate) fn persist_message(&mut self, message: Message) -> Result<(), String> {
        let hard_state =
            HardState { term: message.term, vote: message.vote, commit: message.commit };
        self.persist(Some(hard_state), message.entries, message.snapshot)
    }

    fn persist(
        &mut self,
        hard_state: Option<HardState>,
        entries: Vec<Entry>,
        snapshot: Option<Snapshot>,
    ) -> Result<(), String> {
        let memory = &mut self.node.storage_mut().memory;
        let is_empty =
            |state: &HardState| (state.term(), state.vote(), state.commit()) == (0, 0, 0);
        if let Some(hard_state) = hard_state.filter(|state| !is_empty(state)) {
            memory.set_hard_state(hard_state);
        }
        let Some(snapshot) = snapshot else {
            memory.append(entries);
            return Ok(());
        };
        if !entries.is_empty() {
            return Err("can't apply snapshot and entries at the same time".into());
        }
        memory.apply_snapshot(snapshot).map_err(|error| error.to_string())
    }

    /// Applies entries, each to a new state.
    pub(crate) fn apply(&mut self, entries: &[Entry]) -> Result<(), String> {
        for entry in entries {
            let (data, conf_state) = self.apply_one(entry)?;
            let history = &mut self.node.storage_mut().history;
            let last = history.last().unwrap();
            let content = [last.data.clone().unwrap_or_default(), data].concat();
            let metadata = last.metadata.clone().unwrap_or_default();
            let metadata = SnapshotMetadata {
                conf_state: conf_state.or(metadata.conf_state),
                index: entry.index,
                term: entry.term,
            };
            history.push(Snapshot { data: Some(content.into()), metadata: Some(metadata) });
        }
        Ok(())
    }

    fn apply_one(&mut self, entry: &Entry) -> Result<(bytes::Bytes, Option<ConfState>), String> {
        let data = entry.data.clone().unwrap_or_default();
        let changed = match entry.r#type() {
            EntryType::EntryNormal => return Ok((data, None)),
            EntryType::EntryConfChange => {
                let change = ConfChange::decode(data).unwrap();
                (change.context.clone(), self.node.apply_conf_change(&change))
            }
            EntryType::EntryConfChangeV2 => {
                let change = ConfChangeV2::decode(data).unwrap();
                (change.context.clone(), self.node.apply_conf_change_v2(&change))
            }
        };
        let state = changed.1.map_err(|error| error.to_string())?;
        Ok((changed.0.unwrap_or_default(), Some(state)))
    }
}
