//! Reading a log back: the part that recovery and inspection share.

use crate::Fault;
use crate::defect::{Defect, Tear};
use crate::frame::{Decoder, Kind, Record};
use crate::names::SegmentName;
use disk::Disk;
use prost::Message;
use proto::{raftpb, walpb};
use std::path::{Path, PathBuf};

/// The segments of a directory in order; a gap in their numbers is a fault.
pub(crate) fn segments(disk: &dyn Disk, dir: &Path) -> Result<Vec<SegmentName>, Fault> {
    let names = disk.list(dir).map_err(Fault::io(dir, "cannot list"))?;
    let segments: Vec<SegmentName> =
        names.iter().filter_map(|name| SegmentName::parse(name)).collect();
    for pair in segments.windows(2) {
        if pair[1].sequence != pair[0].sequence + 1 {
            let what = format!("segment {:016x} is missing", pair[0].sequence + 1);
            return Err(Fault::inconsistent(dir, what));
        }
    }
    if segments.is_empty() {
        return Err(Fault::inconsistent(dir, "there is no segment"));
    }
    Ok(segments)
}

/// Whether a directory holds a log; one that is not there holds none.
///
/// # Errors
/// I/O faults.
pub fn has_segments(disk: &dyn Disk, dir: &Path) -> Result<bool, Fault> {
    if !disk.exists(dir).map_err(Fault::io(dir, "cannot look for"))? {
        return Ok(false);
    }
    let names = disk.list(dir).map_err(Fault::io(dir, "cannot list"))?;
    Ok(names.iter().any(|name| SegmentName::parse(name).is_some()))
}

/// Where reading a segment ended.
pub(crate) struct SegmentEnd {
    /// After the last sound record.
    pub(crate) offset: u64,
    /// Why the write after that counts as cut off by a crash, if it does.
    pub(crate) tear: Option<Tear>,
}

/// Reads segments in turn, with the checksum running through.
pub(crate) struct Reader<'d> {
    disk: &'d dyn Disk,
    dir: &'d Path,
    decoder: Decoder,
    started: bool,
}

impl<'d> Reader<'d> {
    pub(crate) fn new(disk: &'d dyn Disk, dir: &'d Path) -> Reader<'d> {
        Reader { disk, dir, decoder: Decoder::new(), started: false }
    }

    pub(crate) fn crc(&self) -> u32 {
        self.decoder.crc
    }

    /// Hands every record of a segment but the checksums to `see`.
    pub(crate) fn segment(
        &mut self,
        name: SegmentName,
        is_last: bool,
        mut see: impl FnMut(Record) -> Result<(), String>,
    ) -> Result<SegmentEnd, Fault> {
        let path: PathBuf = self.dir.join(name.file_name());
        let bytes = disk::read_all(self.disk, &path).map_err(Fault::io(&path, "cannot read"))?;
        self.decoder.offset = 0;
        let end = loop {
            let at = self.decoder.offset as u64;
            let fault = |what: String| Fault::corrupt(&path, at, what);
            let record = match self.decoder.next(&bytes) {
                Ok(Some(record)) => record,
                Ok(None) => {
                    break SegmentEnd { offset: at, tear: None };
                }
                Err(Defect::Torn(tear)) if is_last => {
                    break SegmentEnd { offset: at, tear: Some(tear) };
                }
                Err(Defect::Torn(tear)) => {
                    return Err(fault(format!("a record is cut off: {tear}")));
                }
                Err(Defect::Damaged(what)) => return Err(fault(what)),
            };
            if record.kind == Kind::Crc {
                self.crc_record(record.crc).map_err(fault)?;
            } else {
                see(record).map_err(fault)?;
            }
        };
        let (offset, len) = (end.offset, bytes.len());
        assert!(offset <= len as u64, "reading ended at {offset} of {len} bytes");
        assert!(is_last || end.tear.is_none(), "only the last segment is ever cut off");
        Ok(end)
    }

    /// The first one begins the chain, every later one must continue it.
    fn crc_record(&mut self, crc: u32) -> Result<(), String> {
        if self.started && crc != self.decoder.crc {
            return Err(format!("the segment before ends with checksum {:08x}", self.decoder.crc));
        }
        self.started = true;
        self.decoder.crc = crc;
        Ok(())
    }
}

/// The snapshots recorded in a log that are not beyond what is known to be committed, oldest
/// first.
///
/// # Errors
/// Damage anywhere but in a torn tail.
pub fn valid_snapshots(disk: &dyn Disk, dir: &Path) -> Result<Vec<walpb::Snapshot>, Fault> {
    let mut snapshots: Vec<walpb::Snapshot> = Vec::new();
    let mut committed = 0;
    let mut reader = Reader::new(disk, dir);
    let names = segments(disk, dir)?;
    for (n, name) in names.iter().enumerate() {
        reader.segment(*name, n + 1 == names.len(), |record| {
            match record.kind {
                Kind::Snapshot => snapshots.push(decode(record)?),
                Kind::State => committed = decode::<raftpb::HardState>(record)?.commit(),
                _ => {}
            }
            Ok(())
        })?;
    }
    snapshots.retain(|snapshot| snapshot.index() <= committed);
    Ok(snapshots)
}

/// A record's message.
pub(crate) fn decode<M: Message + Default>(record: Record) -> Result<M, String> {
    M::decode(record.data).map_err(|error| error.to_string())
}
