//! The core thread: raft's ticks, and what the core's turn asks for.
//!
//! It is a task, on a thread that it shares with the streams of other members: what they send is handed
//! over, and what they are sent is written, without waking another thread.

use super::LogHandle;
use super::notes::Notes;
use crate::mailbox::Woken;
use crate::shared::Shared;
use proto::raftpb::Message;
use replica::Persist;
use replica::turn::{CoreEffect, CoreTurn, Moment};
use services::{Calls, CoreEvent, Member};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// The core's turn with its disk and company. The core never touches a disk or a log sink that may hang.
pub(crate) struct CoreDriver {
    turn: CoreTurn<Calls>,
    shared: Arc<Shared>,
    log: Arc<LogHandle>,
    notes: Notes,
    effects: Vec<CoreEffect<Calls>>,
}

/// Runs until the mailbox is closed.
pub(crate) async fn run(mut driver: CoreDriver, tick: Duration) {
    let shared = Arc::clone(&driver.shared);
    let mut events = Vec::new();
    let mut next_tick = Instant::now();
    let mut alarm = pin!(tokio::time::sleep_until(next_tick.into()));
    loop {
        let policy = driver.turn.wake_policy();
        let next =
            poll_fn(|context| match shared.ports.core.poll_drain(context, &mut events, policy) {
                Poll::Pending => alarm.as_mut().poll(context).map(|()| Woken::Deadline),
                ready => ready,
            });
        if next.await == Woken::Closed {
            return;
        }
        let now = Instant::now();
        driver.take(&mut events);
        if now >= next_tick {
            // A thread that slept too long does not hurry after lost ticks.
            next_tick = now + tick;
            alarm.as_mut().reset(next_tick.into());
            driver.tick(now);
        }
        driver.work();
        if !shared.ports.core.is_empty() {
            // What was just given to the streams goes first.
            tokio::task::yield_now().await;
        }
    }
}

impl CoreDriver {
    /// A core that has not run yet.
    pub(crate) fn new(
        turn: CoreTurn<Calls>,
        shared: Arc<Shared>,
        log: Arc<LogHandle>,
    ) -> CoreDriver {
        let notes = Notes::new(Arc::clone(&shared));
        CoreDriver { turn, shared, log, notes, effects: Vec::new() }
    }

    /// Has the turn do something, and carries out what follows.
    fn with_turn(
        &mut self,
        act: impl FnOnce(&mut CoreTurn<Calls>, &mut Moment<'_, CoreEffect<Calls>>),
    ) -> bool {
        let mut effects = std::mem::take(&mut self.effects);
        let (now, out) = (self.shared.ports.now(), &mut effects);
        let mut at = Moment { now, out, observer: &mut self.notes };
        act(&mut self.turn, &mut at);
        let any = !effects.is_empty();
        effects.drain(..).for_each(|effect| self.carry_out(effect));
        self.effects = effects;
        any
    }

    fn take(&mut self, events: &mut Vec<CoreEvent>) {
        let shared = Arc::clone(&self.shared);
        self.with_turn(|turn, at| {
            for event in events.drain(..) {
                if let CoreEvent::Step(message) = &event {
                    shared.ports.inbound.taken(message);
                }
                turn.take(event, at);
            }
        });
    }

    fn tick(&mut self, now: Instant) {
        let shared = Arc::clone(&self.shared);
        self.with_turn(|turn, at| turn.tick(&*shared.ports, at));
        shared.services.tick(now);
    }

    /// Everything that follows from the events so far.
    fn work(&mut self) {
        self.with_turn(CoreTurn::work);
        while self.with_turn(CoreTurn::poll) {}
    }

    fn carry_out(&mut self, effect: CoreEffect<Calls>) {
        let shared = &self.shared;
        match effect {
            CoreEffect::Show(figures) => shared.common().figures.show_core(&figures),
            CoreEffect::Persist { persist, may_write_here } => {
                self.persist(persist, may_write_here);
            }
            CoreEffect::Apply(event) => {
                shared.ports.apply.send(event);
            }
            CoreEffect::Send(messages) => self.send(messages),
            CoreEffect::Serve(reads) => {
                shared.services.in_pool(move || reads.into_iter().for_each(|read| read(Ok(()))));
            }
            CoreEffect::RefuseReads(reads, failure) => {
                shared
                    .services
                    .in_pool(move || reads.into_iter().for_each(|read| read(Err(failure))));
            }
            CoreEffect::Fail(failed) => services::fail(failed),
            CoreEffect::Transferred(ticket, result) => ticket(result),
            CoreEffect::Status(ticket, status) => ticket(status),
            CoreEffect::Leaderless => shared.services.end_led_streams(),
        }
    }

    fn persist(&mut self, persist: Persist, may_write_here: bool) {
        if may_write_here
            && self.shared.ports.core.is_empty()
            && let Some(turn) = self.log.idle_turn()
        {
            let number = self.log.persist_with(turn, persist);
            return self.turn.persisted(number);
        }
        self.log.persist(persist);
    }

    fn send(&self, messages: Vec<Message>) {
        if let Some(network) = self.shared.ports.roster.network() {
            network.send(messages);
        }
    }
}

/// Nothing is written after what the core has to write.
impl Drop for CoreDriver {
    fn drop(&mut self) {
        if let Some(rest) = self.turn.take_unwritten() {
            self.log.persist(rest);
        }
        self.log.close();
    }
}
