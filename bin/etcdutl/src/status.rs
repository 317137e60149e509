//! `snapshot status`: what a database file holds, found out without changing it.

use crate::files::{Refused, integrity, open_within};
use backend::Table;
use bolt::{Bucket, Db, Options, ReadTxn};
use cli::go;
use disk::RealDisk;
use membership::Version;
use mvcc::Revision;
use prost::Message;
use proto::mvccpb::KeyValue;
use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

/// What a database file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// The CRC-32C over all names, keys and values.
    pub(crate) hash: u32,
    /// The last revision.
    pub(crate) revision: i64,
    /// Keys that are there at the last revision.
    pub(crate) total_keys: usize,
    /// Bytes that the database spans.
    pub(crate) total_bytes: u64,
    /// The version of the storage; empty before 3.6.
    pub(crate) version: String,
}

/// Looks at a file.
///
/// # Errors
/// It is no sound database, or in use.
pub(crate) fn status(path: &Path, timeout: Duration) -> Result<Status, Refused> {
    let options = Options { read_only: true, ..Options::default() };
    let db = open_within(timeout, || Db::open(&RealDisk, path, options))?;
    let read = db.begin_read();
    let findings: Vec<String> = read.check().iter().map(ToString::to_string).collect();
    if !findings.is_empty() {
        return Err(Refused(integrity(&findings)));
    }
    let mut count = Count::default();
    count.database(&read)?;
    Ok(Status {
        hash: count.hash,
        revision: count.revision,
        total_keys: count.keys.len(),
        total_bytes: read.size(),
        version: version(&read),
    })
}

fn version(read: &ReadTxn) -> String {
    let meta = read.bucket(Table::Meta.name().as_bytes());
    let text = meta.and_then(|meta| meta.get(b"storageVersion"));
    let version = text.and_then(|text| Version::parse(std::str::from_utf8(text).ok()?));
    version.map(|version| version.to_string()).unwrap_or_default()
}

/// What has been seen so far.
#[derive(Default)]
struct Count {
    hash: u32,
    revision: i64,
    keys: HashSet<Vec<u8>>,
}

impl Count {
    fn add(&mut self, bytes: &[u8]) {
        self.hash = crc32c::crc32c_append(self.hash, bytes);
    }

    fn database(&mut self, read: &ReadTxn) -> Result<(), Refused> {
        let mut names = read.buckets();
        let mut next = names.first();
        while let Some((name, _)) = next {
            let quoted = go::quote(name);
            let bucket =
                read.bucket(name).ok_or_else(|| Refused(format!("nil bucket: {quoted}")))?;
            self.add(name);
            self.bucket(bucket, name == Table::Key.name().as_bytes()).map_err(|why| {
                Refused(format!("error during bucket key iteration, name: {quoted} err: {why}"))
            })?;
            next = names.next();
        }
        Ok(())
    }

    fn bucket(&mut self, bucket: Bucket<'_>, holds_keys: bool) -> Result<(), String> {
        let mut cursor = bucket.cursor();
        let mut item = cursor.first();
        while let Some((key, value)) = item {
            let value = value.unwrap_or_default();
            self.add(key);
            self.add(value);
            if holds_keys {
                self.change(key, value)?;
            }
            item = cursor.next();
        }
        Ok(())
    }

    /// A row of the key table.
    fn change(&mut self, row: &[u8], value: &[u8]) -> Result<(), String> {
        let (revision, is_tombstone) = Revision::decode(row).ok_or_else(|| {
            let row = go::quote(row);
            format!("cannot parse revision key: {row} err: it is no revision")
        })?;
        self.revision = revision.main;
        let stored = KeyValue::decode(value).map_err(|error| {
            let (row, value) = (go::quote(row), go::quote(value));
            format!("cannot unmarshal value, key: {row} value: {value} err: {error}")
        })?;
        if is_tombstone {
            self.keys.remove(&stored.key[..]);
        } else {
            self.keys.insert(stored.key.to_vec());
        }
        Ok(())
    }
}
