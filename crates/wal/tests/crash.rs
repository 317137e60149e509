//! A log crashed at every operation, and damaged at random.
#![allow(clippy::unwrap_used)] // the helpers of tests too

use bytes::Bytes;
use disk::sim::SimDisk;
use disk::{Disk, Open, read_all};
use proptest::prelude::*;
use prost::Message;
use proto::raftpb::{self, ConfState, Entry, HardState, SnapshotMetadata};
use proto::walpb;
use std::path::Path;
use wal::{Fault, Options, Wal, snap, valid_snapshots};

const OPTIONS: Options = Options { segment_bytes: 4096, no_sync: false };

fn dir() -> &'static Path {
    Path::new("wal")
}

fn entry(index: u64, term: u64, len: usize) -> Entry {
    let data = Some(Bytes::from(vec![index as u8 | 1; len]));
    Entry { r#type: Some(0), term: Some(term), index: Some(index), data }
}

fn state(term: u64, commit: u64) -> HardState {
    HardState { term: Some(term), vote: Some(1), commit: Some(commit) }
}

fn at(index: u64, term: u64) -> walpb::Snapshot {
    let conf_state = Some(ConfState { voters: vec![1], ..Default::default() });
    walpb::Snapshot { index: Some(index), term: Some(term), conf_state }
}

fn start() -> walpb::Snapshot {
    walpb::Snapshot { index: Some(0), term: Some(0), conf_state: None }
}

/// Saves until the disk fails. Gives the number of entries whose save returned.
fn run(sim: &SimDisk, rounds: u64) -> Result<u64, u64> {
    let mut acknowledged = 0;
    let mut go = || -> Result<(), Fault> {
        let mut wal = Wal::create(sim.disk(), dir(), Bytes::from_static(b"me"), OPTIONS)?;
        for round in 0..rounds {
            let first = round * 3 + 1;
            let entries: Vec<Entry> =
                (first..first + 3).map(|i| entry(i, 1, 100 + (i as usize * 97) % 900)).collect();
            wal.save(Some(&state(1, first - 1)), &entries, true)?;
            acknowledged = first + 2;
            if round == 4 {
                wal.save_snapshot(&at(12, 1))?;
                wal.release_to(12);
            }
            if wal.wants_prepared() {
                let prepared = wal.preparation()()?;
                wal.prepared(prepared);
            }
        }
        Ok(())
    };
    match go() {
        Ok(()) => Ok(acknowledged),
        Err(_) => Err(acknowledged),
    }
}

#[test]
fn what_was_synced_is_there_after_a_crash_anywhere() {
    let whole = SimDisk::new(0);
    assert_eq!(run(&whole, 12), Ok(36));
    assert!(whole.list(dir()).unwrap().len() >= 4, "{:?}", whole.list(dir()));
    let mut repaired = 0;
    for crash in 1..=whole.ops() {
        for seed in 0..8 {
            let sim = SimDisk::new(seed);
            sim.crash_after(crash);
            let acknowledged = run(&sim, 12).unwrap_err();
            sim.restart();
            if !sim.exists(dir()).unwrap() {
                assert_eq!(acknowledged, 0);
                continue;
            }
            let looked_at = wal::read(&sim, dir(), &start());
            let (mut wal, found) = Wal::open(sim.disk(), dir(), &start(), OPTIONS)
                .unwrap_or_else(|fault| panic!("crash {crash}, seed {seed}: {fault}"));
            assert_eq!(looked_at.unwrap(), found, "crash {crash}, seed {seed}");
            repaired += u32::from(found.torn.is_some());
            assert_eq!(found.metadata, "me");
            assert!(found.entries.len() as u64 >= acknowledged, "crash {crash}, seed {seed}");
            for (n, entry) in found.entries.iter().enumerate() {
                assert_eq!(entry.index(), n as u64 + 1);
            }
            let next = found.entries.len() as u64 + 1;
            wal.save(Some(&state(2, 0)), &[entry(next, 2, 700)], true).unwrap();
            drop(wal);
            let (_, again) = Wal::open(sim.disk(), dir(), &start(), OPTIONS).unwrap();
            assert_eq!(again.entries.len() as u64, next);
            assert_eq!(again.entries.last().unwrap().term(), 2);
            for name in sim.list(dir()).unwrap().iter().filter(|name| name.ends_with(".wal")) {
                assert_eq!(kinds(&sim, name)[..2], [4, 1], "{name}, crash {crash}, seed {seed}");
            }
        }
    }
    assert!(repaired > 20, "tearing must have happened, not {repaired} times");
}

#[test]
fn later_entries_replace_and_snapshots_shorten() {
    let sim = SimDisk::new(1);
    let mut wal = Wal::create(sim.disk(), dir(), Bytes::new(), Options::default()).unwrap();
    wal.save(None, &[entry(1, 1, 9), entry(2, 1, 9), entry(3, 1, 9)], true).unwrap();
    wal.save(Some(&state(2, 2)), &[entry(2, 2, 5)], true).unwrap();
    wal.save_snapshot(&at(1, 1)).unwrap();
    wal.save_snapshot(&at(9, 2)).unwrap();
    drop(wal);
    assert_eq!(valid_snapshots(&sim, dir()).unwrap(), [start(), at(1, 1)]);
    let (_, found) = Wal::open(sim.disk(), dir(), &at(1, 1), Options::default()).unwrap();
    assert_eq!(found.entries, [entry(2, 2, 5)]);
    assert_eq!(found.hard_state, state(2, 2));
    let wrong = Wal::open(sim.disk(), dir(), &at(1, 7), Options::default()).err();
    assert!(matches!(wrong, Some(Fault::Corrupt { .. })), "{wrong:?}");
    let none = Wal::open(sim.disk(), dir(), &at(2, 1), Options::default()).err();
    assert!(matches!(none, Some(Fault::Inconsistent { .. })));
}

#[test]
fn damage_before_the_tail_names_file_and_offset() {
    let sim = SimDisk::new(1);
    run(&sim, 12).unwrap();
    let name = sim.list(dir()).unwrap().swap_remove(1);
    let path = dir().join(&name);
    sim.flip_bit(&path, 2000 * 8).unwrap();
    let fault = Wal::open(sim.disk(), dir(), &start(), OPTIONS).err().unwrap().to_string();
    assert!(fault.contains(&name) && fault.contains("damaged at offset"), "{fault}");
    let before = read_all(&sim, &path).unwrap();
    sim.remove_file(&dir().join(&name)).unwrap();
    let gap = Wal::open(sim.disk(), dir(), &start(), OPTIONS).err().unwrap().to_string();
    assert!(gap.contains("is missing"), "{gap}");
    assert!(!before.is_empty());
}

#[test]
fn released_segments_are_purged_and_the_rest_still_opens() {
    let sim = SimDisk::new(1);
    let mut wal = Wal::create(sim.disk(), dir(), Bytes::new(), OPTIONS).unwrap();
    for i in 1..40 {
        wal.save(Some(&state(1, i)), &[entry(i, 1, 900)], true).unwrap();
    }
    wal.save_snapshot(&at(30, 1)).unwrap();
    assert!(wal.surplus(2).unwrap().is_empty(), "nothing is released yet");
    wal.release_to(30);
    let surplus = wal.surplus(2).unwrap();
    assert!(surplus.len() >= 4, "{surplus:?}");
    assert_eq!(wal::remove(&sim, surplus.clone()).unwrap(), surplus);
    assert!(wal::remove(&sim, surplus).unwrap().is_empty(), "they are gone already");
    drop(wal);
    let (_, found) = Wal::open(sim.disk(), dir(), &at(30, 1), OPTIONS).unwrap();
    assert_eq!(found.entries.len(), 9);
}

/// A leader's snapshot takes the place of a log that ends before it; the member starts again, and
/// the segment is full before another entry comes.
#[test]
fn a_segment_after_a_snapshot_is_named_after_it() {
    let sim = SimDisk::new(1);
    let options = Options { segment_bytes: 2048, no_sync: false };
    let mut wal = Wal::create(sim.disk(), dir(), Bytes::new(), options).unwrap();
    wal.save(Some(&state(1, 2)), &[entry(1, 1, 10), entry(2, 1, 10)], true).unwrap();
    wal.save_snapshot(&at(9, 1)).unwrap();
    wal.save(Some(&state(1, 9)), &[], true).unwrap();
    drop(wal);
    let (mut wal, _) = Wal::open(sim.disk(), dir(), &at(9, 1), options).unwrap();
    for vote in 0..100 {
        wal.save(Some(&HardState { vote: Some(vote), ..state(1, 9) }), &[], true).unwrap();
    }
    drop(wal);
    assert!(sim.list(dir()).unwrap().len() > 1);
    Wal::open(sim.disk(), dir(), &at(9, 1), options).unwrap();
}

#[test]
fn an_empty_directory_made_beforehand_is_taken() {
    let sim = SimDisk::new(1);
    sim.create_dir_all(dir(), 0o700).unwrap();
    drop(Wal::create(sim.disk(), dir(), Bytes::new(), OPTIONS).unwrap());
    drop(Wal::create(sim.disk(), Path::new("other/"), Bytes::new(), OPTIONS).unwrap());
    assert!(!sim.exists(Path::new("other/.tmp")).unwrap());
    assert!(wal::has_segments(&sim, Path::new("other")).unwrap());
    let again = Wal::create(sim.disk(), dir(), Bytes::new(), OPTIONS).err();
    assert!(matches!(again, Some(Fault::Inconsistent { .. })));
}

#[test]
fn a_failed_sync_stops_the_log() {
    let sim = SimDisk::new(1);
    let mut wal = Wal::create(sim.disk(), dir(), Bytes::new(), OPTIONS).unwrap();
    sim.fail_sync_after(1);
    assert!(matches!(wal.save(None, &[entry(1, 1, 9)], true), Err(Fault::Io { .. })));
    assert!(matches!(wal.save(None, &[entry(2, 1, 9)], true), Err(Fault::Poisoned(_))));
}

#[test]
fn snapshot_files_read_back_and_bad_ones_are_set_aside() {
    let sim = SimDisk::new(1);
    sim.create_dir_all(Path::new("snap"), 0o700).unwrap();
    let snapshot = |index| raftpb::Snapshot {
        data: Some(Bytes::from_static(b"{}")),
        metadata: Some(SnapshotMetadata {
            index: Some(index),
            term: Some(2),
            conf_state: Some(ConfState::default()),
        }),
    };
    for index in [5, 6, 7] {
        snap::write(&sim, Path::new("snap"), &snapshot(index)).unwrap();
    }
    let damaged = Path::new("snap").join(snap::file_name(2, 6));
    sim.flip_bit(&damaged, 100).unwrap();
    let newest = snap::load_newest(&sim, Path::new("snap"), &[at(5, 2), at(6, 2)]).unwrap();
    assert_eq!(newest, Some(snapshot(5)), "7 is not recorded and 6 is damaged");
    assert!(sim.exists(Path::new("snap/0000000000000002-0000000000000006.snap.broken")).unwrap());
    let surplus = snap::surplus(&sim, Path::new("snap"), snap::SNAPSHOT, 1, "").unwrap();
    assert_eq!(surplus, [Path::new("snap").join(snap::file_name(2, 5))]);
}

#[test]
fn the_newest_files_of_a_kind_stay_and_the_one_that_is_needed() {
    let (sim, dir) = (SimDisk::new(1), Path::new("snap"));
    sim.create_dir_all(dir, 0o700).unwrap();
    let names =
        ["1.snap", "2.snap", "3.snap", "4.snap", "1.snap.db", "2.snap.db", "db", "x.snap.broken"];
    for name in names {
        sim.open(&dir.join(name), Open::CREATE).unwrap();
    }
    let left = || sim.list(dir).unwrap();
    let purge = |kind, keep, needed| {
        let surplus = snap::surplus(&sim, dir, kind, keep, needed).unwrap();
        wal::remove(&sim, surplus).unwrap();
    };
    purge(snap::SNAPSHOT, 2, "1.snap");
    assert_eq!(
        left(),
        ["1.snap", "1.snap.db", "2.snap.db", "3.snap", "4.snap", "db", "x.snap.broken"]
    );
    purge(snap::DATABASE, 1, "");
    assert_eq!(left(), ["1.snap", "2.snap.db", "3.snap", "4.snap", "db", "x.snap.broken"]);
    purge(snap::SNAPSHOT, usize::MAX, "");
    assert_eq!(left().len(), 6);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_damage_never_panics(flips in prop::collection::vec((0usize..5, 0u64..4096 * 8), 1..6)) {
        let sim = SimDisk::new(1);
        run(&sim, 12).unwrap();
        let names = sim.list(dir()).unwrap();
        for (file, bit) in flips {
            let path = dir().join(&names[file % names.len()]);
            // Shorter files have no such bit.
            let _ = sim.flip_bit(&path, bit);
        }
        if let Ok((_, found)) = Wal::open(sim.disk(), dir(), &start(), OPTIONS) {
            for (n, entry) in found.entries.iter().enumerate() {
                prop_assert_eq!(entry.index(), n as u64 + 1);
            }
        }
    }
}

/// The types of a segment's records, in order.
fn kinds(sim: &SimDisk, name: &str) -> Vec<i64> {
    let bytes = read_all(sim, &dir().join(name)).unwrap();
    let (mut at, mut kinds) = (0, Vec::new());
    while at + 8 <= bytes.len() {
        let field = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        if field == 0 {
            break;
        }
        let padding = if field >> 63 == 1 { (field >> 56 & 7) as usize } else { 0 };
        let len = (field & (u64::MAX >> 8)) as usize;
        kinds.push(walpb::Record::decode(&bytes[at + 8..at + 8 + len]).unwrap().r#type());
        at += 8 + len + padding;
    }
    kinds
}

#[test]
fn a_state_that_was_never_set_is_not_recorded() {
    let sim = SimDisk::new(1);
    let mut wal = Wal::create(sim.disk(), dir(), Bytes::new(), OPTIONS).unwrap();
    wal.save(Some(&HardState::default()), &[entry(1, 1, 5000)], true).unwrap();
    wal.save(Some(&state(1, 1)), &[entry(2, 1, 5000)], true).unwrap();
    let names = sim.list(dir()).unwrap();
    // Checksum, metadata, snapshot, entry; checksum, metadata and what was saved next.
    assert_eq!(kinds(&sim, &names[0]), [4, 1, 5, 2]);
    assert_eq!(kinds(&sim, &names[1]), [4, 1, 2, 3]);
    assert_eq!(kinds(&sim, &names[2]), [4, 1, 3]);
}

/// Names of segments with their bytes.
type Segments = Vec<(String, Vec<u8>)>;

/// A log whose last write was torn, on a disk without further plans.
fn torn(seed: u64, ops: u64) -> Option<(SimDisk, u64, Segments)> {
    let sim = SimDisk::new(seed);
    sim.crash_after(8 + seed % (ops - 8));
    let acknowledged = run(&sim, 12).unwrap_err();
    sim.restart();
    let names = sim.list(dir()).ok()?;
    let wals = names.into_iter().filter(|name| name.ends_with(".wal"));
    let files = wals.map(|name| (name.clone(), read_all(&sim, &dir().join(name)).unwrap()));
    Some((sim.clone(), acknowledged, files.collect()))
}

#[test]
fn a_crash_within_the_repair_or_right_after_it_is_survived_too() {
    let whole = SimDisk::new(0);
    run(&whole, 12).unwrap();
    let mut repaired = 0;
    for seed in 0..1200 {
        let Some((sim, acknowledged, before)) = torn(seed, whole.ops()) else { continue };
        sim.crash_after(1 + seed % 11);
        let again = (|| -> Result<u64, u64> {
            let opened = Wal::open(sim.disk(), dir(), &start(), OPTIONS);
            let (mut wal, found) = opened.map_err(|_| acknowledged)?;
            repaired += u32::from(found.torn.is_some());
            let last = found.entries.len() as u64;
            // Not synced: it may be there afterwards or not, but must not make the rest unreadable.
            wal.save(None, &[entry(last + 1, 2, 150)], false).map_err(|_| acknowledged)?;
            wal.save(None, &[entry(last + 2, 2, 900)], false).map_err(|_| acknowledged)?;
            wal.save(None, &[entry(last + 3, 2, 30)], true).map_err(|_| acknowledged)?;
            Ok(last + 3)
        })();
        sim.restart();
        what_was_cut_off_is_kept(&sim, &before, seed);
        let (_, found) = Wal::open(sim.disk(), dir(), &start(), OPTIONS)
            .unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
        let least = again.unwrap_or_else(|least| least);
        assert!(found.entries.len() as u64 >= least, "seed {seed}: {least}");
    }
    assert!(repaired > 20, "{repaired}");
}

#[test]
fn what_is_torn_is_only_looked_at_until_the_log_is_begun() {
    let whole = SimDisk::new(0);
    run(&whole, 12).unwrap();
    let mut torn_ones = 0;
    for seed in 0..200 {
        let Some((sim, _, _)) = torn(seed, whole.ops()) else { continue };
        let left = |sim: &SimDisk| -> Segments {
            let names = sim.list(dir()).unwrap();
            names.into_iter().map(|n| (n.clone(), read_all(sim, &dir().join(n)).unwrap())).collect()
        };
        let (before, ops) = (left(&sim), sim.ops());
        let (examined, found) = Wal::examine(sim.disk(), dir(), &start(), OPTIONS).unwrap();
        assert_eq!(sim.ops(), ops, "seed {seed}: looking changes nothing");
        drop(examined);
        assert_eq!(left(&sim), before, "seed {seed}: nor does giving up");
        let (_, again) = Wal::open(sim.disk(), dir(), &start(), OPTIONS).unwrap();
        assert_eq!(again, found, "seed {seed}");
        let Some(torn) = found.torn else { continue };
        torn_ones += 1;
        let (name, bytes) = before.iter().rfind(|(name, _)| name.ends_with(".wal")).unwrap();
        assert_eq!(torn.path, dir().join(name), "seed {seed}");
        let (now, offset) = (read_all(&sim, &torn.path).unwrap(), torn.offset as usize);
        assert_eq!(now[..offset], bytes[..offset], "seed {seed}: the records stay");
        assert!(now[offset..].iter().all(|byte| *byte == 0), "seed {seed}: {torn}");
    }
    assert!(torn_ones > 10, "{torn_ones}");
}

/// Where a file's torn tail is gone, its copy holds what was there.
fn what_was_cut_off_is_kept(sim: &SimDisk, before: &[(String, Vec<u8>)], seed: u64) {
    let (name, bytes) = before.last().unwrap();
    let broken = dir().join(format!("{name}.broken"));
    let now = read_all(sim, &dir().join(name)).unwrap();
    let is_torn = {
        let copy = SimDisk::new(1);
        copy.create_dir_all(dir(), 0o700).unwrap();
        for (name, bytes) in before {
            let file = copy.open(&dir().join(name), disk::Open::CREATE).unwrap();
            file.write_at(bytes, 0).unwrap();
        }
        Wal::open(copy.disk(), dir(), &start(), OPTIONS)
            .is_ok_and(|(_, found)| found.torn.is_some())
    };
    if is_torn && now != *bytes {
        let copy = read_all(sim, &broken).ok();
        assert!(copy.as_ref() == Some(bytes), "seed {seed}: {:?}", copy.map(|copy| copy.len()));
    }
}
