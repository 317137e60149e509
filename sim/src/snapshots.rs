//! A leader's database on its way to a member that lags behind.

use replica::disk::{Disk, Open};
use std::io;
use std::path::Path;

/// Written at once.
const PIECE_BYTES: usize = 16 * 1024;

/// Puts a received database where the applier will look for it: under another name first, so that
/// half of one is never found.
///
/// # Errors
/// I/O faults; the leader hears that it was not delivered.
pub(crate) fn save(
    disk: &dyn Disk,
    snap_dir: &Path,
    index: u64,
    database: &[u8],
    synced: bool,
) -> io::Result<()> {
    let temporary = snap_dir.join(format!("tmp{index:x}"));
    let file = disk.open(&temporary, Open { truncate: true, ..Open::CREATE })?;
    for (number, piece) in database.chunks(PIECE_BYTES).enumerate() {
        file.write_at(piece, (number * PIECE_BYTES) as u64)?;
    }
    if synced {
        file.sync_all()?;
    }
    disk.rename(&temporary, &replica::received_db(snap_dir, index))?;
    disk.sync_dir(snap_dir)
}
