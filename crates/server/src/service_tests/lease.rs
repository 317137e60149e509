//! Leases, asked of a whole member.

use crate::testing::{Bench, Stream, Told};
use apply::Kind;
use net::rpc::Code;
use prost::Message;
use proto::etcdserverpb as pb;
use services::lease::time_to_live_here;
use services::{Call, Error, Member as _, Waiter};

const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";

fn grant(bench: &Bench, id: i64, ttl: i64) {
    let request = pb::LeaseGrantRequest { id, ttl };
    let granted: pb::LeaseGrantResponse = bench.call("/etcdserverpb.Lease/LeaseGrant", &request);
    assert_eq!((granted.id, granted.ttl), (id, ttl));
}

fn renew(stream: &mut Stream, id: i64) {
    stream.send(&pb::LeaseKeepAliveRequest { id });
}

#[test]
fn leases_are_kept_alive_as_soon_as_the_member_serves() {
    for _ in 0..20 {
        let bench = Bench::start();
        let mut stream = bench.stream(KEEP_ALIVE);
        bench.until_it_leads();
        renew(&mut stream, 7);
        let told: pb::LeaseKeepAliveResponse = stream.client.message();
        assert_eq!((told.id, told.ttl), (7, 0));
    }
}

#[test]
fn who_does_not_lead_does_not_say_how_long_a_lease_lives() {
    let bench = Bench::start_without_company();
    let (tell, told) = std::sync::mpsc::channel();
    let request = pb::LeaseTimeToLiveRequest { id: 7, keys: false };
    let then = Box::new(move |found: Result<pb::LeaseTimeToLiveResponse, Error>| {
        tell.send(found.map(|found| found.ttl)).unwrap();
    });
    time_to_live_here(&bench.shared().services, request, then);
    assert_eq!(told.recv().unwrap(), Err(Error::LeaderChanged));
}

#[test]
fn a_lease_has_less_left_than_it_was_granted() {
    let bench = Bench::start();
    bench.until_it_leads();
    grant(&bench, 7, 90);
    let request = pb::LeaseTimeToLiveRequest { id: 7, keys: true };
    let found: pb::LeaseTimeToLiveResponse =
        bench.call("/etcdserverpb.Lease/LeaseTimeToLive", &request);
    assert_eq!((found.ttl, found.granted_ttl), (89, 90));
}

#[test]
fn who_does_not_read_answers_is_cut_off() {
    let bench = Bench::start();
    bench.until_it_leads();
    let mut stream = bench.stream(KEEP_ALIVE);
    stream.client.stop_reading();
    for id in 0..500_000 {
        renew(&mut stream, id);
    }
    let end = stream.client.end();
    assert_eq!((end.code, &*end.message), (Code::Unknown, "etcdserver: too many requests"));
    assert!(stream.client.queued() < 32 * 1024 * 1024, "{}", stream.client.queued());
}

#[test]
fn every_answer_comes_before_the_end() {
    let bench = Bench::start();
    bench.until_it_leads();
    grant(&bench, 7, 3600);
    checkpoint(&bench, 7, 600);
    let mut stream = bench.stream(KEEP_ALIVE);
    for id in [7, 8, 7] {
        renew(&mut stream, id);
    }
    stream.handler.half_close();
    let mut ids = Vec::new();
    let end = loop {
        match stream.client.next() {
            Told::Message(told) => {
                let told = pb::LeaseKeepAliveResponse::decode(told).unwrap();
                ids.push((told.id, told.ttl));
            }
            Told::End(end) => break end,
        }
    };
    ids.sort_unstable();
    assert_eq!(ids, [(7, 3600), (7, 3600), (8, 0)]);
    assert_eq!(end.code, Code::Ok);
}

fn checkpoint(bench: &Bench, id: i64, remaining_ttl: i64) {
    let (tell, told) = std::sync::mpsc::channel();
    let note = pb::LeaseCheckpoint { id, remaining_ttl };
    let request = pb::LeaseCheckpointRequest { checkpoints: vec![note] };
    let waiter = Waiter::Own(Box::new(move |result| tell.send(result.is_ok()).unwrap()));
    bench.shared().services.propose(
        &Call::default(),
        Kind::LeaseCheckpoint,
        &request.encode_to_vec(),
        waiter,
    );
    assert!(told.recv().unwrap());
}

/// What the database says of a lease's remaining time.
fn stored_remaining(bench: &Bench, id: i64) -> i64 {
    let view = bench.shared().ports.database().view();
    let row = view.get(backend::Table::Lease, &id.to_be_bytes()).unwrap();
    proto::leasepb::Lease::decode(&*row).unwrap().remaining_ttl
}

#[test]
fn a_renewal_clears_what_a_checkpoint_stored_before_it_is_answered() {
    let bench = Bench::start();
    bench.until_it_leads();
    grant(&bench, 7, 3600);
    checkpoint(&bench, 7, 600);
    assert_eq!(stored_remaining(&bench, 7), 600);
    let mut stream = bench.stream(KEEP_ALIVE);
    renew(&mut stream, 7);
    let told: pb::LeaseKeepAliveResponse = stream.client.message();
    assert_eq!((told.id, told.ttl), (7, 3600));
    assert_eq!(stored_remaining(&bench, 7), 0);
}
