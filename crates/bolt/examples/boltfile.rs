//! Makes, changes, shows, checks and copies database files, so that other implementations of the
//! format can be set against this one.
//!
//! ```text
//! boltfile gen SEED FILE        makes a file by random transactions
//! boltfile mutate SEED FILE     more of them on an existing file, after checking it
//! boltfile dump FILE            everything in it, in order, one line for a bucket or key:
//!                               "bucket PATH SEQUENCE" or "key PATH KEY VALUE", names, keys and
//!                               values in hex, the names of a path joined by "/"
//! boltfile check FILE           exit code 1 and a line for each defect
//! boltfile compact FILE NEW     without free space
//! boltfile backup FILE NEW      a hot copy
//! ```
//! A `BOLTFILE_FREELIST=stored` in the environment stores the list of free pages; without it, the
//! list is left out as etcd does.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a program

use bolt::{Bucket, BucketMut, Db, Freelist, Options};
use disk::RealDisk;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

const TRANSACTIONS: u64 = 40;
const OPS_MAX: u64 = 400;
const KEYS: u64 = 3000;
const NEST_MAX: usize = 3;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<ExitCode, Box<dyn Error>> {
    match *args {
        ["gen", seed, file] => {
            if Path::new(file).exists() {
                return Err(format!("{file} exists").into());
            }
            change(&open(file)?, seed.parse()?)?;
        }
        ["mutate", seed, file] => {
            let db = open(file)?;
            report(&db)?;
            change(&db, seed.parse()?)?;
        }
        ["dump", file] => dump(&open_to_read(file)?)?,
        ["check", file] => return report(&open_to_read(file)?),
        ["compact", file, new] => bolt::compact(&open_to_read(file)?, &open(new)?, 64 * 1024)?,
        ["backup", file, new] => {
            open_to_read(file)?.begin_read().copy_to(&mut std::fs::File::create_new(new)?)?;
        }
        _ => {
            return Err(
                "boltfile gen|mutate SEED FILE, dump|check FILE, compact|backup FILE NEW".into()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn open(file: &str) -> Result<Db, bolt::Error> {
    let stored = std::env::var("BOLTFILE_FREELIST").is_ok_and(|list| list == "stored");
    let freelist = if stored { Freelist::Stored } else { Freelist::Rebuilt };
    Db::open(&RealDisk, Path::new(file), Options { freelist, ..Options::default() })
}

fn open_to_read(file: &str) -> Result<Db, bolt::Error> {
    Db::open(&RealDisk, Path::new(file), Options { read_only: true, ..Options::default() })
}

fn report(db: &Db) -> Result<ExitCode, Box<dyn Error>> {
    let findings = db.check();
    for finding in &findings {
        println!("{finding}");
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Random transactions: some only a few puts, some that delete much; one in eight is dropped.
fn change(db: &Db, seed: u64) -> Result<(), bolt::Error> {
    let mut random = Random(seed);
    for _ in 0..TRANSACTIONS {
        let reader = db.begin_read();
        let mut txn = db.begin_write()?;
        for _ in 0..1 + random.below(4) {
            let name = [b'a' + random.below(5) as u8];
            if random.below(40) == 0 && txn.bucket_mut(&name).is_some() {
                txn.delete_bucket(&name)?;
            }
            change_bucket(txn.create_bucket_if_not_exists(&name)?, &mut random, 1)?;
        }
        if random.below(8) > 0 {
            txn.commit()?;
        }
        drop(reader);
    }
    Ok(())
}

fn change_bucket(
    mut bucket: BucketMut<'_>,
    random: &mut Random,
    depth: usize,
) -> Result<(), bolt::Error> {
    bucket.set_fill_percent(random.below(11) as f32 / 10.0);
    let deletes = random.below(4) * 25;
    for _ in 0..random.below(OPS_MAX) {
        let n = random.below(KEYS);
        if random.below(100) < deletes {
            for n in n..n + random.below(30) {
                bucket.delete(&key(n))?;
            }
        } else {
            bucket.put(&key(n), &random.value())?;
        }
    }
    if random.below(3) == 0 {
        bucket.next_sequence();
    }
    if depth < NEST_MAX && random.below(2) == 0 {
        let name = format!("nested-{}", random.below(4)).into_bytes();
        if random.below(6) == 0 && bucket.bucket_mut(&name).is_some() {
            bucket.delete_bucket(&name)?;
        } else {
            change_bucket(bucket.create_bucket_if_not_exists(&name)?, random, depth + 1)?;
        }
    }
    Ok(())
}

/// Keys of various lengths.
fn key(n: u64) -> Vec<u8> {
    format!("{n:04}-{}", "k".repeat((n % 50) as usize)).into_bytes()
}

fn dump(db: &Db) -> Result<(), Box<dyn Error>> {
    let read = db.begin_read();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut names = read.buckets();
    let mut next = names.first();
    while let Some((name, _)) = next {
        let bucket = read.bucket(name).ok_or("a bucket that cannot be opened")?;
        dump_bucket(&hex(name), bucket, &mut out)?;
        next = names.next();
    }
    Ok(out.flush()?)
}

fn dump_bucket(path: &str, bucket: Bucket<'_>, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    writeln!(out, "bucket {path} {}", bucket.sequence())?;
    let mut cursor = bucket.cursor();
    let mut next = cursor.first();
    while let Some((key, value)) = next {
        if let Some(value) = value {
            writeln!(out, "key {path} {} {}", hex(key), hex(value))?;
        } else {
            let nested = bucket.bucket(key).ok_or("a bucket that cannot be opened")?;
            dump_bucket(&format!("{path}/{}", hex(key)), nested, out)?;
        }
        next = cursor.next();
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    /// Mostly short, sometimes longer than a page.
    fn value(&mut self) -> Vec<u8> {
        let most = match self.below(20) {
            0 => 20_000,
            1..=4 => 1_000,
            _ => 80,
        };
        let len = self.below(most) as usize;
        vec![self.below(256) as u8; len]
    }
}
