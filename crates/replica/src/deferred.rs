//! Changes of the membership that wait for the one before.
//!
//! A leader puts an empty entry in the place of a change while another is not applied yet, and
//! nobody hears of it: the client waits in vain. One who was answered by a member that applies
//! faster than the leader runs into this with its next change.

use proto::raftpb::{ConfChange, EntryType, Message, MessageType};
use raft::{Node, Storage};
use std::collections::VecDeque;

/// Changes that may wait.
const WAITING_MAX: usize = 64;

enum Proposal {
    Own(ConfChange),
    /// Passed on by another member.
    Others(Message),
}

/// The changes that wait, in their order.
#[derive(Default)]
pub(crate) struct Deferred {
    waiting: VecDeque<Proposal>,
}

impl Deferred {
    fn must_wait<S: Storage>(&self, node: &Node<S>) -> bool {
        node.is_conf_change_pending() && self.waiting.len() < WAITING_MAX
    }

    /// Keeps an own change if it must wait.
    pub(crate) fn keep_own<S: Storage>(&mut self, node: &Node<S>, change: &ConfChange) -> bool {
        let waits = self.must_wait(node);
        if waits {
            self.waiting.push_back(Proposal::Own(change.clone()));
        }
        waits
    }

    /// Keeps another member's change if it must wait; gives back all else.
    pub(crate) fn keep_others<S: Storage>(
        &mut self,
        node: &Node<S>,
        message: Message,
    ) -> Option<Message> {
        if is_conf_change(&message) && self.must_wait(node) {
            self.waiting.push_back(Proposal::Others(message));
            return None;
        }
        Some(message)
    }

    /// Proposes what need not wait any more. What is refused now is lost, as a message may be.
    pub(crate) fn resume<S: Storage>(&mut self, node: &mut Node<S>) {
        while !node.is_conf_change_pending()
            && let Some(proposal) = self.waiting.pop_front()
        {
            match proposal {
                Proposal::Own(change) => drop(node.propose_conf_change(&change)),
                Proposal::Others(message) => drop(node.step(message)),
            }
        }
    }
}

fn is_conf_change(message: &Message) -> bool {
    let is_change =
        |kind| matches!(kind, EntryType::EntryConfChange | EntryType::EntryConfChangeV2);
    message.r#type() == MessageType::MsgProp
        && message.entries.iter().any(|entry| is_change(entry.r#type()))
}
