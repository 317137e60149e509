//! A place where a member lives, dies and comes back: its disk, and the member while it runs.

use crate::member::{Member, Part};
use disk::sim::SimDisk;
use replica::Options;

/// How a member stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Its machine loses power: what was not synced is lost, or not, sector by sector.
    PowerLoss,
    /// Its process is killed: the system keeps what it wrote.
    Kill,
    /// It is asked to.
    Graceful,
}

/// A place.
pub(crate) struct Node {
    pub(crate) disk: SimDisk,
    pub(crate) options: Options,
    /// The member's id.
    pub(crate) id: u64,
    pub(crate) member: Option<Member>,
    /// Counts starts and stops: what was meant for another life does not arrive.
    pub(crate) life: u32,
    /// Whether it may run: a member that joins may once it is added, one that is removed never.
    pub(crate) is_wanted: bool,
    /// Whether the disk will crash or fail.
    pub(crate) is_armed: bool,
    /// Each part has no turn before this.
    pub(crate) frozen_until_us: [u64; Part::ALL.len()],
    /// No part is frozen since this time, or will be at this time.
    pub(crate) thawed_us: u64,
    /// How many times longer its disk takes.
    pub(crate) disk_factor: u64,
}

impl Node {
    pub(crate) fn new(seed: u64, id: u64, options: Options) -> Node {
        Node {
            disk: SimDisk::new(seed),
            options,
            id,
            member: None,
            life: 0,
            is_wanted: false,
            is_armed: false,
            frozen_until_us: [0; Part::ALL.len()],
            thawed_us: 0,
            disk_factor: 1,
        }
    }

    /// Ends the member's life, whatever it was doing.
    pub(crate) fn stop(&mut self, how: Stop) {
        let member = self.member.take();
        match how {
            // A last commit that fails is as good as none.
            Stop::Graceful => drop(member.map(Member::stop)),
            Stop::Kill | Stop::PowerLoss => drop(member),
        }
        if how == Stop::PowerLoss || self.disk.has_crashed() || self.is_armed {
            self.disk.restart();
        }
        self.is_armed = false;
        self.life += 1;
        (self.frozen_until_us, self.thawed_us) = ([0; Part::ALL.len()], 0);
    }

    /// These parts do nothing until this time.
    pub(crate) fn freeze(&mut self, parts: &[Part], until_us: u64) {
        for part in parts {
            self.frozen_until_us[*part as usize] = until_us;
        }
        self.thawed_us = self.thawed_us.max(until_us);
    }
}
