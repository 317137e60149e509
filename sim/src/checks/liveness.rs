//! Liveness: when nothing goes wrong any more, a write is soon acknowledged, all members agree, watchers
//! have heard of everything, leases expire, and nothing is held back or waits for ever.

use super::{Violation, ensure};
use crate::plan::{ELECTION_TICKS, TICK_US};

const PROPERTY: &str = "liveness";

/// Election timeouts within which the cluster must be whole again.
const PATIENCE_ELECTIONS: u64 = 60;

/// How a cluster stands when faults have ended.
#[derive(Debug)]
pub(crate) struct Standing {
    /// The last entry known to be committed.
    pub(crate) committed: u64,
    /// Of each member: its place and what it has applied, `None` where it is down.
    pub(crate) applied: Vec<(usize, Option<u64>)>,
    /// Whether a write sent since then was acknowledged.
    pub(crate) acknowledged: bool,
    /// Of each member: its place and how much waits in it, for whatever.
    pub(crate) waiting: Vec<(usize, usize)>,
    /// Watchers that have not heard of everything.
    pub(crate) watchers_behind: Vec<usize>,
    /// Leases that nobody renews.
    pub(crate) leases: usize,
}

impl Standing {
    /// Whether all is as it should be.
    pub(crate) fn is_well(&self) -> bool {
        let is_here = |applied: &Option<u64>| *applied == Some(self.committed);
        let nothing_waits = self.waiting.iter().all(|(_, waiting)| *waiting == 0);
        self.acknowledged
            && self.applied.iter().all(|(_, applied)| is_here(applied))
            && nothing_waits
            && self.watchers_behind.is_empty()
            && self.leases == 0
    }
}

/// Since when nothing goes wrong.
#[derive(Default)]
pub(crate) struct Liveness {
    calm_since_us: u64,
}

impl Liveness {
    /// Faults end.
    pub(crate) fn calm(&mut self, now_us: u64) {
        self.calm_since_us = now_us;
    }

    /// Whether the cluster is well; that it is not yet may not last.
    pub(crate) fn is_well(&self, standing: &Standing, now_us: u64) -> Result<bool, Violation> {
        let patience_us = PATIENCE_ELECTIONS * u64::from(ELECTION_TICKS) * TICK_US;
        let well = standing.is_well();
        ensure(PROPERTY, well || now_us < self.calm_since_us + patience_us, || {
            format!("{PATIENCE_ELECTIONS} election timeouts after the last fault: {standing:x?}")
        })?;
        Ok(well)
    }
}
