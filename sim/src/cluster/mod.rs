//! The world: members, the network between them, clients and troubles, one event at a time.

mod mail;
mod outcomes;
mod recovery;
mod troubles;

use crate::checks::{Checks, Violation};
use crate::member::{CoreEvent, Member, Part};
use crate::model::Model;
use crate::network::Network;
use crate::node::{Node, Stop};
use crate::plan::{self, Plan, TICK_US, Weather};
use crate::scheduler::Scheduler;
use crate::workload::{Ask, Workload};
use crate::{Rng, Trace};
use proto::raftpb::Message;
use recovery::Phase;
use replica::raft::Role;
use replica::{Beginning, Fault};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Ticks between two looks at leases.
const LEASE_TICKS: u64 = 5;
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
    Tick(usize, u32),
    Turn(usize, u32, Part),
    Arrive(Message),
    Database { from: (usize, u32), message: Message, database: Vec<u8> },
    Delivered { from: (usize, u32), to: u64, ok: bool },
    Client(usize),
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
        Ok(Counts { reads, writes, applied, leaders, committed, ..self.counts })
    }

    fn note(&self, place: usize, what: &'static str, details: [u64; 4]) {
        self.trace.borrow_mut().note(self.scheduler.now_us(), place as i64, what, details);
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Start(place, life) if self.lives(place, life) => self.start(place),
            Event::Tick(place, life) if self.lives(place, life) => {
                self.tick(place);
                Ok(())
            }
            Event::Turn(place, life, part) if self.lives(place, life) => self.turn(place, part),
            Event::Start(..) | Event::Tick(..) | Event::Turn(..) => Ok(()),
            Event::Halt(place) => {
                self.stop(place, Stop::Kill);
                Ok(())
            }
            Event::Arrive(message) => {
                self.arrive(message);
                Ok(())
            }
            Event::Database { from, message, database } => {
                self.database_arrives(from, message, &database)
            }
            Event::Delivered { from, to, ok } => {
                self.delivered(from, to, ok);
                Ok(())
            }
            Event::Client(client) => {
                self.client(client);
                Ok(())
            }
            Event::Trouble => {
                self.trouble();
                Ok(())
            }
            Event::Calm => {
                self.calm();
                Ok(())
            }
            Event::Look => self.look(),
        }
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
        let contexts = (place as u64 + 1) << 48 | u64::from(node.life) << 24;
        match Member::open(node.disk.disk(), &node.options, contexts, self.plan.mistake) {
            Ok(member) => self.started(place, member),
            Err(fault) => self.fails(place, &fault),
        }
    }

    fn started(&mut self, place: usize, member: Member) -> Result<(), Violation> {
        let (status, applied) = (member.core.status(), member.applied());
        self.note(place, "start", [member.id, status.term, status.committed, applied]);
        self.checks.durability.restarted(place, &member.core)?;
        self.checks.revisions.restarted(place);
        self.checks.reads.shows(&self.model, &member.reader, applied)?;
        let node = &mut self.nodes[place];
        node.member = Some(member);
        let delay = self.rng.below(TICK_US);
        self.scheduler.after(delay, Event::Tick(place, node.life));
        self.wake(place);
        Ok(())
    }

    fn stop(&mut self, place: usize, how: Stop) {
        self.note(place, "stop", [how as u64, 0, 0, 0]);
        self.nodes[place].stop(how);
        self.workload.lost(place);
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

    // ---- time ------------------------------------------------------------------------------

    fn tick(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        let Some(member) = &mut node.member else { return };
        node.ticks += 1;
        member.tell(CoreEvent::Tick);
        member.time_passes(node.ticks.is_multiple_of(LEASE_TICKS));
        // Clocks differ.
        let delay = self.rng.between(TICK_US * 9 / 10, TICK_US * 11 / 10);
        self.scheduler.after(delay, Event::Tick(place, self.nodes[place].life));
        self.wake(place);
    }

    /// Plans turns for parts that have work.
    fn wake(&mut self, place: usize) {
        for part in Part::ALL {
            if self.nodes[place].claims_turn(part) {
                let delay = self.latency(place, part);
                self.scheduler.after(delay, Event::Turn(place, self.nodes[place].life, part));
            }
        }
    }

    fn latency(&mut self, place: usize, part: Part) -> u64 {
        let node = &self.nodes[place];
        let frozen = node.frozen_until_us.saturating_sub(self.scheduler.now_us());
        match part {
            Part::Core => self.rng.between(1, 100) + frozen,
            Part::Log => self.rng.between(50, self.weather.log_us) * node.disk_factor,
            Part::Apply => self.rng.between(5, 500),
            Part::File => self.rng.between(100, self.weather.file_us) * node.disk_factor,
        }
    }

    // ---- clients ---------------------------------------------------------------------------

    fn client(&mut self, client: usize) {
        if self.phase != Phase::Trouble {
            return;
        }
        let think = self.rng.between(500, self.weather.think_ms * 1000);
        self.scheduler.after(think, Event::Client(client));
        let now_us = self.scheduler.now_us();
        let next = self.workload.next(client, now_us, &self.model, &mut self.rng);
        if let Some((id, ask)) = next {
            self.ask(client, id, ask);
        }
    }

    /// Sends a client's request to some member that runs.
    fn ask(&mut self, client: usize, id: u64, ask: Ask) {
        let up: Vec<usize> = self.running().collect();
        let Some(&place) = self.rng.pick(&up) else { return };
        let node = &mut self.nodes[place];
        let Some(member) = &mut node.member else { return };
        let is_read = matches!(ask, Ask::Read);
        match ask {
            Ask::Read => member.tell(CoreEvent::Read(id)),
            Ask::Write(data) => {
                member.awaited.insert(id);
                member.tell(CoreEvent::Propose { id, data });
            }
        }
        let (life, floor) = (node.life, self.checks.reads.floor());
        self.workload.sent(id, client, (place, life), floor, self.scheduler.now_us());
        self.note(
            place,
            if is_read { "asked to read" } else { "asked to write" },
            [id, floor, 0, 0],
        );
        self.wake(place);
    }

    fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|place| self.nodes[*place].member.is_some())
    }

    fn leader(&self) -> Option<usize> {
        let leads = |place: &usize| {
            let member = self.nodes[*place].member.as_ref();
            member.is_some_and(|member| member.core.status().role == Role::Leader)
        };
        self.running().find(leads)
    }
}
