//! The house rules that a compiler does not check.
#![allow(clippy::unwrap_used)] // the helpers of tests too

mod names;
mod packages;
mod walls;

use packages::{Package, directories, root, section};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use walls::{Edges, GivenOut};

/// No file may be longer, in lines.
const FILE_LINES_MAX: usize = 1000;

/// Which room may use which; see ARCHITECTURE.md. Development dependencies are free.
const EDGES: Edges = &[
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
    (
        "replica",
        &[
            "apply",
            "backend",
            "disk",
            "lease",
            "membership",
            "mvcc",
            "proto",
            "raft",
            "wal",
            "watch",
        ],
    ),
    ("metrics", &["apply", "disk", "membership", "mvcc", "net", "peer", "proto", "replica"]),
    (
        "services",
        &[
            "address",
            "apply",
            "backend",
            "lease",
            "membership",
            "metrics",
            "mvcc",
            "net",
            "proto",
            "raft",
            "replica",
            "watch",
        ],
    ),
    (
        "server",
        &[
            "address",
            "apply",
            "backend",
            "disk",
            "lease",
            "membership",
            "metrics",
            "mvcc",
            "net",
            "peer",
            "proto",
            "raft",
            "replica",
            "services",
            "tls",
            "watch",
        ],
    ),
    ("peer", &["address", "net", "proto", "tls"]),
    ("client", &["address", "proto", "tls"]),
    (
        "etcd",
        &[
            "address",
            "apply",
            "backend",
            "cli",
            "client",
            "disk",
            "lease",
            "membership",
            "proto",
            "server",
            "tls",
            "wal",
        ],
    ),
    ("cli", &["address"]),
    ("etcdctl", &["address", "cli", "client", "proto"]),
    (
        "etcdutl",
        &["address", "backend", "bolt", "cli", "disk", "membership", "mvcc", "proto", "wal"],
    ),
    (
        "sim",
        &[
            "apply",
            "backend",
            "disk",
            "lease",
            "membership",
            "mvcc",
            "proto",
            "raft",
            "replica",
            "wal",
            "watch",
        ],
    ),
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

#[test]
fn rooms_use_only_the_rooms_they_may() {
    let packages = directories();
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    for (name, path) in &packages {
        let manifest = packages::manifest(path);
        let allowed = allowed.get(name.as_str()).unwrap_or_else(|| {
            panic!("{name} is a new room: add its edges here and to ARCHITECTURE.md")
        });
        for used in section(&manifest, "dependencies") {
            let is_room = packages.contains_key(&used);
            assert!(!is_room || allowed.contains(&used.as_str()), "{name} must not use {used}");
            let is_runtime = ["tokio", "hyper", "mio"].contains(&used.as_str());
            assert!(!is_runtime || !CORES.contains(&name.as_str()), "{name} must not know {used}");
        }
        let asked = section(&manifest, "dependencies");
        let idle = allowed.iter().find(|room| !asked.contains(**room));
        assert_eq!(idle, None, "{name} does not need its edge to that room");
    }
}

/// Items that a room gives out though another owns them: (room, item, why).
const GIVEN_OUT: GivenOut = &[
    ("cli", "address::quote", "`go` is how Go prints, and quoting is part of it"),
    ("client", "tls::Settings", "its settings hold them"),
    ("mvcc", "backend::Fault", "reading and writing keys fail with it"),
    ("server", "net::Listener", "`Plan` and `Config` hold some"),
    ("server", "replica::Beginning", "`Plan` holds it"),
    ("server", "replica::CatchUp", "`ReplicaOptions` holds it"),
    ("server", "replica::Options", "`Config` holds it"),
];

/// Dependencies that only generated code names: (room, dependency, why).
const GENERATED: GivenOut = &[
    ("proto", "bytes", "prost-build writes it"),
    ("proto", "prost", "prost-build writes it"),
    ("proto", "prost-types", "prost-build writes it"),
];

/// Circles of modules that are still to be undone: (package, modules). No entry is added.
const KNOWN_CIRCLES: &[(&str, &str)] = &[("net", "h2 stream web"), ("peer", "receive server")];

#[test]
fn sources_name_only_what_they_may() {
    let (packages, workspace) = packages::read_all();
    let manifest = packages::manifest(&root());
    let shared = &manifest["workspace"].as_table().unwrap();
    let shared = section(shared, "dependencies");
    let mut faults: Vec<String> = Vec::new();
    let mut asked: BTreeSet<&String> = BTreeSet::new();
    for package in &packages {
        let Package { dependencies, for_tests, for_builds, .. } = package;
        asked.extend(dependencies.iter().chain(for_tests).chain(for_builds));
        faults.extend(walls::beyond_edges(package, &workspace, EDGES));
        faults.extend(walls::given_out(package, &workspace, GIVEN_OUT));
        faults.extend(walls::cycles(package, &workspace, KNOWN_CIRCLES));
        faults.extend(walls::unused(package, GENERATED));
    }
    let idle = shared.iter().filter(|name| !asked.contains(name));
    faults.extend(idle.map(|name| format!("no package asks for {name} of the workspace")));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The server's log takes the lines of the rooms that it lists; of others it would take warnings alone.
#[test]
fn rooms_that_write_log_lines_are_heard() {
    let text = fs::read_to_string(root().join("bin/etcd/src/logs/mod.rs")).unwrap();
    let (_, list) = text.split_once("const ROOMS: &[&str] = &[").expect("the list of rooms");
    let (list, _) = list.split_once(']').unwrap();
    let listed: BTreeSet<&str> = list
        .split(',')
        .map(|name| name.trim().trim_matches('"'))
        .filter(|name| !name.is_empty())
        .collect();
    let (packages, _) = packages::read_all();
    let writes = |package: &&Package| {
        package.sources.iter().any(|tree| tree.first_segments(false).contains("tracing"))
    };
    let writing: BTreeSet<&str> =
        packages.iter().filter(writes).map(|package| package.name.as_str()).collect();
    assert_eq!(listed, writing);
}

#[test]
fn every_room_says_in_one_sentence_what_it_is() {
    for (name, path) in directories() {
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
