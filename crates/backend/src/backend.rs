//! The backend: its one writer, and what readers share with it.

use crate::defrag;
use crate::entry_id::{EntryId, applied};
use crate::layer::{Layer, RevisionKey, SharedLayer, Writes};
use crate::view::{Upper, View};
use crate::{CommitJob, Committed, DefragJob, DefragResult, Defragmented, Fault, Snapshot, Table};
use bolt::Db;
use disk::Disk;
use parking_lot::RwLock;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How to open the database.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Options of the file.
    pub bolt: bolt::Options,
    /// [`Backend::is_full`] from this many uncommitted bytes on.
    pub pending_bytes_max: usize,
}

/// Address space that etcd reserves for its mapping.
const INITIAL_MAP_BYTES: u64 = 10 * 1024 * 1024 * 1024;
/// Some seconds of writing, while a slow disk takes a commit.
const PENDING_BYTES_MAX: usize = 128 * 1024 * 1024;

impl Default for Options {
    fn default() -> Options {
        let initial_map_bytes = INITIAL_MAP_BYTES;
        Options {
            bolt: bolt::Options { initial_map_bytes, ..bolt::Options::default() },
            pending_bytes_max: PENDING_BYTES_MAX,
        }
    }
}

/// The database with its one writer.
///
/// Always true:
/// 1. Readers see the layer that is written to, above a frozen one only while a job is out.
/// 2. Revisions ascend from the file through the frozen layer to the active one.
/// 3. Layers carry the index of the last entry in them, the active one that of the last of all.
/// 4. Between transactions nothing is written that is in no layer.
pub struct Backend {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    options: Options,
    db: Db,
    /// What readers see.
    newest: Arc<RwLock<View>>,
    active: Arc<SharedLayer>,
    pub(crate) writes: Writes,
    applied: EntryId,
    durable: EntryId,
    job_is_out: bool,
}

/// Opens views, from any thread.
#[derive(Clone)]
pub struct Reader {
    newest: Arc<RwLock<View>>,
}

impl Backend {
    /// Opens or creates the database file, with all its tables. What a defragmentation left behind
    /// when it was interrupted is removed.
    ///
    /// # Errors
    /// I/O faults, a file in use by another process, a damaged file.
    pub fn open(disk: Arc<dyn Disk>, path: &Path, options: Options) -> Result<Backend, Fault> {
        let mut backend = Backend::open_as_it_is(disk, path, options)?;
        backend.make_ready()?;
        Ok(backend)
    }

    /// As [`Backend::open`], but nothing is made or removed before [`Backend::make_ready`]: whoever may
    /// still refuse the database for what is in it leaves it as it was.
    ///
    /// # Errors
    /// As [`Backend::open`].
    pub fn open_as_it_is(
        disk: Arc<dyn Disk>,
        path: &Path,
        options: Options,
    ) -> Result<Backend, Fault> {
        let db = Db::open(&*disk, path, options.bolt)?;
        let committed = Arc::new(db.begin_read());
        let applied = applied(&committed)?;
        let last = last_revision(&committed)?;
        let active = Arc::new(SharedLayer::new(Layer::new(applied)));
        let view = View::new(committed, Upper { after: last, layer: Arc::clone(&active) });
        Ok(Backend {
            disk,
            path: path.to_owned(),
            options,
            db,
            newest: Arc::new(RwLock::new(view)),
            active,
            writes: Writes::default(),
            applied,
            durable: applied,
            job_is_out: false,
        })
    }

    /// Makes the tables that are missing, and removes what a defragmentation left behind.
    ///
    /// # Errors
    /// I/O faults.
    pub fn make_ready(&mut self) -> Result<(), Fault> {
        assert!(!self.job_is_out, "a database is made ready before it is used");
        defrag::remove_left_overs(&*self.disk, &self.path)?;
        create_tables(&self.db)?;
        self.newest.write().complete(Arc::new(self.db.begin_read()));
        Ok(())
    }

    /// Asserts what is always true. Looks at everything that is not in the file yet.
    pub fn check(&self) {
        self.newest.read().check(&self.active, self.job_is_out);
        let (layer, applied) = (self.active.read().applied, self.applied);
        assert_eq!(layer, applied, "the active layer carries the last applied entry");
        assert!(self.writes.is_empty(), "no transaction is open, and nothing is left of one");
    }

    /// Opens views of this database.
    pub fn reader(&self) -> Reader {
        Reader { newest: Arc::clone(&self.newest) }
    }

    /// Everything written so far.
    pub(crate) fn view(&self) -> View {
        self.newest.read().clone()
    }

    /// The last entry whose effects can be read.
    pub fn applied(&self) -> EntryId {
        self.applied
    }

    /// The last entry whose effects are durable in the file.
    pub fn durable(&self) -> EntryId {
        self.durable
    }

    /// Writes of a finished transaction become readable.
    pub(crate) fn absorb(&mut self, applied: Option<EntryId>) {
        let mut layer = self.active.write();
        layer.absorb(&mut self.writes);
        if let Some(applied) = applied {
            let (index, before) = (applied.index, self.applied.index);
            assert!(index > before, "entries are applied once, in order: {index} after {before}");
            layer.applied = applied;
            self.applied = applied;
        }
    }

    /// Another log begins after this entry.
    pub(crate) fn restart_at(&mut self, entry: EntryId) {
        assert!(!self.job_is_out, "no other log begins while a layer of this one is written");
        self.active.write().applied = entry;
        self.applied = entry;
    }

    /// How many changes wait to be committed.
    pub fn pending_ops(&self) -> usize {
        self.active.read().ops
    }

    /// How many bytes wait to be committed.
    pub fn pending_bytes(&self) -> usize {
        self.active.read().bytes
    }

    /// So much waits to be committed that nothing more should be applied until it is: take a
    /// commit, or wait for the job that is out.
    pub fn is_full(&self) -> bool {
        self.pending_bytes() >= self.options.pending_bytes_max
    }

    /// Whether a commit or defragmentation has been taken and not been completed.
    pub fn job_is_out(&self) -> bool {
        self.job_is_out
    }

    /// Takes what waits to be committed as a job for any thread; writes go on meanwhile.
    /// `None` where nothing waits or another job is out.
    pub fn freeze(&mut self) -> Option<CommitJob> {
        if self.job_is_out || (self.pending_ops() == 0 && self.applied == self.durable) {
            return None;
        }
        let fresh = Arc::new(SharedLayer::new(Layer::new(self.applied)));
        let layer = std::mem::replace(&mut self.active, Arc::clone(&fresh));
        self.newest.write().freeze(fresh);
        self.job_is_out = true;
        Some(CommitJob { db: self.db.clone(), layer })
    }

    /// Takes the result of a commit: what was frozen is read from the file from now on.
    pub fn complete(&mut self, done: Committed) {
        assert!(self.job_is_out, "a job that is done was taken");
        let (durable, applied) = (done.applied.index, self.applied.index);
        assert!(durable <= applied, "entry {durable} is durable, and {applied} was applied last");
        self.newest.write().complete(done.committed);
        self.durable = done.applied;
        self.job_is_out = false;
    }

    /// Commits everything now.
    ///
    /// # Errors
    /// The file's faults.
    pub fn commit(&mut self) -> Result<(), Fault> {
        if let Some(job) = self.freeze() {
            let done = job.run()?;
            self.complete(done);
        }
        Ok(())
    }

    /// Takes the copying of the last committed state into a smaller file as a job for any thread.
    /// Reads and writes go on meanwhile; writes wait in memory, see [`Backend::is_full`].
    /// `None` where another job is out.
    pub fn defragment(&mut self) -> Option<DefragJob> {
        if self.job_is_out {
            return None;
        }
        self.job_is_out = true;
        Some(DefragJob {
            disk: Arc::clone(&self.disk),
            path: self.path.clone(),
            options: self.options.bolt,
            db: self.db.clone(),
        })
    }

    /// Takes the result of a defragmentation. Where the small file is in its place, it is used
    /// from now on; where it could not be made, the old one goes on in use.
    ///
    /// # Errors
    /// It is not known which file a restart would find: the member must stop.
    pub fn complete_defragment(&mut self, done: Defragmented) -> Result<DefragResult, Fault> {
        assert!(self.job_is_out, "a job that is done was taken");
        let result = match done {
            Defragmented::Exchanged(db) => {
                self.db = db;
                self.newest.write().complete(Arc::new(self.db.begin_read()));
                DefragResult::Done
            }
            Defragmented::Kept(why) => DefragResult::NotDone(why),
            Defragmented::Unknown(fault) => return Err(fault),
        };
        self.job_is_out = false;
        Ok(result)
    }

    /// Bytes that the file spans.
    pub fn size(&self) -> u64 {
        self.db.size()
    }

    /// Bytes of it that hold something.
    pub fn size_in_use(&self) -> u64 {
        let stats = self.db.stats();
        self.db.size().saturating_sub(stats.free_pages * stats.page_size as u64)
    }

    /// Read transactions now open on the file.
    pub fn open_reads(&self) -> usize {
        self.db.stats().open_reads
    }
}

impl Reader {
    /// Opens a database file only to look at it: nothing is made, removed or written, and others
    /// may look at it too.
    ///
    /// # Errors
    /// I/O faults, a file that a member is using, a damaged file.
    pub fn open(disk: &dyn Disk, path: &Path, options: bolt::Options) -> Result<Reader, Fault> {
        let db = Db::open(disk, path, bolt::Options { read_only: true, ..options })?;
        let committed = Arc::new(db.begin_read());
        let after = last_revision(&committed)?;
        let layer = Arc::new(SharedLayer::new(Layer::new(EntryId::default())));
        let view = View::new(committed, Upper { after, layer });
        Ok(Reader { newest: Arc::new(RwLock::new(view)) })
    }

    /// Everything written so far.
    pub fn view(&self) -> View {
        self.newest.read().clone()
    }

    /// The last entry whose effects the file holds.
    ///
    /// # Errors
    /// It is written there as no sound member writes it.
    pub fn applied(&self) -> Result<EntryId, Fault> {
        applied(&self.newest.read().committed())
    }

    /// The last committed state, to be copied as a whole.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.newest.read().committed())
    }
}

fn create_tables(db: &Db) -> Result<(), Fault> {
    let read = db.begin_read();
    let missing: Vec<Table> =
        Table::ALL.into_iter().filter(|t| read.bucket(t.name().as_bytes()).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    drop(read);
    let mut txn = db.begin_write()?;
    for table in missing {
        txn.create_bucket_if_not_exists(table.name().as_bytes())?;
    }
    txn.commit()?;
    Ok(())
}

/// The highest key of the key table.
fn last_revision(committed: &bolt::ReadTxn) -> Result<RevisionKey, Fault> {
    let keys = committed.bucket(Table::Key.name().as_bytes());
    let Some((key, _)) = keys.and_then(|keys| keys.cursor().last()) else {
        return Ok(RevisionKey::default());
    };
    RevisionKey::read(key).ok_or_else(|| Fault::Corrupt {
        table: Table::Key.name(),
        what: format!("{} is no revision", key.escape_ascii()),
    })
}
