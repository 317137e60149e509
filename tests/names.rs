//! The names that a package's sources use, by module: what the checks of edges, cycles and dependencies look at.
//!
//! A [`Tree`] is one root file (`lib.rs`, `main.rs`, a test) with its modules. Every path in it is kept as it is written, with its
//! line; [`Workspace::resolve`] follows a path through modules and imports to where it leads.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, Meta, UseTree, Visibility};

/// A path as it is written: `crate::log::Entry` has three segments.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) segments: Vec<String>,
    /// Whether it begins with `::`, so that it can only be a package.
    pub(crate) is_external: bool,
    pub(crate) line: usize,
    /// Whether it stands under `#[cfg(test)]`.
    pub(crate) is_test: bool,
    /// Whether it stands in a `use`, and for whom.
    pub(crate) import: Option<Import>,
}

/// What a `use` gives to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    /// The name that it has here; none for `*` and `_`.
    pub(crate) named: Option<String>,
    pub(crate) is_public: bool,
    pub(crate) is_glob: bool,
}

/// One module with what it names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Module {
    pub(crate) file: PathBuf,
    pub(crate) is_test: bool,
    pub(crate) names: Vec<Name>,
    /// Modules in it, and whether anybody may name them.
    children: BTreeMap<String, bool>,
    /// Items that this module defines.
    items: BTreeSet<String>,
    imports: BTreeMap<String, Name>,
}

impl Module {
    fn defines(&self, name: &str) -> bool {
        self.children.contains_key(name) || self.items.contains(name)
    }

    /// The import that a path's first segment means, if it is not that import itself: `use tls;` does not name itself.
    fn import_before(&self, name: &Name) -> Option<&Name> {
        let first = name.segments.first();
        let itself = name.import.as_ref().and_then(|import| import.named.as_ref());
        first.filter(|_| first != itself).and_then(|first| self.imports.get(first))
    }
}

/// One root file and its modules, by their paths; the root's is empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub(crate) modules: BTreeMap<Vec<String>, Module>,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) package: String,
    pub(crate) module: Vec<String>,
    /// Whether the module itself is meant and not something in it.
    pub(crate) is_module: bool,
    /// Modules that one package gives out and another owns: (who gives, whose it is).
    pub(crate) pierced: Vec<(String, String)>,
}

impl Tree {
    /// The tree under a root file. `read` gives a file's text.
    pub(crate) fn read(root: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Tree {
        let mut tree = Tree::default();
        let dir = root.parent().unwrap_or(root).to_owned();
        tree.read_file(root, &dir, Vec::new(), false, read);
        tree
    }

    fn read_file(
        &mut self,
        file: &Path,
        dir: &Path,
        path: Vec<String>,
        is_test: bool,
        read: &dyn Fn(&Path) -> Option<String>,
    ) {
        let text = read(file).unwrap_or_else(|| panic!("{} is missing", file.display()));
        let parsed =
            syn::parse_file(&text).unwrap_or_else(|fault| panic!("{}: {fault}", file.display()));
        self.read_module(&parsed.items, file, dir, path, is_test, read);
    }

    fn read_module(
        &mut self,
        items: &[Item],
        file: &Path,
        dir: &Path,
        path: Vec<String>,
        is_test: bool,
        read: &dyn Fn(&Path) -> Option<String>,
    ) {
        let mut module = Module { file: file.to_owned(), is_test, ..Module::default() };
        let mut seen = Collector { module: &mut module, tests: usize::from(is_test) };
        items.iter().for_each(|item| seen.visit_item(item));
        for item in items {
            let Item::Mod(child) = item else {
                module.items.extend(type_of(item));
                continue;
            };
            let name = child.ident.to_string();
            let is_test = is_test || is_for_tests(&child.attrs);
            let child_path = [path.as_slice(), std::slice::from_ref(&name)].concat();
            let is_public = matches!(child.vis, Visibility::Public(_));
            module.children.insert(name.clone(), is_public);
            let inner = dir.join(&name);
            if let Some((_, items)) = &child.content {
                self.read_module(items, file, &inner, child_path, is_test, read);
                continue;
            }
            let (at, inner) = match path_attribute(&child.attrs) {
                Some(at) => {
                    let at = file.parent().unwrap_or(dir).join(at);
                    let inner = at.parent().unwrap_or(dir).to_owned();
                    (at, inner)
                }
                None => [dir.join(format!("{name}.rs")), inner.join("mod.rs")]
                    .into_iter()
                    .find(|at| read(at).is_some())
                    .map(|at| (at, inner))
                    .unwrap_or_else(|| panic!("{}: no file for mod {name}", file.display())),
            };
            self.read_file(&at, &inner, child_path, is_test, read);
        }
        self.modules.insert(path, module);
    }

    /// Whether other packages can name its modules.
    pub(crate) fn is_library(&self) -> bool {
        self.modules.get([].as_slice()).is_some_and(|root| root.file.ends_with("lib.rs"))
    }

    /// The packages that anything in the tree may name: first segments. `with_tests` counts code for tests too.
    pub(crate) fn first_segments(&self, with_tests: bool) -> BTreeSet<String> {
        let names = self.modules.values().flat_map(|module| &module.names);
        names
            .filter(|name| with_tests || !name.is_test)
            .map(|name| name.segments[0].clone())
            .collect()
    }
}

/// The libraries of the workspace, through which paths are followed.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    pub(crate) libraries: BTreeMap<String, Tree>,
}

/// How many imports may follow each other before a path is taken for a circle.
const IMPORTS_MAX: usize = 32;

impl Workspace {
    /// Where a name that stands in module `at` of `tree`, a tree of `package`, leads; none if outside the workspace.
    pub(crate) fn resolve(
        &self,
        package: &str,
        tree: &Tree,
        at: &[String],
        name: &Name,
    ) -> Option<Target> {
        Walk { workspace: self, package, tree }.start(at, name, 0)
    }
}

impl Tree {
    /// The package that a name in module `at` is written with: `None` if it begins with something of this tree.
    pub(crate) fn package_of<'n>(&'n self, at: &[String], name: &'n Name) -> Option<&'n str> {
        let module = self.modules.get(at)?;
        let mut name = name;
        for _ in 0..IMPORTS_MAX {
            let first = name.segments.first()?;
            let is_here = ["crate", "self", "super"].contains(&first.as_str());
            match module.import_before(name) {
                _ if name.is_external => return Some(first),
                _ if is_here || module.defines(first) => return None,
                Some(import) => name = import,
                None => return Some(first),
            }
        }
        None
    }
}

/// A walk along a path, in one package.
struct Walk<'w> {
    workspace: &'w Workspace,
    package: &'w str,
    tree: &'w Tree,
}

impl Walk<'_> {
    fn start(&self, at: &[String], name: &Name, depth: usize) -> Option<Target> {
        if depth > IMPORTS_MAX {
            return None;
        }
        let (first, rest) = name.segments.split_first()?;
        match first.as_str() {
            _ if name.is_external => self.cross(first, rest, depth),
            "crate" => self.go_on(Vec::new(), rest, false, depth),
            "self" => self.go_on(at.to_vec(), rest, false, depth),
            "super" => {
                let ups = name.segments.iter().take_while(|segment| *segment == "super").count();
                let kept = at.len().checked_sub(ups)?;
                self.go_on(at[..kept].to_vec(), &name.segments[ups..], false, depth)
            }
            _ => {
                let module = self.tree.modules.get(at)?;
                match module.defines(first) || module.import_before(name).is_some() {
                    true => self.go_on(at.to_vec(), &name.segments, false, depth),
                    false => self.cross(first, rest, depth),
                }
            }
        }
    }

    /// Goes on in another package of the workspace, or in the library of this one.
    fn cross(&self, package: &str, rest: &[String], depth: usize) -> Option<Target> {
        let (package, tree) = self.workspace.libraries.get_key_value(package)?;
        let walk = Walk { workspace: self.workspace, package, tree };
        walk.go_on(Vec::new(), rest, true, depth)
    }

    /// Goes down from a module of this tree; from outside, private modules are not seen where something public has
    /// their name.
    fn go_on(
        &self,
        mut at: Vec<String>,
        segments: &[String],
        is_outside: bool,
        depth: usize,
    ) -> Option<Target> {
        for (index, segment) in segments.iter().enumerate() {
            let module = self.tree.modules.get(&at)?;
            let child = module.children.get(segment);
            let is_hidden =
                |is_public: &bool| is_outside && !is_public && module.imports.contains_key(segment);
            if child.is_some_and(|is_public| !is_hidden(is_public)) {
                at.push(segment.clone());
                continue;
            }
            let Some(import) = module.imports.get(segment) else {
                return Some(self.target(at, false));
            };
            let given = self.start(&at, import, depth + 1)?;
            let mut whole = import.clone();
            whole.segments.extend_from_slice(&segments[index + 1..]);
            let mut target = self.start(&at, &whole, depth + 1)?;
            if is_outside && given.is_module && given.package != self.package {
                target.pierced.push((self.package.to_owned(), given.package));
            }
            return Some(target);
        }
        Some(self.target(at, true))
    }

    fn target(&self, module: Vec<String>, is_module: bool) -> Target {
        Target { package: self.package.to_owned(), module, is_module, pierced: Vec::new() }
    }
}

/// The name of a type that an item defines. Functions and constants are no first segments of a path.
fn type_of(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Enum(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

/// Whether an item is compiled for tests only.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let text = list.tokens.to_string();
            text == "test" || text.starts_with("all") && text.contains("test")
        }
        Meta::Path(path) => path.is_ident("test"),
        _ => false,
    })
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

fn attributes_of(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Writes down every path of one module's items.
struct Collector<'m> {
    module: &'m mut Module,
    /// How many items around this place are for tests only.
    tests: usize,
}

impl Collector<'_> {
    fn add(&mut self, segments: Vec<String>, is_external: bool, line: usize) {
        // One segment is a thing near by, never a package.
        if segments.len() > 1 || is_external {
            let is_test = self.tests > 0;
            self.module.names.push(Name { segments, is_external, line, is_test, import: None });
        }
    }

    fn import(&mut self, tree: &UseTree, mut before: Vec<String>, of: &Name) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.import(&path.tree, before, of);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, before.clone(), of);
                }
            }
            UseTree::Glob(_) => self.imported(before, None, true, of),
            UseTree::Name(name) => {
                let ident = name.ident.to_string();
                if ident != "self" {
                    before.push(ident);
                }
                let named = before.last().cloned();
                self.imported(before, named, false, of);
            }
            UseTree::Rename(name) => {
                let ident = name.ident.to_string();
                if ident != "self" {
                    before.push(ident);
                }
                let named = Some(name.rename.to_string()).filter(|name| name != "_");
                self.imported(before, named, false, of);
            }
        }
    }

    fn imported(&mut self, segments: Vec<String>, named: Option<String>, is_glob: bool, of: &Name) {
        let mut name = Name { segments, ..of.clone() };
        let import = name.import.as_mut().expect("made by visit_item_use");
        import.named = named.clone();
        import.is_glob = is_glob;
        if let Some(named) = named.filter(|_| !name.is_test || self.module.is_test) {
            self.module.imports.insert(named, name.clone());
        }
        self.module.names.push(name);
    }

    /// Paths among the tokens of a macro or an attribute: words joined by `::`.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut segments: Vec<String> = Vec::new();
        let (mut colons, mut line) = (0, 0);
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons == 2 {
                        segments.push(ident.to_string());
                    } else {
                        self.add(std::mem::take(&mut segments), false, line);
                        segments = vec![ident.to_string()];
                        line = ident.span().start().line;
                    }
                    colons = 0;
                    continue;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => self.tokens(group.stream()),
                _ => {}
            }
            self.add(std::mem::take(&mut segments), false, line);
            colons = 0;
        }
        self.add(segments, false, line);
    }
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let is_test = usize::from(is_for_tests(attributes_of(item)));
        self.tests += is_test;
        visit::visit_item(self, item);
        self.tests -= is_test;
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        let is_test = usize::from(is_for_tests(&item.attrs));
        self.tests += is_test;
        visit::visit_impl_item_fn(self, item);
        self.tests -= is_test;
    }

    fn visit_item_mod(&mut self, _: &'ast ItemMod) {
        // A module of its own.
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let import = Import {
            named: None,
            is_public: matches!(item.vis, Visibility::Public(_)),
            is_glob: false,
        };
        let of = Name {
            segments: Vec::new(),
            is_external: item.leading_colon.is_some(),
            line: item.use_token.span.start().line,
            is_test: self.tests > 0,
            import: Some(import),
        };
        self.import(&item.tree, Vec::new(), &of);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> =
            path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let line = path.segments[0].ident.span().start().line;
        self.add(segments, path.leading_colon.is_some(), line);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, written: &'ast syn::Macro) {
        self.visit_path(&written.path);
        self.tokens(written.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        self.visit_path(attribute.path());
        if let Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone());
        }
    }
}
