//! Which entry of raft's log the tables hold the effects of, and where the file says so.

use crate::table::{CONSISTENT_INDEX, TERM};
use crate::{Fault, Table};

/// A log entry's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryId {
    /// Its term.
    pub term: u64,
    /// Its index.
    pub index: u64,
}

/// The last entry whose effects a committed state holds; the zero entry where it says nothing.
///
/// # Errors
/// It is written there as no sound member writes it.
pub(crate) fn applied(committed: &bolt::ReadTxn) -> Result<EntryId, Fault> {
    Ok(EntryId { term: number(committed, TERM)?, index: number(committed, CONSISTENT_INDEX)? })
}

/// A number of the meta table; 0 where it is not there.
fn number(committed: &bolt::ReadTxn, key: &[u8]) -> Result<u64, Fault> {
    let meta = committed.bucket(Table::Meta.name().as_bytes());
    let Some(bytes) = meta.and_then(|meta| meta.get(key)) else {
        return Ok(0);
    };
    let bytes = bytes.try_into().map_err(|_| {
        let what = format!("{} has {} bytes", key.escape_ascii(), bytes.len());
        Fault::Corrupt { table: Table::Meta.name(), what }
    })?;
    Ok(u64::from_be_bytes(bytes))
}
