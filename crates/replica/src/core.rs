//! The core: raft, and which message goes where.

use crate::log_writer::Persist;
use bytes::Bytes;
use proto::raftpb::{ConfChange, Entry};
use raft::{Dropped, Node, Status};

/// What another part must do.
#[derive(Debug)]
pub enum Command {
    /// For the log writer.
    Persist(Persist),
    /// For the applier.
    Apply(Vec<Entry>),
}

/// The core of a member.
pub struct Core {
    node: Node,
}

impl Core {
    pub(crate) fn new(node: Node) -> Core {
        Core { node }
    }

    /// Lets one heartbeat interval pass.
    pub fn tick(&mut self) {
        self.node.tick();
    }

    /// Proposes an entry's data.
    ///
    /// # Errors
    /// The entry is not in the log then.
    pub fn propose(&mut self, data: Bytes) -> Result<(), Dropped> {
        self.node.propose(data)
    }

    /// The log writer has done what it was told, up to this entry.
    pub fn persisted(&mut self, index: u64, term: u64) {
        self.node.persisted(index, term);
    }

    /// The applier has come to this entry; configuration changes among what it applied take effect.
    pub fn applied(&mut self, index: u64, conf_changes: &[ConfChange]) {
        for change in conf_changes {
            self.node.apply_conf_change(change);
        }
        self.node.applied(index);
    }

    /// What follows from everything so far; to be called when a batch of events was handed in.
    pub fn poll(&mut self, commands: &mut Vec<Command>) {
        let ready = self.node.ready();
        if ready.hard_state.is_some() || !ready.entries.is_empty() {
            commands.push(Command::Persist(Persist {
                hard_state: ready.hard_state,
                entries: ready.entries,
                sync: ready.must_sync,
            }));
        }
        if !ready.committed.is_empty() {
            commands.push(Command::Apply(ready.committed));
        }
    }

    /// What raft knows of itself.
    pub fn status(&self) -> Status {
        self.node.status()
    }
}
