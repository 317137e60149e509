//! A part's steps: its turn, then what follows from it, one by one, while others may come in between.

use super::{Cluster, Event};
use crate::checks::{self, Violation, Visibility};
use crate::member::{Connections, Member, Next, Notes, Part, Seen};
use crate::plan::{Mistake, TICK_US};
use proto::raftpb::EntryType;
use raft::Role;
use replica::turn::WatchEvent;

/// A member that is removed runs on for so long at most, in microseconds.
const REMOVED_MAX_US: u64 = 2_000_000;
/// Hashes are taken where the index is a multiple of this.
const HASH_EVERY: u64 = 4;
/// Answers come within a tick and so long of their time, in microseconds.
const SLACK_US: u64 = 2 * TICK_US;

impl Cluster {
    /// The alarm of a part that sleeps.
    pub(super) fn ring(&mut self, place: usize, part: Part, sleep: u32) -> Result<(), Violation> {
        let member = self.nodes[place].member.as_mut();
        match member.is_some_and(|member| member.pace(part).ring(sleep)) {
            true => self.step(place, part),
            false => Ok(()),
        }
    }

    /// A part goes on: with what follows from its last turn, then with the next one, until it sleeps or
    /// somebody else comes in.
    pub(super) fn step(&mut self, place: usize, part: Part) -> Result<(), Violation> {
        let (now_us, life) = (self.scheduler.now_us(), self.nodes[place].life);
        let until_us = self.nodes[place].frozen_until_us[part as usize];
        if now_us < until_us {
            self.scheduler.after(until_us - now_us, Event::Step(place, life, part));
            return Ok(());
        }
        while self.carry_out(place, part, life)? {
            match self.advance(place, part)? {
                Some(Next::Effects) => continue,
                Some(Next::Again) => self.plan_step(place, part),
                Some(Next::Sleep(until_us)) => self.fall_asleep(place, part, until_us),
                None => {}
            }
            break;
        }
        self.nodes[place].member.as_ref().map_or(Ok(()), checks::bounds_hold)
    }

    fn fall_asleep(&mut self, place: usize, part: Part, until_us: Option<u64>) {
        let life = self.nodes[place].life;
        let Some(member) = &mut self.nodes[place].member else { return };
        let sleep = member.pace(part).sleep();
        if let Some(until_us) = until_us {
            let delay = until_us.saturating_sub(self.scheduler.now_us());
            self.scheduler.after(delay, Event::Alarm(place, life, part, sleep));
        }
    }

    /// Carries effects out in their order. `false` where others come in before the rest, or the member is
    /// no more.
    fn carry_out(&mut self, place: usize, part: Part, life: u32) -> Result<bool, Violation> {
        loop {
            if !self.lives(place, life) {
                return Ok(false);
            }
            let Some(member) = &mut self.nodes[place].member else { return Ok(false) };
            let left = match part {
                Part::Core => match member.core.effects.pop_front() {
                    Some(effect) => {
                        let left = member.core.effects.len();
                        self.carry_core(place, effect)?;
                        left
                    }
                    None => return Ok(true),
                },
                Part::Log => match member.log.effects.pop_front() {
                    Some(effect) => {
                        let left = member.log.effects.len();
                        self.carry_log(place, effect);
                        left
                    }
                    None => return Ok(true),
                },
                Part::Apply => match member.apply.effects.pop_front() {
                    Some(effect) => {
                        let left = member.apply.effects.len();
                        self.carry_apply(place, effect)?;
                        left
                    }
                    None => return self.apply_is_sound(place),
                },
                Part::File | Part::Watch => return Ok(true),
            };
            if left > 0 && self.rng.per_mille(self.weather.cut) {
                self.plan_rest(place, part);
                return Ok(false);
            }
        }
    }

    /// A fault of a turn is heard of when its effects are carried out.
    fn apply_is_sound(&mut self, place: usize) -> Result<bool, Violation> {
        let member = self.nodes[place].member.as_mut();
        match member.and_then(|member| member.apply.fault.take()) {
            Some(fault) => {
                self.fails(place, &fault)?;
                Ok(false)
            }
            None => Ok(true),
        }
    }

    /// What a part does next; nothing where the member is no more.
    fn advance(&mut self, place: usize, part: Part) -> Result<Option<Next>, Violation> {
        let next = match part {
            Part::Core => self.advance_core(place)?,
            Part::Log => self.advance_log(place)?,
            Part::Apply => self.advance_apply(place)?,
            Part::File => self.advance_file(place),
            Part::Watch => self.advance_watch(place)?,
        };
        if next == Some(Next::Effects)
            && let Some(member) = &self.nodes[place].member
        {
            let status = member.core.turn.core().status();
            let details = [status.term, status.committed, member.applied(), status.leader];
            self.note(place, part.name(), details);
        }
        Ok(next)
    }

    // ---- the core --------------------------------------------------------------------------

    fn advance_core(&mut self, place: usize) -> Result<Option<Next>, Violation> {
        let now_us = self.scheduler.now_us();
        // Clocks differ.
        let period_us = self.rng.between(TICK_US * 9 / 10, TICK_US * 11 / 10);
        let connections = self.connections(place);
        let node = &mut self.nodes[place];
        let Some(member) = &mut node.member else { return Ok(None) };
        let now = member.time(now_us);
        let next = member.core.advance(now, now_us, &connections, period_us);
        for number in std::mem::take(&mut member.core.persisted) {
            self.checks.durability.written(place, number);
        }
        if std::mem::take(&mut member.core.has_ticked) {
            let (tickets, free_us) = (&self.checks.tickets, node.thawed_us);
            tickets.ticked(place, now_us, free_us, SLACK_US)?;
        }
        if next == Next::Again {
            self.leads(place)?;
            // It looks for what came meanwhile before it sleeps.
            let is_idle = |node: &crate::node::Node| {
                node.member.as_ref().is_some_and(|member| member.core.queue.is_empty())
            };
            if is_idle(&self.nodes[place]) {
                return self.advance_core(place);
            }
        }
        Ok(Some(next))
    }

    /// Whom a member hears and who hears it.
    fn connections(&self, place: usize) -> Connections {
        let now_us = self.scheduler.now_us();
        let is_due = |member: &crate::member::Member| now_us >= member.core.next_tick_us;
        if !self.nodes[place].member.as_ref().is_some_and(is_due) {
            return Connections(Vec::new());
        }
        let is_connected = |other: &usize| {
            *other != place
                && !self.network.is_cut(place, *other)
                && !self.network.is_cut(*other, place)
        };
        Connections(self.running().filter(is_connected).map(|other| self.nodes[other].id).collect())
    }

    fn leads(&mut self, place: usize) -> Result<(), Violation> {
        let node = &self.nodes[place];
        let Some(member) = &node.member else { return Ok(()) };
        let status = member.core.turn.core().status();
        if status.role == Role::Leader
            && self.checks.election.leads(status.term, node.id, node.life)?
        {
            self.checks.completeness.elected(member.core.turn.core(), &self.model)?;
            self.checks.leases.elected(status.term, self.scheduler.now_us());
            self.note(place, "leads", [status.term, 0, 0, 0]);
        }
        Ok(())
    }

    // ---- the log ---------------------------------------------------------------------------

    fn advance_log(&mut self, place: usize) -> Result<Option<Next>, Violation> {
        let mistake = self.plan.mistake;
        let Some(member) = &mut self.nodes[place].member else { return Ok(None) };
        match member.log.advance(|persist| super::spoil::persist(mistake, persist)) {
            Ok(next) => Ok(Some(next)),
            Err(fault) => {
                self.fails(place, &fault)?;
                Ok(None)
            }
        }
    }

    // ---- the database file -----------------------------------------------------------------

    fn advance_file(&mut self, place: usize) -> Option<Next> {
        let member = self.nodes[place].member.as_mut()?;
        let Some(done) = member.file.run() else { return Some(Next::Sleep(None)) };
        let is_more = !member.file.jobs.is_empty();
        self.tell_apply(place, done);
        Some(if is_more { Next::Again } else { Next::Sleep(None) })
    }

    // ---- watchers --------------------------------------------------------------------------

    fn advance_watch(&mut self, place: usize) -> Result<Option<Next>, Violation> {
        let (now_us, mistake) = (self.scheduler.now_us(), self.plan.mistake);
        let Some(member) = &mut self.nodes[place].member else { return Ok(None) };
        let now = member.time(now_us);
        let next = member.watch.advance(now, now_us, |event, heard| {
            match event {
                WatchEvent::Changes(changes) => {
                    Visibility::hub_hears(place, changes.revision(), *heard)?;
                    *heard = changes.revision();
                }
                WatchEvent::Overrun { revision, .. } => *heard = (*heard).max(*revision),
                WatchEvent::Restored { reader, revision } => {
                    if mistake == Some(Mistake::RestoreAsksLate) {
                        *revision = reader.revision();
                    }
                    *heard = (*heard).max(*revision);
                }
                _ => {}
            }
            Ok(())
        })?;
        if next == Next::Effects {
            self.watchers_hear(place)?;
        }
        Ok(Some(next))
    }

    // ---- the state machine -----------------------------------------------------------------

    fn advance_apply(&mut self, place: usize) -> Result<Option<Next>, Violation> {
        let now_us = self.scheduler.now_us();
        let Some(member) = &mut self.nodes[place].member else { return Ok(None) };
        let (now, before) = (member.time(now_us), member.applied());
        let mut notes = Notes::new(before);
        let may_read = member.common.figures.may_read();
        let next = member.apply.advance(now, now_us, may_read, &mut notes);
        if next != Next::Effects {
            if matches!(next, Next::Sleep(_)) {
                Visibility::rests(member)?;
            }
            return Ok(Some(next));
        }
        super::spoil::effects(self.plan.mistake, &mut member.apply.effects);
        let (applied, is_sound) = (member.applied(), member.apply.fault.is_none());
        for seen in &notes.seen {
            self.applied(place, seen)?;
        }
        self.counts.restores += notes.restores;
        if applied != before && applied.is_multiple_of(HASH_EVERY) && is_sound {
            self.hash(place, applied)?;
        }
        Ok(Some(next))
    }

    fn hash(&mut self, place: usize, applied: u64) -> Result<(), Violation> {
        let Some(member) = &self.nodes[place].member else { return Ok(()) };
        let hashes = member.hashes();
        self.note(place, "hash", [applied, hashes[0], hashes[1], hashes[2]]);
        self.checks.state_hash.is(applied, hashes, place)
    }

    fn applied(&mut self, place: usize, seen: &Seen) -> Result<(), Violation> {
        let checks = &mut self.checks;
        let is_first = checks.state_machine.applied(&mut self.model, seen)?;
        if is_first {
            checks.departures.committed(seen.id)?;
        }
        if seen.is_replay {
            return Ok(());
        }
        checks.revisions.applied(&self.model, place, seen)?;
        let index = seen.entry.index();
        checks.tickets.applied(place, seen.id, index, seen.revision.unwrap_or(0));
        if let Some(lease) = seen.granted {
            let node = &self.nodes[place];
            let machine = |member: &Member| member.apply.turn.applier().machine.lessor.is_primary();
            let leads = node.member.as_ref().is_some_and(machine);
            let at = (self.scheduler.now_us(), leads);
            checks.leases.granted((place, node.life), lease, at);
        }
        if is_first && seen.entry.r#type() != EntryType::EntryNormal {
            self.members_changed(place, index);
        }
        Ok(())
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
