//! Watches, asked of a whole member.

use crate::testing::Bench;
use net::rpc::Code;
use proto::etcdserverpb::WatchRequest;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{PutRequest, PutResponse, WatchCreateRequest};
use proto::etcdserverpb::{WatchProgressRequest, WatchResponse};

const WATCH: &str = "/etcdserverpb.Watch/Watch";

fn create(key: String) -> WatchRequest {
    let create = WatchCreateRequest { key: key.into(), ..Default::default() };
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
}

#[test]
fn who_does_not_read_answers_is_cut_off() {
    let bench = Bench::start();
    let mut stream = bench.stream(WATCH);
    stream.client.stop_reading();
    for n in 0..200_000 {
        stream.send(&create(n.to_string()));
    }
    let end = stream.client.end();
    assert_eq!((end.code, &*end.message), (Code::Unknown, "etcdserver: too many requests"));
    assert!(stream.client.queued() < 16 * 1024 * 1024, "{}", stream.client.queued());
}

#[test]
fn a_watch_after_an_acknowledged_put_begins_after_it() {
    let bench = Bench::start();
    bench.until_it_leads();
    let mut stream = bench.stream(WATCH);
    for n in 0..200 {
        let key = n.to_string();
        let put = PutRequest { key: key.clone().into(), ..Default::default() };
        let put: PutResponse = bench.call("/etcdserverpb.KV/Put", &put);
        stream.send(&create(key));
        let created: WatchResponse = stream.client.message();
        assert!(created.created);
        assert!(created.header.unwrap().revision >= put.header.unwrap().revision);
    }
    let progress = RequestUnion::ProgressRequest(WatchProgressRequest {});
    stream.send(&WatchRequest { request_union: Some(progress) });
    let told: WatchResponse = stream.client.message();
    assert_eq!((told.watch_id, told.header.unwrap().revision), (-1, 201));
}
