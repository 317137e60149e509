//! Reads that see everything acknowledged before them, without an entry in the log (thesis,
//! section 6.4).
//!
//! The leader notes its commit index when a read comes. When a quorum has answered a heartbeat
//! sent after that, nobody else led then, and the read may be served by whoever has applied that
//! index. Heartbeats carry how many reads there were so far, and an answer confirms all of them.

use crate::config::ReadOnly;
use crate::raft::{Raft, ReadState};
use crate::storage::Storage;
use crate::wire::{self, NONE};
use proto::raftpb::{Message, MessageType};

impl<S: Storage> Raft<S> {
    /// Takes a read, of this node or passed on by another.
    pub(crate) fn lead_read(&mut self, request: Message) {
        if request.entries.is_empty() {
            return;
        }
        if self.has_committed_own_term() {
            self.begin_read(request);
        } else {
            // What was acknowledged in earlier terms may not be known to be committed yet. That
            // holds for an only voter as well, whose commit index may be older after a crash than
            // what it has acknowledged; the reference answers that one at once.
            self.early_reads.push(request);
        }
    }

    /// Takes up reads that came before the first commit of this term.
    pub(crate) fn release_early_reads(&mut self) {
        if !self.early_reads.is_empty() && self.has_committed_own_term() {
            for request in std::mem::take(&mut self.early_reads) {
                self.begin_read(request);
            }
        }
    }

    fn begin_read(&mut self, request: Message) {
        // An only voter cannot have been replaced.
        let config = &self.tracker.config;
        let is_alone = self.tracker.is_singleton() && config.voters.contains(self.config.id);
        if is_alone || self.config.read_only == ReadOnly::LeaseBased {
            self.answer_read(request, self.log.committed);
            return;
        }
        self.reads.add(request, self.log.committed);
        self.reads.ack(self.config.id, self.reads.last());
        self.broadcast_heartbeat();
    }

    /// Counts an answer to a heartbeat, and answers the reads that it completes.
    pub(crate) fn confirm_reads(&mut self, message: &Message) {
        let context = message.context.as_deref().unwrap_or_default();
        let Some(position) = context.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)) else {
            return;
        };
        if self.config.read_only == ReadOnly::Safe {
            self.reads.ack(message.from(), position);
            for (request, index) in self.reads.take_confirmed(&self.tracker.config) {
                self.answer_read(request, index);
            }
        }
    }

    fn answer_read(&mut self, request: Message, index: u64) {
        let from = request.from();
        if from == NONE || from == self.config.id {
            let data = request.entries.into_iter().next().and_then(|entry| entry.data);
            self.read_states.push(ReadState { index, context: data.unwrap_or_default() });
            return;
        }
        let response = wire::message(MessageType::MsgReadIndexResp, from);
        self.send(Message { index: Some(index), entries: request.entries, ..response });
    }
}
