//! What waits for the watch thread: a mailbox, and the budget of the changes in it.

use crate::mailbox::{Mailbox, Woken};
use replica::turn::{Changes, Urgency, WakePolicy, WatchBudget, WatchEvent};
use std::time::Instant;

/// The queue.
pub(crate) struct HubQueue {
    mailbox: Mailbox<WatchEvent>,
    budget: WatchBudget,
}

impl HubQueue {
    /// An empty queue.
    pub(crate) fn new() -> HubQueue {
        HubQueue { mailbox: Mailbox::new(), budget: WatchBudget::default() }
    }

    /// Has changes published, or passed over where too many wait.
    pub(crate) fn publish(&self, changes: Changes) {
        match self.budget.admit(changes) {
            // Without watchers the hub only notes how far the store is.
            Ok(event) => drop(self.mailbox.send_with(event, Urgency::Lazy)),
            Err(overrun) => self.mailbox.edit(|queue| self.budget.cut(queue, &overrun)),
        }
    }

    /// Hands an event to the watch thread, in order with the changes.
    pub(crate) fn send(&self, event: WatchEvent) {
        self.mailbox.send(event);
    }

    /// As [`Mailbox::drain`]; changes are lazy.
    pub(crate) fn drain(
        &self,
        into: &mut Vec<WatchEvent>,
        deadline: Option<Instant>,
        policy: WakePolicy,
    ) -> Woken {
        self.mailbox.drain(into, deadline, policy)
    }

    /// What counts the changes.
    pub(crate) fn budget(&self) -> &WatchBudget {
        &self.budget
    }

    /// As [`Mailbox::close`].
    pub(crate) fn close(&self) {
        self.mailbox.close();
    }
}
