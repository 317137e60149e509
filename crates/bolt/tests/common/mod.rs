//! A bucket as a plain map, and random changes to both.
#![allow(dead_code)] // every test uses a part of it

use bolt::{Bucket, BucketMut, Db, Error, Freelist, Options, ReadTxn, WriteTxn};
use disk::Disk;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

pub(crate) const PATH: &str = "db";

/// What a bucket holds.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) sequence: u64,
    pub(crate) entries: BTreeMap<Vec<u8>, Entry>,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Value(Vec<u8>),
    Bucket(Model),
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let entries = self.entries.iter().map(|(key, entry)| (key.escape_ascii(), entry));
        write!(f, "#{} ", self.sequence)?;
        f.debug_map().entries(entries.map(|(key, entry)| (key.to_string(), entry))).finish()
    }
}

/// Short, so that a difference can be seen.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Entry::Value(value) => write!(f, "{:?} x {}", value.first(), value.len()),
            Entry::Bucket(bucket) => bucket.fmt(f),
        }
    }
}

/// Small pages and steps, so that few keys make a tall tree.
pub(crate) fn options(freelist: Freelist) -> Options {
    Options { freelist, page_size: 1024, growth_bytes: 8192, ..Options::default() }
}

pub(crate) fn try_open(disk: &dyn Disk, freelist: Freelist) -> Result<Db, Error> {
    Db::open(disk, Path::new(PATH), options(freelist))
}

pub(crate) fn open(disk: &dyn Disk, freelist: Freelist) -> Db {
    try_open(disk, freelist).unwrap()
}

pub(crate) fn key(n: u16) -> Vec<u8> {
    format!("key-{n:04}").into_bytes()
}

/// A change to the bucket at a path of names.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Put(Vec<u8>, u16, usize),
    Delete(Vec<u8>, u16, u16),
    DeleteBucket(Vec<u8>),
    NextSequence(Vec<u8>),
    Fill(Vec<u8>, u8),
}

/// Paths are one to three names of one byte.
fn path() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => Just(vec![0]),
        2 => prop::collection::vec(0u8..2, 1..3),
        1 => prop::collection::vec(0u8..3, 3),
    ]
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let len = prop_oneof![20 => 0usize..80, 3 => 200usize..900, 1 => 900usize..5000];
    prop_oneof![
        60 => (path(), 0u16..600, len).prop_map(|(path, k, len)| Op::Put(path, k, len)),
        20 => (path(), 0u16..600).prop_map(|(path, k)| Op::Delete(path, k, 1)),
        8 => (path(), 0u16..600, 0u16..300).prop_map(|(path, k, n)| Op::Delete(path, k, n)),
        2 => path().prop_map(Op::DeleteBucket),
        5 => path().prop_map(Op::NextSequence),
        5 => (path(), 0u8..=10).prop_map(|(path, fill)| Op::Fill(path, fill)),
    ]
}

fn name(byte: u8) -> [u8; 2] {
    [b'n', byte]
}

impl Model {
    pub(crate) fn bucket(&mut self, name: &[u8]) -> &mut Model {
        let bucket = || Entry::Bucket(Model::default());
        match self.entries.entry(name.to_vec()).or_insert_with(bucket) {
            Entry::Bucket(bucket) => bucket,
            Entry::Value(_) => panic!("names of buckets are not names of keys"),
        }
    }

    fn at(&mut self, path: &[u8]) -> &mut Model {
        path.iter().fold(self, |model, &byte| model.bucket(&name(byte)))
    }

    pub(crate) fn apply(&mut self, op: &Op) {
        match op {
            Op::Put(path, k, len) => {
                self.at(path).entries.insert(key(*k), Entry::Value(value(*k, *len)));
            }
            Op::Delete(path, k, n) => {
                let bucket = self.at(path);
                (*k..k + n).for_each(|k| drop(bucket.entries.remove(&key(k))));
            }
            Op::DeleteBucket(path) => {
                let (last, parents) = path.split_last().unwrap();
                self.at(parents).entries.remove(&name(*last)[..]);
            }
            Op::NextSequence(path) => self.at(path).sequence += 1,
            Op::Fill(path, _) => drop(self.at(path)),
        }
    }

    /// What a database holds, read in both directions; the state must be sound.
    pub(crate) fn read(txn: &ReadTxn) -> Model {
        assert_eq!(txn.check(), []);
        Model::read_unchecked(txn)
    }

    /// The same of a state whose list of free pages may be wrong.
    pub(crate) fn read_unchecked(txn: &ReadTxn) -> Model {
        let mut model = Model::default();
        let mut names = txn.buckets();
        let mut next = names.first();
        while let Some((name, None)) = next {
            let bucket = Model::read_bucket(txn.bucket(name).unwrap());
            model.entries.insert(name.to_vec(), Entry::Bucket(bucket));
            next = names.next();
        }
        model
    }

    fn read_bucket(bucket: Bucket<'_>) -> Model {
        let mut model = Model { sequence: bucket.sequence(), ..Model::default() };
        let mut cursor = bucket.cursor();
        let mut next = cursor.first();
        while let Some((key, value)) = next {
            let entry = match value {
                Some(value) => Entry::Value(value.to_vec()),
                None => Entry::Bucket(Model::read_bucket(bucket.bucket(key).unwrap())),
            };
            assert_eq!(bucket.get(key), value);
            model.entries.insert(key.to_vec(), entry);
            next = cursor.next();
        }
        let mut prev = cursor.last();
        for key in model.entries.keys().rev() {
            assert_eq!(prev.map(|item| item.0), Some(&key[..]));
            prev = cursor.prev();
        }
        assert_eq!(prev, None);
        model
    }

    /// What a write transaction has, read in both directions.
    pub(crate) fn read_pending(txn: &mut WriteTxn<'_>) -> Model {
        let mut names = Vec::new();
        let mut cursor = txn.buckets();
        let mut next = cursor.first();
        while let Some((name, None)) = next {
            names.push(name.to_vec());
            next = cursor.next();
        }
        let mut model = Model::default();
        for name in names {
            let bucket = Model::read_bucket_mut(txn.bucket_mut(&name).unwrap());
            model.entries.insert(name, Entry::Bucket(bucket));
        }
        model
    }

    fn read_bucket_mut(mut bucket: BucketMut<'_>) -> Model {
        let mut model = Model { sequence: bucket.sequence(), ..Model::default() };
        let mut cursor = bucket.cursor();
        let mut next = cursor.first();
        while let Some((key, value)) = next {
            assert_eq!(bucket.get(key), value);
            let value = Entry::Value(value.unwrap_or(b"a bucket").to_vec());
            model.entries.insert(key.to_vec(), value);
            next = cursor.next();
        }
        let mut prev = cursor.last();
        for key in model.entries.keys().rev() {
            assert_eq!(prev.map(|item| item.0), Some(&key[..]));
            prev = cursor.prev();
        }
        assert_eq!(prev, None);
        for (name, entry) in &mut model.entries {
            if let Some(nested) = bucket.bucket_mut(name) {
                *entry = Entry::Bucket(Model::read_bucket_mut(nested));
            }
        }
        model
    }
}

fn value(n: u16, len: usize) -> Vec<u8> {
    (0..len).map(|at| (usize::from(n) + at / 16) as u8).collect()
}

fn open_at<'t>(txn: &'t mut WriteTxn<'_>, path: &[u8]) -> Result<BucketMut<'t>, Error> {
    let (first, rest) = path.split_first().expect("paths are not empty");
    let mut bucket = txn.create_bucket_if_not_exists(&name(*first))?;
    for byte in rest {
        bucket = bucket.into_bucket_if_not_exists(&name(*byte))?;
    }
    Ok(bucket)
}

pub(crate) fn apply(txn: &mut WriteTxn<'_>, op: &Op) -> Result<(), Error> {
    match op {
        Op::Put(path, k, len) => open_at(txn, path)?.put(&key(*k), &value(*k, *len)),
        Op::Delete(path, k, n) => {
            let mut bucket = open_at(txn, path)?;
            (*k..k + n).try_for_each(|k| bucket.delete(&key(k)))
        }
        Op::DeleteBucket(path) => {
            let (last, parents) = path.split_last().expect("paths are not empty");
            let deleted = match parents {
                [] => txn.delete_bucket(&name(*last)),
                parents => open_at(txn, parents)?.delete_bucket(&name(*last)),
            };
            match deleted {
                Err(Error::BucketNotFound) => Ok(()),
                other => other,
            }
        }
        Op::NextSequence(path) => open_at(txn, path).map(|mut bucket| {
            bucket.next_sequence();
        }),
        Op::Fill(path, fill) => {
            open_at(txn, path)?.set_fill_percent(f32::from(*fill) / 10.0);
            Ok(())
        }
    }
}

/// Applies changes in one transaction, to the database and to the model.
pub(crate) fn commit(db: &Db, model: &mut Model, ops: &[Op]) -> Result<(), Error> {
    let mut txn = db.begin_write()?;
    for op in ops {
        apply(&mut txn, op)?;
        model.apply(op);
    }
    txn.commit().map(drop)
}
