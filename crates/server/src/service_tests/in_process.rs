//! Calls from within the program, asked of a whole member.

use crate::testing::Bench;
use apply::Reply;
use mvcc::RangeResult;
use proto::etcdserverpb as pb;
use proto::etcdserverpb::request_op::Request as Op;
use services::{Call, Error, Services, Written, ticket};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// What a write is answered.
fn write(ask: impl FnOnce(Written)) -> Result<Reply, Error> {
    let (tell, told) = channel();
    ask(ticket(move |result| drop(tell.send(result))));
    told.recv_timeout(PATIENCE).expect("it is answered")
}

fn range(services: &Arc<Services>, request: pb::RangeRequest) -> Result<RangeResult, Error> {
    let (tell, told) = channel();
    services.range(&Call::default(), request, ticket(move |result| drop(tell.send(result))));
    told.recv_timeout(PATIENCE).expect("it is answered")
}

fn put(key: &'static str) -> pb::PutRequest {
    pb::PutRequest { key: key.into(), value: "v".into(), ..Default::default() }
}

#[test]
fn typed_calls_do_what_clients_calls_do() {
    let bench = Bench::start_with(|config| config.replica.apply.quota_bytes = 1 << 20);
    bench.until_it_leads();
    let (services, call) = (&bench.shared().services, &Call::default());
    let put_a = write(|then| services.put(call, &put("a"), then));
    assert!(matches!(put_a, Ok(Reply::Put { revision: 2, prev: None })), "{put_a:?}");
    let granted =
        write(|then| services.lease_grant(call, pb::LeaseGrantRequest { id: 0, ttl: 60 }, then));
    let Ok(Reply::LeaseGrant { id, ttl: 60, .. }) = granted else { panic!("{granted:?}") };
    assert!(id > 0, "a lease without an id is named");
    let op =
        pb::RequestOp { request: Some(Op::RequestPut(pb::PutRequest { lease: id, ..put("b") })) };
    let txn = pb::TxnRequest { success: vec![op], ..Default::default() };
    let txn = write(|then| services.txn(call, &txn, then));
    assert!(matches!(&txn, Ok(Reply::Txn(txn)) if txn.succeeded), "{txn:?}");
    let all = pb::RangeRequest { key: "a".into(), range_end: "z".into(), ..Default::default() };
    assert_eq!(range(services, all.clone()).unwrap().kvs.len(), 2);
    let revoked = write(|then| services.lease_revoke(call, id, then));
    assert!(matches!(revoked, Ok(Reply::LeaseRevoke { revision: 4 })), "{revoked:?}");
    let delete = pb::DeleteRangeRequest { key: "a".into(), ..Default::default() };
    let deleted = write(|then| services.delete_range(call, &delete, then));
    assert!(matches!(deleted, Ok(Reply::DeleteRange { deleted: 1, .. })), "{deleted:?}");
    assert_eq!(range(services, all).unwrap().count, 0);
}

#[test]
fn typed_calls_are_refused_as_clients_calls_are() {
    let bench = Bench::start_with(|config| config.replica.apply.quota_bytes = 65_536);
    bench.until_it_leads();
    let (services, call) = (&bench.shared().services, &Call::default());
    let empty = write(|then| services.put(call, &pb::PutRequest::default(), then));
    assert_eq!(empty.unwrap_err(), Error::EmptyKey);
    assert_eq!(range(services, pb::RangeRequest::default()).unwrap_err(), Error::EmptyKey);
    let large = pb::PutRequest { value: vec![1; 65_536].into(), ..put("k") };
    let full = write(|then| services.put(call, &large, then));
    assert_eq!(full.unwrap_err(), Error::NoSpace);
    let over = Call { deadline: Some(Duration::ZERO), ..Call::default() };
    let late = write(|then| services.lease_revoke(&over, 7, then));
    assert_eq!(late.unwrap_err(), Error::NotProposed, "nobody waits for it any more");
}
