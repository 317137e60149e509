//! From a data directory to a member: a new one, or one that comes back.

use crate::cut::{Cut, Holds};
use crate::home::Home;
use crate::install;
use crate::{Applier, CatchUp, Core, Fault, LogWriter, force};
use apply::Machine;
use disk::Disk;
use membership::{InitialCluster, Member};
use prost::Message;
use proto::etcdserverpb::Metadata;
use proto::raftpb::{ConfChange, ConfChangeType, Entry, EntryType, HardState};
use proto::walpb;
use raft::{MemoryStorage, Node, Storage};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wal::{Examined, Recovered, Torn, Wal};

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
    /// What a crash tore off the log; it has been cut off.
    pub torn: Option<Torn>,
    /// Old files that were too many and have been removed.
    pub purged: Vec<PathBuf>,
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
/// First everything is read and locked; then what does not fit is refused; only then is anything
/// changed: a received database takes its name, a log's torn tail is cut, old files are removed. So a
/// start that is refused leaves the files as they were, for whoever is to look at them.
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
    let Plan { log, newest, mut recovered, identity } = plan(&disk, &wal_dir, options)?;
    let is_new = log.is_none();
    let cut = Cut { index: newest.index(), conf_state: newest.conf_state.clone() };
    let database = install::find(&home, own, &cut)?;
    if let Some(holds) = database.holds()? {
        check_fits(&home.db(), &holds, &wal_dir, is_new)?;
        cut.check_members(&home.db(), &holds.members)?;
        check_log_reaches(&home, &holds, options, identity, &recovered, cut.index)?;
    }
    // Whatever is refused was refused by now, or is before the log is changed.
    let machine = home.open_machine(database.take(&home, &cut)?)?;
    let forced = match options.force_new_cluster && !is_new {
        true => force::alone(&mut recovered, identity.member_id, &machine)?,
        false => Vec::new(),
    };
    let conf_state = machine.members.conf_state();
    let before = (newest.index(), newest.term());
    let (hard_state, entries) = (recovered.hard_state, recovered.entries.clone());
    let storage = MemoryStorage::restored(hard_state, conf_state, before, recovered.entries);
    let mut core = Core::new(
        raft_node(options, identity, storage, &machine)?,
        options.catch_up,
        options.election_ticks,
    );
    core.tick();
    let mut wal = match log {
        Some(found) => found.begin()?,
        None => make_log(&disk, &wal_dir, options, identity, hard_state, &entries)?,
    };
    if !forced.is_empty() {
        wal.save(Some(&hard_state), &forced, true)?;
    }
    remove_leftovers(&*disk, &snap_dir)?;
    let log_writer = LogWriter {
        wal,
        disk,
        snap_dir,
        keep_wals: options.keep_wals,
        keep_snapshots: options.keep_snapshots,
        recorded: cut.index,
        recorded_term: newest.term(),
        released: 0,
    };
    let purged = log_writer.surplus_at_start()?.remove()?;
    let (reader, backend_reader) = (machine.store.reader(), machine.backend.reader());
    let applier = Applier::new(machine, home, options.snapshot_count, cut.index);
    let torn = recovered.torn;
    Ok(Parts { core, log_writer, applier, reader, backend_reader, identity, is_new, torn, purged })
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

/// A database that has applied entries needs the log that they are from.
fn check_fits(db: &Path, holds: &Holds, wal_dir: &Path, is_new: bool) -> Result<(), Fault> {
    if !is_new || holds.applied == 0 {
        return Ok(());
    }
    let (applied, db, wal_dir) = (holds.applied, db.display(), wal_dir.display());
    Err(Fault::Config(format!(
        "{db} holds entries up to {applied} but there is no log in {wal_dir}"
    )))
}

/// A log that ends before what is known to be committed has lost entries: a commit index is written
/// behind the entries that it counts. The same holds for what a member has applied that is or will be
/// alone: it writes the entries after its log's last one itself, and were they in the database already,
/// they would be passed over as known. In company a member may apply what the others have written.
fn check_log_reaches(
    home: &Home,
    holds: &Holds,
    options: &Options,
    identity: Identity,
    recovered: &Recovered,
    cut_at: u64,
) -> Result<(), Fault> {
    let applied = holds.applied;
    let last = recovered.entries.last().map_or(cut_at, Entry::index);
    let commit = recovered.hard_state.commit();
    let torn = recovered.torn.as_ref().map_or(String::new(), |torn| format!("; {torn}"));
    // What is in the database already is not missed.
    if commit > last.max(applied) {
        return Err(Fault::Config(format!(
            "state.commit {commit} is out of range [{cut_at}, {last}]: the log has lost entries{torn}"
        )));
    }
    let is_alone = holds.members.conf_state().voters == [identity.member_id];
    if applied <= last || !is_alone && !options.force_new_cluster {
        return Ok(());
    }
    Err(Fault::Config(format!(
        "database file ({} index {applied}) does not match with the log, which ends at index {last}{torn}",
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

/// What a member begins with or comes back to: read, and not changed.
struct Plan {
    /// The log; none where it is to be made.
    log: Option<Examined>,
    /// The newest snapshot that the log has recorded.
    newest: walpb::Snapshot,
    recovered: Recovered,
    identity: Identity,
}

fn plan(disk: &Arc<dyn Disk>, wal_dir: &Path, options: &Options) -> Result<Plan, Fault> {
    match wal::has_segments(&**disk, wal_dir)? {
        true => come_back(disk, wal_dir, options),
        false => begin(&**disk, wal_dir, options),
    }
}

/// A member without data. The log of a new cluster begins with entries that add its members; that of
/// one which joins a cluster is empty.
fn begin(disk: &dyn Disk, wal_dir: &Path, options: &Options) -> Result<Plan, Fault> {
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
    wal::check_vacant(disk, wal_dir)?;
    let commit = Some(entries.len() as u64);
    let hard_state = if entries.is_empty() {
        HardState::default()
    } else {
        HardState { term: Some(1), vote: Some(0), commit }
    };
    let recovered = Recovered { hard_state, entries, ..Recovered::default() };
    Ok(Plan { log: None, newest: walpb::Snapshot::default(), recovered, identity })
}

fn make_log(
    disk: &Arc<dyn Disk>,
    wal_dir: &Path,
    options: &Options,
    identity: Identity,
    hard_state: HardState,
    entries: &[Entry],
) -> Result<Wal, Fault> {
    let metadata =
        Metadata { node_id: Some(identity.member_id), cluster_id: Some(identity.cluster_id) };
    let metadata = metadata.encode_to_vec().into();
    let disk = Arc::clone(disk);
    Ok(Wal::create_with(disk, wal_dir, metadata, hard_state, entries, options.wal)?)
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

/// A member that comes back: its log from the newest snapshot on.
fn come_back(disk: &Arc<dyn Disk>, wal_dir: &Path, options: &Options) -> Result<Plan, Fault> {
    let newest = newest(&**disk, wal_dir)?;
    let (log, recovered) = Wal::examine(Arc::clone(disk), wal_dir, &newest, options.wal)?;
    let metadata = Metadata::decode(recovered.metadata.clone())
        .map_err(|_| Fault::Config("the log's metadata cannot be read".into()))?;
    let identity = Identity { cluster_id: metadata.cluster_id(), member_id: metadata.node_id() };
    Ok(Plan { log: Some(log), newest, recovered, identity })
}
