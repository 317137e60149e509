//! The connections of a client: to every endpoint at once, each kept up; calls go to those that live.
//!
//! After grpc-go's `round_robin`, with one addition: a connection on which a call heard nothing gets
//! no more calls, while there are others, until its server says anything.

use crate::config::Config;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::link::{Line, Link, Timing};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// Connections that are being made at the same time.
const DIALS_MAX: usize = 32;
/// The pauses between attempts to connect grow from the first to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(25);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A call without a deadline waits at least so long for a connection.
const PATIENCE_MIN: Duration = Duration::from_millis(2500);

/// The connections.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    kept: Mutex<Vec<Kept>>,
    /// Calls take turns.
    next: AtomicUsize,
}

/// An endpoint and the task that keeps its connection up.
struct Kept {
    link: Arc<Link>,
    task: JoinHandle<()>,
}

struct Shared {
    timing: Timing,
    dials: Semaphore,
    /// Counts connections made and lost.
    changed: watch::Sender<u64>,
}

impl Pool {
    /// Begins to connect to all endpoints.
    pub(crate) fn new(config: &Config) -> Result<Pool, Error> {
        let timing = Timing {
            dial_timeout: config.dial_timeout,
            keepalive_interval: config.keepalive_interval,
            keepalive_timeout: config.keepalive_timeout,
        };
        let (dials, changed) = (Semaphore::new(DIALS_MAX), watch::channel(0).0);
        let shared = Arc::new(Shared { timing, dials, changed });
        let pool = Pool { shared, kept: Mutex::default(), next: AtomicUsize::new(0) };
        pool.set_endpoints(config, &config.endpoints)?;
        Ok(pool)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        // Only whole values are stored, so a poisoned lock guards a whole value too.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the endpoints: those that stay keep their connections; calls on those that go are
    /// finished.
    pub(crate) fn set_endpoints(&self, config: &Config, endpoints: &[String]) -> Result<(), Error> {
        let dialers = config.dialers(endpoints)?;
        let mut kept = self.kept();
        let mut old = std::mem::take(&mut *kept);
        for (name, dialer) in endpoints.iter().zip(dialers) {
            if let Some(at) = old.iter().position(|kept| kept.link.name == *name) {
                kept.push(old.swap_remove(at));
                continue;
            }
            let link = Arc::new(Link::new(name.clone(), dialer));
            let task = tokio::spawn(keep_up(Arc::clone(&link), Arc::clone(&self.shared)));
            kept.push(Kept { link, task });
        }
        for gone in old {
            if !gone.link.retire() {
                gone.task.abort();
            }
        }
        Ok(())
    }

    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.kept().iter().map(|kept| kept.link.name.clone()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.kept().len()
    }

    /// The next connection that is not among `used`: one that answers, or else a suspect one.
    pub(crate) fn pick(&self, used: &[Line]) -> Option<Line> {
        let kept = self.kept();
        let unused = |line: &Line| !used.iter().any(|used| used.is_same(line));
        let live = kept.iter().filter_map(|kept| kept.link.line()).filter(unused);
        let (suspect, sound): (Vec<Line>, Vec<Line>) = live.partition(|line| line.ear.is_suspect());
        let mut lines = if sound.is_empty() { suspect } else { sound };
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        (!lines.is_empty()).then(|| lines.swap_remove(turn % lines.len()))
    }

    /// Whether there is a better connection than those used.
    pub(crate) fn has_sound(&self, used: &[Line]) -> bool {
        let is_sound =
            |line: &Line| !line.ear.is_suspect() && !used.iter().any(|used| used.is_same(line));
        self.kept().iter().filter_map(|kept| kept.link.line()).any(|line| is_sound(&line))
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// [`Error::Unreachable`]: at the deadline, or without one after some time.
    pub(crate) async fn line(&self, deadline: Deadline) -> Result<Line, Error> {
        let mut changed = self.shared.changed.subscribe();
        let patience = Instant::now() + self.shared.timing.dial_timeout.max(PATIENCE_MIN);
        let until = deadline.instant().unwrap_or(patience);
        loop {
            if let Some(line) = self.pick(&[]) {
                return Ok(line);
            }
            if tokio::time::timeout_at(until.into(), changed.changed()).await.is_err() {
                let has_deadline = deadline != Deadline::NONE;
                return Err(Error::Unreachable { why: self.failure(), has_deadline });
            }
        }
    }

    /// Why there is no connection.
    fn failure(&self) -> String {
        let kept = self.kept();
        let last = kept.iter().rev().find_map(|kept| kept.link.failure());
        last.unwrap_or_else(|| "no connection was made in time".to_owned())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for kept in self.kept().iter() {
            kept.task.abort();
        }
    }
}

/// Connects again and again, until the endpoint is given up.
async fn keep_up(link: Arc<Link>, shared: Arc<Shared>) {
    let mut pause = PAUSE_FIRST;
    while !link.is_retired() {
        let made = {
            let _slot = shared.dials.acquire().await;
            link.connect(shared.timing).await
        };
        match made {
            Ok((line, driver)) => {
                link.up(line);
                shared.changed.send_modify(|count| *count += 1);
                let why = match driver.await {
                    Ok(()) => "the server closed the connection".to_owned(),
                    Err(error) => crate::cause::innermost(&error),
                };
                link.down(why);
                pause = PAUSE_FIRST;
            }
            Err(why) => link.down(why),
        }
        shared.changed.send_modify(|count| *count += 1);
        tokio::time::sleep(jittered(pause)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// A fifth more or less, so that not all clients of a server come back at once.
fn jittered(pause: Duration) -> Duration {
    let chance = RandomState::new().hash_one(0) % 400;
    pause * (800 + u32::try_from(chance).unwrap_or_default()) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_stay_within_a_fifth() {
        for _ in 0..100 {
            let pause = jittered(Duration::from_millis(1000));
            assert!((800..1200).contains(&pause.as_millis()), "{pause:?}");
        }
    }
}
