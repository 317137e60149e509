//! Put, delete and range, alone or inside a transaction.

use crate::{Refusal, Reply};
use bytes::Bytes;
use lease::Lessor;
use mvcc::{RangeOptions, RangeResult, WriteTxn};
use proto::etcdserverpb as pb;

/// The store's options for a range request.
pub fn options(request: &pb::RangeRequest) -> RangeOptions {
    RangeOptions {
        key: request.key.clone(),
        range_end: request.range_end.clone(),
        limit: request.limit,
        revision: request.revision,
        sort_order: request.sort_order,
        sort_target: request.sort_target,
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision: request.min_mod_revision,
        max_mod_revision: request.max_mod_revision,
        min_create_revision: request.min_create_revision,
        max_create_revision: request.max_create_revision,
    }
}

/// Every key of a range, now.
pub(crate) fn whole_range(key: &Bytes, range_end: &Bytes) -> RangeOptions {
    RangeOptions { key: key.clone(), range_end: range_end.clone(), ..RangeOptions::default() }
}

/// Whether a key lies in a range as requests write it: no end means one key, one zero byte no end.
pub(crate) fn range_contains(from: &[u8], end: &[u8], key: &[u8]) -> bool {
    match end {
        [] => key == from,
        [0] => key >= from,
        _ => key >= from && key < end,
    }
}

/// A put on its own: checks the lease and, for the ignore flags, the key.
pub(crate) fn put(
    txn: &mut WriteTxn<'_, '_>,
    lessor: &mut Lessor,
    request: &pb::PutRequest,
) -> Result<Reply, Refusal> {
    if request.lease != 0 && !lessor.exists(request.lease) {
        return Err(Refusal::LeaseNotFound);
    }
    let keeps_old = request.ignore_value || request.ignore_lease;
    if keeps_old && txn.get(&request.key).is_none() {
        return Err(Refusal::KeyNotFound);
    }
    Ok(put_checked(txn, lessor, request))
}

/// A put whose lease, and whose key where it is needed, are known to exist.
pub(crate) fn put_checked(
    txn: &mut WriteTxn<'_, '_>,
    lessor: &mut Lessor,
    request: &pb::PutRequest,
) -> Reply {
    let (mut value, mut lease) = (request.value.clone(), request.lease);
    if request.ignore_value || request.ignore_lease {
        let old = txn.get(&request.key).expect("checked before: the key exists");
        if request.ignore_value {
            value = old.value;
        }
        if request.ignore_lease {
            lease = old.lease;
        }
    }
    let put = txn.put(&request.key, &value, lease, request.prev_kv);
    let (revision, now) = (put.revision, txn.revision());
    assert_eq!(revision, now, "a put at {revision} within a transaction of {now}");
    lessor.attach(&request.key, lease);
    debug_assert!(
        lessor.lease_of(&request.key) == Some(lease) || lease == 0 || !lessor.exists(lease),
        "the key that was put belongs to {:?} instead of {lease}",
        lessor.lease_of(&request.key)
    );
    Reply::Put { revision: put.revision, prev: put.prev }
}

/// Deletes a range and detaches its keys from their leases.
pub(crate) fn delete_range(
    txn: &mut WriteTxn<'_, '_>,
    lessor: &mut Lessor,
    request: &pb::DeleteRangeRequest,
) -> Reply {
    let deleted = txn.delete_range(&request.key, &request.range_end, request.prev_kv);
    for key in &deleted.keys {
        lessor.detach(key);
        debug_assert_eq!(lessor.lease_of(key), None, "a deleted key keeps its lease: {key:?}");
    }
    let (prev, keys) = (deleted.prev.len(), deleted.keys.len());
    assert!(!request.prev_kv || prev == keys, "{keys} keys were deleted with {prev} values");
    Reply::DeleteRange {
        revision: txn.revision(),
        deleted: deleted.keys.len() as i64,
        prev: deleted.prev,
    }
}

/// A checked range inside a transaction; sees what the transaction wrote so far.
pub(crate) fn range_in_txn(
    txn: &WriteTxn<'_, '_>,
    request: &pb::RangeRequest,
    skip: bool,
) -> Reply {
    let empty = || RangeResult { revision: txn.revision(), ..RangeResult::default() };
    if skip {
        return Reply::Range(empty());
    }
    // What could be refused was refused before the transaction wrote anything.
    Reply::Range(txn.range(&options(request)).unwrap_or_else(|_| empty()))
}
