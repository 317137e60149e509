//! Databases in the places of others: which are taken, and what is touched of those that are not.
#![allow(clippy::unwrap_used)] // the helpers of tests too

mod common;

use bytes::Bytes;
use common::{Member, options, work};
use disk::sim::SimDisk;
use disk::{Disk, Open};
use membership::InitialCluster;
use proto::raftpb::{ConfState, HardState, Snapshot, SnapshotMetadata};
use replica::{Beginning, Fault, Intake, Options, Persist, received_db};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const WAL: &str = "m.etcd/member/wal";
const SNAP: &str = "m.etcd/member/snap";

fn db() -> PathBuf {
    Path::new(SNAP).join("db")
}

fn read(sim: &SimDisk, path: &Path) -> Option<Vec<u8>> {
    sim.exists(path).unwrap().then(|| disk::read_all(sim, path).unwrap())
}

fn write(sim: &SimDisk, path: &Path, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else {
        if sim.exists(path).unwrap() {
            sim.remove_file(path).unwrap();
        }
        return sim.sync_dir(path.parent().unwrap()).unwrap();
    };
    let file = sim.open(path, Open { truncate: true, ..Open::CREATE }).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync_all().unwrap();
    sim.sync_dir(path.parent().unwrap()).unwrap();
}

/// What a member leaves behind, file by file.
type Left = BTreeMap<PathBuf, Vec<u8>>;

fn left_by(sim: &SimDisk) -> Left {
    let files = [WAL, SNAP].map(|dir| {
        let names = sim.list(Path::new(dir)).unwrap();
        names.into_iter().map(move |name| Path::new(dir).join(name))
    });
    files.into_iter().flatten().map(|path| (path.clone(), read(sim, &path).unwrap())).collect()
}

fn disk_with(seed: u64, left: &Left) -> SimDisk {
    let sim = SimDisk::new(seed);
    for dir in ["m.etcd", "m.etcd/member", WAL, SNAP] {
        sim.create_dir_all(Path::new(dir), 0o700).unwrap();
        sim.sync_dir(Path::new(dir).parent().unwrap()).unwrap();
    }
    for (path, bytes) in left {
        write(&sim, path, Some(bytes));
    }
    sim
}

fn newest_record(sim: &SimDisk) -> u64 {
    let recorded = wal::valid_snapshots(sim, Path::new(WAL)).unwrap();
    recorded.iter().map(|record| record.index()).max().unwrap()
}

/// A member's life: its database at an early time, all its files at the end, and what it had to tell.
struct Life {
    older: Vec<u8>,
    left: Left,
    content: BTreeMap<Bytes, (Bytes, i64)>,
}

fn live(options: &Options, until: u64) -> Life {
    let sim = SimDisk::new(1);
    let mut member = Member::open_with(&sim, options).unwrap();
    work(&mut member, 1, 20).unwrap();
    member.parts.applier.machine.backend.commit().unwrap();
    drop(member);
    let older = read(&sim, &db()).unwrap();
    let mut member = Member::open_with(&sim, options).unwrap();
    work(&mut member, 20, until).unwrap();
    let content = member.content();
    drop(member);
    Life { older, left: left_by(&sim), content }
}

/// What lies in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    Nothing,
    Older,
    Current,
    Empty,
    Half,
    Garbage,
    OtherCluster,
}

impl Put {
    const ALL: [Put; 7] = [
        Put::Nothing,
        Put::Older,
        Put::Current,
        Put::Empty,
        Put::Half,
        Put::Garbage,
        Put::OtherCluster,
    ];

    fn bytes(self, life: &Life, other: &Life) -> Option<Vec<u8>> {
        let current = &life.left[&db()];
        match self {
            Put::Nothing => None,
            Put::Older => Some(life.older.clone()),
            Put::Current => Some(current.clone()),
            Put::Empty => Some(Vec::new()),
            Put::Half => Some(current[..current.len() / 2].to_vec()),
            Put::Garbage => Some(vec![0xa5; current.len()]),
            Put::OtherCluster => Some(other.left[&db()].clone()),
        }
    }
}

#[test]
fn a_member_starts_with_all_that_was_acknowledged_or_touches_nothing() {
    let life = live(&options(), 75);
    let beginning = Beginning::New(InitialCluster::parse("m=http://x:9", "x").unwrap());
    let other = live(&Options { beginning, ..options() }, 150);
    for own in Put::ALL {
        for received in Put::ALL {
            let case = format!("db is {own:?}, the snapshot's is {received:?}");
            let sim = disk_with(3, &life.left);
            let place = received_db(Path::new(SNAP), newest_record(&sim));
            let placed = [(db(), own.bytes(&life, &other)), (place, received.bytes(&life, &other))];
            for (path, bytes) in &placed {
                write(&sim, path, bytes.as_deref());
            }
            // A missing or empty database is as good as an old one; others are not given up unread.
            let may_adopt = [Put::Nothing, Put::Older, Put::Empty].contains(&own);
            let starts = own == Put::Current || may_adopt && received == Put::Current;
            match Member::open(&sim) {
                Ok(member) => {
                    assert!(starts, "{case}: it starts");
                    assert_eq!(member.content(), life.content, "{case}");
                }
                Err(fault) => {
                    assert!(!starts, "{case}: {fault}");
                    for (path, bytes) in placed {
                        // An empty database is one that was being made.
                        if bytes.as_ref().is_none_or(|bytes| !bytes.is_empty()) {
                            assert!(read(&sim, &path) == bytes, "{case}: {path:?} is another");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn refusals_are_in_the_words_of_etcd() {
    let life = live(&options(), 75);
    let refusal = |own: Option<&[u8]>, received: Option<&[u8]>| {
        let sim = disk_with(3, &life.left);
        let place = received_db(Path::new(SNAP), newest_record(&sim));
        write(&sim, &db(), own);
        write(&sim, &place, received);
        let Err(fault) = Member::open(&sim) else { panic!("it is refused") };
        (fault.to_string(), newest_record(&sim))
    };
    let (missing, index) = refusal(Some(&life.older), None);
    let words = "failed to find database snapshot file (snap: snapshot file doesn't exist)";
    assert!(missing.contains(words), "{missing}");
    assert!(
        missing.contains(&format!("does not match with snapshot (index {index})")),
        "{missing}"
    );
    let (older, index) = refusal(None, Some(&life.older));
    assert!(older.starts_with("database file (m.etcd/member/snap/"), "{older}");
    assert!(older.ends_with(&format!("does not match with snapshot (index {index})")), "{older}");
}

#[test]
fn a_database_beyond_the_log_of_an_only_voter_is_refused() {
    let (early, late) = (live(&options(), 30), live(&options(), 75));
    let sim = disk_with(3, &early.left);
    write(&sim, &db(), Some(&late.left[&db()]));
    let Err(fault) = Member::open(&sim) else { panic!("what it wrote next would be passed over") };
    assert!(fault.to_string().contains("does not match with the log"), "{fault}");
    let forced = Options { force_new_cluster: true, ..options() };
    assert!(Member::open_with(&sim, &forced).is_err(), "nor is it forced");
}

/// The records of a segment: where each begins, and where the last one ends.
fn records(segment: &[u8]) -> Vec<usize> {
    let (mut at, mut places) = (0, vec![0]);
    while at + 8 <= segment.len() {
        let field = u64::from_le_bytes(segment[at..at + 8].try_into().unwrap());
        if field == 0 {
            break;
        }
        let padding = if field >> 63 == 1 { (field >> 56 & 7) as usize } else { 0 };
        at += 8 + (field & (u64::MAX >> 8)) as usize + padding;
        places.push(at);
    }
    places
}

/// A life in one segment, without snapshots.
fn long_log() -> Options {
    Options {
        snapshot_count: 10_000,
        wal: wal::Options { segment_bytes: 64 << 10, ..wal::Options::default() },
        ..options()
    }
}

/// Opens a member on these files. A start that is refused leaves every file as it was; one that is
/// not knows all that was acknowledged.
fn open_or_touch_nothing(left: &Left, life: &Life, options: &Options, case: &str) -> Option<Fault> {
    let sim = disk_with(3, left);
    match Member::open_with(&sim, options) {
        Ok(member) => {
            assert_eq!(member.content(), life.content, "{case}");
            None
        }
        Err(fault) => {
            assert!(left_by(&sim) == *left, "{case}: it was touched, and refused: {fault}");
            Some(fault)
        }
    }
}

#[test]
fn zeros_in_the_middle_of_the_log_are_refused_and_nothing_is_touched() {
    let (options, life) = (long_log(), live(&long_log(), 75));
    let (path, segment) = life.left.iter().find(|(path, _)| path.starts_with(WAL)).unwrap();
    let places = records(segment);
    assert!(places.len() > 75, "{}", places.len());
    let end = *places.last().unwrap();
    for place in &places[..places.len() - 1] {
        // The length alone: no crash does that. Then all to the end of the sector, of the log, and the
        // two halves of the log: as a crash leaves them, but the database knows better.
        let sector_end = (place / 512 + 1) * 512;
        for zeroed in [*place..place + 8, *place..sector_end, *place..end, 512..*place.max(&512)] {
            let mut left = life.left.clone();
            left.get_mut(path).unwrap()[zeroed.clone()].fill(0);
            let case = format!("{zeroed:?} of {end}");
            let fault = open_or_touch_nothing(&left, &life, &options, &case);
            let said = fault.map(|fault| fault.to_string()).unwrap_or_default();
            if zeroed == (*place..place + 8) && sector_end - place > 8 && sector_end < end {
                assert!(said.contains("zeros stand in the place of a record's length"), "{said}");
            }
            if zeroed == (*place..end) && (512..end / 2).contains(place) {
                assert!(said.contains("does not match with the log"), "{case}: {said}");
            }
            if zeroed == (*place..sector_end) && sector_end < end / 2 && *place > 512 {
                assert!(said.contains("zeros stand before bytes"), "{case}: {said}");
            }
        }
    }
}

#[test]
fn damage_anywhere_in_the_files_is_harmless_or_refused_and_touches_nothing() {
    let (options, mut life) = (options(), live(&options(), 75));
    // What earlier runs left unfinished is not cleared away either, unless the start succeeds.
    for left_over in ["db.tmp.defrag", "tmp-1", "0000000000000001.snap.db"] {
        life.left.insert(Path::new(SNAP).join(left_over), vec![1]);
    }
    life.left.insert(Path::new(WAL).join("0.tmp"), vec![1]);
    let mut refused = 0;
    for (path, bytes) in &life.left {
        for n in 0..bytes.len() / 97 {
            let mut left = life.left.clone();
            left.get_mut(path).unwrap()[n * 97] ^= 1 << (n % 8);
            let case = format!("bit {} of byte {} of {}", n % 8, n * 97, path.display());
            // What is said of what a database holds is not its pages' to know; the log's bytes are.
            if path.starts_with(WAL) {
                refused +=
                    u32::from(open_or_touch_nothing(&left, &life, &options, &case).is_some());
            }
        }
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn what_is_known_to_be_committed_must_be_in_the_log() {
    let sim = SimDisk::new(1);
    let mut member = Member::open(&sim).unwrap();
    work(&mut member, 1, 8).unwrap();
    let hard_state = Some(HardState { term: Some(9), vote: Some(0), commit: Some(1000) });
    let persist = Persist { hard_state, sync: true, ..Persist::default() };
    member.parts.log_writer.persist(&[persist]).unwrap();
    drop(member);
    let before = left_by(&sim);
    let Err(fault) = Member::open(&sim) else { panic!("entries are missing") };
    assert!(fault.to_string().contains("state.commit 1000 is out of range"), "{fault}");
    assert!(left_by(&sim) == before);
}

#[test]
fn a_start_that_is_refused_for_its_options_makes_nothing() {
    let sim = SimDisk::new(1);
    let nameless = Options { name: "another".into(), ..options() };
    for options in [nameless, Options { beginning: Beginning::Data, ..options() }] {
        assert!(Member::open_with(&sim, &options).is_err());
        assert!(sim.list(Path::new(SNAP)).unwrap().is_empty());
        assert!(!sim.exists(Path::new(WAL)).unwrap());
    }
}

#[test]
fn files_of_a_member_that_runs_are_not_touched() {
    let sim = SimDisk::new(1);
    let member = Member::open(&sim).unwrap();
    let coming = Path::new(SNAP).join("tmp-0");
    write(&sim, &coming, Some(b"half a database"));
    let Err(fault) = Member::open(&sim) else { panic!("two members have one directory") };
    assert!(fault.is_in_use(), "{fault}");
    assert!(sim.exists(&coming).unwrap(), "it comes in still");
    drop(member);
    assert!(Member::open(&sim).is_ok());
    assert!(!sim.exists(&coming).unwrap(), "nobody needs it any more");
}

// ---- databases that come in --------------------------------------------------------------------

/// A snapshot that a leader sends: of the same cluster, ahead of what is here.
fn snapshot(of: &Life) -> Snapshot {
    let sim = disk_with(9, &of.left);
    let member = Member::open(&sim).unwrap();
    let applied = member.parts.applier.machine.backend.durable();
    let metadata = SnapshotMetadata {
        index: Some(applied.index),
        term: Some(applied.term),
        conf_state: Some(member.parts.core.conf_state()),
    };
    Snapshot { data: None, metadata: Some(metadata) }
}

fn take(sim: &SimDisk, snapshot: &Snapshot, database: &[u8]) -> Result<(), Fault> {
    let mut incoming = Intake::new(sim.disk(), &options()).begin(snapshot)?;
    for piece in database.chunks(700) {
        incoming.write(piece)?;
    }
    incoming.finish()
}

/// A member is given a database, records it and installs it.
fn restore(sim: &SimDisk, snapshot: &Snapshot, database: &[u8]) -> Result<Member, Fault> {
    let mut member = Member::open(sim)?;
    restore_in(&mut member, sim, snapshot, database)?;
    Ok(member)
}

fn restore_in(
    member: &mut Member,
    sim: &SimDisk,
    snapshot: &Snapshot,
    database: &[u8],
) -> Result<(), Fault> {
    take(sim, snapshot, database)?;
    let metadata = snapshot.metadata.clone().unwrap();
    let (term, commit) = (Some(metadata.term() + 1), metadata.index);
    let persist = Persist {
        number: 1,
        hard_state: Some(HardState { term, vote: Some(0), commit }),
        entries: Vec::new(),
        snapshot: Some(snapshot.clone()),
        sync: true,
    };
    member.parts.log_writer.persist(&[persist])?;
    member.parts.applier.install(snapshot)
}

#[test]
fn after_a_crash_anywhere_a_recorded_snapshot_has_its_database() {
    let (early, late) = (live(&options(), 30), live(&options(), 75));
    let (snapshot, database) = (snapshot(&late), &late.left[&db()]);
    let index = snapshot.metadata.as_ref().unwrap().index();
    let whole = disk_with(1, &early.left);
    let before = whole.ops();
    assert_eq!(restore(&whole, &snapshot, database).unwrap().content(), late.content);
    let ops = whole.ops() - before;
    let mut recorded = 0;
    for crash in 1..=ops {
        for seed in 0..4 {
            // One in two was there already, named and not durable, from a time before.
            let sim = disk_with(seed, &early.left);
            if seed % 2 == 1 {
                let place = received_db(Path::new(SNAP), index);
                let file = sim.open(&place, Open::CREATE).unwrap();
                file.write_at(database, 0).unwrap();
                file.sync_all().unwrap();
            }
            sim.crash_after(crash);
            drop(restore(&sim, &snapshot, database));
            sim.restart();
            let is_recorded = newest_record(&sim) == index;
            recorded += u64::from(is_recorded);
            let member = Member::open(&sim);
            let member = member.unwrap_or_else(|fault| panic!("crash {crash}: {fault}"));
            let expected = if is_recorded { &late.content } else { &early.content };
            assert_eq!(&member.content(), expected, "crash {crash}, seed {seed}");
        }
    }
    assert!(recorded > 0, "some crashes come after the record");
}

#[test]
fn a_database_that_does_not_fit_its_snapshot_is_not_taken() {
    let (early, late) = (live(&options(), 30), live(&options(), 75));
    let snapshot = snapshot(&late);
    let index = snapshot.metadata.as_ref().unwrap().index();
    let sim = disk_with(1, &early.left);
    let database = &late.left[&db()];
    let mut strangers = snapshot.clone();
    let conf_state = ConfState { voters: vec![1, 2], ..ConfState::default() };
    strangers.metadata.as_mut().unwrap().conf_state = Some(conf_state);
    let cases = [
        (&snapshot, &late.older[..], "does not match with snapshot"),
        (&snapshot, &database[..database.len() / 2], "damaged"),
        (&snapshot, &[], "damaged"),
        (&strangers, database, "is of another cluster"),
    ];
    for (snapshot, bytes, why) in cases {
        let fault = take(&sim, snapshot, bytes).unwrap_err().to_string();
        assert!(fault.contains(why), "{fault}");
        let names = sim.list(Path::new(SNAP)).unwrap();
        assert!(names.iter().all(|name| !name.starts_with("tmp")), "{names:?}");
        assert!(!sim.exists(&received_db(Path::new(SNAP), index)).unwrap());
    }
}

#[test]
fn a_database_takes_the_place_of_one_that_nobody_has_read() {
    let (early, late) = (live(&options(), 30), live(&options(), 75));
    let snapshot = snapshot(&late);
    let sim = disk_with(1, &early.left);
    let place = received_db(Path::new(SNAP), snapshot.metadata.as_ref().unwrap().index());
    write(&sim, &place, Some(&late.older));
    let member = restore(&sim, &snapshot, &late.left[&db()]).unwrap();
    assert_eq!(member.content(), late.content);
}

#[test]
fn hashes_during_a_restore_are_of_one_database() {
    let (early, late) = (live(&options(), 30), live(&options(), 75));
    let snapshot = snapshot(&late);
    let sim = disk_with(1, &early.left);
    let mut member = Member::open(&sim).unwrap();
    let (backend, reader) = (member.parts.backend_reader.clone(), member.parts.reader.clone());
    let (file, keys) = (backend.snapshot(), reader.read());
    let before = (file.hash(), keys.hash_kv(0).unwrap().hash);
    restore_in(&mut member, &sim, &snapshot, &late.left[&db()]).unwrap();
    // Begun before: the old database, whole, although its file has no name any more.
    assert_eq!((file.hash(), keys.hash_kv(0).unwrap().hash), before);
    assert_eq!(backend.snapshot().hash(), before.0);
    // Begun after: the new one, through the same reader of keys.
    let whole = Member::open(&disk_with(2, &late.left)).unwrap();
    let expected = whole.parts.reader.read().hash_kv(0).unwrap();
    let now = reader.read().hash_kv(0).unwrap();
    assert_eq!((now.hash, now.hash_revision), (expected.hash, expected.hash_revision));
}
