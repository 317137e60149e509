//! A run of neighbouring keys with their histories, packed together.
//!
//! ```text
//! prefix    /registry/pods/default/          what all keys begin with, once
//! text      web-2 web-1 db-7                 the rest of every key, as they came
//! entries   (db-7, history) (web-1, ..) ..   24 bytes each, in key order
//! ```
//! A key costs its rest, 24 bytes and its share of the slack; a key with more than one revision
//! owns an allocation besides.

use crate::history::History;
use bytes::Bytes;
use std::cmp::Ordering;

/// Keys in a leaf at most.
pub(crate) const KEYS_MAX: usize = 128;
/// A leaf with this much text is full too, unless it holds one key alone.
const TEXT_MAX: usize = 64 * 1024;
/// Room made at a time, in entries and in bytes.
const ENTRIES_STEP: usize = 16;
const TEXT_STEP: usize = 256;

#[derive(Debug)]
struct Entry {
    at: u32,
    len: u32,
    history: History,
}

const _: () = assert!(size_of::<Entry>() == 24);

/// The run. Always true:
/// 1. keys are ascending and differ;
/// 2. `alive` counts the keys that exist now;
/// 3. no change is newer than `newest`.
#[derive(Debug, Default)]
pub(crate) struct Leaf {
    prefix: Box<[u8]>,
    text: Vec<u8>,
    entries: Vec<Entry>,
    alive: usize,
    newest: i64,
}

/// A key, in two pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'l> {
    prefix: &'l [u8],
    rest: &'l [u8],
}

impl Key<'_> {
    pub(crate) fn to_vec(self) -> Vec<u8> {
        [self.prefix, self.rest].concat()
    }

    pub(crate) fn to_bytes(self) -> Bytes {
        self.to_vec().into()
    }

    fn cmp(self, other: &[u8]) -> Ordering {
        let (head, tail) = other.split_at(other.len().min(self.prefix.len()));
        self.prefix.cmp(head).then_with(|| self.rest.cmp(tail))
    }
}

impl Leaf {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= KEYS_MAX || (self.text.len() >= TEXT_MAX && self.len() > 1)
    }

    /// Keys that exist now.
    pub(crate) fn alive(&self) -> usize {
        self.alive
    }

    /// A main revision that no change here is newer than.
    pub(crate) fn newest(&self) -> i64 {
        self.newest
    }

    fn rest(&self, index: usize) -> &[u8] {
        let Entry { at, len, .. } = self.entries[index];
        &self.text[at as usize..(at + len) as usize]
    }

    pub(crate) fn key(&self, index: usize) -> Key<'_> {
        Key { prefix: &self.prefix, rest: self.rest(index) }
    }

    pub(crate) fn history(&self, index: usize) -> &History {
        &self.entries[index].history
    }

    /// The key's place, or where it would be.
    pub(crate) fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let Some(rest) = key.strip_prefix(&*self.prefix) else {
            let is_below = key < &*self.prefix;
            return Err(if is_below { 0 } else { self.len() });
        };
        self.entries.binary_search_by(|entry| {
            self.text[entry.at as usize..(entry.at + entry.len) as usize].cmp(rest)
        })
    }

    /// The first place whose key is not below `key`.
    pub(crate) fn lower_bound(&self, key: &[u8]) -> usize {
        match self.len().checked_sub(1) {
            Some(last) if self.key(last).cmp(key).is_ge() => {
                self.find(key).unwrap_or_else(|place| place)
            }
            _ => self.len(),
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&History> {
        self.find(key).ok().map(|index| self.history(index))
    }

    /// Changes a history.
    pub(crate) fn change<T>(&mut self, index: usize, act: impl FnOnce(&mut History) -> T) -> T {
        let history = &mut self.entries[index].history;
        self.alive -= usize::from(history.is_alive());
        let result = act(history);
        self.alive += usize::from(history.is_alive());
        self.newest = self.newest.max(history.newest());
        result
    }

    /// Adds a key at the place that [`Leaf::find`] gave.
    pub(crate) fn insert(&mut self, index: usize, key: &[u8], history: History) {
        if self.entries.is_empty() {
            self.text.clear();
            self.prefix = key.into();
        } else if !key.starts_with(&self.prefix) {
            self.shorten_prefix(common_len(&self.prefix, key));
        }
        let rest = &key[self.prefix.len()..];
        if self.text.capacity() - self.text.len() < rest.len() {
            self.text.reserve_exact(rest.len().max(TEXT_STEP));
        }
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(ENTRIES_STEP);
        }
        let (at, len) = (offset(self.text.len()), offset(rest.len()));
        self.text.extend_from_slice(rest);
        self.alive += usize::from(history.is_alive());
        self.newest = self.newest.max(history.newest());
        self.entries.insert(index, Entry { at, len, history });
    }

    /// Takes back a key's newest change.
    pub(crate) fn undo(&mut self, index: usize) {
        let history = &mut self.entries[index].history;
        self.alive -= usize::from(history.is_alive());
        if history.undo() {
            self.alive += usize::from(history.is_alive());
        } else {
            self.entries.remove(index);
        }
    }

    fn shorten_prefix(&mut self, len: usize) {
        let moved = self.prefix[len..].to_vec();
        self.repack(&moved);
        self.prefix = self.prefix[..len].into();
    }

    /// Writes the text anew, without what removed keys left, every rest led by `lead`.
    fn repack(&mut self, lead: &[u8]) {
        let bytes = self.entries.iter().map(|entry| entry.len as usize + lead.len()).sum();
        let mut text = Vec::with_capacity(bytes);
        for entry in &mut self.entries {
            let rest = &self.text[entry.at as usize..(entry.at + entry.len) as usize];
            entry.at = offset(text.len());
            entry.len = offset(lead.len() + rest.len());
            text.extend_from_slice(lead);
            text.extend_from_slice(rest);
        }
        self.text = text;
    }

    /// Takes the keys from a place on into a leaf of their own.
    pub(crate) fn split_off(&mut self, index: usize) -> Leaf {
        let keys: Vec<Vec<u8>> = (index..self.len()).map(|i| self.key(i).to_vec()).collect();
        let mut right = Leaf::default();
        for (key, entry) in keys.iter().zip(self.entries.split_off(index)) {
            self.alive -= usize::from(entry.history.is_alive());
            right.insert(right.len(), key, entry.history);
        }
        self.repack(&[]);
        right
    }

    /// Takes in the keys of the leaf behind this one.
    pub(crate) fn append(&mut self, mut right: Leaf) {
        for (index, entry) in std::mem::take(&mut right.entries).into_iter().enumerate() {
            debug_assert!(index < KEYS_MAX);
            let rest = &right.text[entry.at as usize..(entry.at + entry.len) as usize];
            let key = Key { prefix: &right.prefix, rest }.to_vec();
            self.insert(self.len(), &key, entry.history);
        }
    }

    /// Forgets what cannot be read from `at` on. Whether anything up to `at` is kept.
    pub(crate) fn compact(&mut self, at: i64) -> bool {
        let mut keeps_any = false;
        let before = self.entries.len();
        self.entries.retain_mut(|entry| {
            keeps_any |= entry.history.keeps_any(at);
            entry.history.compact(at)
        });
        if self.entries.len() < before {
            // Those that went were gone already.
            self.repack(&[]);
            self.entries.shrink_to_fit();
        }
        keeps_any
    }

    /// Gives back spare room.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.text.shrink_to_fit();
        self.entries.shrink_to_fit();
    }

    /// Every key with its history, in order.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = (Vec<u8>, History)> {
        let Leaf { prefix, text, entries, .. } = self;
        entries.into_iter().map(move |entry| {
            let rest = &text[entry.at as usize..(entry.at + entry.len) as usize];
            (Key { prefix: &prefix, rest }.to_vec(), entry.history)
        })
    }

    /// Asserts what is always true.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        for index in 1..self.len() {
            assert!(self.rest(index - 1) < self.rest(index), "keys ascend");
        }
        let alive = self.entries.iter().filter(|entry| entry.history.is_alive()).count();
        assert_eq!(alive, self.alive, "alive counts the keys that exist");
        let newest = self.entries.iter().map(|entry| entry.history.newest()).max();
        assert!(newest.unwrap_or(0) <= self.newest, "no change is newer than newest");
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).expect("a request is smaller than 4 GiB, and so is a leaf")
}

fn common_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
