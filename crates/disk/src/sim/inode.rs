//! One file's bytes, and what of them would survive a crash.

use super::Rng;
use crate::Lock;
use std::collections::BTreeMap;
use std::io;

const SECTOR: usize = 512;

/// A file's content and, for every sector changed since the last sync, what the disk holds there.
///
/// Always true:
/// 1. A sector waits for a sync or was given up by a failed one, not both.
/// 2. What the disk holds of a sector is no more than a sector.
/// 3. Who has the file for itself shares it with nobody.
#[derive(Default)]
pub(super) struct Inode {
    pub(super) bytes: Vec<u8>,
    durable_len: usize,
    /// Sector number -> what rests on the disk.
    unsynced: BTreeMap<usize, Vec<u8>>,
    /// As `unsynced`, but a failed sync has given them up: no later sync saves them.
    lost: BTreeMap<usize, Vec<u8>>,
    shared_locks: usize,
    exclusive_lock: bool,
}

impl Inode {
    pub(super) fn write(&mut self, buf: &[u8], offset: usize) {
        let end = offset + buf.len();
        self.remember(offset, end);
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(buf);
    }

    pub(super) fn set_len(&mut self, len: usize) {
        let (from, to) = (len.min(self.bytes.len()), len.max(self.bytes.len()));
        self.remember(from, to);
        self.bytes.resize(len, 0);
    }

    /// Asserts what is always true.
    pub(super) fn check(&self) {
        for sector in self.unsynced.keys() {
            assert!(!self.lost.contains_key(sector), "sector {sector} waits and is given up");
        }
        for (sector, old) in self.unsynced.iter().chain(&self.lost) {
            assert!(old.len() <= SECTOR, "sector {sector} holds {} bytes", old.len());
        }
        let shared = self.shared_locks;
        assert!(!self.exclusive_lock || shared == 0, "{shared} share what one has for itself");
    }

    fn remember(&mut self, from: usize, to: usize) {
        for sector in from / SECTOR..to.div_ceil(SECTOR) {
            let start = (sector * SECTOR).min(self.bytes.len());
            let end = (start + SECTOR).min(self.bytes.len());
            // What a failed sync gave up and is written again can be saved by the next one.
            let given_up = self.lost.remove(&sector);
            let old = given_up.unwrap_or_else(|| self.bytes[start..end].to_vec());
            self.unsynced.entry(sector).or_insert(old);
        }
    }

    pub(super) fn sync(&mut self) {
        self.unsynced.clear();
        self.durable_len = self.bytes.len();
    }

    pub(super) fn lose_unsynced(&mut self) {
        for (sector, old) in std::mem::take(&mut self.unsynced) {
            self.lost.entry(sector).or_insert(old);
        }
    }

    pub(super) fn crash(&mut self, rng: &mut Rng) {
        let written_len = self.bytes.len();
        let len = if rng.coin() { written_len } else { self.durable_len };
        self.bytes.resize(len.max(written_len), 0);
        for (sector, old) in std::mem::take(&mut self.unsynced) {
            // What was cut off was not written over: undone, it is as it was.
            let start = sector * SECTOR;
            let from = if rng.coin() { start } else { written_len.max(start) };
            self.put_back(start, from, &old);
        }
        for (sector, old) in std::mem::take(&mut self.lost) {
            self.put_back(sector * SECTOR, sector * SECTOR, &old);
        }
        self.bytes.resize(len, 0);
        let pending = self.unsynced.len() + self.lost.len();
        assert_eq!(pending, 0, "after a crash the disk holds what the file shows");
        self.durable_len = len;
        self.shared_locks = 0;
        self.exclusive_lock = false;
    }

    /// What the disk held before in a sector, from a place on; zeros where it held nothing.
    fn put_back(&mut self, start: usize, from: usize, old: &[u8]) {
        let end = (start + SECTOR).min(self.bytes.len());
        for at in from..end {
            self.bytes[at] = old.get(at - start).copied().unwrap_or(0);
        }
    }

    pub(super) fn lock(&mut self, lock: Lock) -> io::Result<()> {
        let taken = match lock {
            Lock::None => false,
            Lock::Shared => self.exclusive_lock,
            Lock::Exclusive => self.exclusive_lock || self.shared_locks > 0,
        };
        if taken {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match lock {
            Lock::None => {}
            Lock::Shared => self.shared_locks += 1,
            Lock::Exclusive => self.exclusive_lock = true,
        }
        Ok(())
    }

    pub(super) fn unlock(&mut self, lock: Lock) {
        match lock {
            Lock::None => {}
            Lock::Shared => {
                assert!(self.shared_locks > 0, "a lock is given back that nobody had");
                self.shared_locks -= 1;
            }
            Lock::Exclusive => {
                assert!(self.exclusive_lock, "a lock is given back that nobody had");
                self.exclusive_lock = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "sector 0 waits and is given up")]
    fn a_sector_that_waits_and_is_given_up_is_found() {
        let mut inode = Inode::default();
        inode.write(b"x", 0);
        inode.lost.insert(0, Vec::new());
        inode.check();
    }

    #[test]
    #[should_panic(expected = "a lock is given back that nobody had")]
    fn no_lock_is_given_back_twice() {
        let mut inode = Inode::default();
        inode.lock(Lock::Shared).unwrap();
        inode.unlock(Lock::Shared);
        inode.unlock(Lock::Shared);
    }
}
