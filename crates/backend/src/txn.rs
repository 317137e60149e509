//! The only ways to change a table.

use crate::layer::Savepoint;
use crate::{Backend, EntryId, Table};
use bytes::Bytes;

impl Backend {
    /// Begins to apply an entry.
    pub fn begin(&mut self) -> ApplyTxn<'_> {
        assert!(self.writes.is_empty(), "the transaction before left nothing");
        ApplyTxn::new(self)
    }

    /// Begins a change that no entry asks for, like removing compacted revisions.
    pub fn begin_maintenance(&mut self) -> MaintenanceTxn<'_> {
        assert!(self.writes.is_empty(), "the transaction before left nothing");
        MaintenanceTxn::new(self)
    }
}

/// The effects of one entry. Dropped before [`ApplyTxn::finish`], it leaves no trace.
pub struct ApplyTxn<'b> {
    backend: &'b mut Backend,
}

impl<'b> ApplyTxn<'b> {
    pub(crate) fn new(backend: &'b mut Backend) -> ApplyTxn<'b> {
        ApplyTxn { backend }
    }

    /// Sets a key.
    pub fn put(&mut self, table: Table, key: &[u8], value: Bytes) {
        self.backend.writes.put(table, key, value);
    }

    /// Removes a key.
    pub fn delete(&mut self, table: Table, key: &[u8]) {
        self.backend.writes.delete(table, key);
    }

    /// A key's value, own writes included.
    pub fn get(&self, table: Table, key: &[u8]) -> Option<Bytes> {
        match self.backend.writes.get(table, key) {
            Some(own) => own,
            None => self.backend.view().get(table, key),
        }
    }

    /// Hands a key's value, own writes included, to `see` where it lies.
    pub fn with<T>(&self, table: Table, key: &[u8], see: impl FnOnce(&[u8]) -> T) -> Option<T> {
        match self.backend.writes.get(table, key) {
            Some(own) => own.as_deref().map(see),
            None => self.backend.view().with(table, key, see),
        }
    }

    /// A place to come back to with [`ApplyTxn::undo_to`].
    pub fn savepoint(&self) -> Savepoint {
        self.backend.writes.savepoint()
    }

    /// Forgets what this transaction wrote since.
    pub fn undo_to(&mut self, savepoint: Savepoint) {
        self.backend.writes.undo_to(savepoint);
    }

    /// Makes the effects readable, and durable together with this entry's index.
    pub fn finish(self, entry: EntryId) {
        self.backend.absorb(Some(entry));
    }
}

impl Drop for ApplyTxn<'_> {
    fn drop(&mut self) {
        self.backend.writes.clear();
    }
}

/// Changes that no entry asks for; they are part of some commit and leave the applied index alone.
pub struct MaintenanceTxn<'b> {
    backend: &'b mut Backend,
}

impl<'b> MaintenanceTxn<'b> {
    pub(crate) fn new(backend: &'b mut Backend) -> MaintenanceTxn<'b> {
        MaintenanceTxn { backend }
    }

    /// Sets a key.
    pub fn put(&mut self, table: Table, key: &[u8], value: Bytes) {
        self.backend.writes.put(table, key, value);
    }

    /// Removes a key.
    pub fn delete(&mut self, table: Table, key: &[u8]) {
        self.backend.writes.delete(table, key);
    }

    /// Makes the changes readable.
    pub fn finish(self) {
        self.backend.absorb(None);
    }

    /// Makes the changes readable, and durable together with the index of this entry, whatever was
    /// applied before: the database becomes the beginning of another log.
    pub fn finish_at(self, entry: EntryId) {
        self.backend.absorb(None);
        self.backend.restart_at(entry);
    }
}

impl Drop for MaintenanceTxn<'_> {
    fn drop(&mut self) {
        self.backend.writes.clear();
    }
}
