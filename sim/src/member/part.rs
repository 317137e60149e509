//! The parts of a member, and whether each sleeps, as its thread would.

/// A part of a member, to be given a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Raft with its callers.
    Core,
    /// The log.
    Log,
    /// The state machine with its callers.
    Apply,
    /// The thread that writes the database file.
    File,
    /// The watch hub.
    Watch,
}

impl Part {
    pub(crate) const ALL: [Part; 5] = [Part::Core, Part::Log, Part::Apply, Part::File, Part::Watch];

    /// The part's name in a trace.
    pub(crate) fn name(self) -> &'static str {
        ["core turn", "log turn", "apply turn", "file turn", "watch turn"][self as usize]
    }
}

/// Whether a part sleeps. A part that does not has exactly one step planned or under way.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    is_asleep: bool,
    /// Counts how often it fell asleep: an alarm of a sleep that is over rings for nobody.
    sleeps: u32,
}

impl Pace {
    /// Wakes the part; whether it slept comes back, and its step is to be planned then.
    pub(crate) fn wake(&mut self) -> bool {
        std::mem::take(&mut self.is_asleep)
    }

    /// The part falls asleep; the number of this sleep comes back.
    pub(crate) fn sleep(&mut self) -> u32 {
        assert!(!self.is_asleep, "who sleeps does not fall asleep");
        self.is_asleep = true;
        self.sleeps += 1;
        self.sleeps
    }

    /// An alarm rings that was set for this sleep; as [`Pace::wake`].
    pub(crate) fn ring(&mut self, sleep: u32) -> bool {
        self.sleeps == sleep && self.wake()
    }

    /// Whether the part sleeps.
    pub(crate) fn is_asleep(&self) -> bool {
        self.is_asleep
    }
}

/// How a part goes on when it has done what it could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// With what follows from what it just did.
    Effects,
    /// With another step, soon.
    Again,
    /// It sleeps until it is woken, at the latest at this time, in microseconds.
    Sleep(Option<u64>),
}
