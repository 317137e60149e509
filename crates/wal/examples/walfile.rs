//! Makes, continues and shows logs, so that other implementations of the format can be set
//! against this one.
//!
//! ```text
//! walfile write SEED DIR     makes a log: entries, states and snapshot records by chance
//! walfile append SEED DIR    more of them behind what an existing log holds
//! walfile dump DIR           what a restart would read, one line each:
//!                            "metadata HEX", "state TERM VOTE COMMIT", "snapshot INDEX TERM",
//!                            "entry INDEX TERM TYPE HEX"
//! ```
//! Segments are small, so that there are several.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a program

use bytes::Bytes;
use disk::{Disk, RealDisk};
use proto::raftpb::{ConfState, Entry, HardState};
use proto::walpb;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use wal::{Options, Wal, valid_snapshots};

const SEGMENT_BYTES: u64 = 64 * 1024;
const SAVES: u64 = 60;
const ENTRY_BYTES_MAX: u64 = 8 * 1024;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args[..] {
        ["write", seed, dir] => write(seed, Path::new(dir)),
        ["append", seed, dir] => append(seed, Path::new(dir)),
        ["dump", dir] => dump(Path::new(dir)),
        _ => Err("walfile write|append SEED DIR, walfile dump DIR".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Options {
    Options { segment_bytes: SEGMENT_BYTES, ..Options::default() }
}

fn start() -> walpb::Snapshot {
    walpb::Snapshot { index: Some(0), term: Some(0), conf_state: None }
}

/// A small generator of pseudo-random numbers (xorshift64*).
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % n
    }
}

fn write(seed: &str, dir: &Path) -> Result<(), Box<dyn Error>> {
    let metadata = Bytes::from_static(b"a member of a cluster");
    let disk: Arc<dyn Disk> = RealDisk::new();
    let wal = Wal::create(disk, dir, metadata, options())?;
    more(wal, seed.parse()?, HardState::default(), 0)
}

fn append(seed: &str, dir: &Path) -> Result<(), Box<dyn Error>> {
    let (wal, found) = Wal::open(RealDisk::new(), dir, &start(), options())?;
    let last = found.entries.last().map_or(0, Entry::index);
    more(wal, seed.parse()?, found.hard_state, last)
}

fn more(
    mut wal: Wal,
    seed: u64,
    mut state: HardState,
    mut last: u64,
) -> Result<(), Box<dyn Error>> {
    let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut term = state.term() + 1;
    for _ in 0..SAVES {
        // Now and then a new leader writes over what was not committed.
        if rng.below(8) == 0 {
            term += 1;
            last -= rng.below(last - state.commit() + 1);
        }
        let entries: Vec<Entry> =
            (0..rng.below(4)).map(|n| entry(&mut rng, last + 1 + n, term)).collect();
        last += entries.len() as u64;
        let commit = state.commit() + rng.below(last - state.commit() + 1);
        state = HardState { term: Some(term), vote: Some(7), commit: Some(commit) };
        wal.save(Some(&state), &entries, rng.below(2) == 0)?;
        if rng.below(10) == 0 && commit > 0 {
            let conf_state = Some(ConfState { voters: vec![7], ..ConfState::default() });
            let index = Some(commit);
            wal.save_snapshot(&walpb::Snapshot { index, term: Some(term), conf_state })?;
        }
        if wal.wants_prepared() {
            let prepared = wal.preparation()()?;
            wal.prepared(prepared);
        }
    }
    wal.save(Some(&state), &[], true)?;
    Ok(())
}

fn entry(rng: &mut Rng, index: u64, term: u64) -> Entry {
    let data = match rng.below(5) {
        // As a new leader's first entry.
        0 => None,
        _ => Some((0..rng.below(ENTRY_BYTES_MAX)).map(|_| rng.below(256) as u8).collect()),
    };
    Entry { r#type: Some(0), term: Some(term), index: Some(index), data }
}

fn dump(dir: &Path) -> Result<(), Box<dyn Error>> {
    let disk = RealDisk::new();
    let snapshots = valid_snapshots(&*disk, dir)?;
    let (_, found) = Wal::open(disk, dir, &start(), options())?;
    println!("metadata {}", hex(&found.metadata));
    let state = found.hard_state;
    println!("state {} {} {}", state.term(), state.vote(), state.commit());
    for snapshot in snapshots {
        println!("snapshot {} {}", snapshot.index(), snapshot.term());
    }
    for entry in found.entries {
        let data = hex(entry.data.as_deref().unwrap_or_default());
        println!("entry {} {} {} {data}", entry.index(), entry.term(), entry.r#type() as i32);
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
