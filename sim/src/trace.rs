//! What happened, in order: a hash of everything, and the last events in full.

use std::collections::VecDeque;
use std::fmt;

/// Events that are kept to be shown.
const KEPT_MAX: usize = 50;

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Its number.
    pub number: u64,
    /// When, in microseconds of simulated time.
    pub at_us: u64,
    /// Where: a member's place, or -1 for the world around.
    pub place: i64,
    /// What.
    pub what: &'static str,
    /// What it was about.
    pub details: [u64; 4],
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { number, at_us, place, what, details } = self;
        let ms = at_us / 1000;
        write!(f, "{number:>7} {ms:>6}.{:03} ms  m{place:<2} {what:<22}", at_us % 1000)?;
        details.iter().try_for_each(|detail| write!(f, " {detail:x}"))
    }
}

/// The trace of a run.
#[derive(Debug)]
pub struct Trace {
    kept: VecDeque<Record>,
    count: u64,
    hash: u64,
}

impl Default for Trace {
    fn default() -> Trace {
        Trace { kept: VecDeque::with_capacity(KEPT_MAX), count: 0, hash: 0xcbf2_9ce4_8422_2325 }
    }
}

impl Trace {
    /// Notes an event.
    pub fn note(&mut self, at_us: u64, place: i64, what: &'static str, details: [u64; 4]) {
        self.count += 1;
        for byte in what.bytes() {
            self.mix(u64::from(byte));
        }
        [at_us, place as u64].into_iter().chain(details).for_each(|number| self.mix(number));
        if self.kept.len() == KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(Record { number: self.count, at_us, place, what, details });
    }

    fn mix(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }

    /// How many events there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The hash of all events.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last events, one a line.
    pub fn tail(&self) -> String {
        self.kept.iter().map(|record| format!("{record}\n")).collect()
    }
}
