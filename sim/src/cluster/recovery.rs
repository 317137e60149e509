//! Faults end: the cluster becomes whole; then all machines lose power at once, and it must again.

use super::{Cluster, Event};
use crate::checks::{Standing, Violation};
use crate::node::Stop;
use crate::plan::TICK_US;
use crate::requests;
use crate::workload::Ask;

/// How often the cluster is looked at, in microseconds.
const LOOK_US: u64 = 200_000;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Things go wrong.
    Trouble,
    /// Nothing does any more.
    Calm,
    /// All power was lost once more.
    AfterBlackout,
    /// All is well.
    Done,
}

impl Cluster {
    /// From now on nothing goes wrong.
    pub(super) fn calm(&mut self) {
        self.note(self.nodes.len(), "calm", [0; 4]);
        self.enter(Phase::Calm);
        self.network.calm();
        self.weather.log_us = 2_000;
        self.weather.file_us = 5_000;
        for place in 0..self.nodes.len() {
            self.nodes[place].disk_factor = 1;
            if self.nodes[place].is_armed {
                self.stop(place, Stop::PowerLoss);
            }
            self.start_soon(place, TICK_US);
        }
        self.scheduler.after(LOOK_US, Event::Look);
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.is_acknowledged = false;
        self.checks.liveness.calm(self.scheduler.now_us());
    }

    /// Looks whether all is well.
    pub(super) fn look(&mut self) -> Result<(), Violation> {
        self.scheduler.after(LOOK_US, Event::Look);
        if !self.is_acknowledged {
            self.probe()?;
        }
        self.checks.leases.calm(&self.model, self.leading(), self.scheduler.now_us())?;
        let standing = self.standing();
        if !self.checks.liveness.is_well(&standing, self.scheduler.now_us())? {
            return Ok(());
        }
        self.compare()?;
        if self.phase == Phase::Calm {
            self.enter(Phase::AfterBlackout);
            (0..self.nodes.len()).for_each(|place| self.stop(place, Stop::PowerLoss));
        } else {
            self.phase = Phase::Done;
        }
        Ok(())
    }

    /// A write, to see whether it is acknowledged. A full database takes it too.
    fn probe(&mut self) -> Result<(), Violation> {
        let client = self.workload.clients();
        if self.workload.waits(client).is_some() {
            return Ok(());
        }
        let (ticket, request) = (self.workload.ticket(), requests::delete(0, 1));
        self.ask(client, ticket, Ask::Write { request, in_file: false })
    }

    /// Who leads, in which life and term, and has applied what is committed: its file may still be busy
    /// with what came before.
    fn leading(&self) -> Option<((usize, u32), u64)> {
        let place = self.leader()?;
        let member = self.nodes[place].member.as_ref()?;
        let status = member.core.turn.core().status();
        let is_there = member.applied() == status.committed;
        is_there.then_some(((place, self.nodes[place].life), status.term))
    }

    fn standing(&self) -> Standing {
        let applied = |id: &u64| {
            let place = self.places[id];
            let member = self.nodes[place].member.as_ref();
            (place, member.map(crate::member::Member::applied))
        };
        Standing {
            committed: self.model.index(),
            applied: self.model.members().keys().map(applied).collect(),
            acknowledged: self.is_acknowledged,
            waiting: self.running().map(|place| (place, self.waiting(place))).collect(),
            watchers_behind: self.watchers_behind(),
            leases: self.model.leases().len(),
        }
    }

    /// How much waits in a member, and how many callers for it.
    fn waiting(&self, place: usize) -> usize {
        let member = self.nodes[place].member.as_ref();
        member.map_or(0, |member| member.waiting() + self.checks.tickets.open_at(place))
    }

    /// All members have the same in their stores, and that is what the log says.
    fn compare(&mut self) -> Result<(), Violation> {
        for id in self.model.members().keys() {
            let place = self.places[id];
            let Some(member) = &self.nodes[place].member else { continue };
            let (index, hashes) = (member.applied(), member.hashes());
            self.note(place, "compared", [index, hashes[0], hashes[1], hashes[2]]);
            self.checks.state_hash.is(index, hashes, place)?;
            self.checks.reads.shows(&self.model, &member.common.reader, index)?;
        }
        Ok(())
    }
}
