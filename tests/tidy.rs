//! The house rules that a compiler does not check.
#![allow(clippy::unwrap_used)] // the helpers of tests too

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// No file may be longer, in lines.
const FILE_LINES_MAX: usize = 1000;

/// Which room may use which; see ARCHITECTURE.md. Development dependencies are free.
const EDGES: &[(&str, &[&str])] = &[
    ("address", &[]),
    ("proto", &[]),
    ("disk", &[]),
    // For tests only: no room may name it under `dependencies`.
    ("script", &[]),
    ("tls", &["address"]),
    ("net", &["tls"]),
    ("raft", &["proto"]),
    ("wal", &["disk", "proto"]),
    ("bolt", &["disk"]),
    ("backend", &["bolt", "disk"]),
    ("mvcc", &["backend", "proto"]),
    ("lease", &["backend", "proto"]),
    ("membership", &["address", "backend", "proto"]),
    ("apply", &["backend", "lease", "membership", "mvcc", "proto"]),
    ("watch", &["mvcc", "proto"]),
    ("replica", &["apply", "disk", "proto", "raft", "wal", "watch"]),
    ("server", &["address", "apply", "mvcc", "net", "peer", "proto", "replica", "tls"]),
    ("peer", &["address", "net", "proto", "tls"]),
    ("client", &["address", "proto", "tls"]),
    ("etcd", &["address", "cli", "client", "proto", "server"]),
    ("cli", &["address"]),
    ("etcdctl", &["address", "cli", "client", "proto"]),
    (
        "etcdutl",
        &["address", "backend", "bolt", "cli", "disk", "membership", "mvcc", "proto", "wal"],
    ),
    ("sim", &["proto", "replica"]),
    ("tests", &[]),
];

/// Rooms above the line know neither threads' runtimes nor sockets.
const CORES: &[&str] = &[
    "address",
    "apply",
    "backend",
    "bolt",
    "disk",
    "lease",
    "membership",
    "mvcc",
    "proto",
    "raft",
    "replica",
    "script",
    "sim",
    "wal",
    "watch",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every package of the workspace with its directory.
fn packages() -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for parent in ["crates", "bin"] {
        for entry in fs::read_dir(root().join(parent)).unwrap() {
            let path = entry.unwrap().path();
            if path.join("Cargo.toml").exists() {
                found.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), path);
            }
        }
    }
    for name in ["sim", "tests"] {
        found.insert(name.into(), root().join(name));
    }
    found
}

/// The names in a manifest's section.
fn section(manifest: &str, name: &str) -> Vec<String> {
    let header = format!("[{name}]");
    let lines = manifest.lines().skip_while(|line| *line != header).skip(1);
    lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn rooms_use_only_the_rooms_they_may() {
    let packages = packages();
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    for (name, path) in &packages {
        let manifest = fs::read_to_string(path.join("Cargo.toml")).unwrap();
        let allowed = allowed.get(name.as_str()).unwrap_or_else(|| {
            panic!("{name} is a new room: add its edges here and to ARCHITECTURE.md")
        });
        for used in section(&manifest, "dependencies") {
            let is_room = packages.contains_key(&used);
            assert!(!is_room || allowed.contains(&used.as_str()), "{name} must not use {used}");
            let is_runtime = ["tokio", "hyper", "mio"].contains(&used.as_str());
            assert!(!is_runtime || !CORES.contains(&name.as_str()), "{name} must not know {used}");
        }
    }
}

#[test]
fn every_room_says_in_one_sentence_what_it_is() {
    for (name, path) in packages() {
        let manifest = fs::read_to_string(path.join("Cargo.toml")).unwrap();
        let description = manifest
            .lines()
            .find_map(|line| line.strip_prefix("description = \"")?.strip_suffix('"'))
            .unwrap_or_else(|| panic!("{name} has no description"));
        let sources = ["src/lib.rs", "src/main.rs"].map(|file| path.join(file));
        let Some(source) = sources.iter().find(|source| source.exists()) else { continue };
        let text = fs::read_to_string(source).unwrap();
        let first = text.lines().next().unwrap_or_default();
        assert_eq!(first, format!("//! {description}"), "{}", source.display());
    }
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "go") {
            found.push(path);
        }
    }
}

#[test]
fn files_are_split_before_they_swell() {
    let mut found = Vec::new();
    for dir in ["crates", "bin", "sim", "tests", "interop"] {
        sources(&root().join(dir), &mut found);
    }
    assert!(found.len() > 100, "the sources were not found");
    for path in found {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines", path.display());
    }
}

#[test]
fn unsafe_code_lives_in_one_file() {
    let mut found = Vec::new();
    sources(&root().join("crates"), &mut found);
    sources(&root().join("bin"), &mut found);
    sources(&root().join("sim"), &mut found);
    let allow = ["allow(", "unsafe_code)"].concat();
    for path in found.iter().filter(|path| !path.ends_with("disk/src/mmap.rs")) {
        let text = fs::read_to_string(path).unwrap();
        assert!(!text.contains(&allow), "{} allows unsafe code", path.display());
    }
}

#[test]
fn one_release_of_etcd_is_the_reference() {
    let of = |text: &str, before: &str| {
        let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before:?}"));
        rest.split(['"', '\n', ' ']).next().unwrap().to_owned()
    };
    let source = fs::read_to_string(root().join("crates/proto/src/lib.rs")).unwrap();
    let version = of(&source, "pub const VERSION: &str = \"");
    let minor = version.rsplit_once('.').unwrap().0;
    assert_eq!(of(&source, "CLUSTER_VERSION: &str = \""), format!("{minor}.0"));
    for (module, names) in [("interop", ["api", "server"]), ("bench", ["api", "api"])] {
        let text = fs::read_to_string(root().join(module).join("go.mod")).unwrap();
        for name in names {
            let used = of(&text, &format!("go.etcd.io/etcd/{name}/v3 v"));
            assert_eq!(
                used, version,
                "{module}/go.mod: see CONTRIBUTING.md, A new release of etcd"
            );
        }
    }
}
