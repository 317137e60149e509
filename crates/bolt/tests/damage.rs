//! Files of bytes that nobody should have written: reported, never believed.
#![allow(clippy::unwrap_used)] // the helpers of tests too

mod common;

use bolt::{Db, Error, Freelist};
use common::{Model, Op, PATH, apply, commit, op, open, options, try_open};
use disk::sim::SimDisk;
use disk::{Disk, Open, RealDisk};
use proptest::prelude::*;
use std::path::Path;

const PAGE: usize = 1024;

fn bytes(disk: &dyn Disk) -> Vec<u8> {
    disk::read_all(disk, Path::new(PATH)).unwrap()
}

fn disk_with(bytes: &[u8]) -> SimDisk {
    let sim = SimDisk::new(1);
    let file = sim.open(Path::new(PATH), Open::CREATE).unwrap();
    file.write_at(bytes, 0).unwrap();
    sim
}

/// A database of two commits, with nested and inline buckets and overflow.
fn sample(freelist: Freelist) -> (Vec<u8>, Model, Model) {
    let sim = SimDisk::new(1);
    let db = open(&sim, freelist);
    let mut model = Model::default();
    let mut ops: Vec<Op> = (0..300).map(|n| Op::Put(vec![0], n, usize::from(n % 90))).collect();
    ops.extend((0..40).map(|n| Op::Put(vec![1, 0], n, 120)));
    ops.extend([Op::Put(vec![1, 1], 5, 30), Op::Put(vec![0], 77, 4000)]);
    commit(&db, &mut model, &ops).unwrap();
    let first = model.clone();
    commit(&db, &mut model, &[Op::Delete(vec![0], 10, 40), Op::NextSequence(vec![1])]).unwrap();
    drop(db);
    (bytes(&sim), first, model)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Makes a changed meta page valid again.
fn sign(bytes: &mut [u8], meta: usize) {
    let body = meta * PAGE + 16;
    let sum = bytes[body..body + 56].iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    bytes[body + 56..body + 64].copy_from_slice(&sum.to_le_bytes());
}

/// The meta page that rules.
fn newest(bytes: &[u8]) -> usize {
    usize::from(u64_at(bytes, PAGE + 64) > u64_at(bytes, 64))
}

/// Whatever opens can be read, changed and checked without a panic.
fn use_it(bytes: &[u8], ops: &[Op]) {
    let sim = disk_with(bytes);
    match try_open(&sim, Freelist::Rebuilt) {
        Ok(db) => {
            // Of a file that opens only the stored list of free pages can be wrong, which nothing believes.
            let findings = db.begin_read().check();
            assert!(findings.iter().all(|found| found.what.contains("free")), "{findings:?}");
            Model::read_unchecked(&db.begin_read());
            let mut txn = db.begin_write().unwrap();
            // What is not a bucket, or is one, may stand in the way.
            ops.iter().for_each(|op| drop(apply(&mut txn, op)));
            txn.commit().unwrap();
            assert_eq!(db.check(), []);
        }
        Err(Error::Corrupt { path, page, offset, what }) => {
            assert!(path == PATH && !what.is_empty() && offset % PAGE as u64 == 0, "{page}");
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn the_other_meta_page_rules_where_the_newest_is_damaged() {
    let (good, first, second) = sample(Freelist::Rebuilt);
    let ruling = newest(&good);
    for byte in 0..80 {
        let mut bad = good.clone();
        bad[ruling * PAGE + byte] ^= 0x80;
        let db = open(&disk_with(&bad), Freelist::Rebuilt);
        // Only the page's header, of which nothing matters, is not covered by the checksum.
        let expected = if byte < 16 { &second } else { &first };
        assert_eq!(&Model::read(&db.begin_read()), expected, "byte {byte}");
        if byte >= 16 {
            bad[(1 - ruling) * PAGE + byte] ^= 1;
            let error = try_open(&disk_with(&bad), Freelist::Rebuilt).err().unwrap();
            assert!(matches!(&error, Error::Corrupt { page: 0, offset: 0, .. }), "{error}");
        }
        let mut bad = good.clone();
        bad[(1 - ruling) * PAGE + byte] ^= 0x80;
        let db = open(&disk_with(&bad), Freelist::Rebuilt);
        assert_eq!(Model::read(&db.begin_read()), second, "byte {byte}");
    }
}

#[test]
fn the_page_size_is_found_where_the_first_meta_page_is_lost() {
    let (mut bytes, first, second) = sample(Freelist::Rebuilt);
    let expected = if newest(&bytes) == 0 { first } else { second };
    bytes[..PAGE].fill(0);
    let other = bolt::Options { page_size: 4096, ..options(Freelist::Rebuilt) };
    let db = Db::open(&disk_with(&bytes), Path::new(PATH), other).unwrap();
    assert_eq!(db.stats().page_size, PAGE);
    assert_eq!(Model::read(&db.begin_read()), expected);
}

#[test]
fn a_file_that_was_cut_off_is_reported() {
    let (bytes, ..) = sample(Freelist::Rebuilt);
    let high = u64_at(&bytes, newest(&bytes) * PAGE + 56) as usize * PAGE;
    for len in [0, 1, 100, PAGE, 2 * PAGE, 5 * PAGE, high - PAGE, high - 1] {
        let sim = disk_with(&bytes[..len]);
        match try_open(&sim, Freelist::Rebuilt) {
            Ok(_) => assert_eq!(len, 0, "an empty file is a new one"),
            Err(error) => assert!(matches!(error, Error::Corrupt { .. }), "{len}: {error}"),
        }
    }
    assert!(try_open(&disk_with(&bytes[..high]), Freelist::Rebuilt).is_ok());
}

#[test]
fn a_file_of_somebody_else_is_left_alone() {
    for content in [&b"not a database"[..], &[0xff; 4096], &[1; 9000]] {
        let sim = disk_with(content);
        assert!(matches!(try_open(&sim, Freelist::Rebuilt), Err(Error::Corrupt { .. })));
        assert_eq!(bytes(&sim), content);
    }
}

#[test]
fn meta_pages_that_only_look_sound_are_refused() {
    let (good, ..) = sample(Freelist::Rebuilt);
    let ruling = newest(&good);
    // Root, freelist, high-water mark, in that order; then page size.
    let damages: [(usize, u64); 9] = [
        (32, 0),
        (32, 1),
        (32, u64::MAX),
        (32, 1 << 40),
        (48, 0),
        (48, u64::MAX - 1),
        (56, u64::MAX),
        (56, 3),
        (56, u64::MAX / PAGE as u64),
    ];
    for (at, value) in damages {
        let mut bad = good.clone();
        bad[ruling * PAGE + at..][..8].copy_from_slice(&value.to_le_bytes());
        sign(&mut bad, ruling);
        let error = try_open(&disk_with(&bad), Freelist::Rebuilt).err();
        assert!(matches!(error, Some(Error::Corrupt { .. })), "{at}, {value}: {error:?}");
    }
}

#[test]
fn a_tree_that_leads_in_a_circle_is_refused() {
    let (bytes, ..) = sample(Freelist::Rebuilt);
    let pages = bytes.len() / PAGE;
    let branches = (2..pages).filter(|id| bytes[id * PAGE + 8] == 1);
    let refused = branches.filter(|&branch| {
        let mut bad = bytes.clone();
        bad[branch * PAGE + 24..][..8].copy_from_slice(&(branch as u64).to_le_bytes());
        let Err(error) = try_open(&disk_with(&bad), Freelist::Rebuilt) else {
            return false; // A page of an older state.
        };
        let error = error.to_string();
        let place = format!("db: page {branch} at offset {}", branch * PAGE);
        assert!(error.contains(&place) && error.contains("referred to twice"), "{error}");
        true
    });
    assert!(refused.count() > 1);
}

/// A page of one element: a child, or a leaf's bucket of that root.
fn page(id: u64, flags: u8, target: u64) -> Vec<u8> {
    let mut page = vec![0; PAGE];
    page[..8].copy_from_slice(&id.to_le_bytes());
    (page[8], page[10]) = (flags, 1);
    let (element, target) = if flags == 1 {
        ([16_u32, 1, 0, 0], target) // pos, ksize, and the child's number
    } else {
        ([1_u32, 16, 1, 16], target) // flags, pos, ksize, vsize
    };
    for (word, value) in page[16..32].chunks_mut(4).zip(element) {
        word.copy_from_slice(&value.to_le_bytes());
    }
    page[32] = b'k';
    let at = if flags == 1 { 24 } else { 33 };
    page[at..at + 8].copy_from_slice(&target.to_le_bytes());
    page
}

/// A file whose root leads through `pages` to an empty leaf.
fn chain(flags: u8, pages: u64) -> Vec<u8> {
    let (mut bytes, ..) = sample(Freelist::Rebuilt);
    bytes.truncate(2 * PAGE);
    bytes.extend(page(2, 2, 3));
    (3..3 + pages).for_each(|id| bytes.extend(page(id, flags, id + 1)));
    let mut leaf = page(3 + pages, 2, 0);
    leaf[10] = 0;
    bytes.extend(leaf);
    for meta in 0..2 {
        bytes[meta * PAGE + 32..][..8].copy_from_slice(&2_u64.to_le_bytes());
        bytes[meta * PAGE + 56..][..8].copy_from_slice(&(4 + pages).to_le_bytes());
        sign(&mut bytes, meta);
    }
    bytes
}

#[test]
fn trees_and_buckets_too_deep_to_be_walked_are_refused() {
    for flags in [1, 2] {
        for pages in [0, 10, 60] {
            let bytes = chain(flags, pages);
            let db = open(&disk_with(&bytes), Freelist::Rebuilt);
            assert_eq!(db.check(), []);
            let mut txn = db.begin_write().unwrap();
            let mut bucket = txn.bucket_mut(b"k").unwrap();
            bucket.put(b"other", b"value").unwrap();
            txn.delete_bucket(b"k").unwrap();
            txn.commit().unwrap();
            assert_eq!(db.check(), []);
        }
        for pages in [70, 3000] {
            let error = try_open(&disk_with(&chain(flags, pages)), Freelist::Rebuilt).err();
            assert!(error.is_some_and(|error| error.to_string().contains("too deep")));
        }
    }
}

#[test]
fn an_inline_bucket_holds_no_buckets() {
    let (mut bytes, ..) = sample(Freelist::Rebuilt);
    // An inline leaf of one element: number 0, and not where a page begins.
    let header = [0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0, 0];
    let places: Vec<usize> =
        (0..bytes.len() - 32).filter(|&at| bytes[at..at + 16] == header && at % PAGE > 0).collect();
    assert!(!places.is_empty());
    places.iter().for_each(|at| bytes[at + 16] = 1);
    let error = try_open(&disk_with(&bytes), Freelist::Rebuilt).err().unwrap().to_string();
    assert!(error.contains("inline bucket: it holds another bucket"), "{error}");
}

#[test]
fn a_damaged_stored_freelist_is_found_by_check() {
    let (good, _, model) = sample(Freelist::Stored);
    let list = u64_at(&good, newest(&good) * PAGE + 48) as usize;
    let first = list * PAGE + 16;
    let used = u64_at(&good, newest(&good) * PAGE + 32);
    for (value, what) in [(used, "free but in use"), (0, "no page that could be in use")] {
        let mut bad = good.clone();
        bad[first..first + 8].copy_from_slice(&value.to_le_bytes());
        let db = open(&disk_with(&bad), Freelist::Stored);
        let findings = db.begin_read().check();
        assert!(findings.iter().any(|found| found.to_string().contains(what)), "{findings:?}");
        assert!(findings.iter().any(|found| found.what.contains("neither")), "{findings:?}");
        // The list is not believed: what is written next is sound again.
        commit(&db, &mut model.clone(), &[Op::Put(vec![0], 1, 1)]).unwrap();
        assert_eq!(db.check(), []);
    }
    // One page fewer in the list.
    let mut bad = good;
    bad[list * PAGE + 10] ^= 1;
    use_it(&bad, &[Op::Put(vec![0], 0, 0)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bits_are_reported_or_harmless(
        bits in prop::collection::vec((0usize..60 * PAGE, 0u8..8), 1..4),
        ops in prop::collection::vec(op(), 1..40),
    ) {
        let (mut bytes, ..) = sample(Freelist::Stored);
        for (at, bit) in bits {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        use_it(&bytes, &ops);
    }

    #[test]
    fn wrong_numbers_in_headers_and_elements_are_reported_or_harmless(
        damages in prop::collection::vec(
            (2usize..60, 0usize..40, prop_oneof![0u32..70, any::<u32>()]),
            1..6,
        ),
        ops in prop::collection::vec(op(), 1..40),
    ) {
        let (mut bytes, ..) = sample(Freelist::Rebuilt);
        for (page, word, value) in damages {
            let at = (page * PAGE + word * 4) % bytes.len();
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        use_it(&bytes, &ops);
    }

    #[test]
    fn garbage_below_sound_meta_pages_is_reported(
        garbage in prop::collection::vec(any::<u8>(), 2 * PAGE..12 * PAGE),
        root in 2u64..12,
        overwrite in 0usize..12,
    ) {
        let (good, ..) = sample(Freelist::Rebuilt);
        let mut bytes = good[..2 * PAGE].to_vec();
        bytes.extend(garbage);
        bytes.resize(12 * PAGE, 0);
        // One page of the right form among them.
        bytes.extend(&good[overwrite * PAGE..(overwrite + 1) * PAGE]);
        for meta in 0..2 {
            bytes[meta * PAGE + 32..][..8].copy_from_slice(&root.to_le_bytes());
            bytes[meta * PAGE + 56..][..8].copy_from_slice(&13_u64.to_le_bytes());
            sign(&mut bytes, meta);
        }
        use_it(&bytes, &[]);
    }
}

#[test]
fn a_file_that_another_process_has_is_busy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(PATH);
    let db = Db::open(&RealDisk, &path, options(Freelist::Rebuilt)).unwrap();
    let error = Db::open(&RealDisk, &path, options(Freelist::Rebuilt)).err();
    let is_busy = |error: Option<Error>| {
        matches!(error, Some(Error::Io { source, .. })
            if source.kind() == std::io::ErrorKind::WouldBlock)
    };
    assert!(is_busy(error));
    drop(db);
    let to_read = bolt::Options { read_only: true, ..options(Freelist::Rebuilt) };
    let first = Db::open(&RealDisk, &path, to_read).unwrap();
    let second = Db::open(&RealDisk, &path, to_read).unwrap();
    assert!(matches!(second.begin_write().err(), Some(Error::ReadOnly)));
    assert!(is_busy(Db::open(&RealDisk, &path, options(Freelist::Rebuilt)).err()));
    drop((first, second));
    assert!(Db::open(&RealDisk, &path, options(Freelist::Rebuilt)).is_ok());
}
