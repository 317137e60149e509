//! What happens next: events in the order of their times, and of their making where times are equal.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Where an event waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at_us: u64,
    number: u64,
    slot: usize,
}

/// Events to come, and the simulated time.
pub(crate) struct Scheduler<E> {
    due: BinaryHeap<Reverse<Due>>,
    events: Vec<Option<E>>,
    free: VecDeque<usize>,
    now_us: u64,
    made: u64,
}

impl<E> Default for Scheduler<E> {
    fn default() -> Scheduler<E> {
        Scheduler {
            due: BinaryHeap::new(),
            events: Vec::new(),
            free: VecDeque::new(),
            now_us: 0,
            made: 0,
        }
    }
}

impl<E> Scheduler<E> {
    /// The time, in microseconds since the beginning.
    pub(crate) fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Something will happen after so long.
    pub(crate) fn after(&mut self, delay_us: u64, event: E) {
        let slot = self.free.pop_front().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() - 1
        });
        self.events[slot] = Some(event);
        self.made += 1;
        let at_us = self.now_us + delay_us;
        self.due.push(Reverse(Due { at_us, number: self.made, slot }));
    }

    /// The next event; time moves to it.
    pub(crate) fn next(&mut self) -> Option<E> {
        let Reverse(Due { at_us, slot, .. }) = self.due.pop()?;
        self.now_us = at_us;
        self.free.push_back(slot);
        self.events[slot].take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_their_times_and_of_their_making() {
        let mut scheduler = Scheduler::default();
        scheduler.after(20, 'c');
        scheduler.after(10, 'a');
        scheduler.after(10, 'b');
        assert_eq!((scheduler.next(), scheduler.now_us()), (Some('a'), 10));
        scheduler.after(10, 'd');
        let rest: String = std::iter::from_fn(|| scheduler.next()).collect();
        assert_eq!((rest.as_str(), scheduler.now_us()), ("bcd", 20));
    }
}
