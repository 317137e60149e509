//! A cluster in one thread, driven by chance from a seed.

#[path = "member.rs"]
mod member;

use bytes::Bytes;
use member::Member;
use proto::raftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeV2, Entry, Message, MessageType,
};
use raft::{Role, Storage};
use std::collections::BTreeMap;

/// How often things happen, in thousandths of steps; loss in hundredths of messages.
#[derive(Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) loss: u32,
    pub(crate) crashes: u32,
    pub(crate) changes: u32,
    pub(crate) snapshots: u32,
    pub(crate) pre_vote: bool,
}

/// Chance from a seed (xorshift).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What the whole cluster must agree on.
#[derive(Default)]
pub(crate) struct Truth {
    /// Everything that anyone has applied.
    pub(crate) applied: BTreeMap<u64, Entry>,
    leaders: BTreeMap<u64, u64>,
    /// For each read, what was applied somewhere when it was asked for.
    reads: BTreeMap<Bytes, u64>,
}

impl Truth {
    fn newest(&self) -> u64 {
        self.applied.last_key_value().map_or(0, |(index, _)| *index)
    }
}

pub(crate) struct Cluster {
    members: Vec<Member>,
    network: Vec<Message>,
    truth: Truth,
    chance: Chance,
    weather: Weather,
    /// Whose messages are all lost, 0 for nobody.
    isolated: u64,
    proposed: u64,
}

impl Cluster {
    pub(crate) fn new(count: u64, seed: u64, weather: Weather) -> Cluster {
        let voters: Vec<u64> = (1..=count).collect();
        let members = (1..=count).map(|id| Member::new(id, &voters, seed, weather.pre_vote));
        Cluster {
            members: members.collect(),
            network: Vec::new(),
            truth: Truth::default(),
            chance: Chance(seed + 0x9e37_79b9),
            weather,
            isolated: 0,
            proposed: 0,
        }
    }

    fn any_member(&mut self) -> usize {
        self.chance.below(self.members.len() as u64) as usize
    }

    fn happens(&mut self, thousandths: u32) -> bool {
        self.chance.below(1000) < u64::from(thousandths)
    }

    /// Something happens.
    pub(crate) fn step(&mut self) {
        let at = self.any_member();
        match self.chance.below(100) {
            0..25 => self.members[at].node.tick(),
            25..60 => self.deliver(),
            60..75 => self.work(at),
            75..85 => self.members[at].write(&mut self.network),
            85..90 => self.members[at].apply(&mut self.truth, &mut self.network),
            90..96 => self.propose(at),
            96..98 => self.read(at),
            _ => self.disturb(at),
        }
        let (crash, change) = (self.weather.crashes, self.weather.changes);
        if self.happens(crash) {
            self.members[at].crash();
        }
        if self.happens(change) {
            self.change(at);
        }
        if self.happens(self.weather.snapshots) {
            self.members[at].compact();
        }
        self.watch(at);
    }

    /// What no member may ever do.
    fn watch(&mut self, at: usize) {
        let member = &mut self.members[at];
        member.node.check();
        member.node.storage().check();
        let status = member.node.basic_status();
        if status.role == Role::Leader {
            let leader = *self.truth.leaders.entry(status.term).or_insert(status.id);
            assert_eq!(leader, status.id, "two leaders of term {}", status.term);
        }
        for read in member.reads.drain(..) {
            let asked_at = self.truth.reads[&read.context];
            assert!(read.index >= asked_at, "a read at {} misses {asked_at}", read.index);
        }
    }

    fn work(&mut self, at: usize) {
        self.members[at].work(&mut self.network);
    }

    /// Delivers, doubles or loses any message in flight.
    fn deliver(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let place = self.chance.below(self.network.len() as u64) as usize;
        let message = self.network.swap_remove(place);
        let is_cut = self.isolated != 0
            && (message.from() == self.isolated || message.to() == self.isolated);
        let is_lost = is_cut || self.chance.below(100) < u64::from(self.weather.loss);
        if self.chance.below(100) < 3 {
            self.network.push(message.clone());
        }
        self.hand_over(message, is_lost);
    }

    fn hand_over(&mut self, message: Message, is_lost: bool) {
        let (from, to) = (message.from(), message.to());
        if message.r#type() == MessageType::MsgSnap {
            self.members[from as usize - 1].node.report_snapshot(to, !is_lost);
        } else if is_lost && self.chance.below(2) == 0 {
            self.members[from as usize - 1].node.report_unreachable(to);
        }
        if !is_lost {
            // Messages of members that are not known here are refused, as they should be.
            let _ = self.members[to as usize - 1].node.step(message);
            self.watch(to as usize - 1);
        }
    }

    fn propose(&mut self, at: usize) {
        self.proposed += 1;
        let data = Bytes::from(format!("entry {}", self.proposed));
        let _ = self.members[at].node.propose(data);
    }

    fn read(&mut self, at: usize) {
        self.proposed += 1;
        let context = Bytes::from(format!("read {}", self.proposed));
        self.truth.reads.insert(context.clone(), self.truth.newest());
        self.members[at].node.read_index(context);
    }

    fn disturb(&mut self, at: usize) {
        let other = self.any_member() as u64 + 1;
        match self.chance.below(4) {
            0 => self.isolated = other,
            1 => self.isolated = 0,
            2 => self.members[at].node.transfer_leader(other),
            _ => self.members[at].node.campaign(),
        }
    }

    fn change(&mut self, at: usize) {
        let count = self.chance.below(3);
        let changes = (0..count).map(|_| ConfChangeSingle {
            r#type: Some([0, 0, 1, 3][self.chance.below(4) as usize]),
            node_id: Some(self.chance.below(self.members.len() as u64) + 1),
        });
        let changes = changes.collect();
        let transition = ConfChangeTransition::try_from(self.chance.below(3) as i32);
        let transition = transition.ok().map(|transition| transition as i32);
        let change = ConfChangeV2 { transition, changes, context: None };
        let _ = self.members[at].node.propose_conf_change_v2(&change);
    }

    /// From now on nothing goes wrong: within some election timeouts a new entry is applied by
    /// every voter.
    pub(crate) fn calm(&mut self) {
        self.isolated = 0;
        for _ in 0..400 {
            for at in 0..self.members.len() {
                self.members[at].node.tick();
                self.settle();
            }
            let leader = self.members.iter().position(|member| {
                let config = member.node.conf_state();
                let votes = config.voters.iter().chain(&config.voters_outgoing);
                member.node.basic_status().role == Role::Leader
                    && votes.copied().any(|id| id == member.id())
            });
            let Some(leader) = leader else { continue };
            self.propose(leader);
            self.settle();
            if self.is_caught_up(leader) {
                return;
            }
        }
        let states = self.members.iter().map(|member| {
            let (status, config) = (member.node.basic_status(), member.node.conf_state());
            format!("{status:?}\n  {}\n", raft::describe::conf_state(&config))
        });
        panic!("the cluster does not work again:\n{}", states.collect::<String>());
    }

    fn is_caught_up(&self, leader: usize) -> bool {
        let status = self.members[leader].node.basic_status();
        let voters = self.members[leader].node.conf_state().voters;
        let applied = |id: &u64| self.members[*id as usize - 1].node.basic_status().applied;
        status.applied == status.last && voters.iter().all(|id| applied(id) == status.applied)
    }

    /// Lets everything in flight arrive.
    fn settle(&mut self) {
        for _ in 0..100 {
            for at in 0..self.members.len() {
                self.work(at);
                self.members[at].write(&mut self.network);
                self.members[at].apply(&mut self.truth, &mut self.network);
                self.watch(at);
            }
            let is_idle = self.members.iter().all(|member| !member.node.has_ready());
            if self.network.is_empty() && is_idle {
                return;
            }
            for message in std::mem::take(&mut self.network) {
                self.hand_over(message, false);
            }
        }
    }

    /// The log matching property (thesis, section 3.5): logs that share a place share all before.
    pub(crate) fn check(&self) {
        for one in &self.members {
            for other in &self.members {
                let (one, other) = (one.node.storage(), other.node.storage());
                let first = one.first_index().max(other.first_index());
                let last = one.last_index().min(other.last_index());
                let mut shared =
                    (first..=last).rev().skip_while(|i| one.term(*i) != other.term(*i));
                assert!(shared.all(|index| {
                    let at = |storage: &raft::MemoryStorage| storage.entries(index, index + 1, 0);
                    at(one) == at(other)
                }));
            }
        }
    }

    /// What has happened, to be compared.
    pub(crate) fn history(&self) -> (Vec<(u64, Entry)>, Vec<String>) {
        let applied = self.truth.applied.iter().map(|(index, entry)| (*index, entry.clone()));
        let states = self.members.iter().map(|member| format!("{:?}", member.node.basic_status()));
        (applied.collect(), states.collect())
    }
}
