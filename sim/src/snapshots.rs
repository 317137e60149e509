//! A leader's database on its way to a member that lags behind.

use disk::{Disk, Open};
use proto::raftpb::Snapshot;
use replica::{Fault, Intake};
use std::io;
use std::path::Path;

/// Written at once.
const PIECE_BYTES: usize = 16 * 1024;

/// Takes a database as members do.
///
/// # Errors
/// Faults of the disk or the database; the leader hears that it was not delivered.
pub(crate) fn save(intake: &Intake, snapshot: &Snapshot, database: &[u8]) -> Result<(), Fault> {
    let mut incoming = intake.begin(snapshot)?;
    for piece in database.chunks(PIECE_BYTES) {
        incoming.write(piece)?;
    }
    incoming.finish()
}

/// The mistake of naming a database that is not durable.
///
/// # Errors
/// I/O faults.
pub(crate) fn save_unsynced(
    disk: &dyn Disk,
    snap_dir: &Path,
    index: u64,
    database: &[u8],
) -> io::Result<()> {
    let temporary = snap_dir.join(format!("tmp{index:x}"));
    let file = disk.open(&temporary, Open { truncate: true, ..Open::CREATE })?;
    for (number, piece) in database.chunks(PIECE_BYTES).enumerate() {
        file.write_at(piece, (number * PIECE_BYTES) as u64)?;
    }
    disk.rename(&temporary, &replica::received_db(snap_dir, index))?;
    disk.sync_dir(snap_dir)
}
