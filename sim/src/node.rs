//! A place where a member lives, dies and comes back: its disk, and the member while it runs.

use crate::member::{Member, Part};
use replica::Options;
use replica::disk::sim::SimDisk;

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
    /// Parts that will have a turn.
    pub(crate) turns: [bool; 4],
    /// Whether it may run: a member that joins may once it is added, one that is removed never.
    pub(crate) is_wanted: bool,
    /// Whether the disk will crash or fail.
    pub(crate) is_armed: bool,
    /// The core has no turn before this.
    pub(crate) frozen_until_us: u64,
    /// How many times longer its disk takes.
    pub(crate) disk_factor: u64,
    pub(crate) ticks: u64,
}

impl Node {
    pub(crate) fn new(seed: u64, id: u64, options: Options) -> Node {
        Node {
            disk: SimDisk::new(seed),
            options,
            id,
            member: None,
            life: 0,
            turns: [false; 4],
            is_wanted: false,
            is_armed: false,
            frozen_until_us: 0,
            disk_factor: 1,
            ticks: 0,
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
        self.turns = [false; 4];
        self.frozen_until_us = 0;
    }

    /// Whether a part has work and no turn yet; it will have one now.
    pub(crate) fn claims_turn(&mut self, part: Part) -> bool {
        let wants = self.member.as_ref().is_some_and(|member| member.wants(part));
        wants && !std::mem::replace(&mut self.turns[part as usize], true)
    }
}
