//! From a data directory to a member: a new one, or one that comes back.

use crate::cut::Cut;
use crate::install::{self, Home};
use crate::{Applier, CatchUp, Core, Fault, LogWriter, force};
use apply::backend;
use apply::membership::{InitialCluster, Member};
use apply::{Machine, lease, mvcc};
use disk::Disk;
use prost::Message;
use proto::etcdserverpb::Metadata;
use proto::raftpb::{ConfChange, ConfChangeType, Entry, EntryType, HardState};
use proto::walpb;
use raft::{MemoryStorage, Node, Storage};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wal::{Recovered, Wal};

/// How to open a member.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory.
    pub data_dir: PathBuf,
    /// The log's directory, where it is not `member/wal` in the data directory.
    pub wal_dir: Option<PathBuf>,
    /// The member's name.
    pub name: String,
    /// What a member without data begins with.
    pub beginning: Beginning,
    /// Whether a member with data drops what is not committed and every other member, and goes on
    /// alone. What others have acknowledged without it is lost.
    pub force_new_cluster: bool,
    /// Ticks without a leader before a member campaigns.
    pub election_ticks: u32,
    /// Whether members ask whether they would be elected before they begin a new term.
    pub pre_vote: bool,
    /// Applied entries between snapshots.
    pub snapshot_count: u64,
    /// Log segments that are kept.
    pub keep_wals: usize,
    /// Snapshot files that are kept, one at least.
    pub keep_snapshots: usize,
    /// Options of the log.
    pub wal: wal::Options,
    /// Options of the database.
    pub backend: backend::Options,
    /// Options of leases.
    pub lease: lease::Config,
    /// Options of the state machine.
    pub apply: apply::Config,
    /// Proposals are refused while this many bytes wait to be committed.
    pub uncommitted_bytes_max: usize,
    /// What stays in memory for members that lag behind.
    pub catch_up: CatchUp,
}

/// What a member without data begins with.
#[derive(Clone, Debug)]
pub enum Beginning {
    /// None: there is data, or the member cannot be opened.
    Data,
    /// The members of a new cluster, itself among them.
    New(InitialCluster),
    /// Who it is in a cluster that runs already; it hears the rest from the leader.
    Existing(Identity),
}

/// Who a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's id.
    pub cluster_id: u64,
    /// The member's id.
    pub member_id: u64,
}

/// The three parts of a member.
pub struct Parts {
    /// Raft.
    pub core: Core,
    /// The log.
    pub log_writer: LogWriter,
    /// The state machine.
    pub applier: Applier,
    /// Reads keys, from any thread.
    pub reader: mvcc::Reader,
    /// Reads the database, from any thread.
    pub backend_reader: backend::Reader,
    /// Who it is.
    pub identity: Identity,
    /// Whether there was no data before.
    pub is_new: bool,
    /// A torn tail of the log was cut off.
    pub repaired: bool,
}

/// Whether a member has a log already, and so is not new.
///
/// # Errors
/// I/O faults.
pub fn has_log(disk: &dyn Disk, options: &Options) -> Result<bool, Fault> {
    Ok(wal::has_segments(disk, &options.wal_dir())?)
}

impl Options {
    /// Where the database lies, and those that come from leaders.
    pub(crate) fn snap_dir(&self) -> PathBuf {
        self.data_dir.join("member").join("snap")
    }

    fn wal_dir(&self) -> PathBuf {
        self.wal_dir.clone().unwrap_or_else(|| self.data_dir.join("member").join("wal"))
    }
}

/// Opens a member, making its files where there are none.
///
/// # Errors
/// Damaged or contradictory data, I/O faults, a directory in use.
pub fn open(disk: Arc<dyn Disk>, options: &Options) -> Result<Parts, Fault> {
    let member_dir = options.data_dir.join("member");
    let snap_dir = options.snap_dir();
    let wal_dir = options.wal_dir();
    for dir in [&options.data_dir, &member_dir, &snap_dir] {
        disk.create_dir_all(dir, 0o700).map_err(io(dir, "cannot make"))?;
        let parent = dir.parent().filter(|parent| *parent != Path::new(""));
        let parent = parent.unwrap_or(Path::new("."));
        disk.sync_dir(parent).map_err(io(parent, "cannot sync"))?;
    }
    let home = Home {
        disk: Arc::clone(&disk),
        snap_dir: snap_dir.clone(),
        backend: options.backend,
        lease: options.lease,
        apply: options.apply,
    };
    // First of all files, for its lock: another member may still be writing to all of them.
    let own = home.open_existing()?;
    let is_new = !wal::has_segments(&*disk, &wal_dir)?;
    let newest = if is_new { walpb::Snapshot::default() } else { newest(&*disk, &wal_dir)? };
    let cut = Cut { index: newest.index(), conf_state: newest.conf_state.clone() };
    let backend = install::recover(&home, own, &cut)?;
    remove_leftovers(&*disk, &snap_dir)?;
    let applied = backend.applied().index;
    if is_new && applied > 0 {
        let (db, wal_dir) = (home.db(), wal_dir.display());
        return Err(Fault::Config(format!(
            "{} holds entries up to {applied} but there is no log in {wal_dir}",
            db.display()
        )));
    }
    let (mut wal, mut recovered, identity) = match is_new {
        true => bootstrap(&disk, &wal_dir, options)?,
        false => restart(&disk, &wal_dir, &newest, options)?,
    };
    let machine = home.open_machine(backend)?;
    cut.check_members(&home.db(), &machine.members)?;
    check_log_reaches(&home, &machine, options, identity, &recovered, cut.index)?;
    if options.force_new_cluster && !is_new {
        force::alone(&mut wal, &mut recovered, identity.member_id, &machine)?;
    }
    let conf_state = machine.members.conf_state();
    let before = (newest.index(), newest.term());
    let storage =
        MemoryStorage::restored(recovered.hard_state, conf_state, before, recovered.entries);
    let mut core = Core::new(
        raft_node(options, identity, storage, &machine)?,
        options.catch_up,
        options.election_ticks,
    );
    core.tick();
    let (keep_wals, keep_snapshots) = (options.keep_wals, options.keep_snapshots);
    let recorded = cut.index;
    let log_writer = LogWriter { wal, disk, snap_dir, keep_wals, keep_snapshots, recorded };
    log_writer.purge(&newest)?;
    let (reader, backend_reader) = (machine.store.reader(), machine.backend.reader());
    let applier = Applier::new(machine, home, options.snapshot_count, cut.index);
    let repaired = recovered.repaired;
    Ok(Parts { core, log_writer, applier, reader, backend_reader, identity, is_new, repaired })
}

/// What the reference's server asks of raft, except that more may be applied at once.
const RAFT: raft::Config = raft::Config {
    id: 0,
    election_ticks: 10,
    heartbeat_ticks: 1,
    applied: 0,
    async_storage_writes: true,
    message_bytes_max: 1 << 20,
    applying_bytes_max: 8 << 20,
    uncommitted_bytes_max: 0,
    inflight_count_max: 512,
    inflight_bytes_max: 0,
    check_quorum: true,
    pre_vote: true,
    read_only: raft::ReadOnly::Safe,
    disable_proposal_forwarding: false,
    disable_conf_change_validation: false,
    step_down_on_removal: false,
    seed: 0,
};

/// Raft as of what the database has applied.
fn raft_node(
    options: &Options,
    identity: Identity,
    mut storage: MemoryStorage,
    machine: &Machine,
) -> Result<Node<MemoryStorage>, Fault> {
    let (mut hard_state, _) = storage.initial_state();
    let (first, last) = (storage.first_index(), storage.last_index());
    // A commit index is not synced by itself, but what is applied is committed.
    let applied = machine.backend.applied().index.clamp(first - 1, last);
    hard_state.commit = Some(hard_state.commit().clamp(applied, last));
    storage.set_hard_state(hard_state);
    let config = raft::Config {
        id: identity.member_id,
        election_ticks: options.election_ticks,
        pre_vote: options.pre_vote,
        applied,
        uncommitted_bytes_max: options.uncommitted_bytes_max as u64,
        seed: identity.member_id,
        ..RAFT
    };
    Node::new(config, storage).map_err(|error| Fault::Config(error.to_string()))
}

/// A member that is or will be alone writes the entries after its log's last one itself. Were they in
/// the database already, they would be passed over as known.
fn check_log_reaches(
    home: &Home,
    machine: &Machine,
    options: &Options,
    identity: Identity,
    recovered: &Recovered,
    cut_at: u64,
) -> Result<(), Fault> {
    let applied = machine.backend.applied().index;
    let last = recovered.entries.last().map_or(cut_at, Entry::index);
    let is_alone = machine.members.conf_state().voters == [identity.member_id];
    if applied <= last || !is_alone && !options.force_new_cluster {
        return Ok(());
    }
    Err(Fault::Config(format!(
        "database file ({} index {applied}) does not match with the log, which ends at index {last}",
        home.db().display()
    )))
}

fn io(path: &Path, what: &'static str) -> impl FnOnce(std::io::Error) -> Fault {
    let path = path.display().to_string();
    move |source| Fault::Io { path, what, source }
}

/// Half-written files of an earlier run.
fn remove_leftovers(disk: &dyn Disk, snap_dir: &Path) -> Result<(), Fault> {
    let names = disk.list(snap_dir).map_err(io(snap_dir, "cannot list"))?;
    for name in names.iter().filter(|n| n.starts_with("tmp") || n.starts_with("db.tmp")) {
        let path = snap_dir.join(name);
        disk.remove_file(&path).map_err(io(&path, "cannot remove"))?;
    }
    Ok(())
}

type OpenedLog = (Wal, Recovered, Identity);

/// The log of a member without data. That of a new cluster begins with entries that add its
/// members; that of one which joins a cluster is empty.
fn bootstrap(disk: &Arc<dyn Disk>, wal_dir: &Path, options: &Options) -> Result<OpenedLog, Fault> {
    let (identity, entries) = match &options.beginning {
        Beginning::Data => {
            let what = format!("there is no log in {}", wal_dir.display());
            return Err(Fault::Config(what));
        }
        Beginning::Existing(identity) => (*identity, Vec::new()),
        Beginning::New(initial) => {
            let me = initial.named(&options.name).ok_or_else(|| {
                Fault::Config(format!(
                    "couldn't find local name {:?} in the initial cluster configuration",
                    options.name
                ))
            })?;
            let identity = Identity { cluster_id: initial.cluster_id, member_id: me.id };
            let members = initial.members.iter().enumerate();
            (identity, members.map(|(n, member)| add_member(n, member)).collect())
        }
    };
    let metadata =
        Metadata { node_id: Some(identity.member_id), cluster_id: Some(identity.cluster_id) };
    let metadata = metadata.encode_to_vec().into();
    let disk = Arc::clone(disk);
    let commit = Some(entries.len() as u64);
    let hard_state = if entries.is_empty() {
        HardState::default()
    } else {
        HardState { term: Some(1), vote: Some(0), commit }
    };
    let wal = Wal::create_with(disk, wal_dir, metadata, hard_state, &entries, options.wal)?;
    let recovered = Recovered { hard_state, entries, ..Recovered::default() };
    Ok((wal, recovered, identity))
}

fn add_member(place: usize, member: &Member) -> Entry {
    let change = ConfChange {
        id: None,
        r#type: Some(ConfChangeType::ConfChangeAddNode as i32),
        node_id: Some(member.id),
        context: Some(member.to_json().into()),
    };
    Entry {
        r#type: Some(EntryType::EntryConfChange as i32),
        term: Some(1),
        index: Some(place as u64 + 1),
        data: Some(change.encode_to_vec().into()),
    }
}

/// The newest snapshot that a log has recorded.
fn newest(disk: &dyn Disk, wal_dir: &Path) -> Result<walpb::Snapshot, Fault> {
    let recorded = wal::valid_snapshots(disk, wal_dir)?;
    Ok(recorded.into_iter().max_by_key(walpb::Snapshot::index).unwrap_or_default())
}

/// The log of a member that comes back, from its newest snapshot.
fn restart(
    disk: &Arc<dyn Disk>,
    wal_dir: &Path,
    newest: &walpb::Snapshot,
    options: &Options,
) -> Result<OpenedLog, Fault> {
    let (wal, recovered) = Wal::open(Arc::clone(disk), wal_dir, newest, options.wal)?;
    let metadata = Metadata::decode(recovered.metadata.clone())
        .map_err(|_| Fault::Config("the log's metadata cannot be read".into()))?;
    let identity = Identity { cluster_id: metadata.cluster_id(), member_id: metadata.node_id() };
    Ok((wal, recovered, identity))
}
