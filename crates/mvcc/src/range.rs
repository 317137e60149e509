//! Reading keys: etcd's rules for limits, counts, filters and sorting.

use crate::Kv;
use crate::Revision;
use crate::history::Found;
use crate::index::{Index, KeyRange, Visitor};
use crate::kv::{Fields, Stored, encode};
use crate::names::Key;
use bytes::Bytes;
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use std::cmp::Ordering;
use std::collections::VecDeque;

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

/// What was read, the key-values having been handed on one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RangeSummary {
    /// As in [`RangeResult`].
    pub revision: i64,
    /// As in [`RangeResult`].
    pub more: bool,
    /// As in [`RangeResult`].
    pub count: i64,
}

/// Where stored bytes come from.
pub(crate) trait Source {
    /// Hands a revision's stored bytes to `see`; `false` where a compaction has just removed them.
    fn load(&self, revision: Revision, see: &mut dyn FnMut(&[u8])) -> bool;
}

/// The revisions that are there to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) current: i64,
    pub(crate) compacted: i64,
}

impl Window {
    /// The revision that a request means; the future is looked at before the past.
    pub(crate) fn revision(self, asked: i64) -> Result<i64, Refusal> {
        let at = if asked <= 0 { self.current } else { asked };
        if at > self.current {
            Err(Refusal::FutureRevision)
        } else if at < self.compacted {
            Err(Refusal::Compacted)
        } else {
            Ok(at)
        }
    }
}

/// Reads keys of the index, and hands every key-value's bytes to `see`. Where it fails, what has
/// been handed on means nothing.
pub(crate) fn range(
    index: &Index,
    options: &RangeOptions,
    window: Window,
    source: &dyn Source,
    see: &mut dyn FnMut(&[u8]),
) -> Result<RangeSummary, Refusal> {
    let sorting = options.sorting()?;
    let at = window.revision(options.revision)?;
    let range = KeyRange { key: &options.key, end: &options.range_end };
    let revision = window.current;
    if options.count_only {
        let count = index.count(range, at) as i64;
        return Ok(RangeSummary { revision, count, more: false });
    }
    let plan = Plan { options, source, limit: options.limit() };
    let (count, more) = match sorting {
        Sorting::KeyAscending => plan.in_key_order(index, range, at, see)?,
        Sorting::KeyDescending => plan.in_reverse_key_order(index, range, at, see)?,
        Sorting::By { field, descending } => {
            plan.by_field(index, range, at, (field, descending), see)?
        }
    };
    Ok(RangeSummary { revision, count, more })
}

/// In what order the result is.
#[derive(Clone, Copy)]
enum Sorting {
    KeyAscending,
    KeyDescending,
    By { field: Field, descending: bool },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Version,
    Create,
    Mod,
    Value,
}

impl RangeOptions {
    /// `NONE` with a target other than the key sorts ascending.
    fn sorting(&self) -> Result<Sorting, Refusal> {
        let target = SortTarget::try_from(self.sort_target).map_err(|_| Refusal::InvalidSort)?;
        let order = SortOrder::try_from(self.sort_order).map_err(|_| Refusal::InvalidSort)?;
        let descending = order == SortOrder::Descend;
        let field = match target {
            SortTarget::Key if descending => return Ok(Sorting::KeyDescending),
            SortTarget::Key => return Ok(Sorting::KeyAscending),
            SortTarget::Version => Field::Version,
            SortTarget::Create => Field::Create,
            SortTarget::Mod => Field::Mod,
            SortTarget::Value => Field::Value,
        };
        Ok(Sorting::By { field, descending })
    }

    fn has_filters(&self) -> bool {
        self.min_mod_revision != 0
            || self.max_mod_revision != 0
            || self.min_create_revision != 0
            || self.max_create_revision != 0
    }

    /// How many keys the result may have.
    fn limit(&self) -> usize {
        match usize::try_from(self.limit) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(limit) => limit,
        }
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

/// A key that belongs to the result, or may.
struct Hit {
    found: Found,
    /// Only where the answer is made of the index alone.
    key: Option<Box<[u8]>>,
    /// Only where the value decides the order.
    stored: Option<Bytes>,
}

struct Plan<'p> {
    options: &'p RangeOptions,
    source: &'p dyn Source,
    limit: usize,
}

impl Plan<'_> {
    /// The natural order: a page of keys at a time, and no further than the limit.
    fn in_key_order(
        &self,
        index: &Index,
        range: KeyRange<'_>,
        at: i64,
        see: &mut dyn FnMut(&[u8]),
    ) -> Result<(i64, bool), Refusal> {
        let is_limited = self.limit < usize::MAX;
        // A whole range is counted as it is read.
        let count = if is_limited { index.count(range, at) as i64 } else { 0 };
        let mut pages = Pages {
            plan: self,
            see,
            hits: Vec::new(),
            left: self.limit,
            seen: 0,
            more: false,
            refusal: None,
        };
        index.walk(range, at, &mut pages);
        match pages.refusal {
            Some(refusal) => Err(refusal),
            None if !pages.hits.is_empty() => unreachable!("what a page brought is handed on"),
            None => Ok((if is_limited { count } else { pages.seen }, pages.more)),
        }
    }

    /// The walk goes upwards, so only the last ones are kept.
    fn in_reverse_key_order(
        &self,
        index: &Index,
        range: KeyRange<'_>,
        at: i64,
        see: &mut dyn FnMut(&[u8]),
    ) -> Result<(i64, bool), Refusal> {
        let (mut count, mut more) = (0, false);
        let mut hits: VecDeque<Hit> = VecDeque::new();
        index.walk(range, at, &mut |key: Key<'_>, found: Found| {
            count += 1;
            if self.options.admits(&found) {
                if hits.len() == self.limit {
                    more = true;
                    hits.pop_front();
                }
                hits.push_back(self.hit(key, found));
            }
            true
        });
        debug_assert!(hits.len() <= self.limit, "{} keys are beyond the limit", hits.len());
        hits.iter().rev().try_for_each(|hit| self.emit(hit, see))?;
        Ok((count, more))
    }

    /// With order `NONE` and no filters only what the limit let in is sorted: etcd's way.
    fn by_field(
        &self,
        index: &Index,
        range: KeyRange<'_>,
        at: i64,
        (field, descending): (Field, bool),
        see: &mut dyn FnMut(&[u8]),
    ) -> Result<(i64, bool), Refusal> {
        let is_unordered = self.options.sort_order == SortOrder::None as i32;
        let takes_few = is_unordered && !self.options.has_filters();
        let candidates_max = if takes_few { self.limit.saturating_add(1) } else { usize::MAX };
        let mut count = 0;
        let mut hits: Vec<Hit> = Vec::new();
        index.walk(range, at, &mut |key: Key<'_>, found: Found| {
            count += 1;
            if hits.len() < candidates_max && self.options.admits(&found) {
                hits.push(self.hit(key, found));
            }
            true
        });
        if field == Field::Value {
            for hit in &mut hits {
                hit.stored = Some(self.load(hit.found.modified)?);
            }
        }
        sort(&mut hits, field, descending);
        let more = hits.len() > self.limit;
        hits.truncate(self.limit);
        debug_assert!(count >= hits.len() as i64, "of {count} keys {} were taken", hits.len());
        hits.iter().try_for_each(|hit| self.emit(hit, see))?;
        Ok((count, more))
    }

    /// keys_only is answered from the index, unless the values had to be read anyway.
    fn needs_key(&self) -> bool {
        self.options.keys_only && self.options.sort_target != SortTarget::Value as i32
    }

    fn hit(&self, key: Key<'_>, found: Found) -> Hit {
        let key = self.needs_key().then(|| key.to_vec().into());
        Hit { found, key, stored: None }
    }

    fn load(&self, revision: Revision) -> Result<Bytes, Refusal> {
        let mut stored = Bytes::new();
        let mut copy = |bytes: &[u8]| stored = Bytes::copy_from_slice(bytes);
        if self.source.load(revision, &mut copy) { Ok(stored) } else { Err(Refusal::Compacted) }
    }

    fn emit(&self, hit: &Hit, see: &mut dyn FnMut(&[u8])) -> Result<(), Refusal> {
        match (&hit.key, &hit.stored) {
            (Some(key), _) => see(&without_value(key, &hit.found, 0)),
            (None, Some(stored)) if self.options.keys_only => {
                let stored = Stored::read(stored).unwrap_or_default();
                see(&without_value(stored.key, &hit.found, stored.lease));
            }
            (None, Some(stored)) => see(stored),
            (None, None) => {
                if !self.source.load(hit.found.modified, see) {
                    return Err(Refusal::Compacted);
                }
            }
        }
        Ok(())
    }
}

/// A walk in key order that hands on what each page brought.
struct Pages<'p, 's> {
    plan: &'p Plan<'p>,
    see: &'s mut dyn FnMut(&[u8]),
    hits: Vec<Hit>,
    left: usize,
    seen: i64,
    more: bool,
    refusal: Option<Refusal>,
}

impl Visitor for Pages<'_, '_> {
    fn key(&mut self, key: Key<'_>, found: Found) -> bool {
        self.seen += 1;
        if !self.plan.options.admits(&found) {
            return true;
        }
        if self.left == 0 {
            self.more = true;
            return false;
        }
        self.left -= 1;
        self.hits.push(self.plan.hit(key, found));
        true
    }

    fn page_end(&mut self) -> bool {
        for hit in self.hits.drain(..) {
            if let Err(refusal) = self.plan.emit(&hit, self.see) {
                self.refusal = Some(refusal);
                return false;
            }
        }
        true
    }
}

/// From the index alone the lease is not known.
fn without_value(key: &[u8], found: &Found, lease: i64) -> Bytes {
    encode(&Fields {
        key,
        create_revision: found.created,
        mod_revision: found.modified.main,
        version: found.version,
        value: &[],
        lease,
    })
}

fn sort(hits: &mut [Hit], field: Field, descending: bool) {
    fn value(hit: &Hit) -> &[u8] {
        Stored::read(hit.stored.as_deref().unwrap_or_default()).unwrap_or_default().value
    }
    let order = |a: &Hit, b: &Hit| -> Ordering {
        match field {
            Field::Version => a.found.version.cmp(&b.found.version),
            Field::Create => a.found.created.cmp(&b.found.created),
            Field::Mod => a.found.modified.main.cmp(&b.found.modified.main),
            Field::Value => value(a).cmp(value(b)),
        }
    };
    hits.sort_by(|a, b| if descending { order(b, a) } else { order(a, b) });
}
