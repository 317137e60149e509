//! Leases through their lives.
#![allow(clippy::unwrap_used)] // the helpers of tests too

use backend::{Backend, EntryId, Options};
use bytes::Bytes;
use disk::sim::SimDisk;
use lease::{CHECKPOINT_MS, Config, Lessor, Refusal, Renewal, TTL_MAX_S};
use proto::etcdserverpb::LeaseCheckpoint;
use std::path::Path;

/// A database whose file stays small, so that a test is about what it holds.
fn options() -> Options {
    let mut options = Options::default();
    (options.bolt.growth_bytes, options.bolt.initial_map_bytes) = (4096, 0);
    options
}

const CONFIG: Config = Config {
    ttl_min_s: 2,
    checkpoints: true,
    persist_checkpoints: true,
    checkpoint_interval_ms: CHECKPOINT_MS,
};

struct Bench {
    backend: Backend,
    lessor: Lessor,
    index: u64,
}

impl Bench {
    fn new() -> Bench {
        let backend = Backend::open(SimDisk::new(1).disk(), Path::new("db"), options()).unwrap();
        let lessor = Lessor::open(&backend.reader().view(), CONFIG);
        Bench { backend, lessor, index: 0 }
    }

    fn apply<T>(&mut self, act: impl FnOnce(&mut Lessor, &mut backend::ApplyTxn<'_>) -> T) -> T {
        self.index += 1;
        let mut txn = self.backend.begin();
        let result = act(&mut self.lessor, &mut txn);
        txn.finish(EntryId { term: 1, index: self.index });
        self.lessor.check();
        result
    }

    fn grant(&mut self, id: i64, ttl: i64) -> Result<i64, Refusal> {
        self.apply(|lessor, txn| lessor.grant(txn, id, ttl)).map(|granted| granted.ttl)
    }
}

#[test]
fn grants_are_checked_and_raised() {
    let mut bench = Bench::new();
    assert_eq!(bench.grant(7, 1), Ok(2));
    assert_eq!(bench.grant(7, 10), Err(Refusal::Exists));
    assert_eq!(bench.grant(0, 10), Err(Refusal::NotFound));
    assert_eq!(bench.grant(8, TTL_MAX_S + 1), Err(Refusal::TtlTooLarge));
    assert_eq!(bench.grant(-8, TTL_MAX_S), Ok(TTL_MAX_S));
}

#[test]
fn time_left_is_cut_to_seconds_that_are_left_whole() {
    let mut bench = Bench::new();
    bench.lessor.promote(0, 0);
    bench.lessor.tick(1000);
    bench.grant(1, 90).unwrap();
    let remaining_s = |now_ms| bench.lessor.time_to_live(1, now_ms, false).unwrap().remaining_s;
    for (now_ms, left_s) in
        [(1000, 89), (1001, 89), (1999, 89), (2000, 88), (90_000, 0), (90_999, 0), (91_000, 0)]
    {
        assert_eq!(remaining_s(now_ms), left_s, "at {now_ms} ms");
    }
    assert_eq!((remaining_s(91_999), remaining_s(92_000)), (0, -1), "expired, not revoked yet");
}

#[test]
fn only_a_promoted_lessor_lets_leases_expire() {
    let mut bench = Bench::new();
    bench.grant(1, 10).unwrap();
    bench.grant(2, 20).unwrap();
    assert!(bench.lessor.expired(u64::MAX, 10).is_empty());
    bench.lessor.promote(1000, 500);
    assert!(bench.lessor.expired(11_499, 10).is_empty());
    assert_eq!(bench.lessor.expired(11_500, 10), [1]);
    assert_eq!(bench.lessor.renew(1, 11_500), Err(Refusal::NotFound));
    assert_eq!(bench.lessor.renew(2, 11_500), Ok(Renewal::Done { ttl_s: 20 }));
    assert_eq!(bench.lessor.time_to_live(2, 12_000, false).unwrap().remaining_s, 19);
    assert_eq!(bench.lessor.leases(), [1, 2]);
    bench.lessor.demote();
    assert!(bench.lessor.expired(u64::MAX, 10).is_empty());
}

#[test]
fn keys_belong_to_one_lease_and_go_with_it() {
    let mut bench = Bench::new();
    bench.grant(1, 10).unwrap();
    bench.grant(2, 10).unwrap();
    let key = Bytes::from_static;
    for name in [&b"c"[..], b"a", b"b"] {
        bench.lessor.attach(&key(name), 1);
    }
    bench.lessor.attach(&key(b"b"), 2);
    bench.lessor.attach(&key(b"x"), 99);
    assert_eq!(bench.lessor.lease_of(b"b"), Some(2));
    assert_eq!(bench.lessor.lease_of(b"x"), None);
    bench.lessor.attach(&key(b"b"), 0);
    assert_eq!(bench.lessor.lease_of(b"b"), None);
    let gone = bench.apply(|lessor, txn| lessor.revoke(txn, 1));
    assert_eq!(gone.unwrap(), [key(b"a"), key(b"c")]);
    assert_eq!(bench.apply(|lessor, txn| lessor.revoke(txn, 1)), Err(Refusal::NotFound));
    assert!(bench.lessor.exists(2) && !bench.lessor.exists(1));
}

#[test]
fn leases_and_checkpoints_survive() {
    let mut bench = Bench::new();
    bench.lessor.promote(0, 0);
    bench.grant(5, 3600).unwrap();
    bench.lessor.tick(300_000);
    let due = bench.lessor.due_checkpoints(300_000, 10);
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].remaining_ttl, 3300);
    let unknown = LeaseCheckpoint { id: 99, remaining_ttl: 1 };
    let due = [vec![unknown], due].concat();
    bench.apply(|lessor, txn| lessor.checkpoint(txn, &due));
    let mut again = Lessor::open(&bench.backend.reader().view(), CONFIG);
    again.promote(0, 0);
    let found = again.time_to_live(5, 0, true).unwrap();
    assert_eq!((found.granted_s, found.remaining_s), (3600, 3299));
}

#[test]
fn a_promotion_spreads_mass_expiry() {
    let mut bench = Bench::new();
    for id in 1..=3000 {
        bench.grant(id, 10).unwrap();
    }
    bench.lessor.promote(0, 0);
    let at = |ms| bench.lessor.expired(ms, usize::MAX).len();
    assert!(at(10_000) <= 2 && (700..=800).contains(&at(11_000)), "{}", at(11_000));
    assert_eq!(at(14_100), 3000);
}

#[test]
fn renewing_a_lease_again_and_again_notes_it_once() {
    let mut bench = Bench::new();
    bench.lessor.promote(0, 0);
    bench.grant(5, 3600).unwrap();
    for second in 1..=100 {
        bench.lessor.renew(5, second * 1000).unwrap();
    }
    assert_eq!(bench.lessor.due_checkpoints(400_000, usize::MAX).len(), 1);
    bench.apply(|lessor, txn| lessor.revoke(txn, 5)).unwrap();
    assert_eq!(bench.lessor.due_checkpoints(u64::MAX / 2, usize::MAX).len(), 0);
}

/// A database as another program may have written it.
fn foreign(id: i64, ttl: i64, remaining_ttl: i64) -> Bench {
    let mut bench = Bench::new();
    bench.apply(|_, txn| {
        let row = proto::leasepb::Lease { id, ttl, remaining_ttl };
        txn.put(
            backend::Table::Lease,
            &id.to_be_bytes(),
            prost::Message::encode_to_vec(&row).into(),
        );
    });
    bench.lessor = Lessor::open(&bench.backend.reader().view(), CONFIG);
    bench
}

#[test]
fn times_beyond_all_bounds_are_cut_to_them() {
    for (ttl, remaining) in [(i64::MAX, 0), (i64::MAX, i64::MAX), (i64::MIN, i64::MIN), (5, -7)] {
        let mut bench = foreign(1, ttl, remaining);
        bench.lessor.promote(u64::from(u32::MAX), 1000);
        let found = bench.lessor.time_to_live(1, 0, false).unwrap();
        assert!((2..=TTL_MAX_S).contains(&found.granted_s), "{found:?}");
        bench.lessor.renew(1, 0).unwrap();
        let too_long = LeaseCheckpoint { id: 1, remaining_ttl: i64::MAX };
        bench.apply(|lessor, txn| lessor.checkpoint(txn, &[too_long]));
        bench.lessor.demote();
        bench.lessor.promote(1, 0);
        bench.lessor.due_checkpoints(u64::MAX / 2, usize::MAX);
    }
}

#[test]
fn a_renewal_is_not_promised_while_a_checkpoint_says_less() {
    let mut bench = Bench::new();
    bench.lessor.promote(0, 0);
    bench.grant(5, 3600).unwrap();
    let note = |left| [LeaseCheckpoint { id: 5, remaining_ttl: left }];
    bench.apply(|lessor, txn| lessor.checkpoint(txn, &note(3000)));
    // Another leader would give it 3000 seconds, so the log must hear first.
    assert_eq!(bench.lessor.renew(5, 1000), Ok(Renewal::AfterCheckpoint));
    // It lives on meanwhile.
    assert_eq!(bench.lessor.time_to_live(5, 1000, false).unwrap().remaining_s, 3599);
    bench.apply(|lessor, txn| lessor.checkpoint(txn, &note(0)));
    assert_eq!(bench.lessor.renew(5, 2000), Ok(Renewal::Done { ttl_s: 3600 }));
    assert_eq!(bench.lessor.time_to_live(5, 2000, false).unwrap().remaining_s, 3599);
    let mut again = Lessor::open(&bench.backend.reader().view(), CONFIG);
    again.promote(0, 0);
    assert_eq!(again.time_to_live(5, 0, false).unwrap().remaining_s, 3599);
}

#[test]
fn checkpoints_round_up_and_leave_out_what_says_nothing() {
    let mut bench = Bench::new();
    bench.lessor.promote(0, 0);
    bench.grant(5, 3600).unwrap();
    bench.grant(6, 3600).unwrap();
    bench.grant(7, 299).unwrap();
    assert!(bench.lessor.due_checkpoints(299_999, 10).is_empty());
    bench.lessor.renew(6, 300_500).unwrap();
    let due = bench.lessor.due_checkpoints(300_500, 10);
    assert_eq!(due, [LeaseCheckpoint { id: 5, remaining_ttl: 3300 }], "6 has its full time");
    let due = bench.lessor.due_checkpoints(601_000, 10);
    assert_eq!(due.len(), 2, "both are due again after five minutes");
    // An expired lease is revoked, not noted.
    assert!(bench.lessor.due_checkpoints(4_000_000, 10).is_empty());
}

#[test]
fn without_the_feature_nothing_is_noted() {
    let mut bench = Bench::new();
    let config = Config { checkpoints: false, ..CONFIG };
    bench.lessor = Lessor::open(&bench.backend.reader().view(), config);
    bench.lessor.promote(0, 0);
    bench.grant(5, 3600).unwrap();
    assert!(bench.lessor.due_checkpoints(3_000_000, 10).is_empty());
}
