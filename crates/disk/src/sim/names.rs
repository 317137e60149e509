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
    fn touches(&self, dir: &Path) -> bool {
        let dir = if dir == Path::new(".") { Path::new("") } else { dir };
        match self {
            Undo::Create(path) | Undo::Remove(path, _) => path.parent() == Some(dir),
            Undo::Rename { from, to, .. } => from.parent() == Some(dir) || to.parent() == Some(dir),
        }
    }
}

/// All names, and the changes that no sync covers yet, oldest first.
#[derive(Default)]
pub(super) struct Names {
    entries: BTreeMap<PathBuf, Entry>,
    pending: Vec<Undo>,
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
        let parent = path.parent().unwrap_or(Path::new(""));
        if parent != Path::new("") && !self.exists(parent) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.entries.insert(path.to_owned(), entry);
        self.pending.push(Undo::Create(path.to_owned()));
        Ok(())
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
        self.pending.push(Undo::Remove(path.to_owned(), entry));
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if !self.entries.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let replaced = self.move_tree(from, to);
        self.pending.push(Undo::Rename { from: from.to_owned(), to: to.to_owned(), replaced });
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

    /// Makes every change up to the last one in this directory durable: a journal keeps order.
    pub(super) fn sync(&mut self, dir: &Path) {
        let covered = self.pending.iter().rposition(|undo| undo.touches(dir));
        self.pending.drain(..covered.map_or(0, |last| last + 1));
    }

    pub(super) fn crash(&mut self, rng: &mut Rng) {
        let survive = rng.below(self.pending.len() as u64 + 1) as usize;
        for undo in self.pending.split_off(survive).into_iter().rev() {
            match undo {
                Undo::Create(path) => {
                    self.entries.remove(&path);
                }
                Undo::Remove(path, entry) => {
                    self.entries.insert(path, entry);
                }
                Undo::Rename { from, to, replaced } => {
                    self.move_tree(&to, &from);
                    self.entries.extend(replaced.map(|entry| (to, entry)));
                }
            }
        }
        self.pending.clear();
    }
}
