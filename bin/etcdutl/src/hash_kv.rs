//! `hashkv`: the checksum that members compare, of a file.

use crate::files::{Refused, open_within};
use backend::Reader;
use bolt::Options;
use disk::RealDisk;
use mvcc::{Refusal, Store};
use std::path::Path;
use std::time::Duration;

/// A hash and what it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HashKv {
    /// The CRC-32C.
    pub(crate) hash: u32,
    /// The last revision it covers.
    pub(crate) hash_revision: i64,
    /// The compacted revision it was computed with, -1 where there was none.
    pub(crate) compact_revision: i64,
}

/// Hashes everything up to a revision, 0 for the last one.
///
/// # Errors
/// It is no sound database, or in use; the revision is compacted, or still to come.
pub(crate) fn hash_kv(path: &Path, revision: i64, timeout: Duration) -> Result<HashKv, Refused> {
    let reader = open_within(timeout, || Reader::open(&RealDisk, path, Options::default()))?;
    let (store, _) = Store::open_read_only(reader)?;
    let hash = store.reader().hash_kv(revision).map_err(refused)?;
    Ok(HashKv {
        hash: hash.hash,
        hash_revision: hash.hash_revision,
        compact_revision: hash.compact_revision,
    })
}

fn refused(refusal: Refusal) -> Refused {
    Refused(match refusal {
        Refusal::Compacted => "mvcc: required revision has been compacted".into(),
        Refusal::FutureRevision => "mvcc: required revision is a future revision".into(),
        other => format!("{other:?}"),
    })
}
