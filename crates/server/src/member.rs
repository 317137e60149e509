//! A running member: opened, driven by threads, published, served, stopped.

use crate::Begun;
use crate::cluster::{PeerHandler, PeerLog, run_monitor, transfer_leadership};
use crate::compactor::{self, AutoCompaction};
use crate::drive::{ApplyDriver, CoreDriver, Failed, LogHandle, run_core, run_hub};
use crate::error::{OWN_FDS, StartError};
use crate::lines;
use crate::mailbox::{Mailbox, Woken};
use crate::ports::Ports;
use crate::promise::Promise;
use crate::publish::{Stops, publish};
use crate::shared::Shared;
use crate::ticks::Ticks;
use crate::waiting_pages::WaitingPages;
use crate::web::{NoCalls, PeerWeb, Probes, Web};
use apply::quota::Quota;
use disk::Disk;
use metrics::{MeteredDisk, Metrics};
use net::http::HttpService;
use net::rpc::GrpcService;
use net::{Listener, Server as NetServer};
use parking_lot::RwLock;
use peer::Transport;
use proto::VERSION;
use proto::membershippb::{Attributes, ClusterMemberAttrSetRequest};
use replica::turn::{
    ApplyTiming, ApplyTurn, CorePace, CoreTurn, RequestIds, RequestLimits, WatchTurn,
};
use replica::{Fault, Intake};
use services::{Common, Front, Job, Limits, Member as _, MemberRows, Services};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::{Builder, Handle, Runtime};
use watch::{self, Hub};

/// Threads for what is short and comes from the core: reads that the cluster has confirmed.
const POOL_THREADS: usize = 2;
/// Threads for reads that take their time.
const SCAN_THREADS: usize = 2;
/// Threads that read whole databases are at most this many, and at most half of the processors: the
/// others are for those who ask for little.
const HASH_THREADS_MAX: usize = 4;
/// How long a stopping member waits for what the streams of others still do.
const STREAMS_GRACE: Duration = Duration::from_secs(1);
/// A watch stream is cut that does not read this many bytes of answers.
const WATCH_ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of a posted message beyond the longest request.
const POST_SPARE_BYTES: usize = 16 * 1024 * 1024;
/// How often a member looks again whether its data is free.
const LOCK_LOOK: Duration = Duration::from_millis(50);
/// After how long it says that it waits.
const LOCK_SAY: Duration = Duration::from_secs(10);
/// How often files are removed that are more than are kept, as the reference does.
const PURGE_INTERVAL: Duration = Duration::from_secs(30);

/// How to run a member.
#[derive(Clone, Debug)]
pub struct Config {
    /// How to open its data.
    pub replica: replica::Options,
    /// Where other members reach it.
    pub advertise_peer_urls: Vec<String>,
    /// Where clients reach it, as it tells them.
    pub advertise_client_urls: Vec<String>,
    /// The length of a tick.
    pub heartbeat_interval: Duration,
    /// After how long a silent leader is given up.
    pub election_timeout: Duration,
    /// Whether a member that starts among others shortens its first wait for an election.
    pub advance_first_election: bool,
    /// How often changes are committed to the database file.
    pub batch_interval: Duration,
    /// Operations in a transaction.
    pub txn_ops_max: usize,
    /// Bytes in a request.
    pub request_bytes_max: usize,
    /// Streams at once on one connection.
    pub concurrent_streams_max: u32,
    /// How often a silent connection is asked whether it lives.
    pub keepalive_interval: Duration,
    /// How long it may take to answer.
    pub keepalive_timeout: Duration,
    /// How often a client may ask the same.
    pub keepalive_min_time: Duration,
    /// How often watchers hear of progress.
    pub progress_interval: Duration,
    /// Whether changes of the membership are refused that could cost the majority.
    pub strict_changes: bool,
    /// Whether durations of calls are recorded.
    pub extensive_metrics: bool,
    /// What the leader compacts of itself.
    pub auto_compaction: Option<AutoCompaction>,
    /// Threads that serve connections.
    pub net_threads: usize,
}

/// A running member.
pub struct Member {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    net: Vec<NetServer>,
    /// What clients call, once somebody is served.
    front: Option<Arc<Front>>,
    /// Where the core runs, and the streams of other members with it.
    streams: Option<Handle>,
    transport: Option<Arc<Transport>>,
    compactor: Mailbox<()>,
    /// Ends the thread that removes old files.
    purge: Mailbox<()>,
    /// Where databases of leaders go.
    intake: Intake,
    failure: Arc<Promise<Fault>>,
    /// Whether the member began without data.
    pub is_new: bool,
}

impl Member {
    /// Opens the data and starts the threads; clients are not served yet. Where another process still
    /// has the data, waits until it has gone or `give_up` says so.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(
        disk: Arc<dyn Disk>,
        config: &Config,
        give_up: impl Fn() -> bool,
    ) -> Result<Member, StartError> {
        lines::request_limit(config.request_bytes_max);
        let early = metrics::Early::default();
        let disk = MeteredDisk::around(disk, Arc::clone(&early.disk));
        let intake = Intake::new(Arc::clone(&disk), &config.replica);
        let begun = Instant::now();
        let parts = open_patiently(&disk, config, &give_up)?;
        let (quota, db) = (config.replica.apply.quota_bytes, parts.applier.database());
        lines::opened(&parts, quota, &db, begun.elapsed());
        let shared = Arc::new(shared(&parts, config, early));
        let failure = Promise::new();
        let mut member = Member {
            shared,
            threads: Vec::new(),
            net: Vec::new(),
            front: None,
            streams: None,
            transport: None,
            compactor: Mailbox::new(),
            purge: Mailbox::new(),
            intake,
            failure,
            is_new: parts.is_new,
        };
        member.start_replica(parts, config)?;
        member.start_helpers(config.auto_compaction)?;
        Ok(member)
    }

    /// The threads that own the replica's parts and the watchers.
    fn start_replica(&mut self, parts: replica::Parts, config: &Config) -> Result<(), StartError> {
        let failed: Failed = {
            let failure = Arc::clone(&self.failure);
            Arc::new(move |fault| failure.give(fault))
        };
        let limits = watch::Limits {
            fragment_bytes: config.request_bytes_max + 512 * 1024,
            answer_bytes_max: WATCH_ANSWER_BYTES_MAX,
            progress_interval_ms: config.progress_interval.as_millis() as u64,
        };
        let identity = parts.identity;
        let hub = Hub::new(parts.reader, limits, identity.cluster_id, identity.member_id);
        let timing = ApplyTiming {
            batch_interval: config.batch_interval,
            election_timeout: config.election_timeout,
        };
        let log = LogHandle::new(parts.log_writer, Arc::clone(&failed));
        let (common, shared) = (Arc::clone(&self.shared.ports.common), Arc::clone(&self.shared));
        let turn = ApplyTurn::new(common, parts.applier, timing, shared.ports.now());
        let driver = ApplyDriver::new(turn, shared, Arc::clone(&log), failed);
        let pace = CorePace {
            election_ticks: config.replica.election_ticks,
            advances: config.advance_first_election,
        };
        let (common, shared) = (Arc::clone(&self.shared.ports.common), Arc::clone(&self.shared));
        let turn = CoreTurn::new(common, parts.core, pace, shared.ports.now());
        let (core, tick) =
            (CoreDriver::new(turn, shared, Arc::clone(&log)), config.heartbeat_interval);
        let runtime = core_runtime()?;
        self.streams = Some(runtime.handle().clone());
        self.spawn("core", move || {
            let core = runtime.spawn(run_core(core, tick));
            // A task that panicked has said so.
            let _ = runtime.block_on(core);
            runtime.shutdown_timeout(STREAMS_GRACE);
        })?;
        let (purge, stop) = (Arc::clone(&log), self.purge.clone());
        self.spawn("purge", move || purge.run_purge(PURGE_INTERVAL, &stop))?;
        let shared = Arc::clone(&self.shared);
        self.spawn("log", move || log.run(&shared))?;
        self.spawn("apply", move || driver.run())?;
        let shared = Arc::clone(&self.shared);
        let turn = WatchTurn::new(hub, shared.ports.now());
        self.spawn("watch", move || run_hub(&shared, turn))
    }

    /// The threads that work for others.
    fn start_helpers(&mut self, compaction: Option<AutoCompaction>) -> Result<(), StartError> {
        let jobs = self.shared.ports.file_jobs.clone();
        self.spawn("file", move || run_jobs(&jobs))?;
        let shared = Arc::clone(&self.shared);
        for (name, jobs, threads) in [
            ("pool", &shared.ports.pool, POOL_THREADS),
            ("scan", &shared.ports.scans, SCAN_THREADS),
            ("hash", &shared.ports.hashes, hash_threads()),
        ] {
            for _ in 0..threads {
                let jobs = jobs.clone();
                self.spawn(name, move || run_jobs(&jobs))?;
            }
        }
        if let Some(rule) = compaction {
            let (shared, stop) = (Arc::clone(&self.shared), self.compactor.clone());
            self.spawn("compactor", move || compactor::run(&shared, rule, &stop))?;
        }
        let shared = Arc::clone(&self.shared);
        self.spawn("monitor", move || run_monitor(&shared))
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
        let thread = std::thread::Builder::new().name(name.into()).spawn(run);
        let thread =
            thread.map_err(|source| StartError::Io { what: "cannot start a thread", source })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Tells the cluster the member's name and client URLs. One that is all of its cluster has decided
    /// the cluster's version then. Goes on until it is done, the member fails, or `give_up` says so.
    ///
    /// # Errors
    /// Where it was not done.
    pub fn publish(&self, config: &Config, give_up: impl Fn() -> bool) -> Result<(), StartError> {
        let attributes = ClusterMemberAttrSetRequest {
            member_id: self.shared.member_id,
            member_attributes: Some(Attributes {
                name: config.replica.name.clone(),
                client_urls: config.advertise_client_urls.clone(),
            }),
        };
        let stops = Stops { failure: &self.failure, give_up: &give_up };
        publish(&self.shared, &attributes, &stops)?;
        let timeout = self.shared.services.limits.request_timeout;
        lines::published(self.ids(), &config.replica.name, &config.advertise_client_urls, timeout);
        Ok(())
    }

    /// Whether this member was removed from the cluster; it should be stopped.
    pub fn is_removed(&self) -> bool {
        self.shared.ports.roster.is_removed()
    }

    /// The cluster's version, once it is set.
    pub fn cluster_version(&self) -> Option<String> {
        self.shared.ports.roster.members().cluster_version().map(str::to_owned)
    }

    /// Serves clients on these sockets.
    ///
    /// # Errors
    /// Those of the sockets, and too few file descriptors.
    pub fn serve(&mut self, listeners: Vec<Listener>, config: &Config) -> Result<(), StartError> {
        let net = net_config(listeners, config.net_threads, config)?;
        let front = Arc::clone(self.front(config));
        let web = Web::new(Arc::clone(&self.shared), Arc::clone(&front));
        self.serve_with(net, front, Arc::new(web))
    }

    /// Serves metrics and health on these sockets, also before the member has a leader.
    ///
    /// # Errors
    /// As [`Member::serve`].
    pub fn serve_metrics(
        &mut self,
        listeners: Vec<Listener>,
        config: &Config,
    ) -> Result<(), StartError> {
        let net = net_config(listeners, 1, config)?;
        let front = Arc::clone(self.front(config));
        let web = Web::new(Arc::clone(&self.shared), front);
        self.serve_with(net, Arc::new(NoCalls), Arc::new(Probes(web)))
    }

    fn front(&mut self, config: &Config) -> &Arc<Front> {
        let shared = &self.shared;
        self.front.get_or_insert_with(|| {
            let rows = Arc::new(MemberRows(Arc::clone(&shared.services)));
            let metrics = Arc::clone(&shared.metrics);
            Arc::new(Front::new(rows, metrics, config.extensive_metrics))
        })
    }

    /// Serves other members on these sockets and opens the way to them. If this member joins a
    /// cluster, it must be able to answer those whom it does not know yet.
    ///
    /// # Errors
    /// As [`Member::serve`].
    pub fn serve_peers(
        &mut self,
        listeners: Vec<Listener>,
        config: &Config,
        begun: &Begun,
    ) -> Result<(), StartError> {
        let shared = &self.shared;
        let options = peer::Config {
            local_urls: config.advertise_peer_urls.clone(),
            election_timeout: config.election_timeout,
            connector: begun.connector.clone(),
            limits: peer::Limits {
                // The longest entry, and what raft puts into one append beside it.
                post_bytes_max: config.request_bytes_max.saturating_add(POST_SPARE_BYTES),
                ..peer::Limits::default()
            },
            ..peer::Config::new(shared.member_id, shared.cluster_id)
        };
        let web = PeerWeb { shared: Arc::clone(shared) };
        let log = PeerLog::new(shared.member_id, shared.cluster_id);
        let intake = self.intake.clone();
        let handler = PeerHandler { shared: Arc::clone(shared), web, intake, log };
        let streams = self.streams.clone();
        let transport = Transport::start(options, listeners, Arc::new(handler), streams);
        let transport = Arc::new(
            transport.map_err(|source| StartError::Io { what: "cannot serve peers", source })?,
        );
        for (id, urls) in begun.remotes.iter().filter(|(id, _)| *id != shared.member_id) {
            // Whom it cannot answer, it cannot join through; others may do.
            let _ = transport.add_remote(*id, urls);
        }
        shared.ports.roster.connect(Arc::clone(&transport) as _);
        self.transport = Some(transport);
        Ok(())
    }

    fn serve_with(
        &mut self,
        net: net::Config,
        calls: Arc<dyn GrpcService>,
        web: Arc<dyn HttpService>,
    ) -> Result<(), StartError> {
        let started = NetServer::start(net, calls, web);
        self.net.push(started.map_err(|source| StartError::Io { what: "cannot serve", source })?);
        Ok(())
    }

    /// What handlers see of it.
    #[cfg(test)]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Waits a while for a failure.
    pub fn wait_failure(&self, limit: Duration) -> Option<Fault> {
        self.failure.wait(limit)
    }

    /// Has the core thread call `answer`: a sign that it lives.
    pub fn ask(&self, answer: impl FnOnce() + Send + 'static) {
        self.shared.services.raft_status(move |_| answer());
    }

    /// The member's id and the cluster's.
    pub fn ids(&self) -> (u64, u64) {
        (self.shared.member_id, self.shared.cluster_id)
    }

    /// The version of this server.
    pub fn version(&self) -> &'static str {
        VERSION
    }

    /// Stops: another member leads, then no more calls, then no more threads; what was applied is
    /// committed.
    pub fn stop(mut self, grace: Duration) {
        transfer_leadership(&self.shared);
        for net in self.net.drain(..) {
            net.stop(grace);
        }
        let shared = &self.shared;
        shared.services.fail_waiters();
        if let Some(transport) = self.transport.take() {
            transport.stop();
        }
        self.compactor.close();
        self.purge.close();
        shared.ports.close();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn hash_threads() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (processors / 2).clamp(1, HASH_THREADS_MAX)
}

/// Opens the data as soon as no other process has it: one that is being stopped takes its time.
fn open_patiently(
    disk: &Arc<dyn Disk>,
    config: &Config,
    give_up: &dyn Fn() -> bool,
) -> Result<replica::Parts, StartError> {
    let (begun, mut is_said) = (Instant::now(), false);
    let path = config.replica.data_dir.join("member").join("snap").join("db");
    loop {
        match replica::open(Arc::clone(disk), &config.replica) {
            Err(fault) if fault.is_in_use() => {}
            opened => return Ok(opened?),
        }
        if give_up() {
            return Err(StartError::Stopped);
        }
        if !is_said && begun.elapsed() >= LOCK_SAY {
            is_said = true;
            tracing::info!(
                path = %path.display(),
                took = ?begun.elapsed(),
                "db file is flocked by another process, or taking too long"
            );
        }
        std::thread::sleep(LOCK_LOOK);
    }
}

/// The runtime of the core thread.
fn core_runtime() -> Result<Runtime, StartError> {
    let runtime = Builder::new_current_thread().thread_name("peer").enable_all().build();
    runtime.map_err(|source| StartError::Io { what: "cannot start a thread", source })
}

fn net_config(
    listeners: Vec<Listener>,
    threads: usize,
    config: &Config,
) -> Result<net::Config, StartError> {
    Ok(net::Config {
        listeners,
        threads,
        connections_max: connections_max()?,
        recv_max_bytes: config.request_bytes_max + 512 * 1024,
        concurrent_streams_max: config.concurrent_streams_max,
        keepalive_interval: config.keepalive_interval,
        keepalive_timeout: config.keepalive_timeout,
        keepalive_min_time: config.keepalive_min_time,
    })
}

/// As many as there are file descriptors that the member does not need itself.
fn connections_max() -> Result<usize, StartError> {
    let Some(limit) = metrics::fd_limit() else { return Ok(usize::MAX) };
    match limit.checked_sub(OWN_FDS) {
        Some(left @ 1..) => Ok(usize::try_from(left).unwrap_or(usize::MAX)),
        _ => Err(StartError::FewFds { limit }),
    }
}

/// What handlers will see of a member.
fn shared(parts: &replica::Parts, config: &Config, early: metrics::Early) -> Shared {
    let identity = parts.identity;
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let timeout = Duration::from_secs(5) + 2 * config.election_timeout;
    let limits = RequestLimits {
        entry_bytes_max: config.request_bytes_max,
        request_timeout: timeout,
        election_timeout: config.election_timeout,
    };
    let members = parts.applier.machine.members.clone();
    let ids = RequestIds::new(identity.member_id, unix_ms as u64);
    let whose = (identity.cluster_id, identity.member_id);
    let common = Arc::new(Common::new(whose, limits, ids, parts.reader.clone(), members));
    let ports = Arc::new(Ports::new(common, parts.backend_reader.clone()));
    let metrics = Arc::new(Metrics::new(early, identity.member_id));
    let limits = Limits {
        txn_ops_max: config.txn_ops_max,
        request_bytes_max: config.request_bytes_max,
        request_timeout: timeout,
        strict_changes: config.strict_changes,
    };
    let quota = Quota::from_flag(config.replica.apply.quota_bytes);
    let member = Arc::clone(&ports) as Arc<dyn services::Member>;
    Shared {
        cluster_id: identity.cluster_id,
        member_id: identity.member_id,
        services: Services::new(member, Arc::clone(&metrics), limits, quota),
        ports,
        metrics,
        ticks: Ticks {
            tick: config.heartbeat_interval,
            election_ticks: config.replica.election_ticks,
        },
        database: parts.applier.database(),
        pages: WaitingPages::for_clients(),
        peer_pages: WaitingPages::for_peers(),
        storage_version: RwLock::new(None),
    }
}

fn run_jobs(jobs: &Mailbox<Job>) {
    let mut batch = Vec::new();
    loop {
        if jobs.take_one(&mut batch) == Woken::Closed {
            return;
        }
        for job in batch.drain(..) {
            job();
        }
    }
}
