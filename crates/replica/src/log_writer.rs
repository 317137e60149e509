//! The log writer: everything raft wants to be durable.

use crate::Fault;
use crate::applier::SnapshotDue;
use disk::Disk;
use proto::raftpb::{Entry, HardState, Snapshot, SnapshotMetadata};
use proto::walpb;
use std::path::PathBuf;
use std::sync::Arc;
use wal::{Wal, snap};

/// What to write.
#[derive(Clone, Debug, Default)]
pub struct Persist {
    /// Its number, or 0 where nobody waits for it.
    pub number: u64,
    /// The hard state, where it changed.
    pub hard_state: Option<HardState>,
    /// Entries, in order.
    pub entries: Vec<Entry>,
    /// A snapshot from the leader, in place of everything before.
    pub snapshot: Option<Snapshot>,
    /// Whether it must be durable.
    pub sync: bool,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Persisted {
    /// The number of the last batch that somebody waits for, 0 where nobody does.
    pub number: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// The log writer.
pub struct LogWriter {
    pub(crate) wal: Wal,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) snap_dir: PathBuf,
    /// Segments that are kept.
    pub(crate) keep_wals: usize,
    /// Snapshot files that are kept, one at least.
    pub(crate) keep_snapshots: usize,
    /// The newest snapshot that is recorded.
    pub(crate) recorded: u64,
    /// Its term.
    pub(crate) recorded_term: u64,
    /// The newest snapshot of this member's own: what came for earlier ones has been used, or came too
    /// late.
    pub(crate) released: u64,
}

/// Files that are too many, and that nobody uses.
pub struct Surplus {
    disk: Arc<dyn Disk>,
    paths: Vec<PathBuf>,
}

impl Surplus {
    /// Removes them, without a writer; gives those that were still there.
    ///
    /// # Errors
    /// I/O faults.
    pub fn remove(self) -> Result<Vec<PathBuf>, Fault> {
        Ok(wal::remove(&*self.disk, self.paths)?)
    }
}

impl LogWriter {
    /// Writes batches in one go, with one sync where any of them needs it.
    ///
    /// # Errors
    /// The log takes no more writes then; the member must stop.
    pub fn persist(&mut self, batches: &[Persist]) -> Result<Persisted, Fault> {
        let mut done = Persisted::default();
        let mut rest = batches;
        while let Some(first) = rest.first() {
            if let Some(snapshot) = &first.snapshot {
                self.record(snapshot)?;
                // A record beyond the commit index counts for nothing: the commit index must be
                // durable before anything stands behind the record, or is said of it.
                done.bytes += self.wal.save(first.hard_state.as_ref(), &[], true)?.bytes;
            }
            // A snapshot is written between what comes before it and what comes with it.
            let next = rest.iter().skip(1).position(|batch| batch.snapshot.is_some());
            let (together, later) = rest.split_at(next.map_or(rest.len(), |place| place + 1));
            done.bytes += self.save(together)?;
            rest = later;
        }
        done.number = batches.iter().map(|batch| batch.number).max().unwrap_or(0);
        Ok(done)
    }

    fn save(&mut self, batches: &[Persist]) -> Result<u64, Fault> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut hard_state = None;
        let mut sync = false;
        for batch in batches {
            entries.extend_from_slice(&batch.entries);
            hard_state = batch.hard_state.or(hard_state);
            sync |= batch.sync;
        }
        Ok(self.wal.save(hard_state.as_ref(), &entries, sync)?.bytes)
    }

    /// What is applied is committed, and the log must say so before a record beyond it: such a record
    /// counts for nothing, and what it lets go of would be missed. It is durable with the record.
    fn commit_to(&mut self, index: u64) -> Result<(), Fault> {
        let written = self.wal.hard_state();
        if written.commit() < index {
            self.wal.save(Some(&HardState { commit: Some(index), ..written }), &[], false)?;
        }
        Ok(())
    }

    /// Records a snapshot: the file first, for a record must never name a file that is not there.
    fn record(&mut self, snapshot: &Snapshot) -> Result<(), Fault> {
        let metadata = snapshot.metadata.clone().unwrap_or_default();
        let index = metadata.index();
        snap::write(&*self.disk, &self.snap_dir, snapshot)?;
        let term = metadata.term();
        self.wal.save_snapshot(&walpb::Snapshot {
            index: metadata.index,
            term: metadata.term,
            conf_state: metadata.conf_state,
        })?;
        if index >= self.recorded {
            (self.recorded, self.recorded_term) = (index, term);
        }
        Ok(())
    }

    /// Files that are more than are kept, whoever made them: segments that are released, snapshot files
    /// but for that of the log's newest record, and databases of leaders that nobody waits for. To be
    /// asked for from time to time; removing takes its time and needs no writer.
    ///
    /// # Errors
    /// I/O faults.
    pub fn surplus(&self) -> Result<Surplus, Fault> {
        let (disk, dir) = (&*self.disk, &self.snap_dir);
        let needed = snap::file_name(self.recorded_term, self.recorded);
        let mut paths = self.wal.surplus(self.keep_wals)?;
        paths.extend(snap::surplus(disk, dir, snap::SNAPSHOT, self.keep_snapshots, &needed)?);
        paths.extend(snap::databases_before(disk, dir, self.released)?);
        Ok(Surplus { disk: Arc::clone(&self.disk), paths })
    }

    /// The same before anything is on its way, when nobody waits for a database: of those that earlier
    /// runs left only the newest are kept.
    ///
    /// # Errors
    /// I/O faults.
    pub(crate) fn surplus_at_start(&self) -> Result<Surplus, Fault> {
        let mut surplus = self.surplus()?;
        let (disk, dir) = (&*self.disk, &self.snap_dir);
        surplus.paths.extend(snap::surplus(disk, dir, snap::DATABASE, self.keep_snapshots, "")?);
        Ok(surplus)
    }

    /// Whether [`LogWriter::prepare`] has something to do.
    pub fn wants_prepare(&self) -> bool {
        self.wal.wants_prepared()
    }

    /// Makes the next segment ahead where it is time; costs milliseconds, once in a segment.
    ///
    /// # Errors
    /// I/O faults.
    pub fn prepare(&mut self) -> Result<(), Fault> {
        if self.wants_prepare() {
            let prepared = self.wal.preparation()()?;
            self.wal.prepared(prepared);
        }
        Ok(())
    }

    /// Records a snapshot, lets go of the log before it, and removes old files, whose paths it gives. One
    /// that a leader's snapshot has overtaken on its way here is no news.
    ///
    /// # Errors
    /// I/O faults.
    pub fn save_snapshot(&mut self, due: SnapshotDue) -> Result<Vec<PathBuf>, Fault> {
        if due.index <= self.recorded {
            return Ok(Vec::new());
        }
        let metadata = SnapshotMetadata {
            conf_state: Some(due.conf_state),
            index: Some(due.index),
            term: Some(due.term),
        };
        let snapshot = Snapshot { data: Some(due.data.into()), metadata: Some(metadata) };
        self.commit_to(due.index)?;
        self.record(&snapshot)?;
        self.wal.release_to(due.index);
        self.released = due.index;
        self.surplus()?.remove()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use disk::sim::SimDisk;
    use proto::raftpb::ConfState;
    use std::path::Path;

    fn options() -> wal::Options {
        wal::Options { segment_bytes: 2048, no_sync: false }
    }

    fn writer(sim: &SimDisk) -> LogWriter {
        let snap_dir = PathBuf::from("snap");
        sim.create_dir_all(&snap_dir, 0o700).unwrap();
        sim.sync_dir(Path::new("")).unwrap();
        let wal = Wal::create(sim.disk(), Path::new("wal"), Bytes::new(), options()).unwrap();
        let (keep_wals, keep_snapshots) = (2, 2);
        let (recorded, recorded_term, released) = (0, 0, 0);
        let disk = sim.disk();
        LogWriter {
            wal,
            disk,
            snap_dir,
            keep_wals,
            keep_snapshots,
            recorded,
            recorded_term,
            released,
        }
    }

    fn entries(from: u64, to: u64) -> Vec<Entry> {
        let entry = |index| Entry { index: Some(index), term: Some(1), ..Entry::default() };
        (from..=to).map(entry).collect()
    }

    fn state(commit: u64) -> Option<HardState> {
        Some(HardState { term: Some(1), vote: Some(0), commit: Some(commit) })
    }

    /// Entries up to 3.
    fn own() -> Persist {
        let (hard_state, entries) = (state(3), entries(1, 3));
        Persist { number: 1, hard_state, entries, sync: true, ..Persist::default() }
    }

    /// A leader's snapshot at 8.
    fn received() -> Persist {
        let metadata = SnapshotMetadata { index: Some(8), term: Some(1), conf_state: None };
        let snapshot = Some(Snapshot { data: None, metadata: Some(metadata) });
        Persist { number: 2, hard_state: state(8), snapshot, ..Persist::default() }
    }

    fn newest(sim: &SimDisk) -> walpb::Snapshot {
        let recorded = wal::valid_snapshots(sim, Path::new("wal")).unwrap();
        recorded.into_iter().max_by_key(walpb::Snapshot::index).unwrap()
    }

    #[test]
    fn a_received_snapshot_that_is_written_counts_after_a_crash() {
        for seed in 0..20 {
            let sim = SimDisk::new(seed);
            let mut writer = writer(&sim);
            writer.persist(&[own()]).unwrap();
            writer.persist(&[received()]).unwrap();
            sim.restart();
            assert_eq!(newest(&sim).index(), 8, "seed {seed}");
        }
    }

    #[test]
    fn a_crash_between_a_received_snapshot_and_later_entries_leaves_a_log_without_a_gap() {
        let work = |writer: &mut LogWriter| {
            writer.persist(&[own()])?;
            let (hard_state, entries) = (state(9), entries(9, 80));
            let later = Persist { hard_state, entries, sync: true, ..Persist::default() };
            writer.persist(&[received(), later])
        };
        let sim = SimDisk::new(0);
        let mut whole = writer(&sim);
        let begun = sim.ops();
        work(&mut whole).unwrap();
        for crash in 1..=sim.ops() - begun {
            for seed in 0..10 {
                let sim = SimDisk::new(seed);
                let mut writer = writer(&sim);
                sim.crash_after(crash);
                let _ = work(&mut writer);
                sim.restart();
                let opened = Wal::open(sim.disk(), Path::new("wal"), &newest(&sim), options());
                assert!(opened.is_ok(), "crash {crash}, seed {seed}: {:?}", opened.err());
            }
        }
    }

    #[test]
    fn a_snapshot_that_was_overtaken_is_not_recorded() {
        let sim = SimDisk::new(1);
        let mut writer = writer(&sim);
        writer.persist(&[own(), received()]).unwrap();
        let (conf_state, data) = (ConfState::default(), Vec::new());
        writer.save_snapshot(SnapshotDue { index: 2, term: 1, conf_state, data }).unwrap();
        let recorded = wal::valid_snapshots(&sim, Path::new("wal")).unwrap();
        assert_eq!(recorded.last().map(walpb::Snapshot::index), Some(8));
    }

    #[test]
    fn files_that_others_put_there_are_too_many_when_it_is_looked_again() {
        let sim = SimDisk::new(1);
        let mut writer = writer(&sim);
        writer.persist(&[own()]).unwrap();
        let (conf_state, data) = (ConfState::default(), Vec::new());
        writer.save_snapshot(SnapshotDue { index: 2, term: 1, conf_state, data }).unwrap();
        let put = |name: &str| drop(sim.open(&Path::new("snap").join(name), disk::Open::CREATE));
        assert!(writer.surplus().unwrap().remove().unwrap().is_empty());
        let strangers = ["0000000000000001-0000000000000001.snap", "f-1.snap", "f-2.snap"];
        strangers.iter().for_each(|name| put(name));
        // One that somebody may wait for, and one that came too late.
        put("0000000000000009.snap.db");
        put("0000000000000001.snap.db");
        let removed = writer.surplus().unwrap().remove().unwrap();
        let expected = [strangers[0], "0000000000000001.snap.db"];
        assert_eq!(removed, expected.map(|name| Path::new("snap").join(name)));
        assert_eq!(
            sim.list(Path::new("snap")).unwrap(),
            [
                "0000000000000001-0000000000000002.snap",
                "0000000000000009.snap.db",
                strangers[1],
                strangers[2]
            ]
        );
    }

    #[test]
    fn a_database_that_came_too_late_does_not_stay() {
        let sim = SimDisk::new(1);
        let mut writer = writer(&sim);
        writer.persist(&[own()]).unwrap();
        for index in [1, 2, 10] {
            let path = crate::received_db(Path::new("snap"), index);
            sim.open(&path, disk::Open::CREATE).unwrap();
        }
        let (conf_state, data) = (ConfState::default(), Vec::new());
        writer.save_snapshot(SnapshotDue { index: 2, term: 1, conf_state, data }).unwrap();
        let mut names = sim.list(Path::new("snap")).unwrap();
        names.retain(|name| name.ends_with(".db"));
        assert_eq!(names, ["0000000000000002.snap.db", "000000000000000a.snap.db"]);
    }
}
