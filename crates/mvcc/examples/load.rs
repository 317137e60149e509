//! Loads many keys and prints what they cost: processor time, resident memory, file size, restart.
//!
//! `cargo run --release -p mvcc --example load -- [keys] [value bytes] [puts per key]`
//!
//! Times are those that the processor spent in this thread, so that a busy machine changes them
//! little; the restart's is that of the clock, since it runs on several threads.
#![allow(clippy::print_stdout, clippy::unwrap_used)] // a program for people who measure

use backend::{Backend, EntryId, Options};
use bytes::Bytes;
use mvcc::{RangeOptions, Reader, RestoreJob, RestoredPart, Store};
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

/// As the server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// etcd's batch limit.
const BATCH_OPS: usize = 10_000;
/// For the restart.
const THREADS: usize = 2;
const GETS: u64 = 200_000;
const PAGES: u32 = 200;

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>().unwrap());
    let keys = args.next().unwrap_or(500_000);
    let value_bytes = args.next().unwrap_or(256);
    let puts_per_key = args.next().unwrap_or(1);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");

    report("empty");
    load(&path, keys, value_bytes, puts_per_key);
    let store = restart(&path);
    read(&store.reader(), keys);
}

fn key(n: u64) -> Bytes {
    // Scattered over the key space, as names are.
    let scattered = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("/registry/pods/{scattered:016x}").into()
}

/// Processor time of this thread.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn time<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let begun = processor_time();
    let result = act();
    (result, processor_time() - begun)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn load(path: &Path, keys: u64, value_bytes: u64, puts_per_key: u64) {
    let mut backend = Backend::open(disk::RealDisk::new(), path, Options::default()).unwrap();
    let (mut store, _) = Store::open(&backend).unwrap();
    let value = vec![b'v'; value_bytes as usize];
    let mut commits = Duration::ZERO;
    let ((), took) = time(|| {
        for n in 0..keys * puts_per_key {
            let mut txn = backend.begin();
            let mut write = store.begin(&mut txn);
            write.put(&key(n % keys), &value, 0, false);
            let change = write.end();
            txn.finish(EntryId { term: 1, index: n + 1 });
            store.publish(&change.unwrap());
            if backend.pending_ops() >= BATCH_OPS {
                commits += time(|| backend.commit().unwrap()).1;
            }
        }
    });
    backend.commit().unwrap();
    let put_us = ms(took - commits) * 1e3 / (keys * puts_per_key) as f64;
    println!("load      {put_us:.2} us a put, commits {:.0} ms in all", ms(commits));
    println!("file      {} MB, in use {} MB", backend.size() >> 20, backend.size_in_use() >> 20);
    report("loaded");
}

fn restart(path: &Path) -> Store {
    let begun = Instant::now();
    let backend = Backend::open(disk::RealDisk::new(), path, Options::default()).unwrap();
    let opened = begun.elapsed();
    let (store, restored) = Store::open_in_parts(&backend, THREADS, on_threads).unwrap();
    let restored_in = begun.elapsed() - opened;
    println!("restart   file {:.0} ms, index {:.0} ms", ms(opened), ms(restored_in));
    assert!(restored.attachments.is_empty());
    report("restarted");
    store
}

fn on_threads(jobs: Vec<RestoreJob>) -> Vec<RestoredPart> {
    std::thread::scope(|threads| {
        let running: Vec<_> = jobs.into_iter().map(|job| threads.spawn(|| job.run())).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn read(reader: &Reader, keys: u64) {
    let all = RangeOptions { key: "\0".into(), range_end: "\0".into(), ..RangeOptions::default() };
    let count = RangeOptions { count_only: true, ..all.clone() };
    let (counted, took) = time(|| reader.read().range(&count).unwrap().count);
    println!("count     {counted} in {:.3} ms", ms(took));

    let (bytes, took) = time(|| {
        let kvs = reader.read().range(&all).unwrap().kvs;
        kvs.iter().map(|kv| kv.encoded().len()).sum::<usize>()
    });
    println!("list      {} MB in {:.0} ms", bytes >> 20, ms(took));

    let mut out = Vec::with_capacity(bytes);
    let ((), took) = time(|| {
        let mut splice = |stored: &[u8]| out.extend_from_slice(stored);
        reader.read().range_with(&all, &mut splice).unwrap();
    });
    println!("splice    {} MB in {:.0} ms", out.len() >> 20, ms(took));

    let page = RangeOptions { limit: 500, ..all };
    let ((), took) = time(|| {
        for _ in 0..PAGES {
            black_box(reader.read().range(&page).unwrap());
        }
    });
    println!("page      500 of them with the count in {:.3} ms", ms(took / PAGES));

    let (hash, took) = time(|| reader.hash_kv(0).unwrap().hash);
    println!("hash      {hash:08x} in {:.0} ms", ms(took));

    let wanted: Vec<RangeOptions> =
        (0..GETS).map(|n| RangeOptions { key: key(n % keys), ..RangeOptions::default() }).collect();
    let ((), took) = time(|| {
        for options in &wanted {
            black_box(reader.read().range(options).unwrap());
        }
    });
    println!("get       {:.2} us", ms(took) * 1e3 / GETS as f64);
}

fn report(when: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    println!("{when:9} resident {} MB, of it anonymous {} MB", of("VmRSS"), of("RssAnon"));
}
