//! Snapshot files: the raft snapshot's metadata and membership, beside the log.

use crate::Fault;
use disk::{Disk, Open};
use prost::Message;
use proto::{raftpb, snappb, walpb};
use std::path::{Path, PathBuf};

/// The name of a snapshot's file.
pub fn file_name(term: u64, index: u64) -> String {
    format!("{term:016x}-{index:016x}.snap")
}

/// Writes a snapshot file, durably: first under another name, so that none is ever half there.
///
/// # Errors
/// I/O faults.
pub fn write(disk: &dyn Disk, dir: &Path, snapshot: &raftpb::Snapshot) -> Result<(), Fault> {
    let data = snapshot.encode_to_vec();
    assert!(!data.is_empty(), "a snapshot of nothing could not be read back");
    let envelope = snappb::Snapshot { crc: Some(crc32c::crc32c(&data)), data: Some(data.into()) };
    let meta = snapshot.metadata.clone().unwrap_or_default();
    let path = dir.join(file_name(meta.term(), meta.index()));
    let temporary = dir.join(format!("tmp-{}", file_name(meta.term(), meta.index())));
    let io = |what| Fault::io(&path, what);
    let how = Open { truncate: true, mode: 0o666, ..Open::CREATE };
    let file = disk.open(&temporary, how).map_err(io("cannot make"))?;
    file.write_at(&envelope.encode_to_vec(), 0).map_err(io("cannot write"))?;
    file.sync_all().map_err(io("cannot sync"))?;
    disk.rename(&temporary, &path).map_err(io("cannot rename"))?;
    disk.sync_dir(dir).map_err(Fault::io(dir, "cannot sync"))
}

/// Reads one snapshot file.
///
/// # Errors
/// I/O faults, and damage by file.
pub fn read(disk: &dyn Disk, path: &Path) -> Result<raftpb::Snapshot, Fault> {
    let bytes = disk::read_all(disk, path).map_err(Fault::io(path, "cannot read"))?;
    let damaged = |what: &str| Fault::corrupt(path, 0, what);
    let envelope =
        snappb::Snapshot::decode(&bytes[..]).map_err(|_| damaged("it is no snapshot"))?;
    let crc = envelope.crc();
    let data = envelope.data.unwrap_or_default();
    if data.is_empty() || crc == 0 {
        return Err(damaged("it is empty"));
    }
    if crc32c::crc32c(&data) != crc {
        return Err(damaged("its checksum does not match"));
    }
    raftpb::Snapshot::decode(data).map_err(|_| damaged("it holds no snapshot"))
}

/// The newest sound snapshot that one of the log's records names. Damaged files are set aside as
/// `.broken`.
///
/// # Errors
/// I/O faults.
pub fn load_newest(
    disk: &dyn Disk,
    dir: &Path,
    recorded: &[walpb::Snapshot],
) -> Result<Option<raftpb::Snapshot>, Fault> {
    let names = disk.list(dir).map_err(Fault::io(dir, "cannot list"))?;
    for name in names.iter().rev().filter(|name| name.ends_with(SNAPSHOT)) {
        let path = dir.join(name);
        match read(disk, &path) {
            Ok(snapshot) => {
                let meta = snapshot.metadata.clone().unwrap_or_default();
                let is_recorded = |record: &walpb::Snapshot| {
                    (record.term(), record.index()) == (meta.term(), meta.index())
                };
                if recorded.iter().any(is_recorded) {
                    return Ok(Some(snapshot));
                }
            }
            Err(Fault::Corrupt { .. }) => {
                let aside = dir.join(format!("{name}.broken"));
                disk.rename(&path, &aside).map_err(Fault::io(&path, "cannot set aside"))?;
            }
            Err(other) => return Err(other),
        }
    }
    Ok(None)
}

/// Databases that came with snapshots before this index: those that were used have another name by
/// now, and the rest came too late to be used.
///
/// # Errors
/// Those of listing.
pub fn databases_before(disk: &dyn Disk, dir: &Path, index: u64) -> Result<Vec<PathBuf>, Fault> {
    let names = disk.list(dir).map_err(Fault::io(dir, "cannot list"))?;
    let is_old = |name: &&String| {
        let digits = name.strip_suffix(DATABASE);
        let of = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        of.is_some_and(|of| of < index)
    };
    Ok(names.iter().filter(is_old).map(|name| dir.join(name)).collect())
}

/// How the names of snapshots end.
pub const SNAPSHOT: &str = ".snap";
/// How the names of databases end that came with snapshots.
pub const DATABASE: &str = ".snap.db";

/// All but the newest files of a kind. `needed` is not among them whatever its age: a file with a
/// higher name may be anyone's.
///
/// # Errors
/// Those of listing.
pub fn surplus(
    disk: &dyn Disk,
    dir: &Path,
    kind: &str,
    keep: usize,
    needed: &str,
) -> Result<Vec<PathBuf>, Fault> {
    let names = disk.list(dir).map_err(Fault::io(dir, "cannot list"))?;
    let of_kind: Vec<&String> = names.iter().filter(|name| name.ends_with(kind)).collect();
    let surplus = of_kind.len().saturating_sub(keep);
    let too_many = of_kind.iter().take(surplus).filter(|name| **name != needed);
    let too_many: Vec<PathBuf> = too_many.map(|name| dir.join(name)).collect();
    let left = of_kind.len() - too_many.len();
    assert!(left >= keep.min(of_kind.len()), "{left} files would be left of {keep} to be kept");
    Ok(too_many)
}
