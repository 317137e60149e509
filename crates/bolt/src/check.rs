//! Walking every reachable page, trusting none.

use crate::db::UsedPages;
use crate::meta::Meta;
use crate::page::{BUCKET_FLAG, LEAF, Page, PageId, u64_at};
use std::fmt;

/// Buckets may nest this deep; a deeper file is taken for a damaged one.
const BUCKET_DEPTH_MAX: usize = 64;
/// A tree may be this high; with two children a branch that is more than any file can hold.
const TREE_DEPTH_MAX: usize = 64;

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

struct Walk<'d> {
    data: &'d [u8],
    page_size: usize,
    high_water: PageId,
    used: UsedPages,
}

/// The pages in use, the two meta pages included, or the first defect.
pub(crate) fn reachable(data: &[u8], meta: &Meta) -> Result<UsedPages, CheckError> {
    let used = UsedPages::new(meta.high_water);
    let page_size = meta.page_size as usize;
    let mut walk = Walk { data, page_size, high_water: meta.high_water, used };
    walk.used.mark(0, 2);
    walk.tree(meta.root, None, None, 0, 0)?;
    Ok(walk.used)
}

impl Walk<'_> {
    /// Checks a page and all below it; its keys must lie in `[low, high)`.
    fn tree(
        &mut self,
        id: PageId,
        low: Option<&[u8]>,
        high: Option<&[u8]>,
        depth: usize,
        bucket_depth: usize,
    ) -> Result<(), CheckError> {
        let bad = |what: String| Err(CheckError { page: id, what });
        if depth > TREE_DEPTH_MAX {
            return bad("the tree is too deep".into());
        }
        let page = match Page::try_at(self.data, self.page_size, id) {
            Some(page) if id >= 2 && id + page.overflow() < self.high_water => page,
            _ => {
                return bad(format!("it lies beyond the {} pages in use", self.high_water));
            }
        };
        if page.id() != id {
            return bad(format!("it says that it is page {}", page.id()));
        }
        if (id..=id + page.overflow()).any(|id| self.used.is_used(id)) {
            return bad("it is referred to twice".into());
        }
        self.used.mark(id, page.overflow() + 1);
        if let Some(what) = page.defect() {
            return bad(what);
        }
        let count = page.count();
        if count > 0 && low.is_some_and(|low| page.key(0) < low) {
            return bad("its first key is below the one its parent gives".into());
        }
        if count > 0 && high.is_some_and(|high| page.key(count - 1) >= high) {
            return bad("its last key is not below the next of its parent".into());
        }
        if page.flags() == LEAF {
            return self.leaf(page, id, bucket_depth);
        }
        for index in 0..count {
            let next = if index + 1 < count { Some(page.key(index + 1)) } else { high };
            self.tree(page.child(index), Some(page.key(index)), next, depth + 1, bucket_depth)?;
        }
        Ok(())
    }

    fn leaf(&mut self, page: Page<'_>, id: PageId, bucket_depth: usize) -> Result<(), CheckError> {
        let bad = |what: String| Err(CheckError { page: id, what });
        for index in 0..page.count() {
            let (_, value) = page.leaf(index);
            if page.leaf_flags(index) & BUCKET_FLAG == 0 {
                continue;
            }
            if value.len() < 16 || bucket_depth >= BUCKET_DEPTH_MAX {
                return bad(format!("element {index} is not a sound bucket"));
            }
            match u64_at(value, 0) {
                0 => {
                    let inline = value.len() >= 32;
                    let page = Page::inline(&value[16..]);
                    if !inline || page.flags() != LEAF || page.defect().is_some() {
                        return bad(format!("element {index} is not a sound inline bucket"));
                    }
                    self.leaf(page, id, bucket_depth + 1)?;
                }
                root => self.tree(root, None, None, 0, bucket_depth + 1)?,
            }
        }
        Ok(())
    }
}
