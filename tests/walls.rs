//! Checks of what sources name: rooms behind walls, modules in circles, dependencies that nobody uses.

use crate::names::{Module, Name, Tree, Workspace};
use crate::packages::Package;
use std::collections::{BTreeMap, BTreeSet};

/// Which package may name which.
pub(crate) type Edges<'e> = &'e [(&'e str, &'e [&'e str])];

/// An item that a package gives out though another owns it: (package, path of the item, why).
pub(crate) type GivenOut<'g> = &'g [(&'g str, &'g str, &'g str)];

fn place(module: &Module, name: &Name) -> String {
    format!("{}:{}: {}", module.file.display(), name.line, name.segments.join("::"))
}

/// Every name outside tests with its tree and module.
fn names(trees: &[Tree]) -> impl Iterator<Item = (&Tree, &Vec<String>, &Module, &Name)> {
    trees.iter().flat_map(|tree| {
        tree.modules.iter().flat_map(move |(at, module)| {
            let names = module.names.iter().filter(|name| !name.is_test);
            names.map(move |name| (tree, at, module, name))
        })
    })
}

/// Paths that lead into a room which this one may not use, or into one room through another.
pub(crate) fn beyond_edges(package: &Package, workspace: &Workspace, edges: Edges) -> Vec<String> {
    let edges = edges.iter().find(|(name, _)| *name == package.name);
    let allowed = edges.map(|(_, allowed)| *allowed).unwrap_or_default();
    let mut faults = Vec::new();
    for (tree, at, module, name) in names(&package.sources) {
        let written = tree.package_of(at, name).filter(|name| *name != package.name);
        let room = written.filter(|name| workspace.libraries.contains_key(*name));
        if let Some(room) = room.filter(|room| !allowed.contains(room)) {
            faults.push(format!("{}: {} must not use {room}", place(module, name), package.name));
        }
        let Some(target) = workspace.resolve(&package.name, tree, at, name) else { continue };
        for (through, room) in &target.pierced {
            faults.push(format!("{} names {room} through {through}", place(module, name)));
        }
    }
    faults
}

/// What a package gives out of other rooms: modules never, items if they are listed. Entries of the list that
/// nothing needs are faults too.
pub(crate) fn given_out(package: &Package, workspace: &Workspace, listed: GivenOut) -> Vec<String> {
    let listed = listed.iter().filter(|(name, _, _)| *name == package.name);
    let mut listed: BTreeMap<&str, bool> = listed.map(|(_, item, _)| (*item, false)).collect();
    let mut faults = Vec::new();
    for (tree, at, module, name) in names(&package.sources) {
        let Some(import) = name.import.as_ref().filter(|import| import.is_public) else { continue };
        let Some(target) = workspace.resolve(&package.name, tree, at, name) else { continue };
        if target.package == package.name {
            continue;
        }
        match listed.get_mut(name.segments.join("::").as_str()) {
            Some(is_used) => *is_used = true,
            None if target.is_module || import.is_glob => {
                faults.push(format!("{}: gives out a module of another room", place(module, name)));
            }
            None => faults.push(format!("{}: is given out unlisted", place(module, name))),
        }
    }
    let idle = listed.iter().filter(|(_, is_used)| !**is_used);
    faults.extend(idle.map(|(item, _)| format!("{} does not give out {item}", package.name)));
    faults
}

/// The node that stands for what the root file itself defines.
const ROOT: &str = "(root)";

/// Top modules that all reach each other, and the uses by which they do.
struct Knot {
    modules: String,
    places: Vec<String>,
}

/// Circles among a package's top modules: those that use each other, directly or through others. `known` lists
/// circles that are still to be undone: (package, its modules); an entry that holds no longer is a fault too.
pub(crate) fn cycles(
    package: &Package,
    workspace: &Workspace,
    known: &[(&str, &str)],
) -> Vec<String> {
    let trees = package.sources.iter();
    let knots: Vec<Knot> = trees.flat_map(|tree| knots(package, tree, workspace)).collect();
    let known: Vec<&str> =
        known.iter().filter(|(name, _)| *name == package.name).map(|(_, knot)| *knot).collect();
    let fresh = knots.iter().filter(|knot| !known.contains(&knot.modules.as_str()));
    let mut faults: Vec<String> = fresh
        .map(|Knot { modules, places }| {
            format!(
                "{}: modules in a circle: {modules}\n    {}",
                package.name,
                places.join("\n    ")
            )
        })
        .collect();
    let gone = known.iter().filter(|known| knots.iter().all(|knot| knot.modules != **known));
    faults.extend(gone.map(|knot| format!("{}: the circle {knot} is undone", package.name)));
    faults
}

fn knots(package: &Package, tree: &Tree, workspace: &Workspace) -> Vec<Knot> {
    let mut steps: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (at, module) in tree.modules.iter().filter(|(_, module)| !module.is_test) {
        for name in module.names.iter().filter(|name| !name.is_test) {
            // What the root imports or gives out is a name for it, no use of it.
            if at.is_empty() && name.import.is_some() {
                continue;
            }
            let Some(target) = workspace.resolve(&package.name, tree, at, name) else { continue };
            let [from, to] = [at, &target.module]
                .map(|at| at.first().map_or(ROOT.to_owned(), |name| name.clone()));
            if target.package == package.name && from != to {
                steps.entry(from).or_default().entry(to).or_insert_with(|| place(module, name));
            }
        }
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        steps.keys().map(|from| (from.as_str(), reached_from(&steps, from))).collect();
    let is_reached = |from: &str, to: &str| reached.get(from).is_some_and(|all| all.contains(to));
    let mut knots: BTreeMap<Vec<&str>, Vec<&str>> = BTreeMap::new();
    for (from, to) in &steps {
        let together = reached[from.as_str()].iter().filter(|other| is_reached(other, from));
        let knot: Vec<&str> = together.copied().collect();
        let back = to.iter().filter(|(to, _)| is_reached(to, from));
        if !knot.is_empty() {
            knots.entry(knot).or_default().extend(back.map(|(_, place)| place.as_str()));
        }
    }
    knots
        .into_iter()
        .map(|(knot, places)| Knot {
            modules: knot.join(" "),
            places: places.into_iter().map(str::to_owned).collect(),
        })
        .collect()
}

/// The nodes that can be reached from one by at least one step.
fn reached_from<'s>(
    steps: &'s BTreeMap<String, BTreeMap<String, String>>,
    start: &str,
) -> BTreeSet<&'s str> {
    let mut reached = BTreeSet::new();
    let mut waiting = vec![start];
    while let Some(at) = waiting.pop() {
        for next in steps.get(at).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(next.as_str()) {
                waiting.push(next);
            }
        }
    }
    reached
}

/// Dependencies that a manifest asks for and no source names. `generated` lists those that only generated code
/// names: (package, dependency, why).
pub(crate) fn unused(package: &Package, generated: GivenOut) -> Vec<String> {
    let of = |trees: &[Tree], with_tests: bool| -> BTreeSet<String> {
        trees.iter().flat_map(|tree| tree.first_segments(with_tests)).collect()
    };
    let is_generated = |dependency: &str| {
        generated.iter().any(|(name, used, _)| *name == package.name && *used == dependency)
    };
    let in_tests = of(&package.sources, true).union(&of(&package.tests, true)).cloned().collect();
    let sections = [
        ("dependencies", &package.dependencies, of(&package.sources, false)),
        ("dev-dependencies", &package.for_tests, in_tests),
        ("build-dependencies", &package.for_builds, of(&package.build, true)),
    ];
    let mut faults = Vec::new();
    for (section, asked, used) in sections {
        for dependency in asked {
            let is_used = used.contains(&dependency.replace('-', "_"));
            if !is_used && !is_generated(dependency) {
                faults.push(format!("{}: nothing uses {dependency} of [{section}]", package.name));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// A library of a few files: (path under `src`, text).
    fn tree(files: &[(&str, &str)]) -> Tree {
        let read = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new("src").join(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        };
        Tree::read(Path::new("src/lib.rs"), &read)
    }

    fn package(name: &str, files: &[(&str, &str)]) -> Package {
        Package { name: name.into(), sources: vec![tree(files)], ..Package::default() }
    }

    fn workspace(libraries: &[(&str, &[(&str, &str)])]) -> Workspace {
        let trees = libraries.iter().map(|(name, files)| ((*name).to_owned(), tree(files)));
        Workspace { libraries: trees.collect() }
    }

    /// `log` is a room; `machine` gives it out, as a room and one item of it.
    fn rooms() -> Workspace {
        workspace(&[
            ("log", &[("lib.rs", "pub mod entry;"), ("entry.rs", "pub struct Entry;")]),
            ("machine", &[("lib.rs", "pub use log; pub use log::entry::Entry; pub struct Kv;")]),
        ])
    }

    const MACHINE_ONLY: Edges = &[("core", &["machine"])];

    fn edges_of(text: &str) -> Vec<String> {
        beyond_edges(&package("core", &[("lib.rs", text)]), &rooms(), MACHINE_ONLY)
    }

    #[test]
    fn a_room_beyond_the_edges_is_found_wherever_it_is_named() {
        for text in [
            "use log::entry::Entry;",
            "use {log as l, std::fmt};",
            "fn f() { let e = log::entry::Entry; }",
            "fn f(e: ::log::entry::Entry) {}",
            "fn f() { assert!(matches!(x, log::entry::Entry)); }",
            "mod inner { fn f() -> Option<log::entry::Entry> { None } }",
        ] {
            let faults = edges_of(text);
            assert!(faults.iter().any(|fault| fault.contains("must not use log")), "{text}");
            assert!(faults[0].starts_with("src/lib.rs:1: "), "{faults:?}");
        }
    }

    #[test]
    fn a_room_reached_through_another_is_found() {
        for text in [
            "use machine::log::entry::Entry;",
            "use machine::{Kv, log};",
            "use machine as m; fn f(e: m::log::entry::Entry) {}",
        ] {
            let faults = edges_of(text);
            assert!(
                faults.iter().any(|fault| fault.contains("names log through machine")),
                "{text}"
            );
        }
    }

    #[test]
    fn what_may_be_named_is_no_fault() {
        for text in [
            "use machine::{Entry, Kv};",
            "mod log { pub struct Own; } use log::Own; fn f(own: log::Own) {}",
            "#[cfg(test)] mod tests { use log::entry::Entry; }",
            "fn f(log: u8) -> u8 { log }",
            "/// See [`log::entry::Entry`].\npub struct Documented;",
        ] {
            assert_eq!(edges_of(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn rooms_that_are_given_out_are_found_and_items_unless_listed() {
        let rooms = rooms();
        let text = "pub use log; pub use log::entry::*; pub use log::entry::Entry; use log::entry;";
        let package = package("machine", &[("lib.rs", text)]);
        let faults = given_out(&package, &rooms, &[]);
        assert_eq!(faults.len(), 3, "{faults:?}");
        let listed: GivenOut =
            &[("machine", "log::entry::Entry", "why"), ("machine", "log::entry::Gone", "why")];
        let faults = given_out(&package, &rooms, listed);
        assert!(!faults.iter().any(|fault| fault.contains("unlisted")), "{faults:?}");
        assert!(faults.iter().any(|fault| fault.contains("does not give out log::entry::Gone")));
    }

    #[test]
    fn modules_in_a_circle_are_found_through_names_of_the_root() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c; pub use a::A; use c::C; pub fn f(_: C) {}"),
            ("a.rs", "use crate::b::B; pub struct A; #[cfg(test)] mod tests { use crate::c::C; }"),
            ("b/mod.rs", "mod deep; pub struct B;"),
            ("b/deep.rs", "fn f(a: super::super::A) {}"),
            ("c.rs", "use super::A; pub struct C;"),
        ];
        let mut all = Workspace::default();
        all.libraries.insert("core".into(), tree(&files));
        let package = package("core", &files);
        let faults = cycles(&package, &all, &[]);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with("core: modules in a circle: a b\n"), "{faults:?}");
        assert!(faults[0].contains("src/b/deep.rs:1: super::super::A"), "{faults:?}");
        assert!(cycles(&package, &all, &[("core", "a b")]).is_empty());
        let faults = cycles(&package, &all, &[("core", "a b"), ("core", "a c")]);
        assert_eq!(faults, ["core: the circle a c is undone"]);
    }

    #[test]
    fn dependencies_that_nothing_names_are_found() {
        let text = "use bytes::Bytes; #[derive(thiserror::Error)] struct E; \
                    fn f() { tracing::info!(took = ?std::time::Duration::ZERO); } \
                    #[cfg(test)] mod tests { use proptest::prelude::*; use rand::Rng; }";
        let asked = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let package = Package {
            dependencies: asked(&["bytes", "prost-types", "rand", "thiserror", "tracing"]),
            for_tests: asked(&["proptest", "tempfile"]),
            for_builds: asked(&["protox"]),
            ..package("core", &[("lib.rs", text)])
        };
        let faults = unused(&package, &[("core", "prost-types", "generated")]);
        let faults: Vec<&str> = faults.iter().map(|fault| &fault[..]).collect();
        assert_eq!(
            faults,
            [
                "core: nothing uses rand of [dependencies]",
                "core: nothing uses tempfile of [dev-dependencies]",
                "core: nothing uses protox of [build-dependencies]",
            ]
        );
    }
}
