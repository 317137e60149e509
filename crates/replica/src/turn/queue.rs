//! A queue between two turns, and whom a message wakes: a value without a lock or a thread.
//!
//! A wake-up costs more than most messages, so what nobody waits for may be sent lazily: a reader that
//! heeds only what is urgent finds it with what comes next, or at its deadline.

/// What a reader that waits is woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakePolicy {
    /// Every message.
    Every,
    /// All but those that were sent lazily.
    Urgent,
}

/// How soon a message is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Now: whoever waits for messages is woken.
    Urgent,
    /// With what comes next.
    Lazy,
}

/// Messages in their order, and a reader that may wait for them.
///
/// Invariant: a reader that waits while there are messages is one that heeds urgent ones only, and none
/// of those that came since is urgent.
#[derive(Debug)]
pub struct Queue<T> {
    messages: Vec<T>,
    waits: Option<WakePolicy>,
    /// An urgent message came that the reader was not woken for.
    has_unheeded: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { messages: Vec::new(), waits: None, has_unheeded: false }
    }
}

impl<T> Queue<T> {
    /// Adds a message. Gives whether the reader must be woken; it counts as awake then.
    #[must_use = "a reader that is not woken sleeps on"]
    pub fn push(&mut self, message: T, urgency: Urgency) -> bool {
        self.edit(|messages| messages.push(message), urgency)
    }

    /// Changes what waits to be read, and may add to it; as [`Queue::push`].
    #[must_use = "a reader that is not woken sleeps on"]
    pub fn edit(&mut self, act: impl FnOnce(&mut Vec<T>), urgency: Urgency) -> bool {
        act(&mut self.messages);
        let wakes =
            !self.messages.is_empty() && self.waits.is_some_and(|policy| policy.heeds(urgency));
        if wakes {
            self.waits = None;
        } else if urgency == Urgency::Urgent && self.waits.is_some() {
            self.has_unheeded = !self.messages.is_empty();
        }
        self.check();
        wakes
    }

    /// The reader begins to wait. Only for an empty queue.
    pub fn wait(&mut self, policy: WakePolicy) {
        assert!(self.messages.is_empty(), "a reader waits though there are messages");
        self.waits = Some(policy);
    }

    /// The reader waits no more, whatever it found.
    pub fn stop_waiting(&mut self) {
        self.waits = None;
    }

    /// Takes everything; `into` must be empty, and its storage is used for what comes next.
    pub fn take(&mut self, into: &mut Vec<T>) {
        assert!(into.is_empty(), "what was taken before is not worked off");
        (self.waits, self.has_unheeded) = (None, false);
        std::mem::swap(&mut self.messages, into);
    }

    /// Takes the first message, for readers that share the work.
    pub fn take_first(&mut self) -> Option<T> {
        (!self.messages.is_empty()).then(|| self.messages.remove(0))
    }

    /// How many messages wait to be read.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether nothing waits to be read.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// What a waiting reader is woken for, `None` where none waits.
    pub fn waits(&self) -> Option<WakePolicy> {
        self.waits
    }

    /// Asserts the invariant.
    pub fn check(&self) {
        assert!(!self.has_unheeded, "an urgent message did not wake the reader");
        let sleeps_on = self.waits == Some(WakePolicy::Every) && !self.messages.is_empty();
        assert!(!sleeps_on, "a reader of every message waits beside messages");
    }
}

impl WakePolicy {
    fn heeds(self, urgency: Urgency) -> bool {
        self == WakePolicy::Every || urgency == Urgency::Urgent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lazy_message_wakes_only_who_heeds_every_one() {
        let mut queue = Queue::default();
        queue.wait(WakePolicy::Urgent);
        assert!(!queue.push(1, Urgency::Lazy));
        assert!(queue.push(2, Urgency::Urgent));
        assert!(!queue.push(3, Urgency::Urgent), "the reader is awake");
        let mut taken = Vec::new();
        queue.take(&mut taken);
        assert_eq!(taken, [1, 2, 3]);
        queue.wait(WakePolicy::Every);
        assert!(queue.push(4, Urgency::Lazy));
    }
}
