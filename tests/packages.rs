//! The packages of the workspace: their manifests and their sources.

use crate::names::{Tree, Workspace};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use toml::Table;

/// The workspace's root directory.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every package of the workspace with its directory.
pub(crate) fn directories() -> BTreeMap<String, PathBuf> {
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

/// A file's text, if there is one.
pub(crate) fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The manifest in a directory.
pub(crate) fn manifest(dir: &Path) -> Table {
    let path = dir.join("Cargo.toml");
    let text = read(&path).unwrap_or_else(|| panic!("{} is missing", path.display()));
    text.parse().unwrap_or_else(|fault| panic!("{}: {fault}", path.display()))
}

/// The names in a section of a manifest: packages, as a manifest spells them.
pub(crate) fn section(manifest: &Table, name: &str) -> BTreeSet<String> {
    let table = manifest.get(name).and_then(toml::Value::as_table);
    table.map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

/// One package: what its manifest asks for, and what its sources name.
#[derive(Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) dependencies: BTreeSet<String>,
    pub(crate) for_tests: BTreeSet<String>,
    pub(crate) for_builds: BTreeSet<String>,
    /// The library or program: `src/lib.rs`, `src/main.rs`.
    pub(crate) sources: Vec<Tree>,
    /// Tests and examples.
    pub(crate) tests: Vec<Tree>,
    /// The build script.
    pub(crate) build: Vec<Tree>,
}

impl Package {
    fn read(name: &str, dir: &Path) -> Package {
        let manifest = manifest(dir);
        let trees =
            |files: Vec<PathBuf>| files.iter().map(|file| Tree::read(file, &read)).collect();
        let existing = |files: &[&str]| {
            files.iter().map(|file| dir.join(file)).filter(|file| file.exists()).collect()
        };
        let mut tests = roots(&dir.join("tests"));
        tests.extend(roots(&dir.join("examples")));
        if name == "tests" {
            tests.push(dir.join("tidy.rs"));
        }
        Package {
            name: name.to_owned(),
            dependencies: section(&manifest, "dependencies"),
            for_tests: section(&manifest, "dev-dependencies"),
            for_builds: section(&manifest, "build-dependencies"),
            sources: trees(existing(&["src/lib.rs", "src/main.rs"])),
            tests: trees(tests),
            build: trees(existing(&["build.rs"])),
        }
    }
}

/// The root files in a directory of tests or examples: its files, and `main.rs` of its directories.
fn roots(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let roots = paths.map(|path| if path.is_dir() { path.join("main.rs") } else { path });
    roots
        .filter(|path| path.exists() && path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// Every package with its sources, and the libraries among them once more, by name, for following paths.
pub(crate) fn read_all() -> (Vec<Package>, Workspace) {
    let found: Vec<Package> =
        directories().iter().map(|(name, dir)| Package::read(name, dir)).collect();
    let libraries = found.iter().filter_map(|package| {
        let library = package.sources.first().filter(|tree| tree.is_library())?;
        Some((package.name.clone(), library.clone()))
    });
    let workspace = Workspace { libraries: libraries.collect() };
    (found, workspace)
}
