//! The clock of raft: ticks, and how many of them an election takes.

use std::time::Duration;

/// How fast raft's time goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticks {
    pub(crate) tick: Duration,
    pub(crate) election_ticks: u32,
}
