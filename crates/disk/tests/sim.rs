//! The simulated disk keeps what was synced, and only that for certain.

use disk::sim::SimDisk;
use disk::{Disk, Lock, Open, RealDisk, read_all};
use proptest::prelude::*;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

fn p(path: &str) -> &Path {
    Path::new(path)
}

#[test]
fn synced_bytes_survive_and_unsynced_sectors_are_torn() {
    let (mut kept, mut lost, mut torn) = (0, 0, 0);
    for seed in 0..200 {
        let sim = SimDisk::new(seed);
        sim.create_dir_all(p("d"), 0o700).unwrap();
        let file = sim.open(p("d/f"), Open::CREATE).unwrap();
        file.write_at(&[1; 2048], 0).unwrap();
        file.sync_data().unwrap();
        sim.sync_dir(p("d")).unwrap();
        sim.sync_dir(p("")).unwrap();
        file.write_at(&[2; 1024], 0).unwrap();
        sim.restart();
        assert!(file.len().is_err(), "a handle from before the crash is dead");
        let bytes = read_all(&sim, p("d/f")).unwrap();
        assert_eq!(bytes[1024..], [1; 1024]);
        match (bytes[0], bytes[512]) {
            (2, 2) => kept += 1,
            (1, 1) => lost += 1,
            _ => torn += 1,
        }
    }
    assert!(kept > 20 && lost > 20 && torn > 40, "{kept} kept, {lost} lost, {torn} torn");
}

#[test]
fn names_survive_in_order_once_their_directory_is_synced() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let sim = SimDisk::new(seed);
        sim.create_dir_all(p("d"), 0o700).unwrap();
        sim.open(p("d/a"), Open::CREATE).unwrap();
        sim.sync_dir(p("d")).unwrap();
        sim.sync_dir(p("")).unwrap();
        sim.rename(p("d/a"), p("d/b")).unwrap();
        sim.open(p("d/c"), Open::CREATE).unwrap();
        sim.restart();
        seen.insert(sim.list(p("d")).unwrap());
    }
    let expected: Vec<Vec<String>> =
        vec![vec!["a".into()], vec!["b".into()], vec!["b".into(), "c".into()]];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_name_needs_its_directory_and_that_one_its_own() {
    let (mut without_file, mut without_dir, mut moved) = (0, 0, 0);
    for seed in 0..200 {
        let sim = SimDisk::new(seed);
        sim.create_dir_all(p("new"), 0o700).unwrap();
        sim.open(p("new/f"), Open::CREATE).unwrap();
        // Either of the two alone is not enough.
        sim.sync_dir(p(if seed % 2 == 0 { "" } else { "new" })).unwrap();
        sim.rename(p("new"), p("d")).unwrap();
        sim.restart();
        let dir = ["new", "d"].into_iter().find(|name| sim.exists(p(name)).unwrap());
        without_dir += u32::from(dir.is_none());
        if let Some(dir) = dir {
            moved += u32::from(dir == "d");
            without_file += u32::from(sim.list(p(dir)).unwrap().is_empty());
        }
    }
    let counts = [without_file, without_dir, moved];
    assert!(counts.iter().all(|count| *count > 5), "{counts:?}");
}

#[test]
fn a_planned_crash_stops_everything() {
    let sim = SimDisk::new(1);
    let file = sim.open(p("f"), Open::CREATE).unwrap();
    sim.crash_after(2);
    file.write_at(b"a", 0).unwrap();
    assert!(file.write_at(b"b", 1).is_err());
    assert!(file.read_at(&mut [0], 0).is_err() && sim.list(p("")).is_err());
    assert!(sim.has_crashed());
    sim.restart();
    assert!(!sim.has_crashed());
}

#[test]
fn a_failed_sync_loses_its_data_even_if_a_later_one_succeeds() {
    let sim = SimDisk::new(3);
    let file = sim.open(p("f"), Open::CREATE).unwrap();
    file.write_at(&[0; 512], 0).unwrap();
    file.sync_data().unwrap();
    sim.sync_dir(p("")).unwrap();
    file.write_at(&[7; 512], 0).unwrap();
    sim.fail_sync_after(1);
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    sim.restart();
    assert_eq!(read_all(&sim, p("f")).unwrap(), [0; 512]);
}

#[test]
fn a_full_disk_refuses_growth_only() {
    let sim = SimDisk::new(4);
    let file = sim.open(p("f"), Open::CREATE).unwrap();
    sim.set_capacity(Some(1000));
    file.write_at(&[1; 1000], 0).unwrap();
    assert_eq!(file.write_at(&[1], 1000).unwrap_err().kind(), ErrorKind::StorageFull);
    file.write_at(&[2; 10], 0).unwrap();
}

#[test]
fn both_disks_lock_and_map_alike() {
    let dir = tempfile::tempdir().unwrap();
    let sim = SimDisk::new(5);
    sim.create_dir_all(dir.path(), 0o700).unwrap();
    for disk in [RealDisk::new(), sim.disk()] {
        let path = dir.path().join("locked");
        let held = disk.open(&path, Open::CREATE.locked(Lock::Exclusive)).unwrap();
        let again = disk.open(&path, Open::WRITE.locked(Lock::Exclusive));
        assert_eq!(again.err().map(|e| e.kind()), Some(ErrorKind::WouldBlock));
        held.allocate(8192).unwrap();
        held.write_at(b"page", 4096).unwrap();
        let view = held.map(8192, 1 << 20, None).unwrap();
        assert_eq!(&view[4096..4100], b"page");
        held.write_at(b"anew", 4096).unwrap();
        let again = held.map(8192, 1 << 20, Some(&view)).unwrap();
        assert_eq!(&again[4096..4100], b"anew");
        // A mapping keeps the file, and with it the lock.
        drop((held, view, again));
        disk.open(&path, Open::WRITE.locked(Lock::Exclusive)).unwrap();
    }
}

#[test]
fn an_undone_truncation_brings_the_bytes_back() {
    let (mut cut, mut undone) = (0, 0);
    for seed in 0..200 {
        let sim = SimDisk::new(seed);
        let file = sim.open(p("f"), Open::CREATE).unwrap();
        file.write_at(&[7; 2000], 0).unwrap();
        file.sync_all().unwrap();
        sim.sync_dir(p("")).unwrap();
        file.set_len(700).unwrap();
        sim.restart();
        let bytes = read_all(&sim, p("f")).unwrap();
        match bytes.len() {
            700 => cut += 1,
            2000 => undone += 1,
            other => panic!("{other} bytes"),
        }
        assert!(bytes.iter().all(|byte| *byte == 7), "seed {seed}: {bytes:?}");
    }
    assert!(cut > 20 && undone > 20, "{cut} {undone}");
}

#[test]
fn what_is_written_again_after_a_failed_sync_can_be_saved() {
    for seed in 0..50 {
        let sim = SimDisk::new(seed);
        let file = sim.open(p("f"), Open::CREATE).unwrap();
        file.write_at(&[1; 1024], 0).unwrap();
        file.sync_all().unwrap();
        sim.sync_dir(p("")).unwrap();
        file.write_at(&[2; 1024], 0).unwrap();
        sim.fail_sync_after(1);
        assert!(file.sync_data().is_err());
        file.write_at(&[3; 512], 0).unwrap();
        file.sync_data().unwrap();
        sim.restart();
        let bytes = read_all(&sim, p("f")).unwrap();
        assert_eq!(bytes[..512], [3; 512], "written again, and synced");
        assert_eq!(bytes[512..], [1; 512], "given up by the failed sync");
    }
}

#[test]
fn a_file_that_is_locked_is_not_emptied() {
    let dir = tempfile::tempdir().unwrap();
    let sim = SimDisk::new(1);
    let path = dir.path().join("f");
    sim.create_dir_all(dir.path(), 0o700).unwrap();
    for disk in [&sim as &dyn Disk, &RealDisk] {
        let held = disk.open(&path, Open::CREATE.locked(Lock::Exclusive)).unwrap();
        held.write_at(b"precious", 0).unwrap();
        let how = Open { truncate: true, ..Open::CREATE.locked(Lock::Exclusive) };
        assert_eq!(disk.open(&path, how).err().map(|e| e.kind()), Some(ErrorKind::WouldBlock));
        assert_eq!(held.len().unwrap(), 8);
        drop(held);
        assert_eq!(disk.open(&path, how).unwrap().len().unwrap(), 0);
    }
}

/// One call, of files and directories by small numbers.
#[derive(Clone, Copy, Debug)]
enum Step {
    Make(u8),
    Write(u8, u16, u16),
    SetLen(u8, u16),
    Sync(u8),
    FailSync,
    Rename(u8, u8),
    Remove(u8),
    SyncDir(u8),
    Lock(u8, bool),
    Unlock,
    Crash(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let file = 0..6u8;
    prop_oneof![
        3 => file.clone().prop_map(Step::Make),
        6 => (file.clone(), 0..3000u16, 1..1500u16).prop_map(|(f, at, len)| Step::Write(f, at, len)),
        2 => (file.clone(), 0..3000u16).prop_map(|(f, len)| Step::SetLen(f, len)),
        3 => file.clone().prop_map(Step::Sync),
        1 => Just(Step::FailSync),
        8 => (file.clone(), file.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        3 => file.clone().prop_map(Step::Remove),
        2 => file.clone().prop_map(Step::SyncDir),
        2 => (file, any::<bool>()).prop_map(|(f, alone)| Step::Lock(f, alone)),
        1 => Just(Step::Unlock),
        1 => (1..5u64).prop_map(Step::Crash),
        4 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is asked of it, in whatever order, the disk stays sound: what fails, fails with an error.
    #[test]
    fn the_disk_checks_itself_after_every_step(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let sim = SimDisk::new(seed);
        let path = |n: u8| format!("d{}/f{}", n % 2, n / 2);
        let mut locks: Vec<Arc<dyn disk::File>> = Vec::new();
        let open = |n: u8| sim.open(p(&path(n)), Open::WRITE);
        for step in steps {
            let _: std::io::Result<()> = match step {
                Step::Make(n) => sim
                    .create_dir_all(p(&format!("d{}", n % 2)), 0o700)
                    .and_then(|()| sim.open(p(&path(n)), Open::CREATE).map(drop)),
                Step::Write(n, at, len) => open(n)
                    .and_then(|file| file.write_at(&vec![n + 1; len.into()], at.into())),
                Step::SetLen(n, len) => open(n).and_then(|file| file.set_len(len.into())),
                Step::Sync(n) => open(n).and_then(|file| file.sync_all()),
                Step::FailSync => { sim.fail_sync_after(1); Ok(()) }
                Step::Rename(from, to) => sim.rename(p(&path(from)), p(&path(to))),
                Step::Remove(n) => sim.remove_file(p(&path(n))),
                Step::SyncDir(n) => sim.sync_dir(p(&format!("d{}", n % 2))),
                Step::Lock(n, alone) => {
                    let lock = if alone { Lock::Exclusive } else { Lock::Shared };
                    let locked = sim.open(p(&path(n)), Open::WRITE.locked(lock));
                    locked.map(|file| locks.push(file))
                }
                Step::Unlock => { drop(locks.pop()); Ok(()) }
                Step::Crash(after) => { sim.crash_after(after); Ok(()) }
                Step::Restart => { sim.restart(); Ok(()) }
            };
            sim.check();
        }
    }
}

#[test]
fn both_disks_rename_alike() {
    let (sim, dir) = (SimDisk::new(1), tempfile::tempdir().unwrap());
    for (disk, root) in [(sim.disk(), p("")), (RealDisk::new(), dir.path())] {
        disk.open(&root.join("a"), Open::CREATE).unwrap().write_at(b"a", 0).unwrap();
        let nowhere = disk.rename(&root.join("a"), &root.join("none/b"));
        assert_eq!(nowhere.unwrap_err().kind(), ErrorKind::NotFound);
        disk.rename(&root.join("a"), &root.join("a")).unwrap();
        assert_eq!(read_all(&*disk, &root.join("a")).unwrap(), b"a");
    }
}
