//! Copying a database without its free space.

use crate::bucket::Bucket;
use crate::bucket_mut::BucketMut;
use crate::cursor::Cursor;
use crate::walk::Item;
use crate::write::WriteTxn;
use crate::{Db, Error};

/// As etcd leaves its pages when it defragments: room for a few later changes.
const FILL_PERCENT: f32 = 0.9;

/// Copies every bucket of `source` with its sequence into the empty database `target`, in key
/// order, in transactions of about `txn_max_bytes` of keys and values (0: in one).
///
/// The copy is durable when this returns, not before: a target that was interrupted is worthless.
///
/// # Errors
/// Those of writing to `target`.
pub fn compact(source: &Db, target: &Db, txn_max_bytes: u64) -> Result<(), Error> {
    let from = source.begin_read();
    let is_empty = target.begin_read().buckets().first().is_none();
    assert!(is_empty, "a copy is made into an empty database");
    let mut copy = Copy { target, txn: None, path: Vec::new(), bytes: 0, txn_max_bytes };
    let mut names = from.buckets();
    let mut next = names.first();
    while let Some((name, _)) = next {
        let bucket = from.bucket(name).expect("nothing but buckets is outside of buckets");
        copy.bucket(name, bucket)?;
        next = names.next();
    }
    copy.commit()?;
    let depth = copy.path.len();
    assert_eq!(depth, 0, "every bucket that was begun was copied to its end");
    target.sync()
}

struct Copy<'s, 'd> {
    target: &'d Db,
    txn: Option<WriteTxn<'d>>,
    /// The buckets from the outermost to the one being copied.
    path: Vec<&'s [u8]>,
    /// Bytes copied in this transaction.
    bytes: u64,
    txn_max_bytes: u64,
}

impl<'s> Copy<'s, '_> {
    fn bucket(&mut self, name: &'s [u8], bucket: Bucket<'s>) -> Result<(), Error> {
        self.path.push(name);
        self.opened()?.set_sequence(bucket.sequence());
        let mut cursor = bucket.cursor();
        let mut next = cursor.first();
        while next.is_some() {
            next = self.keys(&mut cursor, next)?;
            if let Some((name, None)) = next {
                let nested = bucket.bucket(name).expect("the cursor just showed it");
                self.bucket(name, nested)?;
                next = cursor.next();
            }
        }
        self.path.pop();
        Ok(())
    }

    /// Copies from `next` on up to a nested bucket or the end, or until the transaction is full;
    /// gives what comes then.
    fn keys(
        &mut self,
        cursor: &mut Cursor<'s>,
        mut next: Option<Item<'s>>,
    ) -> Result<Option<Item<'s>>, Error> {
        let max = if self.txn_max_bytes == 0 { u64::MAX } else { self.txn_max_bytes };
        let mut bytes = self.bytes;
        let mut bucket = self.opened()?;
        while let Some((key, Some(value))) = next.filter(|_| bytes < max) {
            bucket.put_new(key, value)?;
            bytes += (key.len() + value.len()) as u64;
            next = cursor.next();
        }
        self.bytes = bytes;
        if bytes >= max {
            self.commit()?;
        }
        Ok(next)
    }

    /// The bucket being copied, in the target.
    fn opened(&mut self) -> Result<BucketMut<'_>, Error> {
        let txn = match &mut self.txn {
            Some(txn) => txn,
            none => none.insert(self.target.begin_write()?),
        };
        let (outer, rest) = self.path.split_first().expect("a bucket is being copied");
        let mut bucket = txn.create_bucket_if_not_exists(outer)?;
        for name in rest {
            bucket = bucket.into_bucket_if_not_exists(name)?;
        }
        bucket.set_fill_percent(FILL_PERCENT);
        Ok(bucket)
    }

    fn commit(&mut self) -> Result<(), Error> {
        self.bytes = 0;
        self.txn.take().map_or(Ok(()), |txn| txn.commit_with(false).map(|_| ()))
    }
}
