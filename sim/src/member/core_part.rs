//! The core's part: its turn, its queue, and how far it is, as on `server`'s core thread.

use super::{Common, CoreEffect, CoreEvent, Deaf, Next, Pace, SimCaller};
use replica::Core;
use replica::turn::{Company, CorePace, CoreTurn, Moment, Queue, Time};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// How far the core is with what came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Take,
    Tick,
    Work,
    Poll,
}

/// The core with its queue.
pub(crate) struct CorePart {
    pub(crate) turn: CoreTurn<SimCaller>,
    pub(crate) queue: Queue<CoreEvent>,
    pub(crate) effects: VecDeque<CoreEffect>,
    pub(crate) pace: Pace,
    /// Requests whose proposals wait in the queue.
    pub(crate) queued: BTreeSet<u64>,
    /// The last write that it was told of within this step or before, to be noted.
    pub(crate) persisted: Vec<u64>,
    /// It has ticked since somebody asked.
    pub(crate) has_ticked: bool,
    stage: Stage,
    pub(crate) next_tick_us: u64,
}

/// Who is in reach of a member.
pub(crate) struct Connections(pub(crate) Vec<u64>);

impl Company for Connections {
    fn active_since(&self, id: u64) -> Option<Time> {
        self.0.contains(&id).then_some(Time::ZERO)
    }

    fn active_peers(&self) -> usize {
        self.0.len()
    }
}

impl CorePart {
    pub(super) fn new(common: &Arc<Common>, core: Core, pace: CorePace, now_us: u64) -> CorePart {
        CorePart {
            turn: CoreTurn::new(Arc::clone(common), core, pace, Time::ZERO),
            queue: Queue::default(),
            effects: VecDeque::new(),
            pace: Pace::default(),
            queued: BTreeSet::new(),
            persisted: Vec::new(),
            has_ticked: false,
            stage: Stage::Take,
            next_tick_us: now_us,
        }
    }

    /// The next stage of a turn. Its effects must have been carried out, all of them. `period_us` is how
    /// long the next tick takes.
    pub(crate) fn advance(
        &mut self,
        now: Time,
        now_us: u64,
        company: &Connections,
        period_us: u64,
    ) -> Next {
        assert!(self.effects.is_empty(), "effects are carried out before the turn goes on");
        match self.stage {
            Stage::Take => return self.take(now, now_us),
            Stage::Tick => {
                if now_us >= self.next_tick_us {
                    self.next_tick_us = now_us + period_us;
                    self.has_ticked = true;
                    self.with_turn(now, |turn, at| turn.tick(company, at));
                }
                self.stage = Stage::Work;
            }
            Stage::Work => {
                self.with_turn(now, CoreTurn::work);
                self.stage = Stage::Poll;
            }
            Stage::Poll => {
                self.with_turn(now, CoreTurn::poll);
                if self.effects.is_empty() {
                    self.turn.check();
                    self.stage = Stage::Take;
                    return Next::Again;
                }
            }
        }
        Next::Effects
    }

    fn take(&mut self, now: Time, now_us: u64) -> Next {
        let policy = self.turn.wake_policy();
        if self.queue.is_empty() {
            self.queue.wait(policy);
            if now_us < self.next_tick_us {
                return Next::Sleep(Some(self.next_tick_us));
            }
        } else {
            let mut events = Vec::new();
            self.queue.take(&mut events);
            for event in events {
                match &event {
                    CoreEvent::Propose { id, .. } => {
                        self.queued.remove(id);
                    }
                    CoreEvent::Persisted { number } => self.persisted.push(*number),
                    _ => {}
                }
                self.with_turn(now, |turn, at| turn.take(event, at));
            }
        }
        self.stage = Stage::Tick;
        Next::Effects
    }

    fn with_turn(
        &mut self,
        now: Time,
        act: impl FnOnce(&mut CoreTurn<SimCaller>, &mut Moment<'_, CoreEffect>),
    ) {
        let mut out = Vec::new();
        act(&mut self.turn, &mut Moment { now, out: &mut out, observer: &mut Deaf });
        self.effects.extend(out);
    }
}
