//! The turns that drive a member's parts: events and the time in, effects out; every order that makes a
//! member correct is in here.
//!
//! ```text
//! callers --propose, read, ask--> CoreTurn --persist--> LogTurn
//!   ^                                |  ^------------------'
//!   |                                v  |applied
//!   |                             ApplyTurn --commit, defragment--> (the file's thread)
//!   '----------- answers ----------- |  ^------------------------------------'
//!                                    '--changes--> WatchTurn --> streams
//! ```
//! A turn is a plain value. It takes what happened, the time, and gives effects in the order in which
//! they must become visible: who is answered finds what was answered in every place. Whoever runs a turn
//! carries its effects out one by one, in this order, and may let other turns run in between. No turn knows
//! its thread, waits for another one, or is entered twice at once.
//!
//! 1. What members see of each other's figures ([`Figures`], members, watch events) comes before the answer
//!    that tells of it.
//! 2. Every waiter hears exactly once: its entry was applied, a snapshot shows what it asked for, it
//!    could not be proposed, or its time is over.
//! 3. A read is served when the index is applied that the leader confirmed after the read came.

mod apply_turn;
mod caller;
mod common;
mod core_turn;
mod figures;
mod held_proposals;
mod ids;
mod lateness;
mod leadership_transfers;
mod log_turn;
mod notes;
mod queue;
mod read_rounds;
mod visible;
mod waiters;
mod watch_queue;
mod watch_turn;

pub use apply_turn::{
    Answer, ApplyEffect, ApplyEvent, ApplyTiming, ApplyTurn, Ask, MembersChange, Renewal, Renewed,
    StatusReport,
};
pub use caller::{Caller, Failure};
pub use common::{Author, Common, NotTaken, RequestLimits, Waiter, Waiting};
pub use core_turn::{CoreEffect, CoreEvent, CorePace, CoreTurn, Failed, Read};
pub use figures::{AppliedFigures, CoreFigures, Figures, SizeFigures, StateFigures, WatchFigures};
pub use held_proposals::Proposal;
pub use ids::RequestIds;
pub use log_turn::{LogEffect, LogEvent, LogTurn};
pub use notes::{Note, Observer};
pub use queue::{Queue, Urgency, WakePolicy};
pub use visible::Visible;
pub use waiters::{WAITERS_MAX, Waiters};
pub use watch_queue::{Changes, Overrun, WatchBudget};
pub use watch_turn::{WatchEvent, WatchStep, WatchTurn};

/// A time: how long after the member started.
pub type Time = std::time::Duration;

/// What is known of the connections to other members.
pub trait Company {
    /// Since when a member has been heard without a break; `None` where it is not.
    fn active_since(&self, id: u64) -> Option<Time>;
    /// How many members bytes go to and come from.
    fn active_peers(&self) -> usize;
}

/// What a turn is given beside its events: the time, a place for its effects, and who hears of what it
/// does.
pub struct Moment<'m, E> {
    /// Now.
    pub now: Time,
    /// Effects, in order.
    pub out: &'m mut Vec<E>,
    /// Who hears of what happens within the turn.
    pub observer: &'m mut dyn Observer,
}
