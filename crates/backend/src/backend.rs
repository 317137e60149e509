//! The backend: its one writer, and what readers share with it.

use crate::layer::{Layer, SharedLayer, Writes};
use crate::table::{CONSISTENT_INDEX, TERM};
use crate::txn::{ApplyTxn, MaintenanceTxn};
use crate::view::View;
use crate::{CommitJob, Committed, DefragJob, Defragmented, Fault, Snapshot, Table};
use bolt::Db;
use disk::Disk;
use parking_lot::RwLock;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A log entry's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryId {
    /// Its term.
    pub term: u64,
    /// Its index.
    pub index: u64,
}

/// How to open the database.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Options of the file.
    pub bolt: bolt::Options,
}

impl Default for Options {
    fn default() -> Options {
        let initial_map_bytes = 10 * 1024 * 1024 * 1024;
        Options { bolt: bolt::Options { initial_map_bytes, ..bolt::Options::default() } }
    }
}

/// What readers see.
pub(crate) struct State {
    pub(crate) committed: Arc<bolt::ReadTxn>,
    pub(crate) frozen: Option<Arc<SharedLayer>>,
    pub(crate) active: Arc<SharedLayer>,
}

/// The database with its one writer.
pub struct Backend {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    options: Options,
    db: Db,
    state: Arc<RwLock<State>>,
    active: Arc<SharedLayer>,
    pub(crate) writes: Writes,
    applied: EntryId,
    durable: EntryId,
    job_is_out: bool,
}

/// Opens views, from any thread.
#[derive(Clone)]
pub struct Reader {
    state: Arc<RwLock<State>>,
}

impl Backend {
    /// Opens or creates the database file, with all its tables.
    ///
    /// # Errors
    /// I/O faults, a file in use by another process, a damaged file.
    pub fn open(disk: Arc<dyn Disk>, path: &Path, options: Options) -> Result<Backend, Fault> {
        let db = Db::open(&*disk, path, options.bolt)?;
        create_tables(&db)?;
        let committed = Arc::new(db.begin_read());
        let number = |key| -> Result<u64, Fault> {
            let meta = committed.bucket(Table::Meta.name().as_bytes());
            match meta.and_then(|meta| meta.get(key)) {
                None => Ok(0),
                Some(bytes) => Ok(u64::from_be_bytes(bytes.try_into().map_err(|_| {
                    let what = format!("{} has {} bytes", key.escape_ascii(), bytes.len());
                    Fault::Corrupt { table: Table::Meta.name(), what }
                })?)),
            }
        };
        let applied = EntryId { term: number(TERM)?, index: number(CONSISTENT_INDEX)? };
        let active = Arc::new(SharedLayer::new(Layer::new(applied)));
        let state = State { committed, frozen: None, active: Arc::clone(&active) };
        Ok(Backend {
            disk,
            path: path.to_owned(),
            options,
            db,
            state: Arc::new(RwLock::new(state)),
            active,
            writes: Writes::default(),
            applied,
            durable: applied,
            job_is_out: false,
        })
    }

    /// Opens views of this database.
    pub fn reader(&self) -> Reader {
        Reader { state: Arc::clone(&self.state) }
    }

    /// The last entry whose effects can be read.
    pub fn applied(&self) -> EntryId {
        self.applied
    }

    /// The last entry whose effects are durable in the file.
    pub fn durable(&self) -> EntryId {
        self.durable
    }

    /// Begins to apply an entry.
    pub fn begin(&mut self) -> ApplyTxn<'_> {
        self.writes.clear();
        ApplyTxn::new(self)
    }

    /// Begins a change that no entry asks for, like removing compacted revisions.
    pub fn begin_maintenance(&mut self) -> MaintenanceTxn<'_> {
        self.writes.clear();
        MaintenanceTxn::new(self)
    }

    /// Writes of a finished transaction become readable.
    pub(crate) fn absorb(&mut self, applied: Option<EntryId>) {
        let mut layer = self.active.write();
        layer.absorb(&mut self.writes);
        if let Some(applied) = applied {
            assert!(applied.index > self.applied.index, "entries are applied once, in order");
            layer.applied = applied;
            self.applied = applied;
        }
    }

    /// How many changes wait to be committed.
    pub fn pending_ops(&self) -> usize {
        self.active.read().ops
    }

    /// How many bytes wait to be committed.
    pub fn pending_bytes(&self) -> usize {
        self.active.read().bytes
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
        let mut state = self.state.write();
        state.frozen = Some(Arc::clone(&layer));
        state.active = fresh;
        self.job_is_out = true;
        Some(CommitJob { db: self.db.clone(), layer })
    }

    /// Takes the result of a commit: what was frozen is read from the file from now on.
    pub fn complete(&mut self, done: Committed) {
        let mut state = self.state.write();
        state.committed = done.committed;
        state.frozen = None;
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
    /// Writes go on meanwhile and wait in memory; `None` where another job is out.
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

    /// Takes the result of a defragmentation; the small file is in its place already.
    ///
    /// # Errors
    /// That of the job; the old file goes on in use where it failed before the exchange.
    pub fn complete_defragment(
        &mut self,
        result: Result<Defragmented, Fault>,
    ) -> Result<(), Fault> {
        self.job_is_out = false;
        let done = result?;
        self.db = done.db;
        self.state.write().committed = Arc::new(self.db.begin_read());
        Ok(())
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
    /// Everything written so far.
    pub fn view(&self) -> View {
        let state = self.state.read();
        View::new(Arc::clone(&state.committed), state.frozen.clone(), Arc::clone(&state.active))
    }

    /// The last committed state, to be copied as a whole.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(Arc::clone(&self.state.read().committed))
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
