//! Raft's durable memory: a segmented CRC-chained log and snapshot files, in etcd's bytes.
//!
//! ```text
//! member/wal/<seq %016x>-<first index %016x>.wal      preallocated with zeros, locked while in use
//!   segment  = Crc, Metadata, (HardState | Snapshot), records ...; ends at a zero length or the end
//!   record   = | length u64 | walpb.Record | padding to 8 bytes |
//!   length   = record bytes in the low 56 bits; where padded, 0x80 + padding in the top byte
//! member/snap/<term %016x>-<index %016x>.snap
//! ```
//! The CRC-32C in a record runs over the data of all records so far, through all segments; a Crc
//! record carries it from one segment into the next.
//!
//! What a crash tears off is cut away, and only in the last segment: a record of which a 512-byte
//! sector is all zeros, or which ends beyond the file; see [`Tear`]. All other damage is a [`Fault`]
//! that names the file and the offset. Reading a log changes nothing: what is to be cut is known
//! from [`Wal::examine`], and cut by [`Examined::begin`].
//!
//! Reference: `server/storage/wal`, `server/etcdserver/api/snap`.

mod defect;
mod examine;
mod fault;
mod frame;
mod log;
mod names;
mod reader;
mod replay;
pub mod snap;
mod tear;

pub use defect::Tear;
pub use examine::Examined;
pub use fault::Fault;
pub use log::{Options, Prepared, Saved, Wal, check_vacant};
pub use reader::{has_segments, valid_snapshots};
pub use replay::{Recovered, Torn, read};

use disk::Disk;
use std::io;
use std::path::PathBuf;

/// A segment is full when it has this many bytes.
pub const SEGMENT_BYTES: u64 = 64 * 1000 * 1000;

/// Removes files that were found to be too many; those that are gone already are passed over. Gives
/// the others.
///
/// # Errors
/// Those of removing.
pub fn remove(disk: &dyn Disk, paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, Fault> {
    let mut removed = Vec::with_capacity(paths.len());
    for path in paths {
        match disk.remove_file(&path) {
            Ok(()) => removed.push(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Fault::io(&path, "cannot remove")(error)),
        }
    }
    Ok(removed)
}
