//! Loads many keys and prints what they cost: time, resident memory, file size, restart.
//!
//! `cargo run --release -p mvcc --example load -- [keys] [value bytes] [puts per key]`
#![allow(clippy::print_stdout, clippy::unwrap_used)] // a program for people who measure

use backend::{Backend, EntryId, Options};
use bytes::Bytes;
use mvcc::{RangeOptions, RestoreJob, Store};
use std::path::Path;
use std::time::Instant;

/// etcd's batch limit.
const BATCH_OPS: usize = 10_000;
/// For the restart.
const THREADS: usize = 2;

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>().unwrap());
    let keys = args.next().unwrap_or(500_000);
    let value_bytes = args.next().unwrap_or(256);
    let puts_per_key = args.next().unwrap_or(1);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");

    report("empty");
    load(&path, keys, value_bytes, puts_per_key);
    restart(&path);
}

fn key(n: u64) -> Bytes {
    // Scattered over the key space, as names are.
    let scattered = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("/registry/pods/{scattered:016x}").into()
}

fn load(path: &Path, keys: u64, value_bytes: u64, puts_per_key: u64) {
    let begun = Instant::now();
    let mut backend = Backend::open(disk::RealDisk::new(), path, Options::default()).unwrap();
    let (mut store, _) = Store::open(&backend).unwrap();
    let value = vec![b'v'; value_bytes as usize];
    let mut commits = std::time::Duration::ZERO;
    for n in 0..keys * puts_per_key {
        let mut txn = backend.begin();
        let mut write = store.begin(&mut txn);
        write.put(&key(n % keys), &value, 0, false);
        let change = write.end();
        txn.finish(EntryId { term: 1, index: n + 1 });
        store.publish(&change.unwrap());
        if backend.pending_ops() >= BATCH_OPS {
            let at = Instant::now();
            backend.commit().unwrap();
            commits += at.elapsed();
        }
    }
    backend.commit().unwrap();
    let took = begun.elapsed();
    println!(
        "load      {:.2} s, of it commits {:.2} s; applying {:.2} us a put",
        took.as_secs_f64(),
        commits.as_secs_f64(),
        (took - commits).as_secs_f64() * 1e6 / (keys * puts_per_key) as f64
    );
    println!("file      {} MB, in use {} MB", backend.size() >> 20, backend.size_in_use() >> 20);
    report("loaded");
}

fn restart(path: &Path) {
    let begun = Instant::now();
    let backend = Backend::open(disk::RealDisk::new(), path, Options::default()).unwrap();
    let opened = begun.elapsed();
    let at = Instant::now();
    let (store, restored) = Store::open_in_parts(&backend, THREADS, on_threads).unwrap();
    println!(
        "restart   file {:.3} s, index {:.3} s; revision {}, {} attachments",
        opened.as_secs_f64(),
        at.elapsed().as_secs_f64(),
        store.revision(),
        restored.attachments.len()
    );
    report("restarted");
    reads(&store);
}

fn on_threads(jobs: Vec<RestoreJob>) -> Vec<mvcc::RestoredPart> {
    std::thread::scope(|threads| {
        let running: Vec<_> = jobs.into_iter().map(|job| threads.spawn(|| job.run())).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn reads(store: &Store) {
    let reader = store.reader();
    let all = RangeOptions { key: "\0".into(), range_end: "\0".into(), ..RangeOptions::default() };
    let at = Instant::now();
    let count =
        reader.read().range(&RangeOptions { count_only: true, ..all.clone() }).unwrap().count;
    println!("count     {count} in {:.1} ms", at.elapsed().as_secs_f64() * 1e3);

    let at = Instant::now();
    let page = RangeOptions { limit: 500, ..all.clone() };
    assert!(!reader.read().range(&page).unwrap().kvs.is_empty());
    println!("page      500 of them with the count in {:.2} ms", at.elapsed().as_secs_f64() * 1e3);

    let at = Instant::now();
    let bytes: usize =
        reader.read().range(&all).unwrap().kvs.iter().map(|kv| kv.encoded().len()).sum();
    println!("list      {} MB in {:.1} ms", bytes >> 20, at.elapsed().as_secs_f64() * 1e3);

    let at = Instant::now();
    let mut bytes = Vec::new();
    reader.read().range_with(&all, &mut |stored| bytes.extend_from_slice(stored)).unwrap();
    println!("splice    {} MB in {:.1} ms", bytes.len() >> 20, at.elapsed().as_secs_f64() * 1e3);

    let at = Instant::now();
    let hash = reader.read().hash_kv(0).unwrap();
    println!("hash      {:08x} in {:.1} ms", hash.hash, at.elapsed().as_secs_f64() * 1e3);

    let at = Instant::now();
    const GETS: u64 = 200_000;
    for n in 0..GETS {
        let one = RangeOptions { key: key(n), ..RangeOptions::default() };
        std::hint::black_box(reader.read().range(&one).unwrap());
    }
    println!("get       {:.2} us", at.elapsed().as_secs_f64() * 1e6 / GETS as f64);
}

fn report(when: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    println!("{when:9} resident {} MB, of it anonymous {} MB", of("VmRSS"), of("RssAnon"));
}
