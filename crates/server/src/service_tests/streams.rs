//! Streams that a member fills, one piece after another.

use crate::testing::Bench;
use net::rpc::Code;
use proto::etcdserverpb as pb;

const RANGE_STREAM: &str = "/etcdserverpb.KV/RangeStream";
const SNAPSHOT: &str = "/etcdserverpb.Maintenance/Snapshot";

#[test]
fn streams_that_wait_to_begin_hold_up_nobody() {
    // Nobody leads yet, so none of these is confirmed.
    let bench = Bench::start_without_company();
    let mut waiting: Vec<_> = (0..64).map(|_| bench.stream(RANGE_STREAM)).collect();
    let request = pb::RangeRequest { key: "k".into(), ..Default::default() };
    for stream in &mut waiting {
        stream.send(&request);
    }
    let serializable = pb::RangeRequest { serializable: true, ..request };
    let mut other = bench.stream(RANGE_STREAM);
    other.send(&serializable);
    assert_eq!(other.client.end().code, Code::Ok);
    let mut snapshot = bench.stream(SNAPSHOT);
    snapshot.send(&pb::SnapshotRequest {});
    assert_eq!(snapshot.client.end().code, Code::Ok);
}
