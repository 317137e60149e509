//! What a request may add to the database (reference: `server/storage/quota.go`).

use proto::etcdserverpb as pb;
use proto::etcdserverpb::request_op::Request as Op;

/// The quota where none is configured: 2 GiB.
pub const DEFAULT_BYTES: i64 = 2 * 1024 * 1024 * 1024;
/// More than this is not recommended: 8 GiB.
pub const RECOMMENDED_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;

const KEY_OVERHEAD_BYTES: u64 = 256;
const LEASE_OVERHEAD_BYTES: u64 = 64;

/// A limit on the database file's size.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    bytes: i64,
}

impl Quota {
    /// From the flag's value: 0 means the default, a negative value no limit.
    pub fn from_flag(bytes: i64) -> Quota {
        let bytes = if bytes == 0 { DEFAULT_BYTES } else { bytes };
        assert_ne!(bytes, 0, "a quota of nothing would admit nothing");
        Quota { bytes }
    }

    /// As it is shown: the limit in bytes, or the negative value that means none.
    pub fn shown_bytes(self) -> i64 {
        self.bytes
    }

    /// The limit in bytes, `None` where there is none.
    pub fn limit_bytes(self) -> Option<u64> {
        u64::try_from(self.bytes).ok()
    }

    /// Whether a request of this cost still fits a file of `size_bytes`. Free requests always do.
    pub fn admits(self, size_bytes: u64, cost_bytes: u64) -> bool {
        cost_bytes == 0 || self.limit_bytes().is_none_or(|limit| size_bytes + cost_bytes < limit)
    }
}

/// The cost of a put in bytes.
pub fn put_cost(put: &pb::PutRequest) -> u64 {
    KEY_OVERHEAD_BYTES + put.key.len() as u64 + put.value.len() as u64
}

/// The cost of a lease in bytes.
pub fn lease_cost() -> u64 {
    LEASE_OVERHEAD_BYTES
}

/// The cost of a transaction in bytes: that of its costlier branch.
pub fn txn_cost(txn: &pb::TxnRequest) -> u64 {
    let branch = |ops: &[pb::RequestOp]| ops.iter().map(op_cost).sum::<u64>();
    branch(&txn.success).max(branch(&txn.failure))
}

fn op_cost(op: &pb::RequestOp) -> u64 {
    match &op.request {
        Some(Op::RequestPut(put)) => put_cost(put),
        Some(Op::RequestTxn(txn)) => txn_cost(txn),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_requests_pass_a_full_quota() {
        let quota = Quota::from_flag(1000);
        assert!(quota.admits(5000, 0));
        assert!(!quota.admits(900, 100));
        assert!(quota.admits(899, 100));
        assert!(Quota::from_flag(-1).admits(u64::MAX / 2, 1));
        assert_eq!(Quota::from_flag(0).limit_bytes(), Some(2 << 30));
    }

    #[test]
    fn a_quota_is_shown_as_it_is_written() {
        let shown = |flag| Quota::from_flag(flag).shown_bytes();
        assert_eq!([shown(-1), shown(-7), shown(0), shown(9)], [-1, -7, DEFAULT_BYTES, 9]);
    }

    #[test]
    fn a_transaction_costs_its_costlier_branch() {
        let put = |value: &'static str| pb::RequestOp {
            request: Some(Op::RequestPut(pb::PutRequest {
                key: "k".into(),
                value: value.into(),
                ..Default::default()
            })),
        };
        let inner = pb::TxnRequest { failure: vec![put("ab")], ..Default::default() };
        let txn = pb::TxnRequest {
            success: vec![put("a")],
            failure: vec![pb::RequestOp { request: Some(Op::RequestTxn(inner)) }],
            ..Default::default()
        };
        assert_eq!(txn_cost(&txn), 256 + 1 + 2);
    }
}
