//! Copying a database without its free space.

use crate::bucket::Bucket;
use crate::{Db, Error};

const FILL_PERCENT: f32 = 0.9;

/// Copies every bucket of `source` into the empty database `target`, in key order, committing
/// after about `txn_max_bytes` of keys and values.
///
/// # Errors
/// Those of writing to `target`.
pub fn compact(source: &Db, target: &Db, txn_max_bytes: u64) -> Result<(), Error> {
    let from = source.begin_read();
    let mut copy = Copy { target, path: Vec::new(), batch: Vec::new(), bytes: 0, txn_max_bytes };
    let mut names = from.buckets();
    let mut next = names.first();
    while let Some((name, value)) = next {
        if value.is_none() {
            let bucket = from.bucket(name).expect("the cursor just showed it");
            copy.bucket(name, bucket)?;
        }
        next = names.next();
    }
    Ok(())
}

struct Copy<'d> {
    target: &'d Db,
    /// The buckets from the outermost to the one being copied.
    path: Vec<Vec<u8>>,
    batch: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: u64,
    txn_max_bytes: u64,
}

impl Copy<'_> {
    fn bucket(&mut self, name: &[u8], bucket: Bucket<'_>) -> Result<(), Error> {
        self.path.push(name.to_vec());
        self.flush(Some(bucket.sequence()))?;
        let mut cursor = bucket.cursor();
        let mut next = cursor.first();
        while let Some((key, value)) = next {
            match value {
                Some(value) => {
                    self.bytes += (key.len() + value.len()) as u64;
                    self.batch.push((key.to_vec(), value.to_vec()));
                    if self.bytes >= self.txn_max_bytes {
                        self.flush(None)?;
                    }
                }
                None => {
                    self.flush(None)?;
                    self.bucket(key, bucket.bucket(key).expect("the cursor just showed it"))?;
                }
            }
            next = cursor.next();
        }
        self.flush(None)?;
        self.path.pop();
        Ok(())
    }

    /// Writes what has been collected for the current bucket, in a transaction of its own.
    fn flush(&mut self, sequence: Option<u64>) -> Result<(), Error> {
        if self.batch.is_empty() && sequence.is_none() {
            return Ok(());
        }
        let mut txn = self.target.begin_write()?;
        let (outer, rest) = self.path.split_first().expect("a bucket is being copied");
        let mut bucket = txn.create_bucket_if_not_exists(outer)?;
        for name in rest {
            bucket = bucket.into_created_or_existing(name)?;
        }
        bucket.set_fill_percent(FILL_PERCENT);
        if let Some(sequence) = sequence {
            bucket.set_sequence(sequence);
        }
        for (key, value) in self.batch.drain(..) {
            bucket.put_new(&key, &value)?;
        }
        self.bytes = 0;
        txn.commit()?;
        Ok(())
    }
}
