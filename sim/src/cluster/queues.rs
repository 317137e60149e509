//! What parts of a member have for each other, and whom it wakes: as `server`'s mailboxes do.

use super::{Cluster, Event};
use crate::member::{ApplyEvent, CoreEvent, FileJob, Part};
use crate::plan::Mistake;
use replica::turn::{Changes, LogEvent, Urgency, WatchEvent};

/// With [`Mistake::SleepOnUrgent`]: messages that wake nobody, in a thousand.
const UNHEARD: u64 = 5;
/// A thread that is stopped between two effects of a turn goes on after so long, in microseconds, and
/// after so long at most where it is not just another thread's turn.
const CUT_US: u64 = 40;
const LONG_CUT_US: u64 = 5_000;
/// Long ones, in a thousand.
const LONG_CUTS: u64 = 30;

impl Cluster {
    pub(super) fn tell_core(&mut self, place: usize, event: CoreEvent, urgency: Urgency) {
        let Some(member) = &mut self.nodes[place].member else { return };
        if let CoreEvent::Propose { id, .. } = &event {
            member.core.queued.insert(*id);
        }
        let wakes = member.core.queue.push(event, urgency);
        self.woken(place, Part::Core, wakes);
    }

    pub(super) fn tell_log(&mut self, place: usize, event: LogEvent) {
        let Some(member) = &mut self.nodes[place].member else { return };
        member.log.under_way += 1;
        let wakes = member.log.queue.push(event, Urgency::Urgent);
        self.woken(place, Part::Log, wakes);
    }

    pub(super) fn tell_apply(&mut self, place: usize, event: ApplyEvent) {
        let Some(member) = &mut self.nodes[place].member else { return };
        let wakes = member.apply.queue.push(event, Urgency::Urgent);
        self.woken(place, Part::Apply, wakes);
    }

    pub(super) fn tell_file(&mut self, place: usize, job: FileJob) {
        let Some(member) = &mut self.nodes[place].member else { return };
        member.file.jobs.push_back(job);
        self.woken(place, Part::File, true);
    }

    pub(super) fn tell_watch(&mut self, place: usize, event: WatchEvent) {
        let Some(member) = &mut self.nodes[place].member else { return };
        let wakes = member.watch.queue.push(event, Urgency::Urgent);
        self.woken(place, Part::Watch, wakes);
    }

    pub(super) fn publish(&mut self, place: usize, changes: Changes) {
        let Some(member) = &mut self.nodes[place].member else { return };
        let wakes = member.watch.publish(changes);
        self.woken(place, Part::Watch, wakes);
    }

    fn woken(&mut self, place: usize, part: Part, wakes: bool) {
        if self.plan.mistake == Some(Mistake::SleepOnUrgent) && self.rng.per_mille(UNHEARD) {
            return;
        }
        let Some(member) = &mut self.nodes[place].member else { return };
        if wakes && member.pace(part).wake() {
            self.plan_step(place, part);
        }
    }

    /// A part that is awake has its next step when its thread comes to it.
    pub(super) fn plan_step(&mut self, place: usize, part: Part) {
        let delay = self.latency(place, part);
        self.scheduler.after(delay, Event::Step(place, self.nodes[place].life, part));
    }

    /// A part goes on with its effects, after others have had their turns.
    pub(super) fn plan_rest(&mut self, place: usize, part: Part) {
        let is_long = self.rng.per_mille(LONG_CUTS);
        let delay = self.rng.between(1, if is_long { LONG_CUT_US } else { CUT_US });
        self.scheduler.after(delay, Event::Step(place, self.nodes[place].life, part));
    }

    fn latency(&mut self, place: usize, part: Part) -> u64 {
        let factor = self.nodes[place].disk_factor;
        match part {
            Part::Core => self.rng.between(1, 100),
            Part::Log => self.rng.between(50, self.weather.log_us) * factor,
            Part::Apply | Part::Watch => self.rng.between(5, 500),
            Part::File => self.rng.between(100, self.weather.file_us) * factor,
        }
    }
}
