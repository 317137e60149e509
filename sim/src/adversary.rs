//! What goes wrong next.

use crate::Rng;
use crate::member::Part;
use crate::plan::Weather;

/// A trouble; places are among those that run, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A machine loses power.
    PowerLoss(usize),
    /// All machines lose power.
    Blackout,
    /// A process is killed.
    Kill(usize),
    /// A member is stopped as one should be.
    Stop(usize),
    /// A disk stops, with its machine, in the middle of an operation so many operations on.
    DiskCrash(usize, u64),
    /// The sync of a disk fails, so many syncs on.
    SyncFailure(usize, u64),
    /// Those below this place and the others do not hear each other.
    Split(usize),
    /// A member hears nobody.
    Deaf(usize),
    /// Nobody hears a member.
    Mute(usize),
    /// A way is slow, so many times.
    SlowWay(usize, usize, u64),
    /// All ways are open again.
    Heal,
    /// Parts of a member do nothing for so many milliseconds.
    Freeze(usize, &'static [Part], u64),
    /// A disk is slow, so many times; 1 is as before.
    SlowDisk(usize, u64),
    /// A learner is added.
    AddLearner,
    /// A voter is added.
    AddVoter,
    /// A learner gets its vote.
    Promote,
    /// A member is removed.
    Remove(usize),
    /// The leader is asked to hand over to this member.
    Transfer(usize),
    /// A database is defragmented.
    Defragment(usize),
}

impl Trouble {
    /// One at random.
    pub(crate) fn draw(places: usize, weather: &Weather, rng: &mut Rng) -> Trouble {
        let total: u64 = weather.weights.iter().sum();
        let mut ticket = rng.below(total + 1);
        let kind = weather.weights.iter().position(|weight| {
            let hit = ticket < *weight;
            ticket = ticket.saturating_sub(*weight);
            hit
        });
        let place = rng.below(places as u64) as usize;
        match kind {
            Some(0) => crash(place, rng),
            Some(1) => network(place, places, rng),
            Some(2) => slowness(place, rng),
            Some(3) => membership(place, rng),
            Some(4) => Trouble::Transfer(place),
            Some(_) => Trouble::Defragment(place),
            None => Trouble::Heal,
        }
    }

    /// The same, for this member, where it cuts one member off or slows it down.
    pub(crate) fn aimed_at(self, place: usize) -> Trouble {
        match self {
            Trouble::Freeze(_, parts, ms) => Trouble::Freeze(place, parts, ms),
            Trouble::SlowDisk(_, factor) => Trouble::SlowDisk(place, factor),
            Trouble::Deaf(_) => Trouble::Deaf(place),
            Trouble::Mute(_) => Trouble::Mute(place),
            other => other,
        }
    }
}

fn crash(place: usize, rng: &mut Rng) -> Trouble {
    match rng.below(12) {
        0..3 => Trouble::PowerLoss(place),
        3 => Trouble::Blackout,
        4 => Trouble::Kill(place),
        5 => Trouble::Stop(place),
        6..10 => Trouble::DiskCrash(place, rng.between(1, 80)),
        _ => Trouble::SyncFailure(place, rng.between(1, 20)),
    }
}

fn network(place: usize, places: usize, rng: &mut Rng) -> Trouble {
    match rng.below(8) {
        0..2 => Trouble::Split(place + 1),
        2 => Trouble::Deaf(place),
        3 => Trouble::Mute(place),
        4 => {
            let to = rng.below(places as u64) as usize;
            Trouble::SlowWay(place, to, rng.between(2, 100))
        }
        _ => Trouble::Heal,
    }
}

fn slowness(place: usize, rng: &mut Rng) -> Trouble {
    match rng.below(3) {
        0 => {
            let parts: &'static [Part] = match rng.below(5) {
                0 => &Part::ALL,
                1 => &[Part::Apply],
                2 => &[Part::Watch],
                _ => &[Part::Core],
            };
            Trouble::Freeze(place, parts, rng.between(50, 2_000))
        }
        1 => Trouble::SlowDisk(place, rng.between(2, 40)),
        _ => Trouble::SlowDisk(place, 1),
    }
}

fn membership(place: usize, rng: &mut Rng) -> Trouble {
    match rng.below(6) {
        0 => Trouble::AddVoter,
        1..3 => Trouble::AddLearner,
        3..5 => Trouble::Promote,
        _ => Trouble::Remove(place),
    }
}
