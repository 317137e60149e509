//! What a leader knows of one follower's log, and whether it may send.
//!
//! ```text
//!           rejected, unreachable              answered
//! Replicate ---------------------> Probe ------------------> Replicate
//!                                    |  \                        ^
//!                                    |   `-- entries are gone    | answered, and the log goes on
//!                                    |                v          | from there
//!                                    '<------------ Snapshot ----'
//!                                     reported done or failed
//! ```
//! A follower is probed with one append per heartbeat until it is known where its log agrees
//! (thesis, section 3.5), then replicated to without waiting for answers (section 10.2.2), or
//! given a snapshot where the entries that it needs are gone (section 5).

use crate::inflights::Inflights;
use std::fmt;

/// How a leader sends to a follower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// One append at a time, to find where the logs agree.
    #[default]
    Probe,
    /// Appends follow each other before they are answered.
    Replicate,
    /// Nothing, until the snapshot on its way has been installed.
    Snapshot,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flow::Probe => "StateProbe",
            Flow::Replicate => "StateReplicate",
            Flow::Snapshot => "StateSnapshot",
        })
    }
}

/// A follower as its leader sees it.
///
/// Always true, and asserted by [`Progress::check`]:
/// 1. `matched < next`: what is known to be there is not sent again.
/// 2. In [`Flow::Snapshot`] `next` follows the pending snapshot; in the others there is none.
/// 3. Appends on their way end before `next`, and only in [`Flow::Replicate`] there are any.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The follower's log is known to agree up to here.
    pub matched: u64,
    /// The next entry to send. What lies between is on its way.
    pub next: u64,
    /// The highest commit index sent. It goes back when what carried it seems lost.
    pub(crate) sent_commit: u64,
    /// How to send.
    pub flow: Flow,
    /// The index of the snapshot on its way, 0 for none.
    pub pending_snapshot: u64,
    /// Whether the follower was heard since the last check for a quorum.
    pub recent_active: bool,
    /// Whether appends wait for the next answer to a heartbeat.
    pub paused: bool,
    /// Appends on their way.
    pub inflights: Inflights,
    /// Whether it is a learner (thesis, section 4.2.1).
    pub is_learner: bool,
}

impl Progress {
    /// A follower of whom nothing is known.
    pub fn new(next: u64, inflights: Inflights, is_learner: bool) -> Progress {
        Progress {
            matched: 0,
            next,
            sent_commit: 0,
            flow: Flow::Probe,
            pending_snapshot: 0,
            recent_active: false,
            paused: false,
            inflights,
            is_learner,
        }
    }

    /// Asserts what is always true of [`Progress`].
    pub fn check(&self) {
        let (matched, next, flow) = (self.matched, self.next, self.flow);
        assert!(matched < next, "{matched} is there, and {next} is sent");
        let pending = self.pending_snapshot;
        if flow == Flow::Snapshot {
            assert!(pending > 0, "{flow} waits for no snapshot");
            assert!(next > pending, "{flow} goes on at {next} behind a snapshot of {pending}");
        } else {
            assert_eq!(pending, 0, "{flow} waits for a snapshot");
        }
        let on_the_way = self.inflights.count();
        let has_window = flow == Flow::Replicate;
        assert!(has_window || on_the_way == 0, "{flow} with {on_the_way} appends on their way");
        self.inflights.check(next);
    }

    fn enter(&mut self, flow: Flow) {
        self.paused = false;
        self.pending_snapshot = 0;
        self.flow = flow;
        self.inflights.reset();
    }

    /// Probes from what is known to agree, or from a snapshot that has been delivered.
    pub fn become_probe(&mut self) {
        let delivered = if self.flow == Flow::Snapshot { self.pending_snapshot } else { 0 };
        self.enter(Flow::Probe);
        self.next = self.matched.max(delivered) + 1;
        self.sent_commit = self.sent_commit.min(self.next - 1);
    }

    /// Replicates from what is known to agree.
    pub fn become_replicate(&mut self) {
        self.enter(Flow::Replicate);
        self.next = self.matched + 1;
    }

    /// Waits for a snapshot of this index to be installed.
    pub fn become_snapshot(&mut self, index: u64) {
        assert!(index > self.matched, "a snapshot of {index} for one who has {}", self.matched);
        self.enter(Flow::Snapshot);
        self.pending_snapshot = index;
        self.next = index + 1;
        self.sent_commit = index;
    }

    /// Notes that an append with so many entries and bytes was sent.
    pub fn sent_entries(&mut self, entries: u64, bytes: u64) {
        match self.flow {
            Flow::Replicate => {
                if entries > 0 {
                    self.next += entries;
                    self.inflights.add(self.next - 1, bytes);
                }
                // What goes out with a full window is a probe: the flow waits for an answer.
                self.paused = self.inflights.is_full();
            }
            Flow::Probe => self.paused |= entries > 0,
            Flow::Snapshot => panic!("nothing is appended behind a snapshot"),
        }
    }

    /// Notes the commit index that was sent.
    pub fn sent_commit(&mut self, commit: u64) {
        self.sent_commit = commit;
    }

    /// Whether sending this commit index would let the follower commit more than what was sent
    /// already lets it.
    pub fn can_bump_commit(&self, commit: u64) -> bool {
        commit > self.sent_commit && self.sent_commit < self.next - 1
    }

    /// Takes an answer that the log agrees up to an index; `false` where that is no news.
    pub fn maybe_update(&mut self, index: u64) -> bool {
        if index <= self.matched {
            return false;
        }
        self.matched = index;
        self.next = self.next.max(index + 1);
        self.paused = false;
        assert!(self.matched < self.next, "{index} is there, and {} is sent", self.next);
        true
    }

    /// Takes an answer that an append after `rejected` did not fit, with the follower's guess where
    /// it might; `false` where the answer is out of date.
    pub fn maybe_decrease(&mut self, rejected: u64, hint: u64) -> bool {
        if self.flow == Flow::Replicate {
            if rejected <= self.matched {
                return false;
            }
            self.next = self.matched + 1;
        } else {
            // A probe is sent one at a time, so only the last one can be rejected.
            if self.next - 1 != rejected {
                return false;
            }
            self.next = rejected.min(hint.saturating_add(1)).max(self.matched + 1);
            self.paused = false;
        }
        assert!(self.next > self.matched, "{} is sent again", self.matched);
        self.sent_commit = self.sent_commit.min(self.next - 1);
        true
    }

    /// Whether nothing may be sent now.
    pub fn is_paused(&self) -> bool {
        self.flow == Flow::Snapshot || self.paused
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} match={} next={}", self.flow, self.matched, self.next)?;
        if self.is_learner {
            f.write_str(" learner")?;
        }
        if self.is_paused() {
            f.write_str(" paused")?;
        }
        if self.pending_snapshot > 0 {
            write!(f, " pendingSnap={}", self.pending_snapshot)?;
        }
        if !self.recent_active {
            f.write_str(" inactive")?;
        }
        match (self.inflights.count(), self.inflights.is_full()) {
            (0, _) => Ok(()),
            (count, false) => write!(f, " inflight={count}"),
            (count, true) => write!(f, " inflight={count}[full]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(flow: Flow, matched: u64, next: u64) -> Progress {
        Progress { flow, matched, ..Progress::new(next, Inflights::new(256, 0), false) }
    }

    #[test]
    fn rejections_move_the_next_entry_back_unless_they_are_stale() {
        let cases = [
            (Flow::Replicate, 5, 10, 5, 5, None),
            (Flow::Replicate, 5, 10, 9, 9, Some(6)),
            (Flow::Probe, 0, 10, 5, 5, None),
            (Flow::Probe, 0, 10, 9, 9, Some(9)),
            (Flow::Probe, 0, 2, 1, 1, Some(1)),
            (Flow::Probe, 0, 1, 0, 0, Some(1)),
            (Flow::Probe, 0, 10, 9, 2, Some(3)),
            (Flow::Probe, 0, 10, 9, 0, Some(1)),
        ];
        for (flow, matched, next, rejected, hint, expected) in cases {
            let mut progress = progress(flow, matched, next);
            let moved = progress.maybe_decrease(rejected, hint);
            assert_eq!((moved, progress.next), (expected.is_some(), expected.unwrap_or(next)));
        }
    }

    #[test]
    fn a_probe_begins_behind_a_snapshot_that_was_delivered() {
        for (pending, next) in [(10, 11), (0, 2)] {
            let mut progress = progress(Flow::Snapshot, 1, 5);
            progress.pending_snapshot = pending;
            progress.become_probe();
            assert_eq!((progress.flow, progress.next), (Flow::Probe, next));
        }
    }

    #[test]
    fn everything_unusual_is_shown() {
        let mut inflights = Inflights::new(1, 0);
        inflights.add(123, 1);
        let mut progress = progress(Flow::Snapshot, 1, 2);
        (progress.inflights, progress.pending_snapshot) = (inflights, 123);
        progress.is_learner = true;
        assert_eq!(
            progress.to_string(),
            "StateSnapshot match=1 next=2 learner paused pendingSnap=123 inactive inflight=1[full]"
        );
    }
}
