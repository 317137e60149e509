//! Compactions that the leader begins of itself: of what is older than a time, or than a number of
//! revisions (reference: `server/etcdserver/api/v3compactor`).
//!
//! Revisions are noted ten times in a period, or ten times an hour where the period is longer. Once
//! the first is a period old it is compacted at, and from then on one that is little older than that, every
//! period or every hour.

use crate::mailbox::{Mailbox, Woken};
use crate::promise::Promise;
use crate::shared::Shared;
use apply::Kind;
use prost::Message;
use proto::etcdserverpb::CompactionRequest;
use replica::turn::WakePolicy;
use services::Error;
use services::{Call, Waiter};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often old revisions are looked for by number.
const BY_NUMBER_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// The longest time between compactions by time.
const BY_TIME_INTERVAL_MAX: Duration = Duration::from_secs(3600);
/// How often revisions are noted between compactions.
const NOTES: u32 = 10;
/// The shortest time between notes.
const NOTE_INTERVAL_MIN: Duration = Duration::from_millis(1);

/// What is kept; everything older is compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    /// What was current within this time; at most [`AutoCompaction::PERIOD_MAX`].
    Period(Duration),
    /// This many revisions are kept.
    Revisions(i64),
}

impl AutoCompaction {
    /// The longest period; ten years.
    pub const PERIOD_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

    /// How often to look.
    fn interval(self) -> Duration {
        match self {
            AutoCompaction::Period(period) => {
                (period.min(BY_TIME_INTERVAL_MAX) / NOTES).max(NOTE_INTERVAL_MIN)
            }
            AutoCompaction::Revisions(_) => BY_NUMBER_INTERVAL,
        }
    }
}

/// When to compact at which revision, as a value: time is told.
struct Compactor {
    rule: AutoCompaction,
    /// Revisions at the last looks, of which the first is the oldest that is needed. No more than a
    /// period has intervals, and one.
    seen: VecDeque<i64>,
    /// The last compaction, or the start.
    since: Duration,
    last: i64,
    /// Whether a whole period has gone by since the start.
    is_begun: bool,
}

impl Compactor {
    fn new(rule: AutoCompaction, now: Duration, revision: i64) -> Compactor {
        let seen = VecDeque::from([revision]);
        Compactor { rule, seen, since: now, last: 0, is_begun: false }
    }

    /// The revision to compact at, of a leader that looks now.
    fn due(&mut self, now: Duration, revision: i64) -> Option<i64> {
        match self.rule {
            AutoCompaction::Revisions(kept) => {
                Some(revision - kept).filter(|&at| at > 0 && at != self.last)
            }
            AutoCompaction::Period(period) => {
                let wait = if self.is_begun { period.min(BY_TIME_INTERVAL_MAX) } else { period };
                let at = *self.seen.front()?;
                if now.saturating_sub(self.since) < wait || at == self.last {
                    return None;
                }
                self.is_begun = true;
                Some(at)
            }
        }
    }

    /// Notes the revision at the end of an interval, on the leader and on the others.
    fn note(&mut self, revision: i64) {
        let AutoCompaction::Period(period) = self.rule else { return };
        let intervals = period.as_nanos() / self.rule.interval().as_nanos() + 1;
        self.seen.push_back(revision);
        if self.seen.len() as u128 > intervals {
            self.seen.pop_front();
        }
    }

    /// A compaction was done, or was not needed any more.
    fn done(&mut self, at: i64, now: Duration) {
        self.last = at;
        self.since = now;
    }
}

/// Runs until the mailbox is closed.
pub(crate) fn run(shared: &Shared, rule: AutoCompaction, stop: &Mailbox<()>) {
    let begun = Instant::now();
    let mut compactor = Compactor::new(rule, Duration::ZERO, shared.common().reader.revision());
    let done = Promise::new();
    let mut nothing = Vec::new();
    while stop.drain(&mut nothing, Some(Instant::now() + rule.interval()), WakePolicy::Every)
        != Woken::Closed
    {
        nothing.clear();
        if let Some((at, ended)) = done.wait(Duration::ZERO) {
            compactor.done(at, Instant::duration_since(&ended, begun));
        }
        let revision = shared.common().reader.revision();
        if shared.common().figures.leads()
            && let Some(at) = compactor.due(begun.elapsed(), revision)
        {
            compact(shared, rule, at, &done);
        }
        compactor.note(revision);
    }
}

/// Proposes a compaction. Nobody waits for it: what became of it is looked at the next time.
fn compact(shared: &Shared, rule: AutoCompaction, at: i64, done: &Arc<Promise<(i64, Instant)>>) {
    let (done, begun) = (Arc::clone(done), Instant::now());
    let kind = match rule {
        AutoCompaction::Period(_) => "periodic",
        AutoCompaction::Revisions(_) => "revision",
    };
    tracing::info!(revision = at, "starting auto {kind} compaction");
    let then = move |result: Result<_, Error>| match result {
        Ok(_) | Err(Error::Compacted) => {
            tracing::info!(
                revision = at,
                took = ?begun.elapsed(),
                "completed auto {kind} compaction"
            );
            done.give((at, Instant::now()));
        }
        Err(error) => {
            let error = error.code_and_text().1;
            tracing::warn!(revision = at, %error, "failed auto {kind} compaction");
        }
    };
    let request = CompactionRequest { revision: at, physical: false }.encode_to_vec();
    shared.services.propose(
        &Call::default(),
        Kind::Compaction,
        &request,
        Waiter::Own(Box::new(then)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::etcdserverpb as pb;

    const MINUTE: Duration = Duration::from_secs(60);

    /// Looks at every interval while a revision is written in each; when it was compacted, and at what.
    fn looks(rule: AutoCompaction, count: u32) -> Vec<(Duration, i64)> {
        let mut compactor = Compactor::new(rule, Duration::ZERO, 1);
        let mut compacted = Vec::new();
        for look in 1..=count {
            let (now, revision) = (rule.interval() * look, i64::from(look) + 1);
            if let Some(at) = compactor.due(now, revision) {
                compacted.push((now, at));
                compactor.done(at, now);
            }
            compactor.note(revision);
        }
        compacted
    }

    #[test]
    fn what_is_a_period_old_goes_every_period() {
        let rule = AutoCompaction::Period(10 * MINUTE);
        assert_eq!(rule.interval(), MINUTE);
        // Revision n + 1 is current at minute n.
        let expected = [(10, 1), (20, 10), (30, 20)].map(|(at, revision)| (MINUTE * at, revision));
        assert_eq!(looks(rule, 35), expected);
    }

    #[test]
    fn long_periods_are_compacted_every_hour() {
        let rule = AutoCompaction::Period(180 * MINUTE);
        assert_eq!(rule.interval(), 6 * MINUTE);
        // Revision n + 1 is current at n times six minutes.
        let expected =
            [(180, 1), (240, 10), (300, 20)].map(|(at, revision)| (MINUTE * at, revision));
        assert_eq!(looks(rule, 52), expected);
    }

    #[test]
    fn what_failed_is_tried_again_at_the_next_look() {
        let rule = AutoCompaction::Period(10 * MINUTE);
        let mut compactor = Compactor::new(rule, Duration::ZERO, 1);
        (1..10).for_each(|revision| compactor.note(revision));
        assert_eq!(compactor.due(10 * MINUTE, 10), Some(1));
        compactor.note(10);
        assert_eq!(compactor.due(11 * MINUTE, 11), Some(1));
    }

    #[test]
    fn a_number_of_revisions_is_kept() {
        let rule = AutoCompaction::Revisions(3);
        let expected = [(4, 1 + 1), (5, 2 + 1)].map(|(look, at)| (BY_NUMBER_INTERVAL * look, at));
        assert_eq!(looks(rule, 5)[1..], expected);
        let mut idle = Compactor::new(rule, Duration::ZERO, 9);
        assert_eq!(idle.due(MINUTE, 9), Some(6));
        idle.done(6, MINUTE);
        assert_eq!(idle.due(2 * MINUTE, 9), None);
    }

    #[test]
    fn the_leader_compacts_of_itself() {
        let rule = AutoCompaction::Period(Duration::from_millis(20));
        let bench = crate::testing::Bench::start_with(|config| config.auto_compaction = Some(rule));
        bench.until_it_leads();
        let deadline = Instant::now() + Duration::from_secs(30);
        let put = pb::PutRequest { key: "k".into(), ..pb::PutRequest::default() };
        while bench.shared().common().reader.compacted() < 2 {
            assert!(Instant::now() < deadline, "nothing was compacted");
            let _: pb::PutResponse = bench.call("/etcdserverpb.KV/Put", &put);
        }
        assert!(
            bench.shared().common().reader.compacted() <= bench.shared().common().reader.revision()
        );
    }
}
