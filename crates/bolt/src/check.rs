//! Walking every reachable page, trusting none.
//!
//! What a walk finds sound is safe to read afterwards: every page lies in the file, is referred to
//! once (so no way leads in a circle), holds what it says, and its keys ascend and lie between
//! those of its parent.

use crate::bucket::BUCKET_HEADER_LEN;
use crate::freelist;
use crate::meta::{Meta, NO_FREELIST};
use crate::page::{BUCKET_FLAG, FREELIST, LEAF, Page, PageId, Run, u64_at};
use std::fmt;

/// Buckets may nest this deep; a deeper file is taken for a damaged one.
const BUCKET_DEPTH_MAX: usize = 64;
/// A tree may be this high; with two children a branch that is more than any file can hold.
const TREE_DEPTH_MAX: usize = 64;
/// A check stops after so many findings.
const FINDINGS_MAX: usize = 100;

/// Something wrong with a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckError {
    /// The page's number.
    pub page: u64,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page {}: {}", self.page, self.what)
    }
}

/// The pages in use, the two meta pages included but not the freelist; or the first defect.
pub(crate) fn reachable(data: &[u8], meta: &Meta) -> Result<UsedPages, CheckError> {
    let walk = Walk::run(data, meta, 1);
    walk.findings.into_iter().next().map_or(Ok(walk.used), Err)
}

/// The pages that a stored freelist takes and those it names, or why it is none.
pub(crate) fn stored_freelist(data: &[u8], meta: &Meta) -> Result<(Run, Vec<PageId>), CheckError> {
    let bad = |what: &str| CheckError { page: meta.freelist, what: what.to_owned() };
    let page = Page::try_at(data, meta.page_size as usize, meta.freelist)
        .ok_or_else(|| bad("the freelist lies beyond the pages in use"))?;
    if page.id() != meta.freelist || page.flags() != FREELIST || meta.freelist < 2 {
        return Err(bad("it is no freelist"));
    }
    let ids = freelist::decode(page).ok_or_else(|| bad("the freelist does not fit its pages"))?;
    Ok((page.run(), ids))
}

/// Everything wrong with a state, up to a hundred findings.
pub(crate) fn check(data: &[u8], meta: &Meta) -> Vec<CheckError> {
    let mut walk = Walk::run(data, meta, FINDINGS_MAX);
    // What lies below a damaged page is unknown, so nothing can be said about the other pages.
    if walk.findings.is_empty() && meta.freelist != NO_FREELIST {
        match stored_freelist(data, meta) {
            Ok((run, ids)) => {
                walk.take(run);
                walk.account(ids.into_iter().map(|id| (id, 1)));
            }
            Err(finding) => walk.findings.push(finding),
        }
    }
    walk.findings
}

/// As [`check`], with the free pages as the writer knows them.
pub(crate) fn check_with(
    data: &[u8],
    meta: &Meta,
    free: impl Iterator<Item = Run>,
) -> Vec<CheckError> {
    let mut findings = check(data, meta);
    if findings.is_empty() {
        let mut walk = Walk::run(data, meta, FINDINGS_MAX);
        if meta.freelist != NO_FREELIST {
            let (run, _) = stored_freelist(data, meta).expect("it was just found sound");
            walk.take(run);
        }
        walk.account(free);
        findings = walk.findings;
    }
    findings
}

struct Walk<'d> {
    data: &'d [u8],
    page_size: usize,
    high_water: PageId,
    used: UsedPages,
    /// Pages on the way from the root to where the walk is.
    stack: Vec<Frame<'d>>,
    findings: Vec<CheckError>,
    findings_max: usize,
}

/// A page whose children, or buckets, are being walked.
#[derive(Clone, Copy)]
struct Frame<'d> {
    page: Page<'d>,
    next: usize,
    tree_depth: usize,
    bucket_depth: usize,
    /// The page's keys are below this.
    high: Option<&'d [u8]>,
}

/// A page number found in another page.
struct Link<'d> {
    id: PageId,
    /// Where it was found.
    parent: PageId,
    /// The page's keys are not below this, and below the other.
    low: Option<&'d [u8]>,
    high: Option<&'d [u8]>,
    tree_depth: usize,
    bucket_depth: usize,
}

impl Link<'_> {
    fn root(id: PageId, parent: PageId, bucket_depth: usize) -> Self {
        Link { id, parent, low: None, high: None, tree_depth: 0, bucket_depth }
    }
}

impl<'d> Walk<'d> {
    fn run(data: &'d [u8], meta: &Meta, findings_max: usize) -> Walk<'d> {
        let mut walk = Walk {
            data,
            page_size: meta.page_size as usize,
            high_water: meta.high_water,
            used: UsedPages::new(meta.high_water),
            stack: Vec::new(),
            findings: Vec::new(),
            findings_max,
        };
        walk.used.mark((0, 2));
        walk.enter(Link::root(meta.root, meta.slot(), 0));
        while walk.findings.len() < findings_max
            && let Some(frame) = walk.stack.last_mut()
        {
            let index = frame.next;
            frame.next += 1;
            let frame = *frame;
            if index == frame.page.count() {
                walk.stack.pop();
            } else if frame.page.is_leaf() {
                walk.element(&frame, index);
            } else {
                walk.child(&frame, index);
            }
        }
        walk
    }

    fn find(&mut self, page: PageId, what: impl Into<String>) {
        if self.findings.len() < self.findings_max {
            self.findings.push(CheckError { page, what: what.into() });
        }
    }

    fn child(&mut self, frame: &Frame<'d>, index: usize) {
        let is_last = index + 1 == frame.page.count();
        self.enter(Link {
            id: frame.page.child(index),
            parent: frame.page.id(),
            low: Some(frame.page.key(index)),
            high: if is_last { frame.high } else { Some(frame.page.key(index + 1)) },
            tree_depth: frame.tree_depth + 1,
            bucket_depth: frame.bucket_depth,
        });
    }

    /// A leaf's element: goes into it where it is a bucket.
    fn element(&mut self, frame: &Frame<'d>, index: usize) {
        let (flags, _, value) = frame.page.leaf(index);
        let id = frame.page.id();
        if flags & BUCKET_FLAG == 0 {
            if frame.bucket_depth == 0 {
                self.find(id, format!("element {index} lies outside of all buckets"));
            }
            return;
        }
        if value.len() < BUCKET_HEADER_LEN {
            return self.find(id, format!("element {index} is too short for a bucket"));
        }
        match u64_at(value, 0) {
            0 => {
                if let Some(what) = inline_defect(&value[BUCKET_HEADER_LEN..]) {
                    self.find(id, format!("element {index} is an inline bucket: {what}"));
                }
            }
            root => self.enter(Link::root(root, id, frame.bucket_depth + 1)),
        }
    }

    /// Checks a page, and goes into it where there is more to be seen.
    fn enter(&mut self, link: Link<'d>) {
        let Link { id, parent, low, high, tree_depth, bucket_depth } = link;
        let page = match Page::try_at(self.data, self.page_size, id) {
            Some(page) if id >= 2 => page,
            _ => {
                let pages = self.high_water;
                return self.find(parent, format!("it refers to page {id} of {pages} in use"));
            }
        };
        if page.id() != id {
            return self.find(id, format!("it says that it is page {}", page.id()));
        }
        if let Some(what) = page.defect() {
            return self.find(id, what);
        }
        if !self.take(page.run()) {
            return;
        }
        let count = page.count();
        if count > 0 && low.is_some_and(|low| page.key(0) < low) {
            self.find(id, "its first key is below the one its parent gives");
        }
        if count > 0 && high.is_some_and(|high| page.key(count - 1) >= high) {
            self.find(id, "its last key is not below the next of its parent");
        }
        if tree_depth >= TREE_DEPTH_MAX || bucket_depth >= BUCKET_DEPTH_MAX {
            return self.find(id, "it lies too deep");
        }
        if page.flags() != LEAF || bucket_depth == 0 || holds_buckets(page) {
            self.stack.push(Frame { page, next: 0, tree_depth, bucket_depth, high });
        }
    }

    /// Marks pages as used; finds those that are already.
    fn take(&mut self, run: Run) -> bool {
        let is_free = (run.0..run.0 + run.1).all(|id| !self.used.is_used(id));
        if is_free {
            self.used.mark(run);
        } else {
            self.find(run.0, "it is referred to twice");
        }
        is_free
    }

    /// Looks whether exactly the pages that are not used are free.
    fn account(&mut self, free: impl Iterator<Item = Run>) {
        for (start, len) in free {
            if start < 2 || start > self.high_water.saturating_sub(len) {
                self.find(start, "it is free but no page that could be in use");
                continue;
            }
            for id in start..start + len {
                if self.used.is_used(id) {
                    self.find(id, "it is free but in use, or free twice");
                } else {
                    self.used.mark((id, 1));
                }
            }
        }
        for (start, _) in self.used.gaps(self.high_water) {
            self.find(start, "it is neither in use nor free");
        }
    }
}

fn holds_buckets(leaf: Page<'_>) -> bool {
    (0..leaf.count()).any(|index| leaf.leaf_flags(index) & BUCKET_FLAG != 0)
}

fn inline_defect(bytes: &[u8]) -> Option<String> {
    let page = Page::inline(bytes);
    if let Some(what) = page.defect() {
        Some(what)
    } else if page.flags() != LEAF {
        Some("its page is no leaf".into())
    } else {
        holds_buckets(page).then(|| "it holds another bucket".into())
    }
}

/// Which pages are in use, one bit each.
pub(crate) struct UsedPages {
    bits: Vec<u64>,
}

impl UsedPages {
    fn new(pages: u64) -> UsedPages {
        UsedPages { bits: vec![0; pages.div_ceil(64) as usize] }
    }

    pub(crate) fn is_used(&self, id: PageId) -> bool {
        self.bits.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    pub(crate) fn mark(&mut self, run: Run) {
        for id in run.0..run.0 + run.1 {
            if let Some(word) = self.bits.get_mut(id as usize / 64) {
                *word |= 1 << (id % 64);
            }
        }
    }

    /// Runs of unused pages below `end`.
    pub(crate) fn gaps(&self, end: PageId) -> Vec<Run> {
        let mut gaps: Vec<Run> = Vec::new();
        for id in (0..end).filter(|&id| !self.is_used(id)) {
            match gaps.last_mut() {
                Some((start, len)) if *start + *len == id => *len += 1,
                _ => gaps.push((id, 1)),
            }
        }
        gaps
    }
}
