//! The tree of names, and which changes of it would survive a crash.

use super::Rng;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    File(u64),
    Dir,
}

/// How to take a change back.
enum Undo {
    Create(PathBuf),
    Remove(PathBuf, Entry),
    Rename { from: PathBuf, to: PathBuf, replaced: Option<Entry> },
}

impl Undo {
    /// The directories whose sync covers the change.
    fn dirs(&self) -> [&Path; 2] {
        let (from, to) = match self {
            Undo::Create(path) | Undo::Remove(path, _) => (path, path),
            Undo::Rename { from, to, .. } => (from, to),
        };
        [from, to].map(|path| path.parent().unwrap_or(Path::new("")))
    }

    fn touches(&self, dir: &Path) -> bool {
        let dir = if dir == Path::new(".") { Path::new("") } else { dir };
        self.dirs().contains(&dir)
    }
}

/// A change of names that a crash may take back.
struct Change {
    undo: Undo,
    is_durable: bool,
}

/// All names, and the changes that no sync covers yet, oldest first.
///
/// Always true:
/// 1. What is above a name is a directory.
/// 2. The oldest change that is remembered is not durable.
#[derive(Default)]
pub(super) struct Names {
    entries: BTreeMap<PathBuf, Entry>,
    /// The first one is not durable; later ones may be.
    pending: Vec<Change>,
}

impl Names {
    pub(super) fn file(&self, path: &Path) -> io::Result<u64> {
        match self.entries.get(path) {
            Some(Entry::File(id)) => Ok(*id),
            Some(Entry::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        self.entries.contains_key(path) || path.parent().is_none()
    }

    /// Asserts what is always true.
    pub(super) fn check(&self) {
        for path in self.entries.keys() {
            let parent = path.parent().unwrap_or(Path::new(""));
            let is_dir = matches!(self.entries.get(parent), Some(Entry::Dir));
            assert!(is_dir || parent.parent().is_none(), "{path:?} lies in no directory");
        }
        let settled = self.pending.first().is_some_and(|change| change.is_durable);
        assert!(!settled, "a change that is durable is not remembered");
    }

    /// The inodes that names refer to.
    pub(super) fn files(&self) -> impl Iterator<Item = u64> {
        self.entries.values().filter_map(|entry| match entry {
            Entry::File(id) => Some(*id),
            Entry::Dir => None,
        })
    }

    pub(super) fn refers_to(&self, id: u64) -> bool {
        self.entries.values().any(|entry| *entry == Entry::File(id))
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        if !self.exists(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let names = self.entries.keys().filter(|path| path.parent() == Some(dir));
        Ok(names.filter_map(|path| path.file_name()?.to_str().map(String::from)).collect())
    }

    /// A path and everything below it, parents first.
    pub(super) fn under(&self, path: &Path) -> Vec<PathBuf> {
        self.entries.keys().filter(|entry| entry.starts_with(path)).cloned().collect()
    }

    pub(super) fn create(&mut self, path: &Path, entry: Entry) -> io::Result<()> {
        self.need_directory(path)?;
        self.entries.insert(path.to_owned(), entry);
        self.push(Undo::Create(path.to_owned()));
        Ok(())
    }

    /// What gets a name gets it in a directory.
    fn need_directory(&self, path: &Path) -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new(""));
        match self.entries.get(parent) {
            Some(Entry::Dir) => Ok(()),
            Some(Entry::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None if parent == Path::new("") || parent.parent().is_none() => Ok(()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut missing: Vec<&Path> = Vec::new();
        let mut at = path;
        while at != Path::new("") && !self.exists(at) {
            missing.push(at);
            at = at.parent().unwrap_or(Path::new(""));
        }
        for dir in missing.into_iter().rev() {
            self.create(dir, Entry::Dir)?;
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let entry = self.entries.remove(path).ok_or(io::ErrorKind::NotFound)?;
        self.push(Undo::Remove(path.to_owned(), entry));
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if !self.entries.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.need_directory(to)?;
        if from == to {
            return Ok(());
        }
        let replaced = self.move_tree(from, to);
        self.push(Undo::Rename { from: from.to_owned(), to: to.to_owned(), replaced });
        Ok(())
    }

    fn move_tree(&mut self, from: &Path, to: &Path) -> Option<Entry> {
        let replaced = self.entries.remove(to);
        for path in self.under(from) {
            let entry = self.entries.remove(&path).expect("just listed");
            let below = path.strip_prefix(from).expect("it is below");
            let new = if below == Path::new("") { to.to_owned() } else { to.join(below) };
            self.entries.insert(new, entry);
        }
        replaced
    }

    fn push(&mut self, undo: Undo) {
        self.pending.push(Change { undo, is_durable: false });
    }

    /// Makes the changes in this directory durable.
    pub(super) fn sync(&mut self, dir: &Path) {
        for change in &mut self.pending {
            change.is_durable |= change.undo.touches(dir);
        }
        let settled = self.pending.iter().take_while(|change| change.is_durable).count();
        self.pending.drain(..settled);
        let is_left = self.pending.iter().any(|c| c.undo.touches(dir) && !c.is_durable);
        assert!(!is_left, "a sync of {dir:?} covers every change in it");
    }

    /// Takes back what fate does not let survive: of every directory, or of the whole disk where
    /// it keeps a journal, the changes after some point.
    pub(super) fn crash(&mut self, rng: &mut Rng) {
        let survivors = if rng.coin() { self.journal(rng) } else { self.by_directory(rng) };
        // Renames that survive, the latest first: earlier changes were made under older names.
        let mut renamed: Vec<(PathBuf, PathBuf)> = Vec::new();
        let pending = std::mem::take(&mut self.pending);
        for (change, survives) in pending.into_iter().zip(survivors).rev() {
            match change.undo {
                Undo::Rename { from, to, .. } if survives => renamed.push((from, to)),
                _ if survives => {}
                undo => self.take_back(undo, &renamed),
            }
        }
        self.drop_orphans();
    }

    /// What comes back into a directory that did not survive is lost with it.
    fn drop_orphans(&mut self) {
        loop {
            let is_orphan = |path: &&PathBuf| self.need_directory(path).is_err();
            let orphans: Vec<PathBuf> = self.entries.keys().filter(is_orphan).cloned().collect();
            if orphans.is_empty() {
                return;
            }
            for path in orphans {
                self.entries.remove(&path);
            }
        }
    }

    /// A journal keeps the order: what is durable covers everything before it.
    fn journal(&self, rng: &mut Rng) -> Vec<bool> {
        let durable = self.pending.iter().rposition(|change| change.is_durable);
        let least = durable.map_or(0, |last| last + 1);
        let survive = least + rng.below((self.pending.len() - least) as u64 + 1) as usize;
        (0..self.pending.len()).map(|place| place < survive).collect()
    }

    /// Without one, directories are written back each by itself.
    fn by_directory(&self, rng: &mut Rng) -> Vec<bool> {
        let mut ended: BTreeMap<&Path, bool> = BTreeMap::new();
        let mut survivors = Vec::with_capacity(self.pending.len());
        for change in &self.pending {
            let [_, dir] = change.undo.dirs();
            let ended = ended.entry(dir).or_insert(false);
            *ended |= !change.is_durable && rng.below(4) == 0;
            survivors.push(change.is_durable || !*ended);
        }
        survivors
    }

    fn take_back(&mut self, undo: Undo, renamed: &[(PathBuf, PathBuf)]) {
        let now = |path: PathBuf| {
            renamed.iter().rev().fold(path, |path, (from, to)| match path.strip_prefix(from) {
                Ok(below) if below == Path::new("") => to.clone(),
                Ok(below) => to.join(below),
                Err(_) => path,
            })
        };
        match undo {
            Undo::Create(path) => {
                for path in self.under(&now(path)) {
                    self.entries.remove(&path);
                }
            }
            Undo::Remove(path, entry) => {
                self.entries.entry(now(path)).or_insert(entry);
            }
            Undo::Rename { from, to, replaced } => {
                let (from, to) = (now(from), now(to));
                self.move_tree(&to, &from);
                self.entries.extend(replaced.map(|entry| (to, entry)));
            }
        }
    }
}
