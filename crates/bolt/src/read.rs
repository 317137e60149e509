//! Read transactions.

use crate::bucket::Bucket;
use crate::check::{self, CheckError};
use crate::cursor::Cursor;
use crate::db::Db;
use crate::meta::Meta;
use disk::Mapping;
use std::io;

/// One committed state, for as long as this lives. Its pages are not used again meanwhile, so a
/// long-lived one makes the file grow.
pub struct ReadTxn {
    db: Db,
    meta: Meta,
    mapping: Mapping,
}

impl Db {
    /// Begins to read the latest committed state.
    pub fn begin_read(&self) -> ReadTxn {
        let mut shared = self.inner.shared.write();
        let txid = shared.meta.txid;
        *shared.readers.entry(txid).or_insert(0) += 1;
        ReadTxn::new(self.clone(), shared.meta, shared.mapping.clone())
    }
}

impl ReadTxn {
    pub(crate) fn new(db: Db, meta: Meta, mapping: Mapping) -> ReadTxn {
        ReadTxn { db, meta, mapping }
    }

    fn page_size(&self) -> usize {
        self.db.inner.page_size
    }

    pub(crate) fn meta(&self) -> &Meta {
        &self.meta
    }

    pub(crate) fn data(&self) -> &[u8] {
        let end = self.meta.high_water as usize * self.page_size();
        &self.mapping[..end]
    }

    /// The root: its keys are the names of the buckets.
    fn root(&self) -> Bucket<'_> {
        Bucket::at(self.data(), self.page_size(), self.meta.root, self.meta.sequence)
    }

    /// A bucket by its name.
    pub fn bucket(&self, name: &[u8]) -> Option<Bucket<'_>> {
        self.root().bucket(name)
    }

    /// A cursor over the names of all buckets.
    pub fn buckets(&self) -> Cursor<'_> {
        self.root().cursor()
    }

    /// The id of the transaction that wrote this state.
    pub fn txid(&self) -> u64 {
        self.meta.txid
    }

    /// Bytes that the state spans, and that [`ReadTxn::copy_to`] writes.
    pub fn size(&self) -> u64 {
        self.data().len() as u64
    }

    /// Everything wrong with this state, the stored freelist included: nothing, in a sound file.
    pub fn check(&self) -> Vec<CheckError> {
        check::check(self.data(), &self.meta)
    }

    /// Part of the copy that [`ReadTxn::copy_to`] makes, from `offset` on.
    ///
    /// The copy's meta pages both describe this state; the second as one transaction older.
    pub fn copy_at(&self, offset: u64, buf: &mut [u8]) -> usize {
        let from =
            usize::try_from(offset).map_or(self.data().len(), |at| at.min(self.data().len()));
        let source = &self.data()[from..];
        let len = source.len().min(buf.len());
        buf[..len].copy_from_slice(&source[..len]);
        let metas = 2 * self.page_size();
        if from < metas {
            let head = &self.copied_metas()[from..];
            let len = head.len().min(len);
            buf[..len].copy_from_slice(&head[..len]);
        }
        len
    }

    fn copied_metas(&self) -> Vec<u8> {
        let older = Meta { txid: self.meta.txid.wrapping_sub(1), ..self.meta };
        let mut head = self.meta.encode_as(0, self.page_size());
        head.extend(older.encode_as(1, self.page_size()));
        head
    }

    /// Writes the whole database as a file of its own.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn copy_to(&self, out: &mut dyn io::Write) -> io::Result<u64> {
        out.write_all(&self.copied_metas())?;
        out.write_all(&self.data()[2 * self.page_size()..])?;
        Ok(self.size())
    }
}

impl Drop for ReadTxn {
    fn drop(&mut self) {
        self.db.inner.end_read(self.meta.txid);
    }
}
