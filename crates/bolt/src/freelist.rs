//! Which pages are free, and which will be when old readers have gone.
//!
//! ```text
//! stored freelist, after the page header:
//! count < 0xffff:   | page id u64 | page id u64 | ...
//! count = 0xffff:   | count u64 | page id u64 | ...
//! ```
//! A page that transaction `a` took and transaction `f` gave up is seen by the readers of the
//! states `a..f`. It can be used again as soon as none of those is open, whether or not readers
//! of older states are.
//!
//! Reference: `internal/freelist/shared.go`.

use crate::page::{FREELIST, HEADER_LEN, Page, PageId, Run, u64_at};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Free pages, and pages that wait for readers.
///
/// Always true:
/// 1. Free runs neither overlap nor touch; both indexes hold the same ones.
/// 2. The pages are counted, free and waiting.
/// 3. No page is free or waiting twice, a meta page, or one that was never used.
#[derive(Clone, Debug, Default)]
pub(crate) struct FreePages {
    /// First page -> number of pages.
    by_start: BTreeMap<PageId, u64>,
    by_len: BTreeSet<(u64, PageId)>,
    count: u64,
    /// Transaction -> what it gave up.
    pending: BTreeMap<u64, Pending>,
    pending_count: u64,
    /// First page of a run -> the transaction that took it. A run that is not here was taken
    /// before any reader that is open now began.
    taken: HashMap<PageId, u64>,
}

/// What one transaction gave up.
#[derive(Clone, Debug, Default)]
struct Pending {
    /// Each run with the transaction that took it; 0 where that is long ago.
    runs: Vec<(Run, u64)>,
    /// The newest reader that could see any of them, when that was last looked at.
    newest_reader: Option<u64>,
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

    /// Asserts what is always true of a file with this first unused page.
    pub(crate) fn check(&self, high_water: PageId) {
        let (runs, by_len) = (self.by_start.len(), self.by_len.len());
        assert_eq!(runs, by_len, "both indexes hold the same runs");
        let mut end_before = 0;
        for (&start, &len) in &self.by_start {
            assert!(self.by_len.contains(&(len, start)), "the run at {start} is in both indexes");
            assert!(start > end_before, "free runs touch at page {start}");
            end_before = start + len;
        }
        let free: u64 = self.by_start.values().sum();
        assert_eq!(free, self.count, "free pages are counted");
        let waiting = self.pending.values().flat_map(|pending| &pending.runs);
        let waiting: u64 = waiting.map(|((_, len), _)| len).sum();
        assert_eq!(waiting, self.pending_count, "waiting pages are counted");
        let mut all: Vec<Run> = self.runs().collect();
        all.sort_unstable();
        let mut end = 2;
        for (start, len) in all {
            assert!(start >= end, "page {start} is free or waiting twice, or a meta page");
            end = start + len;
        }
        assert!(end <= high_water.max(2), "page {end} was never used, {high_water} is the first");
    }

    /// Adds a run that nobody uses.
    pub(crate) fn add(&mut self, mut start: PageId, mut len: u64) {
        assert!(start >= 2 && len > 0, "{len} pages from {start} cannot be free");
        let before = self.by_start.range(..=start).next_back().map_or(0, |(s, len)| s + len);
        assert!(before <= start, "page {start} is free already");
        let after = self.by_start.range(start..).next().map_or(u64::MAX, |(s, _)| *s);
        assert!(start + len <= after, "page {after} is free already");
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
        self.insert(start, len);
    }

    fn insert(&mut self, start: PageId, len: u64) {
        let before = self.by_start.insert(start, len);
        let is_new = self.by_len.insert((len, start));
        assert!(before.is_none() && is_new, "no free run begins at {start} yet");
    }

    fn remove(&mut self, start: PageId, len: u64) {
        let found = self.by_start.remove(&start);
        let is_found = self.by_len.remove(&(len, start));
        assert!(found == Some(len) && is_found, "{len} free pages begin at {start}");
    }

    /// Takes `len` pages in a row for a transaction: from the shortest run that holds them, so
    /// that the pages of one commit mostly lie side by side.
    pub(crate) fn allocate(&mut self, txid: u64, len: u64) -> Option<PageId> {
        assert!(len > 0, "no pages are nothing to be taken");
        let &(run, start) = self.by_len.range((len, 0)..).next()?;
        assert!(run >= len && self.count >= run, "{run} pages hold {len}, of {} free", self.count);
        self.remove(start, run);
        if run > len {
            self.insert(start + len, run - len);
        }
        self.count -= len;
        self.note_taken(txid, start);
        Some(start)
    }

    /// Notes that a transaction took a run, free before or never used.
    pub(crate) fn note_taken(&mut self, txid: u64, start: PageId) {
        self.taken.insert(start, txid);
    }

    /// Notes that a transaction no longer uses these pages.
    pub(crate) fn free(&mut self, txid: u64, run: Run) {
        assert!(run.0 >= 2 && run.1 > 0, "{run:?} is no run that can be given up");
        let taken_by = self.taken.remove(&run.0).unwrap_or(0);
        assert!(taken_by < txid, "{txid} gives up {run:?}, which {taken_by} took");
        self.pending.entry(txid).or_default().runs.push((run, taken_by));
        self.pending_count += run.1;
    }

    /// Frees what none of the open readers can see. `readers` are the transactions they read, in
    /// ascending order; `last` is the last one committed.
    pub(crate) fn release(&mut self, readers: &[u64], last: u64) {
        let newest = readers.last().copied().unwrap_or(0);
        assert!(newest <= last, "somebody reads state {newest}, and {last} is the last");
        debug_assert!(readers.is_sorted(), "readers come in order: {readers:?}");
        let freed_last = self.pending.last_key_value().map_or(0, |(txid, _)| *txid);
        assert!(freed_last <= last, "{freed_last} gave pages up and is not committed after {last}");
        let oldest = readers.first().copied().unwrap_or(u64::MAX);
        let later = self.pending.split_off(&oldest.saturating_add(1));
        let seen_by_nobody = std::mem::replace(&mut self.pending, later);
        let mut freed: Vec<Run> =
            seen_by_nobody.into_values().flat_map(|p| p.runs).map(|(run, _)| run).collect();
        self.pending.retain(|&freed_by, pending| {
            let older = readers.partition_point(|&reader| reader < freed_by);
            let newest = older.checked_sub(1).map(|at| readers[at]);
            if newest != pending.newest_reader {
                pending.newest_reader = newest;
                let unseen = |(_, taken_by): &mut (Run, u64)| newest < Some(*taken_by);
                freed.extend(pending.runs.extract_if(.., unseen).map(|(run, _)| run));
            }
            !pending.runs.is_empty()
        });
        for (start, len) in freed {
            assert!(self.pending_count >= len, "{len} of {} waiting pages", self.pending_count);
            self.pending_count -= len;
            self.add(start, len);
        }
        if oldest >= last {
            // Nobody reads, or ever will, a state older than all these.
            self.taken.clear();
        }
    }

    /// Free runs in order, then waiting ones in no order.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        let free = self.by_start.iter().map(|(&start, &len)| (start, len));
        let pending = self.pending.values().flat_map(|pending| &pending.runs);
        free.chain(pending.map(|&(run, _)| run))
    }

    /// How many bytes the stored list takes with its header.
    pub(crate) fn stored_len(&self) -> usize {
        let count = (self.count + self.pending_count) as usize;
        HEADER_LEN + 8 * (count + usize::from(count >= 0xffff))
    }

    /// The stored list: `pages` pages from `id` on. Waiting pages are in it too, for no reader
    /// outlives the process.
    pub(crate) fn encode(&self, id: PageId, pages: u64, page_size: usize) -> Vec<u8> {
        let mut all: Vec<PageId> =
            self.runs().flat_map(|(start, len)| start..start + len).collect();
        all.sort_unstable();
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
pub(crate) fn decode(page: Page<'_>) -> Option<Vec<PageId>> {
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
        assert_eq!(free.allocate(1, 5), Some(10));
        assert_eq!(free.allocate(1, 1), None);
        free.add(20, 1);
        free.add(30, 8);
        assert_eq!(free.allocate(1, 1), Some(20), "the shortest run that fits");
        assert_eq!(free.allocate(1, 3), Some(30));
        assert_eq!(free.count(), 5);
    }

    #[test]
    fn freed_pages_wait_for_older_readers() {
        let mut free = FreePages::default();
        free.free(7, (3, 1));
        free.free(9, (4, 2));
        free.release(&[6], 9);
        assert_eq!((free.count(), free.pending_count()), (0, 3));
        free.release(&[7], 9);
        assert_eq!((free.count(), free.pending_count()), (1, 2));
        free.release(&[], 9);
        assert_eq!((free.count(), free.pending_count()), (3, 0));
    }

    #[test]
    fn pages_that_came_and_went_after_a_reader_do_not_wait_for_it() {
        let mut free = FreePages::default();
        free.add(10, 10);
        let readers = [5];
        let old = (2, 1);
        let taken = (free.allocate(6, 2).unwrap(), 2);
        free.free(7, old);
        free.free(7, taken);
        free.release(&readers, 7);
        assert_eq!((free.count(), free.pending_count()), (10, 1));
        // A reader between the two does see it.
        let taken = (free.allocate(8, 2).unwrap(), 2);
        free.free(10, taken);
        free.release(&[5, 9], 10);
        assert_eq!((free.count(), free.pending_count()), (8, 3));
        // When it goes, only what the oldest reader sees stays.
        free.release(&readers, 10);
        assert_eq!((free.count(), free.pending_count()), (10, 1));
        // A reader of the very state that freed the run does not see it.
        let taken = (free.allocate(11, 2).unwrap(), 2);
        free.free(12, taken);
        free.release(&[5, 12], 12);
        assert_eq!((free.count(), free.pending_count()), (10, 1));
        free.release(&[], 12);
        assert_eq!((free.count(), free.pending_count()), (11, 0));
    }

    #[test]
    fn a_stored_list_reads_back() {
        for (count, pages) in [(0, 1), (3, 1), (0xfffd, 128), (0xfffe, 129), (70_000, 137)] {
            let mut free = FreePages::default();
            if count > 0 {
                free.add(5, count);
            }
            free.free(2, (100_000, 1));
            assert_eq!(free.stored_len().div_ceil(4096) as u64, pages);
            let bytes = [vec![0; 9 * 4096], free.encode(9, pages, 4096)].concat();
            let page = Page::try_at(&bytes, 4096, 9).unwrap();
            assert_eq!((page.run(), page.flags()), ((9, pages), FREELIST));
            let expected: Vec<PageId> = (5..5 + count).chain([100_000]).collect();
            assert_eq!(decode(page), Some(expected));
        }
    }

    #[test]
    fn a_list_longer_than_its_page_is_refused() {
        let mut bytes = FreePages::default().encode(0, 1, 4096);
        bytes[10..12].copy_from_slice(&600_u16.to_le_bytes());
        assert_eq!(decode(Page::inline(&bytes)), None);
        bytes[10..12].copy_from_slice(&0xffff_u16.to_le_bytes());
        bytes[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(decode(Page::inline(&bytes)), None);
    }

    #[test]
    #[should_panic(expected = "page 14 is free already")]
    fn no_page_is_freed_twice() {
        let mut free = FreePages::default();
        free.add(14, 2);
        free.add(12, 3);
    }

    #[test]
    #[should_panic(expected = "page 15 is free or waiting twice")]
    fn a_page_that_is_free_and_waits_is_found() {
        let mut free = FreePages::default();
        free.add(14, 2);
        free.check(20);
        free.free(7, (15, 1));
        free.check(20);
    }

    #[test]
    #[should_panic(expected = "which 7 took")]
    fn no_transaction_gives_up_what_it_took() {
        let mut free = FreePages::default();
        free.add(14, 2);
        let start = free.allocate(7, 2).unwrap();
        free.free(7, (start, 2));
    }
}
