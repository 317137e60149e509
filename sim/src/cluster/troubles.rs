//! Troubles as they come.

use super::recovery::Phase;
use super::{Cluster, Event};
use crate::adversary::Trouble;
use crate::checks::{Violation, Who};
use crate::member::CoreEvent;
use crate::node::Stop;
use crate::{plan, requests};
use membership::{Member, member_id};
use proto::raftpb::ConfChange;
use replica::turn::{Ask, Urgency};
use replica::{Beginning, Identity};

/// Troubles of one member that are the leader's, in a thousand.
const AT_THE_LEADER: u64 = 400;
/// Members of a cluster, at most, and places, those of removed members counted.
const MEMBERS_MAX: usize = 6;
const PLACES_MAX: usize = 12;
/// Voters that are left, at least: two can lose each other for good when one is removed.
const VOTERS_MIN: usize = 3;

impl Cluster {
    pub(super) fn trouble(&mut self) -> Result<(), Violation> {
        if self.phase != Phase::Trouble {
            return Ok(());
        }
        let delay = self.rng.between(1_000, self.weather.trouble_every_ms * 1000);
        self.scheduler.after(delay, Event::Trouble);
        let trouble = Trouble::draw(self.nodes.len(), &self.weather, &mut self.rng);
        let leader = self.leader().filter(|_| self.rng.per_mille(AT_THE_LEADER));
        let trouble = leader.map_or(trouble, |leader| trouble.aimed_at(leader));
        self.suffer(trouble)
    }

    fn suffer(&mut self, trouble: Trouble) -> Result<(), Violation> {
        match trouble {
            Trouble::PowerLoss(place) => self.fell(place, Stop::PowerLoss),
            Trouble::Blackout => {
                (0..self.nodes.len()).for_each(|place| self.fell(place, Stop::PowerLoss));
            }
            Trouble::Kill(place) => self.fell(place, Stop::Kill),
            Trouble::Stop(place) => self.fell(place, Stop::Graceful),
            Trouble::DiskCrash(place, ops) => {
                self.nodes[place].disk.crash_after(ops);
                self.nodes[place].is_armed = true;
            }
            Trouble::SyncFailure(place, syncs) => {
                self.nodes[place].disk.fail_sync_after(syncs);
                self.nodes[place].is_armed = true;
            }
            Trouble::Split(..)
            | Trouble::Deaf(..)
            | Trouble::Mute(..)
            | Trouble::SlowWay(..)
            | Trouble::Heal => self.disturb(trouble),
            Trouble::Freeze(place, parts, ms) => {
                self.nodes[place].freeze(parts, self.scheduler.now_us() + ms * 1000);
            }
            Trouble::SlowDisk(place, factor) => self.nodes[place].disk_factor = factor,
            Trouble::AddLearner => return self.add_member(true),
            Trouble::AddVoter => return self.add_member(false),
            Trouble::Promote => return self.promote(),
            Trouble::Remove(place) => return self.remove(place),
            Trouble::Transfer(place) => self.transfer(place),
            Trouble::Defragment(place) if self.nodes[place].member.is_some() => {
                let ticket = self.workload.ticket();
                self.open(ticket, Who::Nobody, place, ("to defragment", 0, None));
                self.question(place, Ask::Defragment(ticket));
            }
            Trouble::Defragment(_) => {}
        }
        Ok(())
    }

    fn fell(&mut self, place: usize, how: Stop) {
        if self.nodes[place].member.is_some() {
            self.stop(place, how);
        }
    }

    fn disturb(&mut self, trouble: Trouble) {
        let count = self.nodes.len();
        self.note(count, "network", [matches!(trouble, Trouble::Heal).into(), 0, 0, 0]);
        let network = &mut self.network;
        match trouble {
            Trouble::Split(at) => {
                for (low, high) in (0..at).flat_map(|low| (at..count).map(move |high| (low, high)))
                {
                    network.cut(low, high);
                    network.cut(high, low);
                }
            }
            Trouble::Deaf(place) => (0..count).for_each(|from| network.cut(from, place)),
            Trouble::Mute(place) => (0..count).for_each(|to| network.cut(place, to)),
            Trouble::SlowWay(from, to, factor) => network.slow(from, to, factor),
            _ => network.heal(),
        }
    }

    // ---- members ---------------------------------------------------------------------------

    /// Proposes a change to the leader, or to anyone.
    fn change(&mut self, change: ConfChange) -> Result<(), Violation> {
        let up: Vec<usize> = self.running().collect();
        let leader = self.leader().or_else(|| self.rng.pick(&up).copied());
        let Some(place) = leader else { return Ok(()) };
        let details = [change.r#type() as u64, change.node_id(), 0, 0];
        self.note(place, "change of members", details);
        self.propose_change(place, change)
    }

    fn add_member(&mut self, is_learner: bool) -> Result<(), Violation> {
        let place = self.nodes.len();
        if self.model.members().len() >= MEMBERS_MAX || place >= PLACES_MAX {
            return Ok(());
        }
        let peer_urls = vec![plan::url_of(place)];
        let id = member_id(&peer_urls, "", Some(place as i64));
        let identity = Identity { cluster_id: self.cluster_id, member_id: id };
        self.settle(id, &plan::name_of(place), Beginning::Existing(identity));
        let member = Member { id, peer_urls, is_learner, ..Member::default() };
        self.change(requests::add(&member))
    }

    fn promote(&mut self) -> Result<(), Violation> {
        let learners = self.model.members().iter().filter(|(_, learns)| **learns);
        let learners: Vec<u64> = learners.map(|(id, _)| *id).collect();
        match self.rng.pick(&learners) {
            Some(&id) => self.change(requests::promote(id)),
            None => Ok(()),
        }
    }

    fn remove(&mut self, place: usize) -> Result<(), Violation> {
        let id = self.nodes[place].id;
        let voters = self.model.members().values().filter(|learns| !**learns).count();
        match self.model.members().get(&id) {
            Some(learns) if *learns || voters > VOTERS_MIN => self.change(requests::remove(id)),
            _ => Ok(()),
        }
    }

    fn transfer(&mut self, to: usize) {
        let id = self.nodes[to].id;
        let up: Vec<usize> = self.running().collect();
        let Some(place) = self.leader().or_else(|| self.rng.pick(&up).copied()) else { return };
        let ticket = self.workload.ticket();
        let limit = Some(self.weather.rules.request_timeout);
        self.open(ticket, Who::Nobody, place, ("to transfer", 0, limit));
        self.note(place, "transfer", [id, 0, 0, 0]);
        let event = CoreEvent::Transfer { to: id, ticket: Some(ticket) };
        self.tell_core(place, event, Urgency::Urgent);
    }
}
