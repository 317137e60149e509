//! What follows from applying, whoever waits.

use crate::testing::Bench;
use apply::Kind;
use prost::Message;
use proto::etcdserverpb as pb;
use services::{Call, Waiter};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_alarm_is_raised_for_a_write_that_nobody_here_waits_for() {
    let bench = Bench::start_with(|config| config.replica.apply.quota_bytes = 65_536);
    bench.until_it_leads();
    let put =
        pb::PutRequest { key: "k".into(), value: vec![1; 65_536].into(), ..Default::default() };
    let shared = bench.shared();
    shared.services.propose(&Call::default(), Kind::Put, &put.encode_to_vec(), Waiter::nobody());
    let begun = Instant::now();
    while !shared.common().figures.no_space() {
        assert!(begun.elapsed() < PATIENCE, "there is no alarm");
        std::thread::yield_now();
    }
    let get = pb::AlarmRequest::default();
    let alarms: pb::AlarmResponse = bench.call("/etcdserverpb.Maintenance/Alarm", &get);
    assert_eq!(alarms.alarms.len(), 1, "one alarm for all that is written");
    assert_eq!(alarms.alarms[0].member_id, shared.member_id);
}
