//! `defrag`: the database of a member that is not running, without its free space.

use crate::files::{self, Refused, open_within};
use crate::log;
use backend::{Backend, DefragResult, Options};
use disk::RealDisk;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// Copies the database into a smaller file, and puts that in its place.
///
/// # Errors
/// There is no sound database, or it is in use, or there is no room for the copy; the old file is
/// untouched then.
pub(crate) fn defrag(data_dir: &Path, timeout: Duration) -> Result<(), Refused> {
    let path = files::db(data_dir);
    files::check_there(&path)?;
    // Where much is mapped ahead, files grow in large steps; this one is to be small.
    let mut options = Options::default();
    options.bolt.initial_map_bytes = 0;
    let open = || Backend::open(RealDisk::new(), &path, options);
    let mut backend = open_within(timeout, open)?;
    let before = backend.size();
    log::info(
        "defragmenting",
        &[("path", json!(path.to_string_lossy())), ("current-db-size-bytes", json!(before))],
    );
    let job = backend.defragment().expect("nothing else is under way");
    match backend.complete_defragment(job.run())? {
        DefragResult::NotDone(why) => Err(why.into()),
        DefragResult::Done => {
            let after = backend.size();
            let fields = [
                ("path", json!(path.to_string_lossy())),
                ("current-db-size-bytes-diff", json!(after.cast_signed() - before.cast_signed())),
                ("current-db-size-bytes", json!(after)),
            ];
            log::info("finished defragmenting directory", &fields);
            Ok(())
        }
    }
}
