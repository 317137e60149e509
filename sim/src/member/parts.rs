//! The parts beside the core, as on `server`'s threads of their names.

use super::{ApplyEffect, ApplyEvent, Common, LogEffect, Next, Notes, Pace, SimCaller};
use crate::plan::{ELECTION_TIMEOUT, Rules};
use backend::{CommitJob, DefragJob};
use replica::turn::{
    ApplyTiming, ApplyTurn, Changes, LogEvent, LogTurn, Moment, Queue, Time, Urgency, WatchBudget,
    WatchEvent, WatchTurn,
};
use replica::{Applier, Fault, LogWriter, Persist, SnapshotDue};
use std::collections::VecDeque;
use std::sync::Arc;
use watch::{Hub, Limits};

/// A watch stream is cut that does not read this many bytes of answers.
const ANSWER_BYTES_MAX: usize = 1 << 16;

// ---- the log ---------------------------------------------------------------------------------

/// The log with its queue.
pub(crate) struct LogPart {
    pub(crate) turn: LogTurn,
    pub(crate) queue: Queue<LogEvent>,
    pub(crate) effects: VecDeque<LogEffect>,
    pub(crate) pace: Pace,
    /// To be recorded after what was written.
    pub(crate) due: VecDeque<SnapshotDue>,
    /// What was sent and is not done.
    pub(crate) under_way: usize,
    /// What of it was taken.
    taken: usize,
}

impl LogPart {
    pub(super) fn new(writer: LogWriter) -> LogPart {
        LogPart {
            turn: LogTurn::new(writer),
            queue: Queue::default(),
            effects: VecDeque::new(),
            pace: Pace::default(),
            due: VecDeque::new(),
            under_way: 0,
            taken: 0,
        }
    }

    /// Writes what waits, or records a snapshot, or sleeps; `spoil` may change what is written.
    pub(crate) fn advance(&mut self, spoil: impl Fn(&mut Persist)) -> Result<Next, Fault> {
        let mut out = Vec::new();
        if let Some(due) = self.due.pop_front() {
            self.turn.record(due, &mut out)?;
        } else if self.taken > 0 {
            self.under_way -= std::mem::take(&mut self.taken);
            return Ok(if self.queue.is_empty() { self.sleep() } else { Next::Again });
        } else if self.queue.is_empty() {
            return Ok(self.sleep());
        } else {
            let mut events = Vec::new();
            self.queue.take(&mut events);
            self.taken = events.len();
            for event in &mut events {
                if let LogEvent::Persist(persist) = event {
                    spoil(persist);
                }
            }
            self.due.extend(self.turn.write(&mut events, &mut out)?);
        }
        self.effects.extend(out);
        Ok(Next::Effects)
    }

    fn sleep(&mut self) -> Next {
        self.queue.wait(replica::turn::WakePolicy::Every);
        Next::Sleep(None)
    }

    /// What a member that stops has yet to write, `last` after all that waits.
    pub(super) fn take_unwritten(&mut self, last: Option<Persist>) -> Vec<Persist> {
        let mut events = Vec::new();
        self.queue.take(&mut events);
        let persist = |event| match event {
            LogEvent::Persist(persist) => Some(persist),
            _ => None,
        };
        events.into_iter().filter_map(persist).chain(last).collect()
    }
}

// ---- the state machine -----------------------------------------------------------------------

/// The state machine with its queue.
pub(crate) struct ApplyPart {
    pub(crate) turn: ApplyTurn<SimCaller>,
    pub(crate) queue: Queue<ApplyEvent>,
    pub(crate) effects: VecDeque<ApplyEffect>,
    pub(crate) pace: Pace,
    /// When its last turn began.
    pub(crate) turn_us: u64,
    /// Whether it might read without asking anyone when its last turn began.
    pub(crate) turn_may_read: bool,
    /// Why its last turn failed; its effects are carried out before that is heard of.
    pub(crate) fault: Option<Fault>,
    has_begun: bool,
    /// It had a turn in this step.
    had_turn: bool,
}

impl ApplyPart {
    pub(super) fn new(common: &Arc<Common>, applier: Applier, rules: &Rules) -> ApplyPart {
        let timing = ApplyTiming {
            batch_interval: rules.batch_interval,
            election_timeout: ELECTION_TIMEOUT,
        };
        ApplyPart {
            turn: ApplyTurn::new(Arc::clone(common), applier, timing, Time::ZERO),
            queue: Queue::default(),
            effects: VecDeque::new(),
            pace: Pace::default(),
            turn_us: 0,
            turn_may_read: false,
            fault: None,
            has_begun: false,
            had_turn: false,
        }
    }

    /// The last applied entry.
    pub(crate) fn applied(&self) -> u64 {
        self.turn.applier().machine.backend.applied().index
    }

    /// Has a turn, or sleeps; `notes` hears what it does.
    pub(crate) fn advance(
        &mut self,
        now: Time,
        now_us: u64,
        may_read: bool,
        notes: &mut Notes,
    ) -> Next {
        let is_due = !self.queue.is_empty() || self.turn.deadline(now) <= now || !self.has_begun;
        if std::mem::take(&mut self.had_turn) && is_due {
            return Next::Again;
        }
        if !is_due {
            self.queue.wait(replica::turn::WakePolicy::Every);
            // The deadline is in the member's time.
            let until_us = now_us + (self.turn.deadline(now) - now).as_micros() as u64;
            return Next::Sleep(Some(until_us));
        }
        (self.turn_us, self.turn_may_read) = (now_us, may_read);
        self.have_turn(now, notes);
        Next::Effects
    }

    fn have_turn(&mut self, now: Time, notes: &mut Notes) {
        self.had_turn = true;
        let mut out = Vec::new();
        let mut at = Moment { now, out: &mut out, observer: notes };
        if std::mem::replace(&mut self.has_begun, true) {
            let mut events = Vec::new();
            self.queue.take(&mut events);
            self.fault = self.turn.turn(&mut events, &mut at).err();
            if self.fault.is_none() {
                self.turn.check();
            }
        } else {
            self.turn.begin(&mut at);
        }
        self.effects.extend(out);
    }
}

// ---- the database file -----------------------------------------------------------------------

/// What is done with the database file.
pub(crate) enum FileJob {
    Commit(CommitJob),
    Defragment(DefragJob),
}

/// The thread that writes the database file.
#[derive(Default)]
pub(crate) struct FilePart {
    pub(crate) jobs: VecDeque<FileJob>,
    pub(crate) pace: Pace,
}

impl FilePart {
    /// Does the next job; its result is for the state machine.
    pub(crate) fn run(&mut self) -> Option<ApplyEvent> {
        Some(match self.jobs.pop_front()? {
            FileJob::Commit(job) => ApplyEvent::Committed(job.run()),
            FileJob::Defragment(job) => ApplyEvent::Defragmented(job.run()),
        })
    }
}

// ---- watchers --------------------------------------------------------------------------------

/// The watch hub with its queue.
pub(crate) struct WatchPart {
    pub(crate) turn: WatchTurn,
    pub(crate) queue: Queue<WatchEvent>,
    pub(crate) budget: WatchBudget,
    pub(crate) budget_max: usize,
    pub(crate) pace: Pace,
    /// Everything up to this revision is on its way to the hub, or has come there.
    pub(crate) published: i64,
    /// Everything up to this revision has come to the hub.
    pub(crate) heard: i64,
    had_turn: bool,
}

impl WatchPart {
    pub(super) fn new(reader: mvcc::Reader, whose: (u64, u64), rules: &Rules) -> WatchPart {
        let limits = Limits {
            fragment_bytes: 1 << 20,
            progress_interval_ms: rules.progress_interval_ms,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        let revision = reader.revision();
        WatchPart {
            turn: WatchTurn::new(Hub::new(reader, limits, whose.0, whose.1), Time::ZERO),
            queue: Queue::default(),
            budget: WatchBudget::new(rules.hub_bytes_max),
            budget_max: rules.hub_bytes_max,
            pace: Pace::default(),
            published: revision,
            heard: revision,
            had_turn: false,
        }
    }

    /// Has changes published, as `server`'s queue of the hub does; whether the hub must be woken comes back.
    pub(crate) fn publish(&mut self, changes: Changes) -> bool {
        self.published = self.published.max(changes.revision());
        let wakes = match self.budget.admit(changes) {
            Ok(event) => self.queue.push(event, Urgency::Lazy),
            Err(overrun) => {
                let budget = &self.budget;
                self.queue.edit(|queue| budget.cut(queue, &overrun), Urgency::Urgent)
            }
        };
        let bytes = self.budget.bytes();
        assert!(bytes <= self.budget_max, "{bytes} bytes of changes wait, more than may");
        wakes
    }

    /// Has a turn, or sleeps; `take` sees each event before the turn does, and may change it.
    pub(crate) fn advance<E>(
        &mut self,
        now: Time,
        now_us: u64,
        mut take: impl FnMut(&mut WatchEvent, &mut i64) -> Result<(), E>,
    ) -> Result<Next, E> {
        let deadline = self.turn.deadline(now);
        let is_due = !self.queue.is_empty() || deadline <= now;
        if std::mem::take(&mut self.had_turn) && is_due {
            return Ok(Next::Again);
        }
        if !is_due {
            self.queue.wait(self.turn.wake_policy());
            return Ok(Next::Sleep(Some(now_us + (deadline - now).as_micros() as u64)));
        }
        self.had_turn = true;
        let mut events = Vec::new();
        self.queue.take(&mut events);
        for mut event in events {
            take(&mut event, &mut self.heard)?;
            self.turn.take(event, &self.budget);
        }
        self.turn.catch_up();
        if self.turn.is_tick_due(now) {
            self.turn.tick(now);
        }
        self.turn.check();
        Ok(Next::Effects)
    }
}
