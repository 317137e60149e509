//! One file's bytes, and what of them would survive a crash.

use super::Rng;
use crate::Lock;
use std::collections::BTreeMap;
use std::io;

const SECTOR: usize = 512;

/// A file's content and, for every sector changed since the last sync, what the disk holds there.
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

    fn remember(&mut self, from: usize, to: usize) {
        for sector in from / SECTOR..to.div_ceil(SECTOR) {
            let start = (sector * SECTOR).min(self.bytes.len());
            let end = (start + SECTOR).min(self.bytes.len());
            let old = &self.bytes[start..end];
            self.unsynced.entry(sector).or_insert_with(|| old.to_vec());
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
        let len = if rng.coin() { self.bytes.len() } else { self.durable_len };
        let lost = std::mem::take(&mut self.lost);
        let unsynced = std::mem::take(&mut self.unsynced);
        let torn = unsynced.into_iter().filter(|_| rng.coin());
        for (sector, old) in torn.chain(lost).collect::<Vec<_>>() {
            self.put_back(sector * SECTOR, &old);
        }
        self.bytes.resize(len, 0);
        self.durable_len = len;
        self.shared_locks = 0;
        self.exclusive_lock = false;
    }

    /// What the disk held before, zeros where it held nothing.
    fn put_back(&mut self, start: usize, old: &[u8]) {
        let end = (start + SECTOR).min(self.bytes.len());
        for at in start..end {
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
            Lock::Shared => self.shared_locks -= 1,
            Lock::Exclusive => self.exclusive_lock = false,
        }
    }
}
