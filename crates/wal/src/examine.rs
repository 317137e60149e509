//! A log that was read and not changed: whoever refuses it leaves it as it was.
//!
//! ```text
//! Wal::examine   segments locked, every record read, the end found
//!     refusals: what the log holds does not fit what its owner knows
//! Examined::begin   what a crash tore off is copied to `.broken` and cut, what was made ahead is
//!                   removed, the rest of the segment is zeros
//! ```

use crate::log::{FoundEnd, Options, Wal};
use crate::names::SegmentName;
use crate::reader::SegmentEnd;
use crate::replay::{Replayed, needed, replay};
use crate::{Fault, Recovered};
use disk::{Disk, File, Lock, Open};
use proto::walpb;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A log that was read and is locked, and is as it was.
pub struct Examined {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: Options,
    /// The segments that are needed, in order; one at least.
    held: Vec<(SegmentName, Arc<dyn File>)>,
    end: SegmentEnd,
    found: FoundEnd,
}

impl Wal {
    /// Reads what follows a snapshot, and takes the locks of a log that is to be appended to. Nothing
    /// is written, removed or cut before [`Examined::begin`].
    ///
    /// # Errors
    /// Damage other than a torn tail, a missing snapshot record, missing entries.
    pub fn examine(
        disk: Arc<dyn Disk>,
        dir: &Path,
        at: &walpb::Snapshot,
        options: Options,
    ) -> Result<(Examined, Recovered), Fault> {
        let names = needed(&*disk, dir, at)?;
        let mut held = Vec::new();
        for name in &names {
            let path = dir.join(name.file_name());
            let how = Open::WRITE.locked(Lock::Exclusive);
            let file = disk.open(&path, how).map_err(Fault::io(&path, "cannot lock"))?;
            held.push((*name, file));
        }
        let Replayed { recovered, last_index, end, crc } = replay(&*disk, dir, &names, at)?;
        assert_eq!(names.len(), held.len(), "every segment that is read is locked");
        let found = FoundEnd {
            metadata: recovered.metadata.clone(),
            hard_state: recovered.hard_state,
            offset: end.offset,
            crc,
            // The next segment's name must not be taken for one that the snapshot follows.
            last_index: last_index.max(at.index()),
        };
        Ok((Examined { disk, dir: dir.to_owned(), options, held, end, found }, recovered))
    }
}

impl Examined {
    /// Makes the log ready to be appended to: from here on it is changed.
    ///
    /// # Errors
    /// I/O faults.
    pub fn begin(self) -> Result<Wal, Fault> {
        let Examined { disk, dir, options, held, end, found } = self;
        remove_leftovers(&*disk, &dir)?;
        let (name, file) = held.last().expect("an examined log has a segment");
        assert!(found.offset == end.offset, "what is cut begins where the records end");
        clear_tail(&*disk, &dir.join(name.file_name()), &**file, &end, options)?;
        Ok(Wal::found(disk, dir, options, held, found))
    }
}

/// Segments that were made ahead by an earlier run.
fn remove_leftovers(disk: &dyn Disk, dir: &Path) -> Result<(), Fault> {
    let names = disk.list(dir).map_err(Fault::io(dir, "cannot list"))?;
    for name in names.iter().filter(|name| name.ends_with(".tmp")) {
        let path = dir.join(name);
        disk.remove_file(&path).map_err(Fault::io(&path, "cannot remove"))?;
    }
    Ok(())
}

/// Zeros what a torn write left after the last sound record: records written later would
/// otherwise end in old bytes.
fn clear_tail(
    disk: &dyn Disk,
    path: &Path,
    file: &dyn File,
    end: &SegmentEnd,
    options: Options,
) -> Result<(), Fault> {
    let io = |what| Fault::io(path, what);
    if end.tear.is_some() {
        let mut broken = path.as_os_str().to_owned();
        broken.push(".broken");
        let bytes = disk::read_all(disk, path).map_err(io("cannot read"))?;
        let how = Open { truncate: true, ..Open::CREATE };
        let copy = disk.open(Path::new(&broken), how).map_err(io("cannot make a copy of"))?;
        copy.write_at(&bytes, 0).map_err(io("cannot copy"))?;
        copy.sync_all().map_err(io("cannot sync the copy of"))?;
        let dir = path.parent().unwrap_or(Path::new(""));
        disk.sync_dir(dir).map_err(Fault::io(dir, "cannot sync"))?;
    }
    file.set_len(end.offset).map_err(io("cannot cut"))?;
    file.allocate(options.segment_bytes.max(end.offset)).map_err(io("cannot preallocate"))?;
    file.sync_all().map_err(io("cannot sync"))
}
