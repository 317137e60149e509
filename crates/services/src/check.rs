//! The shape of requests, checked before anything is proposed
//! (reference: `server/etcdserver/api/v3rpc/key.go`).

use crate::Error;
use bytes::Bytes;
use proto::etcdserverpb as pb;
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use proto::etcdserverpb::request_op::Request as Op;
use std::collections::{BTreeMap, HashSet};

/// A range needs a key and known sort options.
pub(crate) fn range(request: &pb::RangeRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    let known = SortOrder::try_from(request.sort_order).is_ok()
        && SortTarget::try_from(request.sort_target).is_ok();
    if known { Ok(()) } else { Err(Error::InvalidSortOption) }
}

/// A streamed range is in key order and unfiltered.
pub(crate) fn range_stream(request: &pb::RangeRequest) -> Result<(), Error> {
    range(request)?;
    let ordered_by_key = request.sort_order == SortOrder::None as i32
        || (request.sort_target == SortTarget::Key as i32
            && request.sort_order == SortOrder::Ascend as i32);
    if !ordered_by_key {
        return Err(Error::StreamSorted);
    }
    if has_filters(request) { Err(Error::StreamFiltered) } else { Ok(()) }
}

/// Whether a range asks for some of its keys only, by their revisions.
pub(crate) fn has_filters(request: &pb::RangeRequest) -> bool {
    request.min_mod_revision != 0
        || request.max_mod_revision != 0
        || request.min_create_revision != 0
        || request.max_create_revision != 0
}

/// A put needs a key, and must not give what it asks to be kept.
pub(crate) fn put(request: &pb::PutRequest) -> Result<(), Error> {
    if request.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

/// A delete needs a key.
pub(crate) fn delete(request: &pb::DeleteRangeRequest) -> Result<(), Error> {
    if request.key.is_empty() { Err(Error::EmptyKey) } else { Ok(()) }
}

/// A transaction: its size, each operation's shape, and that no branch writes a key twice.
pub(crate) fn txn(request: &pb::TxnRequest, ops_max: usize) -> Result<(), Error> {
    txn_shape(request, ops_max)?;
    Writes::of(&request.success)?;
    Writes::of(&request.failure)?;
    Ok(())
}

fn txn_shape(request: &pb::TxnRequest, ops_max: usize) -> Result<(), Error> {
    let ops = request.compare.len().max(request.success.len()).max(request.failure.len());
    if ops > ops_max {
        return Err(Error::TooManyOps);
    }
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Error::EmptyKey);
    }
    let mut both = request.success.iter().chain(&request.failure);
    both.try_for_each(|op| op_shape(op, ops_max - ops))
}

fn op_shape(op: &pb::RequestOp, ops_max: usize) -> Result<(), Error> {
    match &op.request {
        Some(Op::RequestRange(request)) => range(request),
        Some(Op::RequestPut(request)) => put(request),
        Some(Op::RequestDeleteRange(request)) => delete(request),
        Some(Op::RequestTxn(request)) => txn_shape(request, ops_max),
        None => Err(Error::KeyNotFound),
    }
}

/// What one branch writes: the keys it puts and the ranges it deletes, nested branches included.
///
/// A range's end is taken literally, as etcd does: `\0` is a key here, not "no end", so an open
/// delete never collides with a put. What such a pair means is settled when it is applied.
#[derive(Default)]
struct Writes {
    puts: HashSet<Bytes>,
    deletes: Intervals,
}

impl Writes {
    fn of(ops: &[pb::RequestOp]) -> Result<Writes, Error> {
        let mut writes = Writes::default();
        for op in ops {
            if let Some(Op::RequestDeleteRange(delete)) = &op.request {
                writes.deletes.insert_range(&delete.key, &delete.range_end);
            }
        }
        for op in ops {
            if let Some(Op::RequestTxn(inner)) = &op.request {
                writes.add_nested(inner)?;
            }
        }
        for op in ops {
            if let Some(Op::RequestPut(put)) = &op.request {
                writes.add_put(&put.key)?;
            }
        }
        Ok(writes)
    }

    /// Either branch of a nested transaction may put the same key: only one of them runs.
    fn add_nested(&mut self, inner: &pb::TxnRequest) -> Result<(), Error> {
        let (then, otherwise) = (Writes::of(&inner.success)?, Writes::of(&inner.failure)?);
        for key in &then.puts {
            self.add_put(key)?;
        }
        for key in &otherwise.puts {
            if !then.puts.contains(key) {
                self.add_put(key)?;
            } else if self.deletes.contains(key) {
                return Err(Error::DuplicateKey);
            }
        }
        self.deletes.merge(then.deletes);
        self.deletes.merge(otherwise.deletes);
        Ok(())
    }

    fn add_put(&mut self, key: &Bytes) -> Result<(), Error> {
        if self.deletes.contains(key) || !self.puts.insert(key.clone()) {
            return Err(Error::DuplicateKey);
        }
        Ok(())
    }
}

/// Disjoint half-open key ranges, so that a look-up costs a logarithm however many there are.
#[derive(Default)]
struct Intervals {
    by_start: BTreeMap<Bytes, Bytes>,
}

impl Intervals {
    fn insert_range(&mut self, key: &Bytes, range_end: &Bytes) {
        if range_end.is_empty() {
            let end = [key.as_ref(), &[0]].concat();
            self.insert(key.clone(), end.into());
        } else if key < range_end {
            self.insert(key.clone(), range_end.clone());
        }
    }

    fn insert(&mut self, mut start: Bytes, mut end: Bytes) {
        while let Some((from, to)) = self.touching(&start, &end) {
            self.by_start.remove(&from);
            start = start.min(from);
            end = end.max(to);
        }
        self.by_start.insert(start, end);
    }

    fn touching(&self, start: &Bytes, end: &Bytes) -> Option<(Bytes, Bytes)> {
        let (from, to) = self.by_start.range(..=end.clone()).next_back()?;
        (to >= start).then(|| (from.clone(), to.clone()))
    }

    fn contains(&self, key: &Bytes) -> bool {
        self.by_start.range(..=key.clone()).next_back().is_some_and(|(_, end)| key < end)
    }

    fn merge(&mut self, other: Intervals) {
        for (start, end) in other.by_start {
            self.insert(start, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put_op(key: &'static str) -> pb::RequestOp {
        op(Op::RequestPut(pb::PutRequest { key: key.into(), ..Default::default() }))
    }

    fn delete_op(key: &'static str, end: &'static str) -> pb::RequestOp {
        op(Op::RequestDeleteRange(pb::DeleteRangeRequest {
            key: key.into(),
            range_end: end.into(),
            prev_kv: false,
        }))
    }

    fn nested(success: Vec<pb::RequestOp>, failure: Vec<pb::RequestOp>) -> pb::RequestOp {
        op(Op::RequestTxn(pb::TxnRequest { compare: vec![], success, failure }))
    }

    fn op(request: Op) -> pb::RequestOp {
        pb::RequestOp { request: Some(request) }
    }

    fn check(success: Vec<pb::RequestOp>) -> Result<(), Error> {
        txn(&pb::TxnRequest { compare: vec![], success, failure: vec![] }, 128)
    }

    #[test]
    fn a_key_is_written_once_in_a_branch() {
        assert_eq!(check(vec![put_op("a"), put_op("b")]), Ok(()));
        assert_eq!(check(vec![put_op("a"), put_op("a")]), Err(Error::DuplicateKey));
        assert_eq!(check(vec![put_op("a"), delete_op("a", "")]), Err(Error::DuplicateKey));
        assert_eq!(check(vec![put_op("b"), delete_op("a", "c")]), Err(Error::DuplicateKey));
        assert_eq!(check(vec![put_op("c"), delete_op("a", "c")]), Ok(()));
        assert_eq!(check(vec![delete_op("a", ""), delete_op("a", "c")]), Ok(()));
    }

    #[test]
    fn an_open_delete_collides_with_nothing() {
        assert_eq!(check(vec![put_op("x5"), delete_op("x4", "\0")]), Ok(()));
    }

    #[test]
    fn branches_of_one_nested_transaction_exclude_each_other() {
        assert_eq!(check(vec![nested(vec![put_op("a")], vec![put_op("a")])]), Ok(()));
        let siblings = vec![nested(vec![put_op("a")], vec![]), nested(vec![put_op("a")], vec![])];
        assert_eq!(check(siblings), Err(Error::DuplicateKey));
        let with_parent = vec![put_op("a"), nested(vec![], vec![put_op("a")])];
        assert_eq!(check(with_parent), Err(Error::DuplicateKey));
        let deleted_above = vec![delete_op("a", ""), nested(vec![put_op("a")], vec![])];
        assert_eq!(check(deleted_above), Err(Error::DuplicateKey));
    }

    #[test]
    fn nested_transactions_share_the_budget() {
        let inner = |n| nested((0..n).map(|_| delete_op("k", "")).collect(), vec![]);
        assert_eq!(check(vec![inner(127)]), Ok(()));
        assert_eq!(check(vec![inner(128)]), Err(Error::TooManyOps));
    }

    #[test]
    fn an_empty_operation_has_no_key() {
        assert_eq!(check(vec![pb::RequestOp { request: None }]), Err(Error::KeyNotFound));
    }
}
