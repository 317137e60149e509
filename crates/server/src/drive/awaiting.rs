//! What waits until everything that is committed is applied here.
//!
//! A leader applies after its own disk has the entries; followers with quicker disks may have applied
//! them before, and answered. What the leader alone knows, such as leases, must then wait for them.

use super::ApplyDriver;
use std::sync::atomic::Ordering;

/// More do not wait: they find what is applied.
const AWAITING_MAX: usize = 100_000;

/// Waits for an index to be applied.
pub(super) type Awaiting = (u64, Box<dyn FnOnce(&mut ApplyDriver) + Send>);

impl ApplyDriver {
    /// Does something once all that this member knows to be committed is applied.
    pub(crate) fn when_applied(&mut self, act: impl FnOnce(&mut ApplyDriver) + Send + 'static) {
        let committed = self.shared.gauges.committed.load(Ordering::Acquire);
        let applied = self.shared.gauges.applied.load(Ordering::Acquire);
        if applied >= committed || self.awaiting.len() >= AWAITING_MAX {
            return act(self);
        }
        self.awaiting.push_back((committed, Box::new(act)));
    }

    /// Does what waited for what is applied now. Indexes only grow, so the first are due first.
    pub(super) fn resume_awaiting(&mut self) {
        let applied = self.shared.gauges.applied.load(Ordering::Acquire);
        while let Some((_, act)) = self.awaiting.pop_front_if(|(index, _)| *index <= applied) {
            act(self);
        }
    }
}
