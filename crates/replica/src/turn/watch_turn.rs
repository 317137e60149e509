//! The watch turn: the hub, what reaches it and in which order, its catch-up and its clock.

use super::{Changes, Time, WakePolicy, WatchBudget, WatchFigures};
use proto::etcdserverpb::watch_request::RequestUnion;
use watch::{Hub, Sink, StreamId};

/// How often time passes for watchers.
const TICK: Time = Time::from_millis(100);

/// For the watch turn. Requests are the streams' own business to bound.
pub enum WatchEvent {
    /// Changes to be published.
    Changes(Changes),
    /// Changes up to a revision were dropped.
    Overrun {
        /// The revision.
        revision: i64,
        /// The term of the last of them.
        term: u64,
    },
    /// A leader's snapshot took the place of the store, as of this revision.
    Restored {
        /// The store from now on.
        reader: mvcc::Reader,
        /// Its revision when it was restored; what was applied since is published.
        revision: i64,
    },
    /// A stream begins.
    Open(StreamId, Box<dyn Sink>),
    /// A stream asks; its message had so many bytes.
    Request(StreamId, RequestUnion, usize),
    /// A stream takes more again.
    Writable(StreamId),
    /// A stream is over.
    Close(StreamId),
}

/// The hub with its clock.
pub struct WatchTurn {
    hub: Hub,
    next_tick: Time,
    /// There are watchers to bring on.
    has_more: bool,
    /// What was shown last.
    shown: WatchFigures,
}

/// What a step of the watch turn did, for those who measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchStep {
    /// Published changes to watchers; so many events were sent.
    Published(u64),
    /// Worked on a request.
    Requested,
    /// Nothing that is measured.
    Other,
}

impl WatchTurn {
    /// A turn over this hub.
    pub fn new(hub: Hub, now: Time) -> WatchTurn {
        WatchTurn { hub, next_tick: now + TICK, has_more: false, shown: WatchFigures::default() }
    }

    /// Until when the turn may wait for events. With watchers to bring on there is no waiting, only
    /// looking.
    pub fn deadline(&self, now: Time) -> Time {
        if self.has_more { now } else { self.next_tick }
    }

    /// What is worth waking up for: without watchers, changes are not.
    pub fn wake_policy(&self) -> WakePolicy {
        if self.hub.watchers().0 > 0 { WakePolicy::Every } else { WakePolicy::Urgent }
    }

    /// Takes an event.
    pub fn take(&mut self, event: WatchEvent, budget: &WatchBudget) -> WatchStep {
        let hub = &mut self.hub;
        match event {
            WatchEvent::Changes(changes) => {
                let sent = hub.events_sent();
                hub.set_term(changes.term);
                changes.changes.iter().for_each(|change| hub.publish(change));
                budget.done(&changes);
                // Without watchers nothing was sent.
                if hub.watchers().0 > 0 {
                    return WatchStep::Published(hub.events_sent() - sent);
                }
            }
            WatchEvent::Overrun { revision, term } => {
                hub.set_term(term);
                hub.overrun(revision);
            }
            WatchEvent::Restored { reader, revision } => hub.snapshot_installed(reader, revision),
            WatchEvent::Open(stream, sink) => {
                hub.open(stream, sink);
                return WatchStep::Requested;
            }
            WatchEvent::Request(stream, request, bytes) => {
                match request {
                    RequestUnion::CreateRequest(create) => hub.create(stream, &create),
                    RequestUnion::CancelRequest(cancel) => hub.cancel(stream, cancel.watch_id),
                    RequestUnion::ProgressRequest(_) => hub.request_progress(stream),
                }
                hub.taken(stream, bytes);
                return WatchStep::Requested;
            }
            WatchEvent::Writable(stream) => {
                hub.writable(stream);
                return WatchStep::Requested;
            }
            WatchEvent::Close(stream) => {
                hub.close(stream);
                return WatchStep::Requested;
            }
        }
        WatchStep::Other
    }

    /// Brings watchers on that catch up, a bounded piece.
    pub fn catch_up(&mut self) {
        self.has_more = self.hub.step();
    }

    /// Whether a tick is due; [`WatchTurn::tick`] makes it.
    pub fn is_tick_due(&self, now: Time) -> bool {
        now >= self.next_tick
    }

    /// Lets time pass for watchers. Gives whether there are any.
    pub fn tick(&mut self, now: Time) -> bool {
        self.hub.tick(now.as_millis() as u64);
        self.next_tick = now + TICK;
        self.hub.watchers().0 > 0
    }

    /// The figures, where they are others than the last time.
    pub fn figures(&mut self) -> Option<WatchFigures> {
        let (watchers, slow_watchers) = self.hub.watchers();
        let (streams, events_sent) = (self.hub.streams(), self.hub.events_sent());
        let figures = WatchFigures { watchers, slow_watchers, streams, events_sent };
        let is_new = figures != self.shown;
        self.shown = figures;
        is_new.then_some(figures)
    }

    /// Asserts what is always true of the hub.
    pub fn check(&self) {
        self.hub.check();
    }
}
