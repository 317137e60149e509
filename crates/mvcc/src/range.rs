//! Reading keys: etcd's rules for limits, counts, filters and sorting.

use crate::Kv;
use crate::history::Found;
use crate::index::{Index, KeyRange};
use crate::kv::{Fields, encode};
use bytes::Bytes;
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use std::cmp::Ordering;

/// Why a read is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The revision has been compacted.
    Compacted,
    /// The revision does not exist yet.
    FutureRevision,
    /// An unknown sort order or target.
    InvalidSort,
}

/// What to read. The numbers mean what they mean in a `RangeRequest`; 0 is off.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)] // named as in the request
pub struct RangeOptions {
    pub key: Bytes,
    pub range_end: Bytes,
    pub limit: i64,
    pub revision: i64,
    pub sort_order: i32,
    pub sort_target: i32,
    pub keys_only: bool,
    pub count_only: bool,
    pub min_mod_revision: i64,
    pub max_mod_revision: i64,
    pub min_create_revision: i64,
    pub max_create_revision: i64,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RangeResult {
    /// The store's revision when it was read.
    pub revision: i64,
    /// The keys, sorted, filtered and limited.
    pub kvs: Vec<Kv>,
    /// The limit left some out.
    pub more: bool,
    /// Keys in the range at the revision asked for; neither limit nor filters count.
    pub count: i64,
}

/// A key that matches, its value not loaded yet.
struct Hit {
    key: Bytes,
    found: Found,
    value: Option<Kv>,
}

impl RangeOptions {
    /// `NONE` with a target other than the key sorts ascending, but only what the limit let in.
    fn sorting(&self) -> Result<Option<(SortTarget, bool)>, Refusal> {
        let target = SortTarget::try_from(self.sort_target).map_err(|_| Refusal::InvalidSort)?;
        let order = SortOrder::try_from(self.sort_order).map_err(|_| Refusal::InvalidSort)?;
        Ok(match (target, order) {
            (SortTarget::Key, SortOrder::None | SortOrder::Ascend) => None,
            (target, order) => Some((target, order == SortOrder::Descend)),
        })
    }

    fn has_filters(&self) -> bool {
        self.min_mod_revision != 0
            || self.max_mod_revision != 0
            || self.min_create_revision != 0
            || self.max_create_revision != 0
    }

    /// How many keys, in key order, can take part in the result.
    fn candidates_max(&self) -> usize {
        let keeps_key_order = self.sort_order == SortOrder::None as i32
            || (self.sort_target == SortTarget::Key as i32
                && self.sort_order == SortOrder::Ascend as i32);
        if !keeps_key_order || self.has_filters() || self.limit <= 0 {
            return usize::MAX;
        }
        usize::try_from(self.limit).map_or(usize::MAX, |limit| limit.saturating_add(1))
    }

    fn admits(&self, found: &Found) -> bool {
        let (modified, created) = (found.modified.main, found.created);
        let above = |min: i64, n: i64| min == 0 || n >= min;
        let below = |max: i64, n: i64| max == 0 || n <= max;
        above(self.min_mod_revision, modified)
            && below(self.max_mod_revision, modified)
            && above(self.min_create_revision, created)
            && below(self.max_create_revision, created)
    }
}

/// Reads keys of the index at a revision. `load` gives the stored bytes of a revision, `None`
/// where a compaction has just removed them.
pub(crate) fn range(
    index: &Index,
    options: &RangeOptions,
    current: i64,
    compacted: i64,
    mut load: impl FnMut(crate::Revision) -> Option<Kv>,
) -> Result<RangeResult, Refusal> {
    let sorting = options.sorting()?;
    let at = revision_to_read(options.revision, current, compacted)?;
    let range = KeyRange { key: &options.key, end: &options.range_end };
    let candidates_max = if options.count_only { 0 } else { options.candidates_max() };
    let mut count = 0;
    let mut hits: Vec<Hit> = Vec::new();
    index.walk(range, at, |key, found| {
        if count < candidates_max as i64 || candidates_max == usize::MAX {
            let key = Bytes::copy_from_slice(key);
            hits.push(Hit { key, found, value: None });
        }
        count += 1;
        true
    });
    let mut result = RangeResult { revision: current, count, ..RangeResult::default() };
    if options.count_only {
        return Ok(result);
    }
    hits.retain(|hit| options.admits(&hit.found));
    if let Some((target, descending)) = sorting {
        if target == SortTarget::Value {
            for hit in &mut hits {
                hit.value = Some(load(hit.found.modified).ok_or(Refusal::Compacted)?);
            }
        }
        sort(&mut hits, target, descending);
    }
    if let Ok(limit) = usize::try_from(options.limit)
        && limit > 0
        && hits.len() > limit
    {
        hits.truncate(limit);
        result.more = true;
    }
    result.kvs.reserve(hits.len());
    for hit in hits {
        result.kvs.push(if options.keys_only {
            hit.without_value()
        } else {
            match hit.value {
                Some(value) => value,
                None => load(hit.found.modified).ok_or(Refusal::Compacted)?,
            }
        });
    }
    Ok(result)
}

/// The revision that a request means; the future is looked at before the past.
pub(crate) fn revision_to_read(asked: i64, current: i64, compacted: i64) -> Result<i64, Refusal> {
    let at = if asked <= 0 { current } else { asked };
    if at > current {
        Err(Refusal::FutureRevision)
    } else if at < compacted {
        Err(Refusal::Compacted)
    } else {
        Ok(at)
    }
}

impl Hit {
    /// From the index alone the lease is not known; sorted by value it is.
    fn without_value(self) -> Kv {
        let lease = self.value.map_or(0, |kv| kv.decode().lease);
        Kv::new(encode(&Fields {
            key: &self.key,
            create_revision: self.found.created,
            mod_revision: self.found.modified.main,
            version: self.found.version,
            value: &[],
            lease,
        }))
    }
}

fn sort(hits: &mut [Hit], target: SortTarget, descending: bool) {
    let value = |hit: &Hit| hit.value.as_ref().map(|kv| kv.decode().value);
    let order = |a: &Hit, b: &Hit| -> Ordering {
        match target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.found.version.cmp(&b.found.version),
            SortTarget::Create => a.found.created.cmp(&b.found.created),
            SortTarget::Mod => a.found.modified.main.cmp(&b.found.modified.main),
            SortTarget::Value => value(a).cmp(&value(b)),
        }
    };
    hits.sort_by(|a, b| if descending { order(b, a) } else { order(a, b) });
}
