//! `snapshot restore`: a data directory, for a new cluster, from a snapshot of an old one.
//!
//! ```text
//! member/snap/db      the snapshot, its members replaced, its applied entry the last of the log
//! member/snap/*.snap  the new members, as of that entry
//! member/wal          one entry of term 1 for each member, all committed; the snapshot's record
//! ```
//! The source is only read, and checked as a whole before anything is made. What is made is durable
//! when the command ends well; a directory that a crash left half made is to be thrown away.
//!
//! Reference: `etcdutl/snapshot/v3_snapshot.go`.

use crate::args::{Global, Restore};
use crate::files::{self, Refused, open_within};
use crate::log;
use address::{Resolver, Url, Urls, UrlsByName, redacted};
use backend::{Backend, EntryId};
use bolt::Db;
use cli::exit::Exit;
use cli::go;
use disk::RealDisk;
use membership::{InitialCluster, Member, Members, snapshot_data};
use prost::Message;
use proto::etcdserverpb::Metadata;
use proto::raftpb::{
    ConfChange, ConfChangeType, ConfState, Entry, EntryType, HardState, Snapshot, SnapshotMetadata,
};
use proto::walpb;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use wal::Wal;

/// Bytes of the hash that a server sends after a snapshot.
const HASH_BYTES: u64 = 32;
/// A database spans whole pages, hence whole sectors; what is longer by a hash has one.
const SECTOR_BYTES: u64 = 512;
const COPY_BYTES: usize = 1 << 20;
/// A new cluster begins in this term.
const TERM: u64 = 1;

/// Restores a snapshot.
///
/// # Errors
/// The arguments contradict each other or what is there; the snapshot is damaged; I/O faults.
pub(crate) fn run(global: &Global, args: Restore) -> Result<(), Exit> {
    let [source] = args.args.as_slice() else {
        return Err(Exit::args("snapshot restore requires exactly one argument"));
    };
    if (args.bump_revision > 0) != args.mark_compacted {
        return Err(Exit::args("--mark-compacted required if --revision-bump > 0"));
    }
    let plan = Plan::new(source.clone(), &args)?;
    plan.announce("restoring snapshot");
    plan.run(args.skip_hash_check, global.timeout)?;
    plan.announce("restored snapshot");
    Ok(())
}

/// What is to be made.
struct Plan {
    source: PathBuf,
    data_dir: PathBuf,
    wal_dir: PathBuf,
    cluster: InitialCluster,
    /// The member's id.
    member_id: u64,
    revision_bump: u64,
    options: backend::Options,
}

impl Plan {
    fn new(source: PathBuf, args: &Restore) -> Result<Plan, Refused> {
        let refused = |error: address::Error| Refused(error.to_string());
        let advertised = Urls::parse(&args.initial_advertise_peer_urls).map_err(refused)?;
        let listed = UrlsByName::parse(&args.initial_cluster).map_err(refused)?;
        let resolver = Resolver::system(&warn_unresolved);
        let checked = listed.check(&args.name, &advertised, &|url| resolver.resolve(url));
        checked.map_err(refused)?;
        let cluster = InitialCluster::new(listed, &args.initial_cluster_token);
        let me = cluster.named(&args.name).expect("it was just found in the list");
        let data_dir = match &args.data_dir {
            empty if empty.is_empty() => PathBuf::from(format!("{}.etcd", args.name)),
            given => PathBuf::from(given),
        };
        let wal_dir = match &args.wal_dir {
            empty if empty.is_empty() => files::wal_dir(&data_dir),
            given => PathBuf::from(given),
        };
        check_free(&data_dir, &wal_dir)?;
        let mut options = backend::Options::default();
        if args.initial_memory_map_size > 0 {
            options.bolt.initial_map_bytes = args.initial_memory_map_size;
        }
        let (member_id, revision_bump) = (me.id, args.bump_revision);
        Ok(Plan { source, data_dir, wal_dir, cluster, member_id, revision_bump, options })
    }

    fn snap_dir(&self) -> PathBuf {
        files::snap_dir(&self.data_dir)
    }

    fn announce(&self, message: &str) {
        let fields = [
            ("path", shown(&self.source)),
            ("wal-dir", shown(&self.wal_dir)),
            ("data-dir", shown(&self.data_dir)),
            ("snap-dir", shown(&self.snap_dir())),
            ("initial-memory-map-size", json!(self.options.bolt.initial_map_bytes)),
        ];
        log::info(message, &fields);
    }

    fn run(&self, skip_hash_check: bool, timeout: Duration) -> Result<(), Refused> {
        let mut source = Source::open(&self.source)?;
        source.check_hash(skip_hash_check)?;
        source.check_pages(timeout)?;
        self.make_dirs()?;
        source.copy_to(&files::db(&self.data_dir))?;
        let members = self.change_database()?;
        self.write_snapshot(&members)?;
        self.write_log().map_err(Refused::because)
    }

    /// The last entry of the new log.
    fn last(&self) -> EntryId {
        EntryId { term: TERM, index: self.cluster.members.len() as u64 }
    }

    fn make_dirs(&self) -> Result<(), Refused> {
        let dir = self.snap_dir();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|error| Refused(go::path_error("mkdir", &dir, &error)))?;
        let mut parent = Some(dir.as_path());
        while let Some(dir) = parent.filter(|dir| dir.starts_with(&self.data_dir)) {
            sync_dir(dir)?;
            parent = dir.parent();
        }
        sync_dir(parent.filter(|dir| *dir != Path::new("")).unwrap_or(Path::new(".")))
    }

    /// Makes the copied database that of the new cluster, in one commit.
    fn change_database(&self) -> Result<Members, Refused> {
        let path = files::db(&self.data_dir);
        let mut backend = Backend::open(RealDisk::new(), &path, self.options)?;
        let view = backend.reader().view();
        let mut txn = backend.begin_maintenance();
        log::info("Trimming membership information from the backend...", &[]);
        let members = Members::replace(&view, &mut txn, &self.cluster);
        if self.revision_bump > 0 {
            let bumped = mvcc::bump_revision(&view, &mut txn, self.revision_bump);
            let bumped = bumped.ok_or_else(|| {
                Refused(format!("no revision lies {} above the latest", self.revision_bump))
            })?;
            let fields = [
                ("bump-amount", json!(self.revision_bump)),
                ("new-latest-revision", json!(bumped)),
            ];
            log::info("bumping latest revision", &fields);
            log::info("marking revision compacted", &[("revision", json!(bumped))]);
        }
        txn.finish_at(self.last());
        backend.commit()?;
        for member in &self.cluster.members {
            let fields = [
                ("cluster-id", json!(format!("{:x}", self.cluster.cluster_id))),
                ("added-peer-id", json!(format!("{:x}", member.id))),
                ("added-peer-peer-urls", json!(without_passwords(&member.peer_urls))),
            ];
            log::info("added member", &fields);
        }
        Ok(members)
    }

    fn conf_state(&self) -> ConfState {
        let voters = self.cluster.members.iter().map(|member| member.id).collect();
        ConfState { voters, ..ConfState::default() }
    }

    fn write_snapshot(&self, members: &Members) -> Result<(), Refused> {
        let last = self.last();
        let metadata = SnapshotMetadata {
            conf_state: Some(self.conf_state()),
            index: Some(last.index),
            term: Some(last.term),
        };
        let data = snapshot_data(members, 0);
        let snapshot = Snapshot { data: Some(data.into()), metadata: Some(metadata) };
        wal::snap::write(&RealDisk, &self.snap_dir(), &snapshot).map_err(Refused::because)
    }

    /// The log that the members of a new cluster would have written.
    fn write_log(&self) -> Result<(), wal::Fault> {
        let metadata =
            Metadata { node_id: Some(self.member_id), cluster_id: Some(self.cluster.cluster_id) };
        let entries: Vec<Entry> = (1..).zip(&self.cluster.members).map(add_member).collect();
        let EntryId { term, index } = self.last();
        let first = self.cluster.members.first().map(|member| member.id);
        let hard_state = HardState { term: Some(term), vote: first, commit: Some(index) };
        let metadata = metadata.encode_to_vec().into();
        let options = wal::Options::default();
        let disk = RealDisk::new();
        let mut log =
            Wal::create_with(disk, &self.wal_dir, metadata, hard_state, &entries, options)?;
        log.save_snapshot(&walpb::Snapshot {
            index: Some(index),
            term: Some(term),
            conf_state: Some(self.conf_state()),
        })?;
        Ok(())
    }
}

/// A path as the log has it. It may hold any bytes.
fn shown(path: &Path) -> Value {
    path.to_string_lossy().into()
}

fn without_passwords(urls: &[String]) -> Vec<String> {
    urls.iter().map(|url| redacted(url)).collect()
}

fn warn_unresolved(url: &Url, error: &str) {
    let fields = [
        ("url", json!(redacted(url.as_str()))),
        ("host", json!(url.host())),
        ("retry-interval", json!("1s")),
        ("error", json!(error)),
    ];
    log::warn("failed to resolve URL Host", &fields);
}

fn add_member((index, member): (u64, &Member)) -> Entry {
    let change = ConfChange {
        id: None,
        r#type: Some(ConfChangeType::ConfChangeAddNode as i32),
        node_id: Some(member.id),
        context: Some(member.to_json().into()),
    };
    Entry {
        r#type: Some(EntryType::EntryConfChange as i32),
        term: Some(TERM),
        index: Some(index),
        data: Some(change.encode_to_vec().into()),
    }
}

/// Whether nothing would be overwritten.
fn check_free(data_dir: &Path, wal_dir: &Path) -> Result<(), Refused> {
    let is_empty = || fs::read_dir(data_dir).is_ok_and(|mut entries| entries.next().is_none());
    let quoted = |path: &Path| go::quote(path.as_os_str().as_encoded_bytes());
    if data_dir.exists() && !is_empty() {
        let dir = quoted(data_dir);
        return Err(Refused(format!("data-dir {dir} not empty or could not be read")));
    }
    if wal_dir.exists() {
        return Err(Refused(format!("wal-dir {} exists", quoted(wal_dir))));
    }
    Ok(())
}

fn sync_dir(dir: &Path) -> Result<(), Refused> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|error| Refused(go::path_error("sync", dir, &error)))
}

/// A snapshot's file.
struct Source {
    path: PathBuf,
    file: File,
    /// Bytes of the database.
    bytes: u64,
    /// What a server said of them.
    hash: Option<Vec<u8>>,
}

impl Source {
    fn open(path: &Path) -> Result<Source, Refused> {
        let failed = |call: &'static str| {
            move |error: io::Error| match error.kind() {
                io::ErrorKind::UnexpectedEof => Refused("EOF".to_owned()),
                _ => Refused(go::path_error(call, path, &error)),
            }
        };
        let mut file = File::open(path).map_err(failed("open"))?;
        let len = file.metadata().map_err(failed("stat"))?.len();
        let mut hash = vec![0; HASH_BYTES as usize];
        file.seek(SeekFrom::End(-HASH_BYTES.cast_signed())).map_err(failed("seek"))?;
        file.read_exact(&mut hash).map_err(failed("read"))?;
        let has_hash = len % SECTOR_BYTES == HASH_BYTES;
        let bytes = if has_hash { len - HASH_BYTES } else { len };
        let hash = has_hash.then_some(hash);
        Ok(Source { path: path.to_owned(), file, bytes, hash })
    }

    /// Reads all of it into `out`; its hash.
    fn read_into(&mut self, out: &mut dyn Write) -> Result<Vec<u8>, Refused> {
        let failed = |error| Refused(go::path_error("read", &self.path, &error));
        self.file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut source = (&mut self.file).take(self.bytes);
        let (mut hash, mut piece) = (Sha256::new(), vec![0; COPY_BYTES]);
        loop {
            let len = source.read(&mut piece).map_err(failed)?;
            if len == 0 {
                return Ok(hash.finalize().to_vec());
            }
            hash.update(&piece[..len]);
            out.write_all(&piece[..len]).map_err(Refused::because)?;
        }
    }

    fn check_hash(&mut self, skip: bool) -> Result<(), Refused> {
        if skip {
            return Ok(());
        }
        let Some(expected) = self.hash.clone() else {
            return Err(Refused("snapshot missing hash but --skip-hash-check=false".into()));
        };
        let found = self.read_into(&mut io::sink())?;
        if found == expected {
            return Ok(());
        }
        Err(Refused(format!("expected sha256 {}, got {}", list(&expected), list(&found))))
    }

    fn check_pages(&self, timeout: Duration) -> Result<(), Refused> {
        let options = bolt::Options { read_only: true, ..bolt::Options::default() };
        let db = open_within(timeout, || Db::open(&RealDisk, &self.path, options))?;
        let findings: Vec<String> =
            db.begin_read().check().iter().map(ToString::to_string).collect();
        if findings.is_empty() { Ok(()) } else { Err(Refused(files::integrity(&findings))) }
    }

    /// Makes a copy without the hash, durably.
    fn copy_to(&mut self, path: &Path) -> Result<(), Refused> {
        let failed = |call| move |error| Refused(go::path_error(call, path, &error));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut copy = options.open(path).map_err(failed("open"))?;
        self.read_into(&mut copy)?;
        copy.sync_all().map_err(failed("sync"))
    }
}

/// Bytes as numbers.
fn list(bytes: &[u8]) -> String {
    let numbers: Vec<String> = bytes.iter().map(ToString::to_string).collect();
    format!("[{}]", numbers.join(" "))
}
