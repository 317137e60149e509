//! Calls from within the program, for locks, elections, the older API and tests: the handlers of the rows
//! with typed requests and replies. What a client would be sent is neither encoded nor decoded.

use crate::caller::{Ticket, Waiter};
use crate::{Call, Error, Services, check, kv, lease};
use apply::{Kind, Reply};
use mvcc::RangeResult;
use prost::Message;
use proto::etcdserverpb as pb;
use std::sync::Arc;

/// Who hears of a write.
pub type Written = Ticket<Result<Reply, Error>>;

impl Services {
    /// Puts a key.
    pub fn put(&self, call: &Call, request: &pb::PutRequest, then: Written) {
        kv::put_as(self, call, (request, &request.encode_to_vec()), Waiter::Own(then));
    }

    /// Deletes keys.
    pub fn delete_range(&self, call: &Call, request: &pb::DeleteRangeRequest, then: Written) {
        kv::delete_range_as(self, call, (request, &request.encode_to_vec()), Waiter::Own(then));
    }

    /// Makes a transaction, by way of the log even if it only reads.
    pub fn txn(&self, call: &Call, request: &pb::TxnRequest, then: Written) {
        kv::txn_as(self, call, (request, &request.encode_to_vec()), Waiter::Own(then));
    }

    /// Grants a lease; one is named where the request has no id.
    pub fn lease_grant(&self, call: &Call, request: pb::LeaseGrantRequest, then: Written) {
        lease::grant_as(self, call, request, Waiter::Own(then));
    }

    /// Revokes a lease.
    pub fn lease_revoke(&self, call: &Call, id: i64, then: Written) {
        let request = pb::LeaseRevokeRequest { id }.encode_to_vec();
        self.propose(call, Kind::LeaseRevoke, &request, Waiter::Own(then));
    }

    /// Reads keys; linearizable unless the request says otherwise. `then` is called on this thread or on one
    /// for short work, so a range must be short.
    pub fn range(
        self: &Arc<Self>,
        call: &Call,
        request: pb::RangeRequest,
        then: Ticket<Result<RangeResult, Error>>,
    ) {
        if let Err(error) = check::range(&request) {
            return then(Err(error));
        }
        let services = Arc::clone(self);
        let is_serializable = request.serializable;
        let read = move |confirmed: Result<(), Error>| {
            let options = apply::range_options(&request);
            then(
                confirmed
                    .and_then(|()| Ok(services.reader.read_with(|read| read.range(&options))?)),
            );
        };
        if is_serializable {
            read(Ok(()));
        } else {
            self.linearizable(call, read);
        }
    }
}
