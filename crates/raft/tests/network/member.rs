//! A member whose disk and state machine take their time.

use super::Truth;
use prost::Message as _;
use proto::raftpb::{
    ConfChangeV2, ConfState, Entry, EntryType, HardState, Message, MessageType, Snapshot,
    SnapshotMetadata,
};
use raft::{Config, MemoryStorage, Node, ReadState, Role, Storage, wire};
use std::collections::VecDeque;

pub(crate) struct Member {
    pub(crate) node: Node<MemoryStorage>,
    config: Config,
    /// What a crash leaves.
    disk: MemoryStorage,
    writes: VecDeque<Message>,
    applies: VecDeque<Message>,
    pub(crate) reads: Vec<ReadState>,
    led: u64,
}

impl Member {
    pub(crate) fn new(id: u64, voters: &[u64], seed: u64, pre_vote: bool) -> Member {
        let conf_state = ConfState { voters: voters.to_vec(), ..ConfState::default() };
        let metadata =
            SnapshotMetadata { conf_state: Some(conf_state), index: Some(1), term: Some(1) };
        let mut disk = MemoryStorage::new();
        disk.apply_snapshot(Snapshot { data: None, metadata: Some(metadata) }).unwrap();
        let config = Config {
            id,
            election_ticks: 5,
            async_storage_writes: true,
            message_bytes_max: 64,
            applying_bytes_max: 64,
            inflight_count_max: 3,
            check_quorum: pre_vote,
            pre_vote,
            step_down_on_removal: true,
            seed: seed * 10 + id,
            ..Config::default()
        };
        Member {
            node: Node::new(config, disk.clone()).unwrap(),
            config,
            disk,
            writes: VecDeque::new(),
            applies: VecDeque::new(),
            reads: Vec::new(),
            led: 0,
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.config.id
    }

    /// Loses everything that is not on the disk, and starts again.
    pub(crate) fn crash(&mut self) {
        self.config.seed += 1000;
        self.node = Node::new(self.config, self.disk.clone()).unwrap();
        self.writes.clear();
        self.applies.clear();
    }

    /// Takes what the node asks for.
    pub(crate) fn work(&mut self, network: &mut Vec<Message>) {
        let ready = self.node.ready();
        self.reads.extend(ready.read_states);
        for message in ready.messages {
            match message.r#type() {
                MessageType::MsgStorageAppend => self.writes.push_back(message),
                MessageType::MsgStorageApply => self.applies.push_back(message),
                _ => network.push(message),
            }
        }
    }

    /// Writes what waits to the disk; only then is it answered.
    pub(crate) fn write(&mut self, network: &mut Vec<Message>) {
        while let Some(message) = self.writes.pop_front() {
            for storage in [&mut self.disk, self.node.storage_mut()] {
                write_to(storage, &message);
            }
            self.respond(message.responses, network);
        }
    }

    fn respond(&mut self, responses: Vec<Message>, network: &mut Vec<Message>) {
        for response in responses {
            if response.to() == self.config.id {
                // A member that was removed does not know itself.
                let _ = self.node.step(response);
            } else {
                network.push(response);
            }
        }
    }

    /// Applies what waits; everyone must apply the same.
    pub(crate) fn apply(&mut self, truth: &mut Truth, network: &mut Vec<Message>) {
        self.check_leader_is_complete(truth);
        while let Some(message) = self.applies.pop_front() {
            for entry in &message.entries {
                let known = truth.applied.entry(entry.index()).or_insert_with(|| entry.clone());
                assert_eq!(known, entry, "member {} applies something else", self.config.id);
                self.apply_change(entry);
            }
            self.respond(message.responses, network);
        }
    }

    /// A new leader holds everything committed (thesis, section 3.6.3).
    fn check_leader_is_complete(&mut self, truth: &Truth) {
        let status = self.node.basic_status();
        if status.role != Role::Leader || status.term == self.led {
            return;
        }
        self.led = status.term;
        let of_earlier_terms = truth.applied.values().rev().find(|one| one.term() < status.term);
        assert!(of_earlier_terms.is_none_or(|entry| entry.index() <= status.last));
    }

    fn apply_change(&mut self, entry: &Entry) {
        if entry.r#type() == EntryType::EntryConfChangeV2 {
            let change = ConfChangeV2::decode(entry.data.clone().unwrap_or_default()).unwrap();
            // What does not fit does not fit anywhere.
            let _ = self.node.apply_conf_change_v2(&change);
        }
    }

    /// Makes a snapshot of what is applied, and lets go of the log before it.
    pub(crate) fn compact(&mut self) {
        let applied = self.node.basic_status().applied;
        let conf_state = self.node.conf_state();
        // The disk must know that it is committed.
        if !self.applies.is_empty() || applied > self.disk.initial_state().0.commit() {
            return;
        }
        for storage in [&mut self.disk, self.node.storage_mut()] {
            if storage.create_snapshot(applied, conf_state.clone(), None).is_ok() {
                storage.compact(applied).unwrap();
            }
        }
    }
}

fn write_to(storage: &mut MemoryStorage, message: &Message) {
    if message.term() != 0 {
        let (term, vote, commit) = (message.term, message.vote, message.commit);
        storage.set_hard_state(HardState { term, vote, commit });
    }
    if let Some(snapshot) = &message.snapshot {
        // It may be older than what is here.
        let _ = storage.apply_snapshot(snapshot.clone());
    }
    assert!(wire::is_local_target(message.to()));
    storage.append(message.entries.clone());
}
