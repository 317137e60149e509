//! What waits until everything that is committed is applied here.
//!
//! A leader applies after its own disk has the entries; followers with quicker disks may have applied
//! them before, and answered. What the leader alone knows, such as leases, must then wait for them.

use super::ApplyDriver;
use crate::rpc::Error;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// More do not wait: they are refused.
const AWAITING_MAX: usize = 100_000;
/// Nothing waits longer than this, as in etcd.
const AWAITING_TIMEOUT: Duration = Duration::from_secs(1);

/// What is done when the entries are applied, or when it is clear that they are not in time.
pub(super) type Act = Box<dyn FnOnce(&mut ApplyDriver, Result<(), Error>) + Send>;

/// Waits for an index to be applied, until its time is over.
pub(super) struct Awaiting {
    index: u64,
    deadline: Instant,
    act: Act,
}

impl ApplyDriver {
    /// Does something once all that this member knows to be committed is applied.
    pub(crate) fn when_applied(
        &mut self,
        act: impl FnOnce(&mut ApplyDriver, Result<(), Error>) + Send + 'static,
    ) {
        let committed = self.shared.gauges.committed.load(Ordering::Acquire);
        let applied = self.shared.gauges.applied.load(Ordering::Acquire);
        if applied >= committed {
            return act(self, Ok(()));
        }
        if self.awaiting.len() >= AWAITING_MAX {
            return act(self, Err(Error::TooManyRequests));
        }
        let deadline = Instant::now() + AWAITING_TIMEOUT;
        self.awaiting.push_back(Awaiting { index: committed, deadline, act: Box::new(act) });
    }

    /// Does what waited for what is applied now. Indexes only grow, and so do deadlines: the first
    /// are due first.
    pub(super) fn resume_awaiting(&mut self) {
        if self.awaiting.is_empty() {
            return;
        }
        let applied = self.shared.gauges.applied.load(Ordering::Acquire);
        while let Some(due) = self.awaiting.pop_front_if(|waiting| waiting.index <= applied) {
            (due.act)(self, Ok(()));
        }
        let now = Instant::now();
        while let Some(late) = self.awaiting.pop_front_if(|waiting| waiting.deadline <= now) {
            (late.act)(self, Err(Error::ApplyTimeout));
        }
    }
}
