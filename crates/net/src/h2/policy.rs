//! What a peer may do how often, and how it is found to be gone. Times are milliseconds of the
//! engine's clock.

use std::time::Duration;

/// Without calls a client need not ping more often than this; it is gRPC's rule.
const IDLE_PING_MIN_MS: u64 = 2 * 60 * 60 * 1000;
/// Pings that came too early, after which the client has to go.
const PING_STRIKES_MAX: u32 = 2;
/// gRPC's default for a minimum of zero.
const PING_MIN_DEFAULT_MS: u64 = 5 * 60 * 1000;

/// How often a client may ping. Whatever we send it makes its next ping right, because clients measure
/// the line when something comes.
#[derive(Debug, Default)]
pub(crate) struct PingPolicy {
    last_ms: Option<u64>,
    strikes: u32,
    forgiven: bool,
}

impl PingPolicy {
    /// We sent headers or data.
    pub(crate) fn forgive(&mut self) {
        self.forgiven = true;
    }

    /// A ping came; `false` if it was one too many.
    pub(crate) fn ping(&mut self, now_ms: u64, min_ms: u64, has_calls: bool) -> bool {
        let last = self.last_ms.replace(now_ms);
        if std::mem::take(&mut self.forgiven) {
            self.strikes = 0;
            return true;
        }
        let min_ms = match (has_calls, min_ms) {
            (false, _) => IDLE_PING_MIN_MS,
            (true, 0) => PING_MIN_DEFAULT_MS,
            (true, min_ms) => min_ms,
        };
        if last.is_some_and(|last| now_ms < last.saturating_add(min_ms)) {
            self.strikes += 1;
        }
        self.strikes <= PING_STRIKES_MAX
    }
}

/// A bucket that fills again with time: bursts are fine, a flood is not.
#[derive(Debug)]
pub(crate) struct Bucket {
    burst: u32,
    per_second: u32,
    left: u32,
    filled_ms: u64,
}

impl Bucket {
    pub(crate) fn new(burst: u32, per_second: u32) -> Bucket {
        Bucket { burst, per_second, left: burst, filled_ms: 0 }
    }

    /// Takes one; `false` if there is none.
    pub(crate) fn take(&mut self, now_ms: u64) -> bool {
        if self.left == 0 {
            let earned = now_ms.saturating_sub(self.filled_ms) * u64::from(self.per_second) / 1000;
            self.left = earned.min(u64::from(self.burst)) as u32;
            self.filled_ms = now_ms;
        }
        let had = self.left > 0;
        self.left = self.left.saturating_sub(1);
        had
    }
}

/// What a look at a silent connection says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pulse {
    Alive,
    Ask,
    Dead,
}

/// Asks silent peers whether they live.
#[derive(Debug)]
pub(crate) struct Keepalive {
    interval_ms: u64,
    timeout_ms: u64,
    heard_ms: u64,
    asked_ms: Option<u64>,
}

impl Keepalive {
    pub(crate) fn new(interval: Duration, timeout: Duration, now_ms: u64) -> Keepalive {
        let (interval_ms, timeout_ms) = (millis(interval), millis(timeout));
        Keepalive { interval_ms, timeout_ms, heard_ms: now_ms, asked_ms: None }
    }

    /// Something came.
    pub(crate) fn heard(&mut self, now_ms: u64) {
        self.heard_ms = now_ms;
        self.asked_ms = None;
    }

    /// Looks again.
    pub(crate) fn look(&mut self, now_ms: u64) -> Pulse {
        match self.asked_ms {
            Some(asked) if now_ms >= asked.saturating_add(self.timeout_ms) => Pulse::Dead,
            Some(_) => Pulse::Alive,
            None if now_ms >= self.heard_ms.saturating_add(self.interval_ms) => {
                self.asked_ms = Some(now_ms);
                Pulse::Ask
            }
            None => Pulse::Alive,
        }
    }
}

/// Whole milliseconds; whatever is too long is for ever.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_pings_are_counted() {
        let mut policy = PingPolicy::default();
        let answers: Vec<bool> = (0..5).map(|n| policy.ping(n * 1000, 5000, true)).collect();
        assert_eq!(answers, [true, true, true, false, false]);
        policy.forgive();
        assert!(policy.ping(5000, 5000, true));
        assert!(policy.ping(10_000, 5000, true));
        assert_eq!(policy.strikes, 0);
        assert!(policy.ping(20_000, 5000, false));
        assert_eq!(policy.strikes, 1, "no calls, no pings");
    }

    #[test]
    fn buckets_fill_with_time() {
        let mut bucket = Bucket::new(3, 2);
        let taken: Vec<bool> = (0..4).map(|_| bucket.take(0)).collect();
        assert_eq!(taken, [true, true, true, false]);
        assert!(!bucket.take(499));
        assert!(bucket.take(1000));
        assert!(bucket.take(1_000_000));
    }

    #[test]
    fn the_silent_are_asked_and_given_up() {
        let second = Duration::from_secs(1);
        let mut keepalive = Keepalive::new(2 * second, second, 0);
        assert_eq!(keepalive.look(1999), Pulse::Alive);
        assert_eq!(keepalive.look(2000), Pulse::Ask);
        assert_eq!(keepalive.look(2999), Pulse::Alive);
        keepalive.heard(2999);
        assert_eq!(keepalive.look(4998), Pulse::Alive);
        assert_eq!(keepalive.look(4999), Pulse::Ask);
        assert_eq!(keepalive.look(5999), Pulse::Dead);
        assert_eq!(Keepalive::new(Duration::MAX, second, 5).look(u64::MAX - 1), Pulse::Alive);
    }
}
