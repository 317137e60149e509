//! Putting the records that follow a snapshot together as they were meant.

use crate::Fault;
use crate::defect::Tear;
use crate::frame::{Kind, Record};
use crate::names::SegmentName;
use crate::reader::{Reader, SegmentEnd, decode, segments};
use bytes::Bytes;
use disk::Disk;
use proto::raftpb::{Entry, HardState};
use proto::walpb;
use std::fmt;
use std::path::{Path, PathBuf};

/// What a log held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// The first record: whose log it is.
    pub metadata: Bytes,
    /// The last hard state.
    pub hard_state: HardState,
    /// The entries after the snapshot asked for.
    pub entries: Vec<Entry>,
    /// What a crash cut off behind the last whole record, if it did. [`crate::Examined::begin`] removes
    /// it; a copy stays.
    pub torn: Option<Torn>,
}

impl Recovered {
    /// Asserts that the entries follow the snapshot at this index without a gap.
    pub fn check(&self, index: u64) {
        let (first, last) = (self.entries.first(), self.entries.last());
        if let (Some(first), Some(last)) = (first, last) {
            assert_eq!(first.index(), index + 1, "entries begin after the snapshot");
            let count = self.entries.len() as u64;
            assert_eq!(last.index(), index + count, "{count} entries are there after {index}");
        }
    }
}

/// What follows the last whole record of a log and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The last segment.
    pub path: PathBuf,
    /// Where the last whole record ends, in bytes.
    pub offset: u64,
    /// Why a crash may have done it.
    pub tear: Tear,
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is cut off at offset {}: {}", self.path.display(), self.offset, self.tear)
    }
}

/// What was found, and where the next record goes.
pub(crate) struct Replayed {
    pub(crate) recovered: Recovered,
    pub(crate) last_index: u64,
    /// Of the last segment.
    pub(crate) end: SegmentEnd,
    /// Where the chain of checksums has come to.
    pub(crate) crc: u32,
}

/// Reads what follows a snapshot, and changes nothing.
///
/// # Errors
/// Damage other than a torn tail, a missing snapshot record, missing entries.
pub fn read(disk: &dyn Disk, dir: &Path, at: &walpb::Snapshot) -> Result<Recovered, Fault> {
    let names = needed(disk, dir, at)?;
    Ok(replay(disk, dir, &names, at)?.recovered)
}

/// The segments that may hold what follows a snapshot.
pub(crate) fn needed(
    disk: &dyn Disk,
    dir: &Path,
    at: &walpb::Snapshot,
) -> Result<Vec<SegmentName>, Fault> {
    let mut names = segments(disk, dir)?;
    let first = names
        .iter()
        .rposition(|name| name.index <= at.index())
        .ok_or_else(|| Fault::inconsistent(dir, "the snapshot's segment is missing"))?;
    Ok(names.split_off(first))
}

/// Reads these segments, of which there is at least one.
pub(crate) fn replay(
    disk: &dyn Disk,
    dir: &Path,
    names: &[SegmentName],
    at: &walpb::Snapshot,
) -> Result<Replayed, Fault> {
    let mut replay = Replay::new(at);
    let mut reader = Reader::new(disk, dir);
    let mut end = SegmentEnd { offset: 0, tear: None };
    for (n, name) in names.iter().enumerate() {
        let is_last = n + 1 == names.len();
        end = reader.segment(*name, is_last, |record| replay.record(record))?;
    }
    if !replay.snapshot_found {
        let what = format!("no record of the snapshot at index {}", at.index());
        return Err(Fault::inconsistent(dir, what));
    }
    let torn = end.tear.zip(names.last()).map(|(tear, name)| Torn {
        path: dir.join(name.file_name()),
        offset: end.offset,
        tear,
    });
    let recovered = Recovered { torn, ..replay.recovered };
    recovered.check(at.index());
    Ok(Replayed { recovered, last_index: replay.last_index, end, crc: reader.crc() })
}

/// Puts records together as they were meant.
struct Replay<'a> {
    at: &'a walpb::Snapshot,
    recovered: Recovered,
    snapshot_found: bool,
    metadata_seen: bool,
    last_index: u64,
}

impl<'a> Replay<'a> {
    fn new(at: &'a walpb::Snapshot) -> Replay<'a> {
        Replay {
            at,
            recovered: Recovered::default(),
            snapshot_found: false,
            metadata_seen: false,
            last_index: 0,
        }
    }

    fn record(&mut self, record: Record) -> Result<(), String> {
        match record.kind {
            Kind::Entry => return self.entry(decode(record)?),
            Kind::State => self.recovered.hard_state = decode(record)?,
            Kind::Metadata => {
                if self.metadata_seen && self.recovered.metadata != record.data {
                    return Err("its metadata is not that of the segments before".into());
                }
                self.metadata_seen = true;
                self.recovered.metadata = record.data;
            }
            Kind::Snapshot => {
                let snapshot: walpb::Snapshot = decode(record)?;
                if snapshot.index() == self.at.index() {
                    if snapshot.term() != self.at.term() {
                        return Err(format!(
                            "snapshot {} is of term {}, not {}",
                            snapshot.index(),
                            snapshot.term(),
                            self.at.term()
                        ));
                    }
                    self.snapshot_found = true;
                }
            }
            Kind::Crc => {}
        }
        Ok(())
    }

    /// An entry replaces the one of its index and all after it.
    fn entry(&mut self, entry: Entry) -> Result<(), String> {
        let start = self.at.index();
        if entry.index() > start {
            let place = (entry.index() - start - 1) as usize;
            if place > self.recovered.entries.len() {
                let expected = start + self.recovered.entries.len() as u64 + 1;
                return Err(format!("entry {} where {expected} must be", entry.index()));
            }
            self.recovered.entries.truncate(place);
            debug_assert_eq!(
                self.recovered.entries.len(),
                place,
                "entry {} has its place",
                start + 1
            );
            self.last_index = entry.index();
            self.recovered.entries.push(entry);
        } else {
            self.last_index = entry.index();
        }
        Ok(())
    }
}
