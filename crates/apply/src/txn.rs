//! A transaction: compare, check, execute.
//!
//! All compares, those of nested transactions too, see the state before the transaction. Then the
//! branches that will run are checked as a whole; only after that is anything written, so a
//! refused transaction has no effect and an accepted one cannot fail half-way
//! (reference: `server/etcdserver/txn/txn.go`).

use crate::kv;
use crate::{Refusal, Reply, TxnReply};
use lease::Lessor;
use mvcc::{RangeOptions, WriteTxn};
use proto::etcdserverpb as pb;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::etcdserverpb::request_op::Request as Op;
use proto::mvccpb::KeyValue;
use std::cmp::Ordering;

/// How deep transactions may nest; the operation budget keeps clients far below it.
const DEPTH_MAX: usize = 128;

/// What reads a transaction may do before it writes: the live transaction, or a snapshot.
pub(crate) trait ReadView {
    /// The current revision.
    fn revision(&self) -> i64;
    /// The lowest revision that may be read.
    fn compacted(&self) -> i64;
    /// Reads keys.
    fn range(&self, options: &RangeOptions) -> Result<mvcc::RangeResult, mvcc::Refusal>;
}

impl ReadView for WriteTxn<'_, '_> {
    fn revision(&self) -> i64 {
        WriteTxn::revision(self)
    }
    fn compacted(&self) -> i64 {
        WriteTxn::compacted(self)
    }
    fn range(&self, options: &RangeOptions) -> Result<mvcc::RangeResult, mvcc::Refusal> {
        WriteTxn::range(self, options)
    }
}

impl ReadView for mvcc::ReadTxn {
    fn revision(&self) -> i64 {
        mvcc::ReadTxn::revision(self)
    }
    fn compacted(&self) -> i64 {
        mvcc::ReadTxn::compacted(self)
    }
    fn range(&self, options: &RangeOptions) -> Result<mvcc::RangeResult, mvcc::Refusal> {
        mvcc::ReadTxn::range(self, options)
    }
}

/// Which branch each transaction takes: the outer one first, then the nested ones of the branch
/// taken, in order.
struct Path {
    taken: bool,
    nested: Vec<Path>,
}

impl Path {
    fn branch<'t>(&self, txn: &'t pb::TxnRequest) -> &'t [pb::RequestOp] {
        if self.taken { &txn.success } else { &txn.failure }
    }
}

/// Applies a transaction that may write.
///
/// `skip_ranges` leaves reads unexecuted where nobody waits for them; what is refused is the same.
pub(crate) fn apply(
    txn: &mut WriteTxn<'_, '_>,
    lessor: &mut Lessor,
    request: &pb::TxnRequest,
    skip_ranges: bool,
) -> Result<TxnReply, Refusal> {
    let before = txn.revision();
    let path = choose(txn, request, 0)?;
    let mut deleted = Deleted::default();
    check(txn, Some(lessor), request, &path, &mut deleted)?;
    assert_eq!(txn.revision(), before, "comparing and checking wrote something");
    let mut reply = execute(txn, lessor, request, &path, skip_ranges);
    reply.revision = txn.revision();
    let steps = reply.revision - before;
    assert!((0..=1).contains(&steps), "a transaction took {steps} revisions after {before}");
    Ok(reply)
}

/// Answers a transaction that only reads, on a pinned snapshot.
pub fn read(view: &mvcc::ReadTxn, request: &pb::TxnRequest) -> Result<TxnReply, Refusal> {
    let path = choose(view, request, 0)?;
    check(view, None, request, &path, &mut Deleted::default())?;
    let mut responses = Vec::with_capacity(path.branch(request).len());
    for op in path.branch(request) {
        responses.push(match &op.request {
            Some(Op::RequestRange(range)) => Some(Reply::Range(view.range(&kv::options(range))?)),
            _ => None,
        });
    }
    let (answers, operations) = (responses.len(), path.branch(request).len());
    assert_eq!(answers, operations, "{answers} answers to {operations} operations");
    Ok(TxnReply { revision: view.revision(), succeeded: path.taken, responses })
}

/// Whether the transaction holds reads only, in both branches.
pub fn is_read_only(txn: &pb::TxnRequest) -> bool {
    let reads = |op: &pb::RequestOp| matches!(op.request, Some(Op::RequestRange(_)));
    txn.success.iter().all(reads) && txn.failure.iter().all(reads)
}

/// Whether every operation is a serializable read (true where there are none).
pub fn is_serializable(txn: &pb::TxnRequest) -> bool {
    let serializable = |op: &pb::RequestOp| match &op.request {
        Some(Op::RequestRange(range)) => range.serializable,
        _ => false,
    };
    txn.success.iter().all(serializable) && txn.failure.iter().all(serializable)
}

fn choose(view: &impl ReadView, request: &pb::TxnRequest, depth: usize) -> Result<Path, Refusal> {
    if depth > DEPTH_MAX {
        return Err(Refusal::KeyNotFound);
    }
    let mut path = Path {
        taken: request.compare.iter().all(|compare| holds(view, compare)),
        nested: Vec::new(),
    };
    for op in path.branch(request) {
        if let Some(Op::RequestTxn(inner)) = &op.request {
            let inner = choose(view, inner, depth + 1)?;
            path.nested.push(inner);
        }
    }
    Ok(path)
}

fn holds(view: &impl ReadView, compare: &pb::Compare) -> bool {
    let Ok(found) = view.range(&kv::whole_range(&compare.key, &compare.range_end)) else {
        return false;
    };
    if found.kvs.is_empty() {
        return compare.target != CompareTarget::Value as i32
            && holds_for(compare, &KeyValue::default());
    }
    found.kvs.iter().all(|kv| holds_for(compare, &kv.decode()))
}

fn holds_for(compare: &pb::Compare, kv: &KeyValue) -> bool {
    use TargetUnion as U;
    let number = |stored: i64, operand: Option<i64>| stored.cmp(&operand.unwrap_or(0));
    let union = compare.target_union.as_ref();
    let order = match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Value) => match union {
            Some(U::Value(value)) => kv.value.cmp(value),
            _ => kv.value.as_ref().cmp(b"".as_slice()),
        },
        Ok(CompareTarget::Create) => number(
            kv.create_revision,
            match union {
                Some(U::CreateRevision(n)) => Some(*n),
                _ => None,
            },
        ),
        Ok(CompareTarget::Mod) => number(
            kv.mod_revision,
            match union {
                Some(U::ModRevision(n)) => Some(*n),
                _ => None,
            },
        ),
        Ok(CompareTarget::Version) => number(
            kv.version,
            match union {
                Some(U::Version(n)) => Some(*n),
                _ => None,
            },
        ),
        Ok(CompareTarget::Lease) => number(
            kv.lease,
            match union {
                Some(U::Lease(n)) => Some(*n),
                _ => None,
            },
        ),
        Err(_) => Ordering::Equal,
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => order.is_eq(),
        Ok(CompareResult::NotEqual) => order.is_ne(),
        Ok(CompareResult::Greater) => order.is_gt(),
        Ok(CompareResult::Less) => order.is_lt(),
        Err(_) => true,
    }
}

/// What the operations checked so far will have deleted, and put back, when they have run.
#[derive(Default)]
struct Deleted {
    steps: Vec<Step>,
}

enum Step {
    Range(bytes::Bytes, bytes::Bytes),
    Put(bytes::Bytes),
}

impl Deleted {
    fn covers(&self, key: &[u8]) -> bool {
        for step in self.steps.iter().rev() {
            match step {
                Step::Put(put) if put == key => return false,
                Step::Range(from, end) if kv::range_contains(from, end, key) => return true,
                _ => {}
            }
        }
        false
    }
}

/// Refuses what could fail while it runs. A put with `ignore_value` or `ignore_lease` needs the key
/// both before the transaction and at its turn: one deleted by an earlier operation is not found.
fn check(
    view: &impl ReadView,
    lessor: Option<&Lessor>,
    request: &pb::TxnRequest,
    path: &Path,
    deleted: &mut Deleted,
) -> Result<(), Refusal> {
    let mut nested = path.nested.iter();
    for op in path.branch(request) {
        match &op.request {
            Some(Op::RequestRange(range)) => check_range(view, range)?,
            Some(Op::RequestPut(put)) => {
                check_put(view, lessor, put, deleted)?;
                deleted.steps.push(Step::Put(put.key.clone()));
            }
            Some(Op::RequestDeleteRange(delete)) => {
                deleted.steps.push(Step::Range(delete.key.clone(), delete.range_end.clone()));
            }
            Some(Op::RequestTxn(inner)) => {
                let path = nested.next().expect("the path has one entry per nested transaction");
                check(view, lessor, inner, path, deleted)?;
            }
            None => {}
        }
    }
    assert!(nested.next().is_none(), "the path leads into a transaction that is not there");
    Ok(())
}

fn check_range(view: &impl ReadView, range: &pb::RangeRequest) -> Result<(), Refusal> {
    match range.revision {
        0 => Ok(()),
        revision if revision > view.revision() => Err(Refusal::FutureRevision),
        revision if revision < view.compacted() => Err(Refusal::Compacted),
        _ => Ok(()),
    }
}

fn check_put(
    view: &impl ReadView,
    lessor: Option<&Lessor>,
    put: &pb::PutRequest,
    deleted: &Deleted,
) -> Result<(), Refusal> {
    if put.lease != 0 && !lessor.is_some_and(|lessor| lessor.exists(put.lease)) {
        return Err(Refusal::LeaseNotFound);
    }
    if put.ignore_value || put.ignore_lease {
        let before = view.range(&kv::whole_range(&put.key, &bytes::Bytes::new()))?;
        if before.kvs.is_empty() || deleted.covers(&put.key) {
            return Err(Refusal::KeyNotFound);
        }
    }
    Ok(())
}

fn execute(
    txn: &mut WriteTxn<'_, '_>,
    lessor: &mut Lessor,
    request: &pb::TxnRequest,
    path: &Path,
    skip_ranges: bool,
) -> TxnReply {
    let mut nested = path.nested.iter();
    let mut responses = Vec::with_capacity(path.branch(request).len());
    for op in path.branch(request) {
        responses.push(match &op.request {
            Some(Op::RequestRange(range)) => Some(kv::range_in_txn(txn, range, skip_ranges)),
            Some(Op::RequestPut(put)) => Some(kv::put_checked(txn, lessor, put)),
            Some(Op::RequestDeleteRange(delete)) => Some(kv::delete_range(txn, lessor, delete)),
            Some(Op::RequestTxn(inner)) => {
                let path = nested.next().expect("the path has one entry per nested transaction");
                Some(Reply::Txn(execute(txn, lessor, inner, path, skip_ranges)))
            }
            None => None,
        });
    }
    assert!(nested.next().is_none(), "a transaction on the path was not executed");
    let (answers, operations) = (responses.len(), path.branch(request).len());
    assert_eq!(answers, operations, "{answers} answers to {operations} operations");
    TxnReply { revision: 0, succeeded: path.taken, responses }
}
