//! A part's turn, and what everyone thinks of what came of it.

use super::{Cluster, Event};
use crate::checks::Violation;
use crate::member::{Out, Part};
use proto::raftpb::{Entry, EntryType};
use replica::apply::Outcome;
use replica::raft::Role;

/// A member that is removed runs on for so long at most, in microseconds.
const REMOVED_MAX_US: u64 = 2_000_000;

impl Cluster {
    pub(super) fn turn(&mut self, place: usize, part: Part) -> Result<(), Violation> {
        let now_us = self.scheduler.now_us();
        let node = &mut self.nodes[place];
        if part == Part::Core && now_us < node.frozen_until_us {
            let delay = node.frozen_until_us - now_us;
            self.scheduler.after(delay, Event::Turn(place, node.life, part));
            return Ok(());
        }
        node.turns[part as usize] = false;
        let Some(member) = &mut node.member else { return Ok(()) };
        let mut out = Vec::new();
        let result = member.turn(part, now_us, &mut out);
        let status = member.core.status();
        let what = ["core turn", "log turn", "apply turn", "file turn"][part as usize];
        let applied = member.applied();
        self.note(place, what, [status.term, status.committed, applied, status.leader]);
        for one in out {
            self.consider(place, one)?;
        }
        if let Err(fault) = result {
            return self.fails(place, &fault);
        }
        if part == Part::Core && status.role == Role::Leader {
            self.leads(place, status.term)?;
        }
        self.wake(place);
        Ok(())
    }

    fn leads(&mut self, place: usize, term: u64) -> Result<(), Violation> {
        let node = &self.nodes[place];
        let Some(member) = &node.member else { return Ok(()) };
        if self.checks.election.leads(term, node.id, node.life)? {
            self.checks.completeness.elected(&member.core, &self.model)?;
            self.note(place, "leads", [term, 0, 0, 0]);
        }
        Ok(())
    }

    fn consider(&mut self, place: usize, out: Out) -> Result<(), Violation> {
        match out {
            Out::Send(message) => {
                self.checks.election.sends(&message)?;
                self.checks.log_matching.sends(&message)?;
                self.send(place, message);
            }
            Out::SendSnapshot(message, database) => self.send_database(place, message, database),
            Out::Writing(persist) => {
                self.checks.log_matching.appends(&persist.entries)?;
                self.checks.durability.writing(place, &persist);
            }
            Out::Written(number) => self.checks.durability.written(place, number),
            Out::Applied(entry, outcome, is_replay) => {
                self.applied(place, &entry, &outcome, is_replay)?;
            }
            Out::Hashed { index, hashes } => {
                self.note(place, "hash", [index, hashes[0], hashes[1], hashes[2]]);
                self.checks.state_hash.is(index, hashes, place)?;
            }
            Out::Refused(id) => self.workload.forget(id),
            Out::Readable(id) => self.readable(place, id)?,
        }
        Ok(())
    }

    fn applied(
        &mut self,
        place: usize,
        entry: &Entry,
        outcome: &Outcome,
        is_replay: bool,
    ) -> Result<(), Violation> {
        let checks = &mut self.checks;
        let is_first = checks.state_machine.applied(&mut self.model, entry, outcome, is_replay)?;
        if is_replay {
            return Ok(());
        }
        let (index, id) = (entry.index(), outcome.id);
        checks.revisions.applied(&self.model, place, index, outcome)?;
        let life = self.nodes[place].life;
        if id != 0
            && let Some(asked) = self.workload.answered(id, place, life)
        {
            checks.reads.acknowledged(index, asked.floor)?;
            self.is_acknowledged |= self.workload.is_probe(&asked);
            self.note(place, "acknowledged", [id, index, asked.floor, 0]);
        }
        if let Some(member) = &mut self.nodes[place].member {
            member.awaited.remove(&id);
        }
        if is_first && entry.r#type() != EntryType::EntryNormal {
            self.members_changed(place, index);
        }
        Ok(())
    }

    fn readable(&mut self, place: usize, id: u64) -> Result<(), Violation> {
        let node = &self.nodes[place];
        let Some(asked) = self.workload.answered(id, place, node.life) else { return Ok(()) };
        let Some(member) = &node.member else { return Ok(()) };
        let applied = member.applied();
        self.note(place, "read", [id, applied, asked.floor, 0]);
        self.checks.reads.served(&self.model, &member.reader, applied, asked.floor)
    }

    /// Members that were added are started, members that were removed stopped, as their owner
    /// would do it.
    fn members_changed(&mut self, place: usize, index: u64) {
        self.counts.changes += 1;
        self.note(place, "members", [index, self.model.members().len() as u64, 0, 0]);
        for place in 0..self.nodes.len() {
            let (id, is_wanted) = (self.nodes[place].id, self.nodes[place].is_wanted);
            if self.model.is_removed(id) && is_wanted {
                self.nodes[place].is_wanted = false;
                let delay = self.rng.below(REMOVED_MAX_US);
                self.scheduler.after(delay, Event::Halt(place));
            }
            if self.model.members().contains_key(&id) && !is_wanted {
                self.nodes[place].is_wanted = true;
                self.start_soon(place, REMOVED_MAX_US);
            }
        }
    }
}
