//! The member behind the services, as narrow as they need it: to hand events to its turns, to read its
//! database, to have work done on other threads, and to ask other members.

use crate::caller::{Calls, Common, CoreEvent};
use bytes::Bytes;
use replica::turn::{Ask, Time, WatchEvent};
use std::time::Duration;

/// Work for another thread.
pub type Job = Box<dyn FnOnce() + Send>;

/// Where work is done, by how long it takes. Nothing in a lane waits for anything, least of all for what
/// the lane itself does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// What is short: what a confirmed read does.
    Short,
    /// What takes its time: large ranges, and streams a piece at a time.
    Scan,
    /// What reads the whole database.
    Hash,
}

/// What another member answered over plain HTTP: its status and the body, or why it did not.
pub type PeerAnswer = Result<(u16, Bytes), String>;

/// A member, as the services see it. No function waits.
pub trait Member: Send + Sync + 'static {
    /// What the member's turns share with its callers.
    fn common(&self) -> &Common;
    /// The time since the member started.
    fn now(&self) -> Time;
    /// Hands an event to the core's turn; `false` where the member stops.
    fn tell_core(&self, event: CoreEvent) -> bool;
    /// Asks the apply turn, in order with what is applied.
    fn ask(&self, ask: Ask<Calls>);
    /// Hands an event to the watch turn, in order with the changes.
    fn tell_hub(&self, event: WatchEvent);
    /// Has a job done.
    fn run(&self, lane: Lane, job: Job);
    /// The database as it is now.
    fn database(&self) -> backend::Reader;
    /// Since when another member has been heard without a break; `None` where it is not.
    fn active_since(&self, id: u64) -> Option<Time>;
    /// Whether there is a way to other members.
    fn has_peers(&self) -> bool;
    /// Posts a request to one of these URLs, in turn until one answers.
    fn post(
        &self,
        urls: Vec<String>,
        path: String,
        body: Bytes,
        limit: Duration,
        then: Box<dyn FnOnce(PeerAnswer) + Send>,
    );
}
