//! The world: members, the network between them, clients and troubles, one event at a time.

mod apply_effects;
mod clients;
mod core_effects;
mod mail;
mod questions;
mod queues;
mod recovery;
mod spoil;
mod steps;
mod troubles;
mod watchers;

use crate::checks::{Checks, Violation};
use crate::member::{Member, Part, Ticket};
use crate::model::Model;
use crate::network::Network;
use crate::node::{Node, Stop};
use crate::plan::{self, Plan, TICK_US, Weather};
use crate::scheduler::Scheduler;
use crate::workload::Workload;
use crate::{Rng, Trace};
use proto::raftpb::Message;
use questions::{Question, Said};
use raft::Role;
use recovery::Phase;
use replica::{Beginning, Fault};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use watchers::Watcher;

/// A member is up again after at most so long, in microseconds.
const DOWN_MAX_US: u64 = 1_500_000;
/// Starts of members that crash again within some operations, in a thousand.
const STILLBORN: u64 = 150;
/// No run has more events.
const EVENTS_MAX: u64 = 2_000_000;

/// What happens.
pub(crate) enum Event {
    Start(usize, u32),
    Halt(usize),
    /// A part goes on.
    Step(usize, u32, Part),
    /// A part that sleeps is to wake, if it is still the sleep of this number.
    Alarm(usize, u32, Part, u32),
    /// Reads that the core confirmed are served by another thread.
    Serve(usize, u32, Vec<Ticket>),
    Arrive(Message),
    Database {
        from: (usize, u32),
        message: Message,
        database: Vec<u8>,
    },
    Delivered {
        from: (usize, u32),
        to: u64,
        ok: bool,
    },
    /// A question to the leader is to be asked, or asked again after this attempt.
    Ask(u64, u32),
    /// A question comes to a member.
    Question {
        number: u64,
        attempt: u32,
        to: usize,
    },
    /// The answer to a question.
    Said {
        number: u64,
        attempt: u32,
        said: Said,
    },
    Client(usize),
    Watcher(usize),
    Trouble,
    Calm,
    Look,
}

/// What a run amounted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events.
    pub events: u64,
    /// Terms that had a leader.
    pub leaders: u64,
    /// Entries committed.
    pub committed: u64,
    /// Entries applied, by all members together.
    pub applied: u64,
    /// Writes acknowledged to clients.
    pub writes: u64,
    /// Reads served to clients.
    pub reads: u64,
    /// Times that a member stopped, in whatever way.
    pub stops: u64,
    /// Databases that arrived.
    pub databases: u64,
    /// Changes of members that were committed.
    pub changes: u64,
    /// Events that watchers heard of.
    pub watched: u64,
    /// Leases that were renewed.
    pub renewals: u64,
    /// Of these, by the leader for another member.
    pub forwarded: u64,
    /// Leases that leaders proposed to revoke, for they had expired.
    pub expiries: u64,
    /// Checkpoints of leases proposed by leaders.
    pub checkpoints: u64,
    /// Requests that came to nothing.
    pub failures: u64,
    /// Requests whose clients left before they were proposed.
    pub departures: u64,
    /// Writes that a full database refused.
    pub no_space: u64,
    /// Leaders' snapshots that took the place of a member's database.
    pub restores: u64,
    /// Milliseconds of simulated time.
    pub ms: u64,
}

impl Counts {
    /// Adds those of another run.
    pub fn add(&mut self, more: &Counts) {
        self.events += more.events;
        self.leaders += more.leaders;
        self.committed += more.committed;
        self.applied += more.applied;
        self.writes += more.writes;
        self.reads += more.reads;
        self.stops += more.stops;
        self.databases += more.databases;
        self.changes += more.changes;
        self.watched += more.watched;
        self.renewals += more.renewals;
        self.forwarded += more.forwarded;
        self.expiries += more.expiries;
        self.checkpoints += more.checkpoints;
        self.failures += more.failures;
        self.departures += more.departures;
        self.no_space += more.no_space;
        self.restores += more.restores;
        self.ms += more.ms;
    }
}

/// The world.
pub(crate) struct Cluster {
    plan: Plan,
    weather: Weather,
    rng: Rng,
    scheduler: Scheduler<Event>,
    network: Network,
    nodes: Vec<Node>,
    places: BTreeMap<u64, usize>,
    cluster_id: u64,
    model: Model,
    checks: Checks,
    workload: Workload,
    questions: BTreeMap<u64, Question>,
    next_question: u64,
    watchers: Vec<Watcher>,
    next_stream: u64,
    trace: Rc<RefCell<Trace>>,
    phase: Phase,
    is_acknowledged: bool,
    counts: Counts,
}

impl Cluster {
    pub(crate) fn new(plan: Plan, trace: Rc<RefCell<Trace>>) -> Cluster {
        let mut rng = Rng::new(plan.seed);
        let weather = Weather::new(&mut rng);
        let initial = plan::initial_cluster(plan.members);
        let mut cluster = Cluster {
            plan,
            weather,
            rng,
            scheduler: Scheduler::default(),
            network: Network::default(),
            nodes: Vec::new(),
            places: BTreeMap::new(),
            cluster_id: initial.cluster_id,
            model: Model::new(),
            checks: Checks::default(),
            workload: Workload::new(weather.clients, weather.keys),
            questions: BTreeMap::new(),
            next_question: 0,
            watchers: Vec::new(),
            next_stream: 0,
            trace,
            phase: Phase::Trouble,
            is_acknowledged: false,
            counts: Counts::default(),
        };
        for place in 0..plan.members {
            let name = plan::name_of(place);
            let id = initial.named(&name).map_or(0, |member| member.id);
            cluster.settle(id, &name, Beginning::New(initial.clone()));
            cluster.nodes[place].is_wanted = true;
            cluster.start_soon(place, TICK_US);
        }
        cluster.begin();
        cluster
    }

    fn begin(&mut self) {
        for client in 0..self.workload.clients() {
            self.scheduler.after(TICK_US * 20, Event::Client(client));
        }
        for number in 0..self.weather.watchers {
            let watcher = self.new_watcher();
            self.watchers.push(watcher);
            self.scheduler.after(TICK_US * 20, Event::Watcher(number));
        }
        self.scheduler.after(TICK_US * 20, Event::Trouble);
        self.scheduler.after(TICK_US * 20 + self.plan.trouble_ms * 1000, Event::Calm);
    }

    /// A place for a member.
    fn settle(&mut self, id: u64, name: &str, beginning: Beginning) {
        let options = self.weather.tuning.options(name, beginning);
        self.places.insert(id, self.nodes.len());
        self.nodes.push(Node::new(self.rng.number(), id, options));
    }

    /// Runs to the end.
    pub(crate) fn run(&mut self) -> Result<Counts, Violation> {
        while self.phase != Phase::Done {
            let Some(event) = self.scheduler.next() else { break };
            self.happen(event)?;
            self.counts.events += 1;
            let endless = self.counts.events > EVENTS_MAX;
            crate::checks::ensure("liveness", !endless, || "the run does not end".into())?;
        }
        let (reads, writes) = self.checks.reads.counts();
        let (applied, leaders) = (self.checks.state_machine.count(), self.checks.election.terms());
        let committed = self.model.index();
        let ms = self.scheduler.now_us() / 1000;
        Ok(Counts { reads, writes, applied, leaders, committed, ms, ..self.counts })
    }

    fn note(&self, place: usize, what: &'static str, details: [u64; 4]) {
        self.trace.borrow_mut().note(self.scheduler.now_us(), place as i64, what, details);
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Start(place, life) if self.lives(place, life) => self.start(place)?,
            Event::Step(place, life, part) if self.lives(place, life) => self.step(place, part)?,
            Event::Alarm(place, life, part, sleep) if self.lives(place, life) => {
                self.ring(place, part, sleep)?;
            }
            Event::Serve(place, life, tickets) if self.lives(place, life) => {
                self.serve(place, &tickets)?;
            }
            Event::Start(..) | Event::Step(..) | Event::Alarm(..) | Event::Serve(..) => {}
            Event::Halt(place) => self.stop(place, Stop::Kill),
            Event::Arrive(message) => self.arrive(message),
            Event::Database { from, message, database } => {
                self.database_arrives(from, message, &database)?;
            }
            Event::Delivered { from, to, ok } => self.delivered(from, to, ok),
            Event::Ask(number, attempt) => self.ask_leader(number, attempt)?,
            Event::Question { number, attempt, to } => self.question_arrives(number, attempt, to),
            Event::Said { number, attempt, said } => self.said(number, attempt, said)?,
            Event::Client(client) => self.client(client)?,
            Event::Watcher(number) => self.watcher(number),
            Event::Trouble => self.trouble()?,
            Event::Calm => self.calm(),
            Event::Look => self.look()?,
        }
        Ok(())
    }

    fn lives(&self, place: usize, life: u32) -> bool {
        self.nodes[place].life == life
    }

    // ---- lives -----------------------------------------------------------------------------

    fn start_soon(&mut self, place: usize, within_us: u64) {
        let delay = self.rng.below(within_us);
        self.scheduler.after(delay, Event::Start(place, self.nodes[place].life));
    }

    fn start(&mut self, place: usize) -> Result<(), Violation> {
        let is_troubled = self.phase == Phase::Trouble;
        let node = &mut self.nodes[place];
        if node.member.is_some() || !node.is_wanted {
            return Ok(());
        }
        node.life += 1;
        if is_troubled && self.rng.per_mille(STILLBORN) {
            node.disk.crash_after(self.rng.between(1, 60));
            node.is_armed = true;
        }
        let now_us = self.scheduler.now_us();
        // Never the same twice, so that no name is.
        let now_ms = now_us / 1000 + u64::from(node.life);
        let rules = &self.weather.rules;
        match Member::open(node.disk.disk(), &node.options, rules, now_us, now_ms) {
            Ok(member) => self.started(place, member),
            Err(fault) => self.fails(place, &fault),
        }
    }

    fn started(&mut self, place: usize, member: Member) -> Result<(), Violation> {
        let (status, applied) = (member.core.turn.core().status(), member.applied());
        self.note(place, "start", [member.id, status.term, status.committed, applied]);
        self.checks.durability.restarted(place, member.core.turn.core())?;
        self.checks.revisions.restarted(place);
        self.checks.reads.shows(&self.model, &member.common.reader, applied)?;
        let node = &mut self.nodes[place];
        node.member = Some(member);
        for part in Part::ALL {
            self.plan_step(place, part);
        }
        Ok(())
    }

    fn stop(&mut self, place: usize, how: Stop) {
        self.note(place, "stop", [how as u64, 0, 0, 0]);
        self.nodes[place].stop(how);
        for client in self.checks.tickets.lost(place) {
            self.workload.set(client, None);
        }
        self.questions.retain(|_, question| question.place != place);
        self.counts.stops += 1;
        self.start_soon(place, DOWN_MAX_US);
    }

    /// A member cannot go on: because of a crash or fault that was planned, or of a mistake.
    fn fails(&mut self, place: usize, fault: &Fault) -> Result<(), Violation> {
        let node = &self.nodes[place];
        let planned = node.disk.has_crashed()
            || (node.is_armed && fault.to_string().contains("simulated sync failure"));
        crate::checks::ensure("no faults of its own", planned, || format!("m{place}: {fault}"))?;
        self.stop(place, Stop::PowerLoss);
        Ok(())
    }

    fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|place| self.nodes[*place].member.is_some())
    }

    fn leader(&self) -> Option<usize> {
        let leads = |place: &usize| {
            let member = self.nodes[*place].member.as_ref();
            member.is_some_and(|member| member.core.turn.core().status().role == Role::Leader)
        };
        self.running().find(leads)
    }
}
