//! The network: what becomes of a message between two places.

use crate::Rng;
use crate::plan::Weather;
use std::collections::{BTreeMap, BTreeSet};

/// A message that straggles takes so many times longer, at most.
const STRAGGLE_FACTOR: u64 = 60;

/// Who reaches whom, and how.
#[derive(Default)]
pub(crate) struct Network {
    /// From and to, where nothing passes.
    cut: BTreeSet<(usize, usize)>,
    /// From and to, with how many times longer it takes.
    slow: BTreeMap<(usize, usize), u64>,
    is_calm: bool,
}

impl Network {
    /// Nothing passes from one place to the other any more.
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    /// Whatever passes from one place to the other takes longer.
    pub(crate) fn slow(&mut self, from: usize, to: usize, factor: u64) {
        self.slow.insert((from, to), factor);
    }

    /// All ways are open again.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.slow.clear();
    }

    /// All ways are open, short and safe for good.
    pub(crate) fn calm(&mut self) {
        self.heal();
        self.is_calm = true;
    }

    /// Whether nothing passes.
    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(&(from, to))
    }

    /// After how long each copy of a message arrives; no copy where it is lost.
    pub(crate) fn send(
        &self,
        from: usize,
        to: usize,
        weather: &Weather,
        rng: &mut Rng,
    ) -> Vec<u64> {
        if self.is_calm {
            return vec![rng.between(100, 2_000)];
        }
        if self.is_cut(from, to) || rng.per_mille(weather.drop) {
            return Vec::new();
        }
        let copies = if rng.per_mille(weather.duplicate) { 2 } else { 1 };
        (0..copies).map(|_| self.delay(from, to, weather, rng)).collect()
    }

    fn delay(&self, from: usize, to: usize, weather: &Weather, rng: &mut Rng) -> u64 {
        let (least, most) = weather.delay_us;
        let mut delay = rng.between(least, most) * self.slow.get(&(from, to)).unwrap_or(&1);
        if rng.per_mille(weather.straggle) {
            delay *= rng.between(1, STRAGGLE_FACTOR);
        }
        delay
    }
}
