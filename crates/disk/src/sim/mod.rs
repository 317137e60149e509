//! A disk in memory that crashes, tears writes, forgets what was not synced, fills up and fails.
//!
//! It behaves as a file system, with a journal or without, over a disk with 512-byte sectors:
//! - writes are visible at once; at a crash every sector that was not synced is kept or lost by
//!   itself, so a large write may be torn anywhere;
//! - changes of names survive a crash as a prefix of their order, either on the whole disk, as
//!   with a journal, or in every directory by itself; what a [`Disk::sync_dir`] covers is there;
//! - after a failed sync the data counts as written for readers and is lost at the next crash, as
//!   on Linux.
//!
//! The same seed and the same calls give the same faults.

mod inode;
mod names;

use crate::{Disk, File, Lock, Mapping, Open};
use inode::Inode;
use names::{Entry, Names};
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Faults to come; all off by default.
#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    crash_at_op: Option<u64>,
    fail_at_sync: Option<u64>,
    capacity_bytes: Option<u64>,
    short_reads: bool,
}

/// Always true:
/// 1. Every name of a file refers to an inode, and every inode's number was given out.
/// 2. What has crashed was planned to.
/// 3. Handles were opened in this life or an earlier one.
struct State {
    names: Names,
    inodes: HashMap<u64, Inode>,
    next_inode: u64,
    /// Handles of earlier lives are dead.
    generation: u64,
    crashed: bool,
    ops: u64,
    syncs: u64,
    faults: Faults,
    rng: Rng,
}

/// The simulated disk; clones share it.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// An empty disk whose faults follow from the seed.
    pub fn new(seed: u64) -> SimDisk {
        let state = State {
            names: Names::default(),
            inodes: HashMap::new(),
            next_inode: 1,
            generation: 0,
            crashed: false,
            ops: 0,
            syncs: 0,
            faults: Faults::default(),
            rng: Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
        };
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// The disk behind its trait.
    pub fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// How many changing operations (writes, syncs, names, lengths) there have been.
    pub fn ops(&self) -> u64 {
        self.state.lock().ops
    }

    /// From the `n`-th changing operation from now on (1 is the next), everything fails until
    /// [`SimDisk::restart`]. That operation itself may or may not have happened.
    pub fn crash_after(&self, n: u64) {
        let mut state = self.state.lock();
        state.faults.crash_at_op = Some(state.ops + n);
    }

    /// The `n`-th sync of a file from now on (1 is the next) fails, and what it should have saved
    /// is lost at the next crash.
    pub fn fail_sync_after(&self, n: u64) {
        let mut state = self.state.lock();
        state.faults.fail_at_sync = Some(state.syncs + n);
    }

    /// Limits the sum of all file lengths; beyond it writes fail with `StorageFull`.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().faults.capacity_bytes = bytes;
    }

    /// Reads return fewer bytes than asked, at random.
    pub fn set_short_reads(&self, on: bool) {
        self.state.lock().faults.short_reads = on;
    }

    /// Whether the planned crash has happened.
    pub fn has_crashed(&self) -> bool {
        self.state.lock().crashed
    }

    /// Loses power and comes back: unsynced sectors are kept or lost one by one, old handles are
    /// dead, planned faults are gone.
    pub fn restart(&self) {
        let mut state = self.state.lock();
        let State { names, inodes, rng, ops, .. } = &mut *state;
        // Each place of a crash draws its own fates, also for the same seed.
        rng.mix(*ops);
        names.crash(rng);
        inodes.retain(|id, _| names.refers_to(*id));
        // In the order of ids, so that a seed decides the same every time.
        let mut ids: Vec<u64> = inodes.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            inodes.get_mut(&id).expect("just listed").crash(rng);
        }
        state.generation += 1;
        state.crashed = false;
        state.faults = Faults::default();
        drop(state);
        self.check();
    }

    /// Asserts what is always true of the disk, its names and its files.
    pub fn check(&self) {
        let state = self.state.lock();
        state.names.check();
        for id in state.names.files() {
            assert!(state.inodes.contains_key(&id), "a name refers to inode {id}, which is gone");
        }
        for (id, inode) in &state.inodes {
            let next = state.next_inode;
            assert!(*id < next, "inode {id} was never given out, {next} is the next");
            inode.check();
        }
        let planned = state.faults.crash_at_op.is_some();
        assert!(planned || !state.crashed, "the disk has crashed and nobody planned it");
    }

    /// Flips one bit of a file, durably.
    ///
    /// # Errors
    /// Where there is no such file or byte.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let id = state.names.file(path)?;
        let inode = state.inodes.get_mut(&id).expect("names refer to inodes");
        let at = usize::try_from(bit / 8).map_err(io::Error::other)?;
        let byte = inode.bytes.get_mut(at).ok_or(io::ErrorKind::UnexpectedEof)?;
        *byte ^= 1 << (bit % 8);
        Ok(())
    }
}

impl State {
    fn alive(&self) -> io::Result<()> {
        if self.crashed { Err(io::Error::other("simulated crash")) } else { Ok(()) }
    }

    /// Counts a changing operation. `true` means: do it, then fail, for this is the crash.
    fn begin_op(&mut self) -> io::Result<bool> {
        self.alive()?;
        self.ops += 1;
        self.crashed = self.faults.crash_at_op.is_some_and(|at| self.ops >= at);
        Ok(self.crashed)
    }

    fn end_op(&self) -> io::Result<()> {
        self.alive()
    }

    fn check_capacity(&self, extra: u64) -> io::Result<()> {
        let Some(capacity) = self.faults.capacity_bytes else {
            return Ok(());
        };
        let used: u64 = self.inodes.values().map(|inode| inode.bytes.len() as u64).sum();
        if extra > 0 && used + extra > capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        how.check();
        let mut state = self.state.lock();
        state.alive()?;
        let id = match state.names.file(path) {
            Ok(_) if how.create_new => return Err(io::ErrorKind::AlreadyExists.into()),
            Ok(id) => id,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound && how.create => {
                state.begin_op()?;
                let id = state.next_inode;
                state.names.create(path, Entry::File(id))?;
                state.next_inode += 1;
                let before = state.inodes.insert(id, Inode::default());
                assert!(before.is_none(), "inode {id} is given out once");
                state.end_op()?;
                id
            }
            Err(other) => return Err(other),
        };
        let inode = state.inodes.get_mut(&id).expect("names refer to inodes");
        if how.lock != Lock::None {
            inode.lock(how.lock)?;
        }
        if how.truncate {
            inode.set_len(0);
        }
        let generation = state.generation;
        debug_assert!(!state.crashed, "nothing is opened on a disk that has crashed");
        Ok(Arc::new(SimFile { disk: self.clone(), id, generation, lock: how.lock }))
    }

    fn create_dir_all(&self, path: &Path, _mode: u32) -> io::Result<()> {
        let mut state = self.state.lock();
        state.begin_op()?;
        state.names.create_dir_all(path)?;
        state.end_op()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        state.alive()?;
        state.names.list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state.lock();
        state.alive()?;
        Ok(state.names.exists(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.begin_op()?;
        state.names.rename(from, to)?;
        state.end_op()
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.begin_op()?;
        state.names.file(path)?;
        state.names.remove(path)?;
        state.end_op()
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.begin_op()?;
        let inside: Vec<PathBuf> = state.names.under(path);
        for path in inside.iter().rev() {
            state.names.remove(path)?;
        }
        state.end_op()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.begin_op()? {
            return state.end_op();
        }
        state.names.sync(dir);
        Ok(())
    }
}

struct SimFile {
    disk: SimDisk,
    id: u64,
    generation: u64,
    lock: Lock,
}

impl SimFile {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state.lock();
        state.alive()?;
        if state.generation != self.generation {
            return Err(io::Error::other("file handle from before a crash"));
        }
        Ok(state)
    }

    fn change(&self, extra: u64, act: impl FnOnce(&mut Inode)) -> io::Result<()> {
        let mut state = self.state()?;
        state.check_capacity(extra)?;
        state.begin_op()?;
        act(state.inodes.get_mut(&self.id).expect("open files keep their inode"));
        state.end_op()
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state()?;
        if state.begin_op()? {
            return state.end_op();
        }
        state.syncs += 1;
        let fails = state.faults.fail_at_sync == Some(state.syncs);
        let inode = state.inodes.get_mut(&self.id).expect("open files keep their inode");
        if fails {
            inode.lose_unsynced();
            return Err(io::Error::other("simulated sync failure"));
        }
        inode.sync();
        Ok(())
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.inodes[&self.id].bytes.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state()?;
        let want = if state.faults.short_reads && buf.len() > 1 {
            1 + state.rng.below(buf.len() as u64) as usize
        } else {
            buf.len()
        };
        let bytes = &state.inodes[&self.id].bytes;
        let from = usize::try_from(offset).map_err(io::Error::other)?.min(bytes.len());
        let n = want.min(bytes.len() - from);
        buf[..n].copy_from_slice(&bytes[from..from + n]);
        Ok(n)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let extra = (offset + buf.len() as u64).saturating_sub(self.len()?);
        self.change(extra, |inode| inode.write(buf, offset as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let extra = len.saturating_sub(self.len()?);
        self.change(extra, |inode| inode.set_len(len as usize))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let now = self.len()?;
        if len <= now {
            return Ok(());
        }
        self.change(len - now, |inode| inode.set_len(len as usize))
    }

    fn map(&self, len: u64, _reserve: u64, _old: Option<&Mapping>) -> io::Result<Mapping> {
        let state = self.state()?;
        let bytes = &state.inodes[&self.id].bytes;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let mut copy = bytes[..len.min(bytes.len())].to_vec();
        copy.resize(len, 0);
        let mapping = Mapping::copied(copy);
        assert!(mapping.len() >= len, "a view of {len} bytes shows {}", mapping.len());
        Ok(mapping)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.disk.state.lock();
        if state.generation == self.generation
            && let Some(inode) = state.inodes.get_mut(&self.id)
        {
            inode.unlock(self.lock);
        }
    }
}

/// A small generator of pseudo-random numbers (xorshift64*).
pub(crate) struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn mix(&mut self, number: u64) {
        self.0 = (self.0 ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93)) | 1;
        self.next();
        assert_ne!(self.0, 0, "a generator at 0 stays there");
    }

    /// A number below `n`, which is not 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "no number is below 0");
        (self.next() >> 11) % n
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.next() >> 63 == 1
    }
}
