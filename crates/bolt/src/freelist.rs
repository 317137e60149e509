//! Which pages are free, and which will be when old readers have gone.

use crate::page::{FREELIST, HEADER_LEN, PageId, u64_at};
use std::collections::{BTreeMap, BTreeSet};

/// Runs of free pages, found by place and by length.
///
/// Always true: runs neither overlap nor touch, and both indexes hold the same runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct FreePages {
    /// First page -> number of pages.
    by_start: BTreeMap<PageId, u64>,
    by_len: BTreeSet<(u64, PageId)>,
    count: u64,
    /// Freed by transaction -> runs; still read by readers older than it.
    pending: BTreeMap<u64, Vec<(PageId, u64)>>,
    pending_count: u64,
}

impl FreePages {
    /// Free pages, without those that wait for readers.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Pages that wait for readers.
    pub(crate) fn pending_count(&self) -> u64 {
        self.pending_count
    }

    /// Adds a run that nobody uses.
    pub(crate) fn add(&mut self, mut start: PageId, mut len: u64) {
        self.count += len;
        if let Some((&before, &before_len)) = self.by_start.range(..start).next_back()
            && before + before_len == start
        {
            self.remove(before, before_len);
            start = before;
            len += before_len;
        }
        if let Some(&after_len) = self.by_start.get(&(start + len)) {
            self.remove(start + len, after_len);
            len += after_len;
        }
        self.by_start.insert(start, len);
        self.by_len.insert((len, start));
    }

    fn remove(&mut self, start: PageId, len: u64) {
        self.by_start.remove(&start);
        self.by_len.remove(&(len, start));
    }

    /// Takes `len` pages in a row: from the shortest run that holds them.
    pub(crate) fn allocate(&mut self, len: u64) -> Option<PageId> {
        let &(run, start) = self.by_len.range((len, 0)..).next()?;
        self.remove(start, run);
        if run > len {
            self.by_start.insert(start + len, run - len);
            self.by_len.insert((run - len, start + len));
        }
        self.count -= len;
        Some(start)
    }

    /// Notes that a transaction no longer uses these pages.
    pub(crate) fn free(&mut self, txid: u64, start: PageId, len: u64) {
        self.pending.entry(txid).or_default().push((start, len));
        self.pending_count += len;
    }

    /// Frees what no reader can see: everything given up by transactions up to `oldest_reader`.
    pub(crate) fn release(&mut self, oldest_reader: u64) {
        let later = self.pending.split_off(&(oldest_reader.saturating_add(1)));
        for (start, len) in std::mem::replace(&mut self.pending, later).into_values().flatten() {
            self.pending_count -= len;
            self.add(start, len);
        }
    }

    /// Every free and pending page, in order, as a stored freelist holds them.
    fn all(&self) -> Vec<PageId> {
        let runs = self.by_start.iter().map(|(&start, &len)| (start, len));
        let pending = self.pending.values().flatten().copied();
        let mut pages: Vec<PageId> =
            runs.chain(pending).flat_map(|(start, len)| start..start + len).collect();
        pages.sort_unstable();
        pages
    }

    /// How many bytes the stored list takes with its header, `extra` pages more included.
    pub(crate) fn stored_len(&self, extra: u64) -> usize {
        let count = (self.count + self.pending_count + extra) as usize;
        HEADER_LEN + 8 * (count + usize::from(count >= 0xffff))
    }

    /// The stored list: `pages` pages from `id` on.
    pub(crate) fn encode(&self, id: PageId, pages: u64, page_size: usize) -> Vec<u8> {
        let all = self.all();
        let mut out = Vec::with_capacity(pages as usize * page_size);
        let short = u16::try_from(all.len()).ok().filter(|&count| count < 0xffff);
        out.extend(id.to_le_bytes());
        out.extend(FREELIST.to_le_bytes());
        out.extend(short.unwrap_or(0xffff).to_le_bytes());
        out.extend((pages as u32 - 1).to_le_bytes());
        if short.is_none() {
            out.extend((all.len() as u64).to_le_bytes());
        }
        out.extend(all.into_iter().flat_map(PageId::to_le_bytes));
        assert!(out.len() <= pages as usize * page_size, "the list fits the pages it was given");
        out.resize(pages as usize * page_size, 0);
        out
    }
}

/// The page ids of a stored freelist; `None` where it does not fit its page.
pub(crate) fn decode(page: crate::page::Page<'_>) -> Option<Vec<PageId>> {
    let body = &page.bytes()[HEADER_LEN..];
    let (count, from) = match page.count() {
        0xffff => (usize::try_from(u64_at(body.get(..8)?, 0)).ok()?, 8_usize),
        count => (count, 0_usize),
    };
    let ids = body.get(from..from.checked_add(count.checked_mul(8)?)?)?;
    Some(ids.chunks_exact(8).map(|id| u64_at(id, 0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_join_and_split() {
        let mut free = FreePages::default();
        free.add(10, 2);
        free.add(14, 1);
        free.add(12, 2);
        assert_eq!(free.count(), 5);
        assert_eq!(free.allocate(5), Some(10));
        assert_eq!(free.allocate(1), None);
        free.add(20, 1);
        free.add(30, 8);
        assert_eq!(free.allocate(1), Some(20), "the shortest run that fits");
        assert_eq!(free.allocate(3), Some(30));
        assert_eq!(free.count(), 5);
    }

    #[test]
    fn freed_pages_wait_for_older_readers() {
        let mut free = FreePages::default();
        free.free(7, 3, 1);
        free.free(9, 4, 2);
        free.release(6);
        assert_eq!((free.count(), free.pending_count()), (0, 3));
        free.release(7);
        assert_eq!((free.count(), free.pending_count()), (1, 2));
        free.release(u64::MAX);
        assert_eq!((free.count(), free.pending_count()), (3, 0));
    }

    #[test]
    fn a_stored_list_reads_back() {
        let mut free = FreePages::default();
        free.add(5, 70_000);
        free.free(2, 100_000, 1);
        let pages = free.stored_len(0).div_ceil(4096) as u64;
        let bytes = free.encode(9, pages, 4096);
        let page = crate::page::Page::try_at(&[vec![0; 9 * 4096], bytes].concat(), 4096, 9)
            .map(|page| (page.id(), page.flags(), decode(page).map(|ids| ids.len())));
        assert_eq!(page, Some((9, FREELIST, Some(70_001))));
    }
}
