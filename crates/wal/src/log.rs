//! The log itself: recovered, appended to, cut into segments.

use crate::frame::{Encoder, Kind};
use crate::names::SegmentName;
use crate::reader::{has_segments, segments};
use crate::{Fault, Recovered, SEGMENT_BYTES};
use bytes::Bytes;
use disk::{Disk, File, Lock, Open};
use proto::raftpb::{Entry, HardState};
use proto::walpb;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A segment is cut when it has this many bytes.
    pub segment_bytes: u64,
    /// Never sync. Acknowledged writes may be lost.
    pub no_sync: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { segment_bytes: SEGMENT_BYTES, no_sync: false }
    }
}

/// Where a log ends.
pub(crate) struct FoundEnd {
    pub(crate) metadata: Bytes,
    pub(crate) hard_state: HardState,
    /// After the last record, in the last segment.
    pub(crate) offset: u64,
    /// Of all records.
    pub(crate) crc: u32,
    pub(crate) last_index: u64,
}

/// What a save did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// Bytes written.
    pub bytes: u64,
    /// Whether they are durable.
    pub synced: bool,
}

/// The next segment, made ahead so that cutting costs no time.
pub struct Prepared {
    path: PathBuf,
    file: Arc<dyn File>,
}

/// A log open for appending.
///
/// Always true:
/// 1. At least one segment is held, and the numbers of those held count up by one.
/// 2. Nothing waits to be written between calls, unless a write has failed.
/// 3. The last record ends within the last segment's file.
pub struct Wal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: Options,
    metadata: Bytes,
    hard_state: HardState,
    /// Segments in use, the last one being written; their locks are held.
    held: Vec<(SegmentName, Arc<dyn File>)>,
    /// Where the next record goes in the last segment.
    offset: u64,
    encoder: Encoder,
    last_index: u64,
    prepared: Option<Prepared>,
    prepared_count: u64,
    failed: Option<String>,
}

impl Wal {
    /// Makes a log in a directory that must not exist, all of it or nothing.
    ///
    /// # Errors
    /// I/O faults, and a directory that is there already.
    pub fn create(
        disk: Arc<dyn Disk>,
        dir: &Path,
        metadata: Bytes,
        options: Options,
    ) -> Result<Wal, Fault> {
        Wal::create_with(disk, dir, metadata, HardState::default(), &[], options)
    }

    /// The same with a first hard state and entries: a crash leaves all of them or no log.
    ///
    /// # Errors
    /// As [`Wal::create`].
    pub fn create_with(
        disk: Arc<dyn Disk>,
        dir: &Path,
        metadata: Bytes,
        hard_state: HardState,
        entries: &[Entry],
        options: Options,
    ) -> Result<Wal, Fault> {
        let counts_from_one = entries.iter().zip(1..).all(|(entry, n)| entry.index() == n);
        assert!(counts_from_one, "a log begins with entry 1 and has no gap");
        let (commit, last) = (hard_state.commit(), entries.len() as u64);
        assert!(commit <= last, "a new log of {last} entries has none committed beyond: {commit}");
        check_vacant(&*disk, dir)?;
        if disk.exists(dir).map_err(Fault::io(dir, "cannot look for"))? {
            // Made beforehand by whoever set the machine up; the finished log takes its place.
            disk.remove_dir_all(dir).map_err(Fault::io(dir, "cannot replace"))?;
        }
        let temporary = beside(dir);
        let io = |what| Fault::io(&temporary, what);
        if disk.exists(&temporary).map_err(io("cannot look for"))? {
            disk.remove_dir_all(&temporary).map_err(io("cannot remove"))?;
        }
        disk.create_dir_all(&temporary, 0o700).map_err(io("cannot make"))?;
        let name = SegmentName { sequence: 0, index: 0 };
        let path = temporary.join(name.file_name());
        let file = new_segment(&*disk, &path, options.segment_bytes)?;
        let mut encoder = Encoder::new(0);
        encoder.crc_record();
        encoder.bytes(Kind::Metadata, &metadata);
        let start = walpb::Snapshot { index: Some(0), term: Some(0), conf_state: None };
        encoder.message(Kind::Snapshot, &start);
        for entry in entries {
            encoder.message(Kind::Entry, entry);
        }
        if hard_state != HardState::default() {
            encoder.message(Kind::State, &hard_state);
        }
        file.write_at(&encoder.buffer, 0).map_err(io("cannot write"))?;
        file.sync_all().map_err(io("cannot sync"))?;
        let offset = encoder.buffer.len() as u64;
        encoder.buffer.clear();
        disk.sync_dir(&temporary).map_err(io("cannot sync"))?;
        disk.rename(&temporary, dir).map_err(io("cannot rename"))?;
        let parent = dir.parent().filter(|parent| *parent != Path::new(""));
        let parent = parent.unwrap_or(Path::new("."));
        disk.sync_dir(parent).map_err(Fault::io(parent, "cannot sync"))?;
        Ok(Wal {
            disk,
            dir: dir.to_owned(),
            options,
            metadata,
            hard_state,
            held: vec![(name, file)],
            offset,
            encoder,
            last_index: entries.last().map_or(0, Entry::index),
            prepared: None,
            prepared_count: 0,
            failed: None,
        })
    }

    /// Opens a log to read what follows a snapshot and to append.
    ///
    /// A torn tail of the last segment is cut off; a copy stays beside it as `.broken`. Whoever may
    /// still refuse the log for what is in it calls [`Wal::examine`] first.
    ///
    /// # Errors
    /// Every other damage, a missing snapshot record, missing entries.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        at: &walpb::Snapshot,
        options: Options,
    ) -> Result<(Wal, Recovered), Fault> {
        let (examined, recovered) = Wal::examine(disk, dir, at, options)?;
        Ok((examined.begin()?, recovered))
    }

    /// The log of a directory, with what was found where it ends. The segments are locked.
    pub(crate) fn found(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: Options,
        held: Vec<(SegmentName, Arc<dyn File>)>,
        end: FoundEnd,
    ) -> Wal {
        let FoundEnd { metadata, hard_state, offset, crc, last_index } = end;
        Wal {
            disk,
            dir,
            options,
            metadata,
            hard_state,
            held,
            offset,
            encoder: Encoder::new(crc),
            last_index,
            prepared: None,
            prepared_count: 0,
            failed: None,
        }
    }

    /// Appends entries and a hard state in one write; with `sync` they are durable on return.
    ///
    /// # Errors
    /// After any failure the log takes no more writes.
    pub fn save(
        &mut self,
        hard_state: Option<&HardState>,
        entries: &[Entry],
        sync: bool,
    ) -> Result<Saved, Fault> {
        self.check_sound()?;
        for entry in entries {
            let (index, last) = (entry.index(), self.last_index);
            assert!((1..=last + 1).contains(&index), "entry {index} leaves a gap after {last}");
            self.encoder.message(Kind::Entry, entry);
            self.last_index = entry.index();
        }
        if let Some(state) = hard_state {
            let (term, before) = (state.term(), self.hard_state.term());
            let is_none = *state == HardState::default();
            assert!(is_none || term >= before, "term {term} is written after term {before}");
        }
        if let Some(state) = hard_state.filter(|state| **state != HardState::default()) {
            self.encoder.message(Kind::State, state);
            self.hard_state = *state;
        }
        self.flush(sync)
    }

    /// Records a snapshot, durably. Its database and file must be durable already.
    ///
    /// # Errors
    /// As [`Wal::save`].
    pub fn save_snapshot(&mut self, snapshot: &walpb::Snapshot) -> Result<Saved, Fault> {
        self.check_sound()?;
        self.encoder.message(Kind::Snapshot, snapshot);
        self.last_index = self.last_index.max(snapshot.index());
        self.flush(true)
    }

    /// The last hard state that was written.
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    fn check_sound(&self) -> Result<(), Fault> {
        match &self.failed {
            Some(first) => Err(Fault::Poisoned(first.clone())),
            None => Ok(()),
        }
    }

    fn flush(&mut self, sync: bool) -> Result<Saved, Fault> {
        let result = self.try_flush(sync);
        match &result {
            Err(fault) => self.failed = Some(fault.to_string()),
            Ok(_) if cfg!(debug_assertions) => self.check(),
            Ok(_) => {}
        }
        result
    }

    /// Asserts what is always true.
    pub fn check(&self) {
        assert!(!self.held.is_empty(), "a segment is held");
        for pair in self.held.windows(2) {
            let (one, next) = (pair[0].0.sequence, pair[1].0.sequence);
            assert_eq!(next, one + 1, "segments are held without a gap");
        }
        if self.failed.is_some() {
            return;
        }
        let waiting = self.encoder.buffer.len();
        assert_eq!(waiting, 0, "{waiting} bytes wait to be written though no call is under way");
        let len = self.held.last().map(|(_, file)| file.len());
        if let Some(Ok(len)) = len {
            let offset = self.offset;
            assert!(offset <= len, "records end at {offset}, the segment at {len}");
        }
    }

    fn try_flush(&mut self, sync: bool) -> Result<Saved, Fault> {
        let (name, file) = self.held.last().expect("there is a last segment");
        let path = self.dir.join(name.file_name());
        let bytes = self.encoder.buffer.len() as u64;
        if bytes > 0 {
            let written = file.write_at(&self.encoder.buffer, self.offset);
            written.map_err(Fault::io(&path, "cannot write"))?;
            self.offset += bytes;
            self.encoder.buffer.clear();
        }
        let synced = sync && !self.options.no_sync;
        if synced {
            file.sync_data().map_err(Fault::io(&path, "cannot sync"))?;
        }
        if self.offset >= self.options.segment_bytes {
            self.cut(&path)?;
        }
        Ok(Saved { bytes, synced: sync })
    }

    /// Ends the segment and begins the next.
    fn cut(&mut self, path: &Path) -> Result<(), Fault> {
        let waiting = self.encoder.buffer.len();
        assert_eq!(
            waiting, 0,
            "a segment ends with whole records, {waiting} bytes are not written"
        );
        let (name, file) = self.held.last().expect("there is a last segment");
        file.set_len(self.offset).map_err(Fault::io(path, "cannot cut"))?;
        file.sync_all().map_err(Fault::io(path, "cannot sync"))?;
        let name = SegmentName { sequence: name.sequence + 1, index: self.last_index + 1 };
        let next = match self.prepared.take() {
            Some(prepared) => prepared,
            None => self.preparation()()?,
        };
        let io = |what| Fault::io(&next.path, what);
        self.encoder.crc_record();
        self.encoder.bytes(Kind::Metadata, &self.metadata);
        if self.hard_state != HardState::default() {
            self.encoder.message(Kind::State, &self.hard_state);
        }
        next.file.write_at(&self.encoder.buffer, 0).map_err(io("cannot write"))?;
        next.file.sync_all().map_err(io("cannot sync"))?;
        let to = self.dir.join(name.file_name());
        self.disk.rename(&next.path, &to).map_err(io("cannot rename"))?;
        self.disk.sync_dir(&self.dir).map_err(Fault::io(&self.dir, "cannot sync"))?;
        self.offset = self.encoder.buffer.len() as u64;
        self.encoder.buffer.clear();
        self.held.push((name, next.file));
        Ok(())
    }

    /// What makes the next segment; to be run on any thread and handed to [`Wal::prepared`].
    pub fn preparation(&mut self) -> impl FnOnce() -> Result<Prepared, Fault> + Send + use<> {
        let path = self.dir.join(format!("{}.tmp", self.prepared_count % 2));
        self.prepared_count += 1;
        let (disk, len) = (Arc::clone(&self.disk), self.options.segment_bytes);
        move || Ok(Prepared { file: new_segment(&*disk, &path, len)?, path })
    }

    /// Whether a next segment should be made ahead now.
    pub fn wants_prepared(&self) -> bool {
        self.prepared.is_none() && self.offset > self.options.segment_bytes / 2
    }

    /// Takes a segment made ahead.
    pub fn prepared(&mut self, prepared: Prepared) {
        assert!(self.prepared.is_none(), "one segment is made ahead, not two");
        assert_eq!(prepared.path.parent(), Some(&*self.dir), "it is made in the log's directory");
        self.prepared = Some(prepared);
    }

    /// Lets go of segments that hold nothing after `index`; they may be removed then.
    pub fn release_to(&mut self, index: u64) {
        let needed = self.held.iter().rposition(|(name, _)| name.index <= index).unwrap_or(0);
        self.held.drain(..needed);
        assert!(!self.held.is_empty(), "the segment that is written to is never let go");
    }

    /// Released segments, the oldest first, that are more than `keep` with those in use. Nobody
    /// writes to them any more; they may be removed at any time.
    ///
    /// # Errors
    /// Those of listing.
    pub fn surplus(&self, keep: usize) -> Result<Vec<PathBuf>, Fault> {
        let names = segments(&*self.disk, &self.dir)?;
        let in_use = self.held.first().map_or(0, |(name, _)| name.sequence);
        let surplus = names.len().saturating_sub(keep);
        let released = names.iter().take(surplus).take_while(|name| name.sequence < in_use);
        let released: Vec<PathBuf> = released.map(|name| self.dir.join(name.file_name())).collect();
        let held = self.held.len();
        assert!(released.len() + held <= names.len(), "of {held} segments in use none is too many");
        Ok(released)
    }
}

/// Whether a new log may be made in a directory, as far as can be told by looking.
///
/// # Errors
/// A log that is there, other files in its place, I/O faults.
pub fn check_vacant(disk: &dyn Disk, dir: &Path) -> Result<(), Fault> {
    if has_segments(disk, dir)? {
        return Err(Fault::inconsistent(dir, "there is a log already"));
    }
    if disk.exists(dir).map_err(Fault::io(dir, "cannot look for"))? {
        check_empty(disk, dir)?;
    }
    Ok(())
}

/// Nothing is removed that nobody has read: a directory may have been named by mistake.
fn check_empty(disk: &dyn Disk, dir: &Path) -> Result<(), Fault> {
    let names = disk.list(dir).map_err(Fault::io(dir, "cannot list"))?;
    match names.iter().find(|name| !name.ends_with(".tmp")) {
        None => Ok(()),
        Some(name) => {
            let what = format!("there is no log in it but {name:?}, which a new one would remove");
            Err(Fault::inconsistent(dir, what))
        }
    }
}

/// Where a log is made before it gets its name; a slash at the end of that means nothing.
fn beside(dir: &Path) -> PathBuf {
    let mut name = dir.components().collect::<PathBuf>().into_os_string();
    name.push(".tmp");
    name.into()
}

/// An empty, locked segment of its full length.
fn new_segment(disk: &dyn Disk, path: &Path, len: u64) -> Result<Arc<dyn File>, Fault> {
    let how = Open { truncate: true, ..Open::CREATE.locked(Lock::Exclusive) };
    let file = disk.open(path, how).map_err(Fault::io(path, "cannot make"))?;
    file.allocate(len).map_err(Fault::io(path, "cannot preallocate"))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use disk::sim::SimDisk;

    #[test]
    fn a_new_log_removes_nothing_but_what_an_unfinished_one_left() {
        let sim = SimDisk::new(1);
        let dir = Path::new("wal");
        let make = |name: &str| sim.open(&dir.join(name), Open::CREATE).map(|_| ());
        sim.create_dir_all(dir, 0o700).unwrap();
        make("0.tmp").unwrap();
        make("notes.txt").unwrap();
        let create = || Wal::create(sim.disk(), dir, Bytes::new(), Options::default());
        let Err(Fault::Inconsistent { what, .. }) = create() else { panic!("it is refused") };
        assert!(what.contains("notes.txt"), "{what}");
        assert_eq!(sim.list(dir).unwrap(), ["0.tmp", "notes.txt"]);
        sim.remove_file(&dir.join("notes.txt")).unwrap();
        assert!(create().is_ok());
    }

    #[test]
    fn a_log_that_failed_keeps_nothing_more() {
        let sim = SimDisk::new(1);
        let dir = Path::new("wal");
        let mut wal = Wal::create(sim.disk(), dir, Bytes::new(), Options::default()).unwrap();
        sim.fail_sync_after(1);
        let data = Some(Bytes::from(vec![1; 1000]));
        let entry = Entry { index: Some(1), term: Some(1), data, ..Entry::default() };
        wal.save(None, std::slice::from_ref(&entry), true).unwrap_err();
        let (buffered, last) = (wal.encoder.buffer.len(), wal.last_index);
        let later = Entry { index: Some(2), ..entry };
        for _ in 0..10 {
            wal.save(None, std::slice::from_ref(&later), true).unwrap_err();
            let at = walpb::Snapshot { index: Some(9), term: Some(1), conf_state: None };
            wal.save_snapshot(&at).unwrap_err();
        }
        assert_eq!((wal.encoder.buffer.len(), wal.last_index), (buffered, last));
    }

    fn written() -> Wal {
        let sim = SimDisk::new(1);
        let options = Options { segment_bytes: 1024, ..Options::default() };
        let mut wal = Wal::create(sim.disk(), Path::new("wal"), Bytes::new(), options).unwrap();
        for index in 1..5 {
            let data = Some(Bytes::from(vec![1; 600]));
            let entry = Entry { index: Some(index), term: Some(1), data, ..Entry::default() };
            wal.save(None, &[entry], true).unwrap();
        }
        wal
    }

    #[test]
    #[should_panic(expected = "segments are held without a gap")]
    fn a_gap_between_segments_is_found() {
        let mut wal = written();
        wal.held.remove(1);
        wal.check();
    }

    #[test]
    #[should_panic(expected = "records end at")]
    fn records_beyond_the_segment_are_found() {
        let mut wal = written();
        wal.offset += 1 << 20;
        wal.check();
    }

    #[test]
    #[should_panic(expected = "entry 7 leaves a gap after 4")]
    fn an_entry_that_leaves_a_gap_is_not_written() {
        let entry = Entry { index: Some(7), term: Some(1), ..Entry::default() };
        let _ = written().save(None, &[entry], true);
    }
}
