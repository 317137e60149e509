//! The ways into the member: a mailbox for each turn, the pools, the connections to other members.

use crate::hub_queue::HubQueue;
use crate::inbound::Inbound;
use crate::mailbox::Mailbox;
use crate::roster::Roster;
use bytes::Bytes;
use parking_lot::RwLock;
use replica::turn::{Ask, Company, Time, WatchEvent};
use services::{ApplyEvent, Calls, Common, CoreEvent, Job, Lane, Member, PeerAnswer};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The ways into a member.
pub(crate) struct Ports {
    pub(crate) common: Arc<Common>,
    pub(crate) started: Instant,
    pub(crate) core: Mailbox<CoreEvent>,
    pub(crate) apply: Mailbox<ApplyEvent>,
    pub(crate) hub: HubQueue,
    /// For [`Lane::Short`].
    pub(crate) pool: Mailbox<Job>,
    /// For [`Lane::Scan`].
    pub(crate) scans: Mailbox<Job>,
    /// For [`Lane::Hash`].
    pub(crate) hashes: Mailbox<Job>,
    /// Work on the database file, on a thread of its own: nothing in the pool may hold it up.
    pub(crate) file_jobs: Mailbox<Job>,
    /// Has the cluster's version looked after at once.
    pub(crate) monitor: Mailbox<()>,
    /// Messages of other members that wait for the core.
    pub(crate) inbound: Inbound,
    pub(crate) roster: Roster,
    database: RwLock<backend::Reader>,
}

impl Ports {
    /// Open ports, before anybody reads from them.
    pub(crate) fn new(common: Arc<Common>, database: backend::Reader) -> Ports {
        Ports {
            roster: Roster::new(Arc::clone(&common)),
            common,
            started: Instant::now(),
            core: Mailbox::new(),
            apply: Mailbox::new(),
            hub: HubQueue::new(),
            pool: Mailbox::new(),
            scans: Mailbox::new(),
            hashes: Mailbox::new(),
            file_jobs: Mailbox::new(),
            monitor: Mailbox::new(),
            inbound: Inbound::default(),
            database: RwLock::new(database),
        }
    }

    /// Another database is read from now on.
    pub(crate) fn exchange_database(&self, reader: backend::Reader) {
        *self.database.write() = reader;
    }

    /// Runs on the thread that writes the database file.
    pub(crate) fn on_file(&self, job: impl FnOnce() + Send + 'static) {
        self.file_jobs.send(Box::new(job));
    }

    /// Refuses more, everywhere.
    pub(crate) fn close(&self) {
        self.monitor.close();
        self.core.close();
        self.apply.close();
        self.hub.close();
        self.file_jobs.close();
        self.pool.close();
        self.scans.close();
        self.hashes.close();
    }
}

impl Company for Ports {
    fn active_since(&self, id: u64) -> Option<Time> {
        let since = self.roster.network()?.active_since(id)?;
        Some(since.saturating_duration_since(self.started))
    }

    fn active_peers(&self) -> usize {
        self.roster.network().map_or(0, |network| network.active_peers())
    }
}

impl Member for Ports {
    fn common(&self) -> &Common {
        &self.common
    }

    fn now(&self) -> Time {
        self.started.elapsed()
    }

    fn tell_core(&self, event: CoreEvent) -> bool {
        self.core.send(event)
    }

    fn ask(&self, ask: Ask<Calls>) {
        self.apply.send(ApplyEvent::Ask(ask));
    }

    fn tell_hub(&self, event: WatchEvent) {
        self.hub.send(event);
    }

    fn run(&self, lane: Lane, job: Job) {
        let mailbox = match lane {
            Lane::Short => &self.pool,
            Lane::Scan => &self.scans,
            Lane::Hash => &self.hashes,
        };
        mailbox.send(job);
    }

    fn database(&self) -> backend::Reader {
        self.database.read().clone()
    }

    fn active_since(&self, id: u64) -> Option<Time> {
        Company::active_since(self, id)
    }

    fn has_peers(&self) -> bool {
        self.roster.network().is_some()
    }

    fn post(
        &self,
        urls: Vec<String>,
        path: String,
        body: Bytes,
        limit: Duration,
        then: Box<dyn FnOnce(PeerAnswer) + Send>,
    ) {
        match self.roster.network() {
            Some(network) => network.post(urls, path, body, limit, then),
            None => then(Err("there is no way to other members".into())),
        }
    }
}
