//! Writing a frozen layer into the file.

use crate::layer::{Layer, SharedLayer};
use crate::table::{CONSISTENT_INDEX, TERM};
use crate::{EntryId, Fault, Table};
use bolt::Db;
use std::sync::Arc;

/// Revisions only increase, so pages of the key table are left nearly full when they are split.
const KEY_FILL_PERCENT: f32 = 0.9;

/// A commit, to be run on any thread.
pub struct CommitJob {
    pub(crate) db: Db,
    pub(crate) layer: Arc<SharedLayer>,
}

/// A commit that is done.
pub struct Committed {
    pub(crate) committed: Arc<bolt::ReadTxn>,
    pub(crate) applied: EntryId,
}

impl CommitJob {
    /// Writes and syncs.
    ///
    /// # Errors
    /// The file's faults; the database takes no more writes then.
    pub fn run(self) -> Result<Committed, Fault> {
        let layer = self.layer.read();
        // The caller promises that nobody writes into a frozen layer.
        let (ops, txid) = (layer.ops, self.db.begin_read().txid());
        let mut txn = self.db.begin_write()?;
        let mut keys = txn.create_bucket_if_not_exists(Table::Key.name().as_bytes())?;
        keys.set_fill_percent(KEY_FILL_PERCENT);
        for (key, value) in &layer.keys {
            keys.put_new(key.as_slice(), value)?;
        }
        for key in &layer.removed_keys {
            keys.delete(key.as_slice())?;
        }
        for table in Table::ALL {
            write_table(&mut txn, &layer, table)?;
        }
        if layer.applied.index > 0 {
            let mut meta = txn.create_bucket_if_not_exists(Table::Meta.name().as_bytes())?;
            meta.put(CONSISTENT_INDEX, &layer.applied.index.to_be_bytes())?;
            meta.put(TERM, &layer.applied.term.to_be_bytes())?;
        }
        txn.commit()?;
        let committed = Arc::new(self.db.begin_read());
        let now = committed.txid();
        assert_eq!(now, txid + 1, "a layer is committed in one transaction");
        assert_eq!(layer.ops, ops, "nothing is written into a layer that is being committed");
        Ok(Committed { committed, applied: layer.applied })
    }
}

/// Writes what a layer says about one of the small tables.
fn write_table(txn: &mut bolt::WriteTxn<'_>, layer: &Layer, table: Table) -> Result<(), Fault> {
    let mut changes = layer.changes(table).peekable();
    if changes.peek().is_none() {
        return Ok(());
    }
    let mut bucket = txn.create_bucket_if_not_exists(table.name().as_bytes())?;
    for (key, value) in changes {
        match value {
            Some(value) => bucket.put(key, value)?,
            None => bucket.delete(key)?,
        }
    }
    Ok(())
}
