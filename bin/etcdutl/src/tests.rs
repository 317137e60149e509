//! Files of bytes that nobody should have written are refused; none makes a command panic, and none
//! is changed.

use crate::args::{Invocation, parse};
use crate::command;
use crate::{hash_kv, status};
use backend::{Backend, EntryId, Options};
use disk::RealDisk;
use mvcc::Store;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const WAIT: Duration = Duration::from_secs(1);
/// A page of a database.
const PAGE: usize = 4096;

/// A database of some history, with a branch page in its key table.
fn database(dir: &Path) -> PathBuf {
    let path = dir.join("db");
    let mut backend = Backend::open(RealDisk::new(), &path, Options::default()).unwrap();
    let (mut store, _) = Store::open(&backend).unwrap();
    for index in 1..=400u64 {
        let mut txn = backend.begin();
        let mut write = store.begin(&mut txn);
        let key = format!("key-{}", index % 40).into();
        if index % 9 == 0 {
            write.delete_range(&key, &"".into(), false);
        } else {
            write.put(&key, format!("value-{index}").as_bytes(), 0, false);
        }
        let change = write.end();
        txn.finish(EntryId { term: 1, index });
        if let Some(change) = change {
            store.publish(&change);
        }
        if index % 100 == 0 {
            backend.commit().unwrap();
        }
    }
    path
}

fn run(words: &[&str]) -> Result<(), String> {
    let words = std::iter::once("etcdutl").chain(words.iter().copied());
    let invocation: Invocation = parse(words.map(Into::into)).unwrap();
    command::run(invocation).map_err(|exit| exit.message().to_owned())
}

fn restore(snapshot: &Path, to: &Path, more: &[&str]) -> Result<(), String> {
    let (snapshot, to) = (snapshot.to_str().unwrap(), to.to_str().unwrap());
    run(&[&["snapshot", "restore", snapshot, "--data-dir", to], more].concat())
}

/// The same numbers every time, as if at random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % end
    }
}

#[test]
fn damaged_files_are_refused_or_read_and_never_changed() {
    let dir = TempDir::new().unwrap();
    let mut good = fs::read(database(dir.path())).unwrap();
    let used = status::status(&dir.path().join("db"), WAIT).unwrap().total_bytes as usize;
    good.truncate(used);
    let path = dir.path().join("damaged");
    let (mut numbers, mut refused) = (Numbers(7), 0);
    for round in 0..400 {
        let mut bytes = good.clone();
        match round % 4 {
            // What a page says of itself and of its elements.
            0 => bytes[PAGE * numbers.below(used / PAGE) + numbers.below(64)] ^= 0xff,
            1 => bytes[numbers.below(used)] ^= 1 << numbers.below(8),
            2 => bytes.truncate(numbers.below(used)),
            _ => {
                let (from, to) = (numbers.below(used / PAGE), numbers.below(used / PAGE));
                bytes.copy_within(PAGE * from..PAGE * (from + 1), PAGE * to);
            }
        }
        fs::write(&path, &bytes).unwrap();
        let status = status::status(&path, WAIT);
        let hash = hash_kv::hash_kv(&path, 0, WAIT);
        refused += usize::from(status.is_err() || hash.is_err());
        let to = dir.path().join("restored");
        if restore(&path, &to, &["--skip-hash-check"]).is_err() {
            assert!(!to.exists() || status.is_ok(), "damage is found before anything is made");
        }
        // A directory that was never made needs no removing.
        let _ = fs::remove_dir_all(&to);
        assert!(fs::read(&path).unwrap() == bytes, "round {round} changed its file");
    }
    assert!(refused > 200, "only {refused} were noticed");
}

#[test]
fn a_snapshot_must_be_what_its_hash_says() {
    let dir = TempDir::new().unwrap();
    let mut bytes = fs::read(database(dir.path())).unwrap();
    let (plain, hashed, wrong) =
        (dir.path().join("db"), dir.path().join("hashed"), dir.path().join("wrong"));
    bytes.extend(Sha256::digest(&bytes));
    fs::write(&hashed, &bytes).unwrap();
    bytes[PAGE / 2] ^= 1;
    fs::write(&wrong, &bytes).unwrap();
    let to = dir.path().join("restored");
    let missing = "snapshot missing hash but --skip-hash-check=false";
    assert_eq!(restore(&plain, &to, &[]), Err(missing.into()));
    assert!(restore(&wrong, &to, &[]).unwrap_err().starts_with("expected sha256 ["));
    assert!(!to.exists(), "nothing is left of a restore that was refused");
    let bump = ["--bump-revision", "18446744073709551615", "--mark-compacted"];
    let refused = restore(&hashed, &to, &bump).unwrap_err();
    assert!(refused.contains("above the latest"), "{refused}");
    fs::remove_dir_all(&to).unwrap();
    assert_eq!(restore(&hashed, &to, &[]), Ok(()));
    let restored = status::status(&to.join("member/snap/db"), WAIT).unwrap();
    assert_eq!(restored.revision, status::status(&plain, WAIT).unwrap().revision);
    let again = restore(&hashed, &to, &[]).unwrap_err();
    assert!(again.ends_with("not empty or could not be read"), "{again}");
}

#[test]
fn a_restored_directory_is_migrated_and_defragmented() {
    let dir = TempDir::new().unwrap();
    let to = dir.path().join("restored");
    restore(&database(dir.path()), &to, &["--skip-hash-check"]).unwrap();
    let (db, text) = (to.join("member/snap/db"), to.to_str().unwrap());
    let before = hash_kv::hash_kv(&db, 0, WAIT).unwrap();
    for (target, version) in [("3.7", "3.7.0"), ("3.6", "3.6.0"), ("3.5", "")] {
        run(&["migrate", "--data-dir", text, "--target-version", target]).unwrap();
        assert_eq!(status::status(&db, WAIT).unwrap().version, version);
    }
    run(&["defrag", "--data-dir", text]).unwrap();
    assert_eq!(hash_kv::hash_kv(&db, 0, WAIT).unwrap(), before);
    let held = Backend::open(RealDisk::new(), &db, Options::default()).unwrap();
    let refused = run(&["defrag", "--timeout", "1ms", "--data-dir", text]).unwrap_err();
    assert!(refused.ends_with("(timeout)"), "{refused}");
    drop(held);
}
