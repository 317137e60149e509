//! What follows from applying, whoever waits.

use super::{CoreEvent, Visible, Waiter, Waiting};
use crate::cluster::Proposal;
use crate::rpc::Error;
use crate::testing::Bench;
use crate::web::Promise;
use apply::{Kind, Reply, envelope};
use prost::Message;
use proto::etcdserverpb as pb;
use proto::membershippb::{Attributes, ClusterMemberAttrSetRequest};
use proto::raftpb::{ConfChange, ConfChangeType};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_alarm_is_raised_for_a_write_that_nobody_here_waits_for() {
    let bench = Bench::start_with(|config| config.replica.apply.quota_bytes = 65_536);
    bench.until_it_leads();
    let put =
        pb::PutRequest { key: "k".into(), value: vec![1; 65_536].into(), ..Default::default() };
    let header = pb::RequestHeader { id: 7, ..Default::default() };
    let data = envelope::encode(Kind::Put, &put.encode_to_vec(), &header);
    let shared = bench.shared();
    // As it comes from another member.
    shared.core.send(CoreEvent::Propose { id: 7, proposal: Proposal::Data(data) });
    let begun = Instant::now();
    while !shared.gauges.no_space.load(Ordering::Relaxed) {
        assert!(begun.elapsed() < PATIENCE, "there is no alarm");
        std::thread::yield_now();
    }
    let get = pb::AlarmRequest::default();
    let alarms: pb::AlarmResponse = bench.call("/etcdserverpb.Maintenance/Alarm", &get);
    assert_eq!(alarms.alarms.len(), 1, "one alarm for all that is written");
    assert_eq!(alarms.alarms[0].member_id, shared.member_id);
}

/// Registers a waiter; what it is told comes in the promise.
fn wait_for(bench: &Bench, id: u64, visible: Visible) -> Arc<Promise<Result<Reply, Error>>> {
    let promise = Promise::new();
    let promised = Arc::clone(&promise);
    let waiting = Waiting {
        waiter: Waiter::Own(Box::new(move |result| promised.give(result))),
        kind: Kind::ClusterMemberAttrSet,
        begun: Instant::now(),
        visible: Some(visible),
    };
    assert!(bench.shared().waiters.insert(id, Instant::now() + PATIENCE, waiting).is_ok());
    promise
}

#[test]
fn a_snapshot_wakes_who_waits_for_what_it_contains() {
    let bench = Bench::start();
    bench.until_it_leads();
    let own_id = bench.shared().member_id;
    let publication = |name: &str| {
        let request = ClusterMemberAttrSetRequest {
            member_id: own_id,
            member_attributes: Some(Attributes { name: name.into(), client_urls: Vec::new() }),
        };
        Visible::of(Kind::ClusterMemberAttrSet, &request.encode_to_vec()).expect("it can be seen")
    };
    let change = |kind, id| {
        let (kind, node_id) = (Some(kind as i32), Some(id));
        Visible::Change(ConfChange { r#type: kind, node_id, ..ConfChange::default() })
    };
    let alarm = pb::AlarmRequest {
        action: pb::alarm_request::AlarmAction::Activate as i32,
        member_id: own_id,
        alarm: pb::AlarmType::Nospace as i32,
    };
    let alarm = Visible::of(Kind::Alarm, &alarm.encode_to_vec()).expect("it can be seen");
    let (add, remove) = (ConfChangeType::ConfChangeAddNode, ConfChangeType::ConfChangeRemoveNode);
    let there = [wait_for(&bench, 1, publication("m")), wait_for(&bench, 2, change(add, own_id))];
    let absent = [
        wait_for(&bench, 3, publication("another name")),
        wait_for(&bench, 4, change(add, 99)),
        wait_for(&bench, 5, change(remove, own_id)),
        wait_for(&bench, 6, alarm),
    ];
    assert!(Visible::of(Kind::Put, b"").is_none(), "another may have written the same");
    let done = Promise::new();
    let given = Arc::clone(&done);
    bench.shared().on_apply(move |driver| {
        driver.answer_contained();
        given.give(());
    });
    assert!(done.wait(PATIENCE).is_some());
    assert!(there.iter().all(|promise| promise.is_given_and(|told| told.is_ok())));
    assert!(absent.iter().all(|promise| !promise.is_given()));
}
