//! Whatever is asked of a lessor in whatever order, what is always true stays true, and a restart
//! finds the leases that the database holds.
#![allow(clippy::unwrap_used)] // the helpers of tests too

use backend::{ApplyTxn, Backend, EntryId, Options};
use bytes::Bytes;
use disk::sim::SimDisk;
use lease::{Config, Lessor};
use proptest::prelude::*;
use proto::etcdserverpb::LeaseCheckpoint;
use std::path::Path;

/// A database whose file stays small, so that a test is about what it holds.
fn options() -> Options {
    let mut options = Options::default();
    (options.bolt.growth_bytes, options.bolt.initial_map_bytes) = (4096, 0);
    options
}

#[derive(Clone, Debug)]
enum Step {
    Grant(i64, i64),
    Revoke(i64),
    Attach(u8, i64),
    Detach(u8),
    Checkpoint(i64, i64),
    Promote,
    Demote,
    Renew(i64),
    Due(usize),
    Wait(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 0i64..6;
    let key = || 0u8..8;
    let time_s = || prop_oneof![-1i64..5, 200i64..2000, Just(i64::MAX), Just(i64::MIN)];
    prop_oneof![
        4 => (id(), time_s()).prop_map(|(id, ttl)| Step::Grant(id, ttl)),
        2 => id().prop_map(Step::Revoke),
        4 => (key(), id()).prop_map(|(key, id)| Step::Attach(key, id)),
        1 => key().prop_map(Step::Detach),
        2 => (id(), time_s()).prop_map(|(id, left)| Step::Checkpoint(id, left)),
        2 => Just(Step::Promote),
        1 => Just(Step::Demote),
        3 => id().prop_map(Step::Renew),
        2 => (0usize..4).prop_map(Step::Due),
        2 => (0u64..1_000_000).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

struct Member {
    backend: Backend,
    lessor: Lessor,
    index: u64,
    now_ms: u64,
}

const CONFIG: Config = Config {
    ttl_min_s: 2,
    checkpoints: true,
    persist_checkpoints: true,
    checkpoint_interval_ms: 300_000,
};

impl Member {
    fn new() -> Member {
        let disk = SimDisk::new(1).disk();
        let backend = Backend::open(disk, Path::new("db"), options()).unwrap();
        let lessor = Lessor::open(&backend.reader().view(), CONFIG);
        Member { backend, lessor, index: 0, now_ms: 0 }
    }

    fn apply<T>(&mut self, act: impl FnOnce(&mut Lessor, &mut ApplyTxn<'_>) -> T) -> T {
        self.index += 1;
        let mut txn = self.backend.begin();
        let result = act(&mut self.lessor, &mut txn);
        txn.finish(EntryId { term: 1, index: self.index });
        result
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Grant(id, ttl) => {
                let _ = self.apply(|lessor, txn| lessor.grant(txn, id, ttl));
            }
            Step::Revoke(id) => {
                let _ = self.apply(|lessor, txn| lessor.revoke(txn, id));
            }
            Step::Attach(key, id) => self.lessor.attach(&Bytes::copy_from_slice(&[key]), id),
            Step::Detach(key) => self.lessor.detach(&Bytes::copy_from_slice(&[key])),
            Step::Checkpoint(id, remaining_ttl) => {
                let checkpoint = LeaseCheckpoint { id, remaining_ttl };
                self.apply(|lessor, txn| lessor.checkpoint(txn, &[checkpoint]));
            }
            Step::Promote => self.lessor.promote(self.now_ms, 1000),
            Step::Demote => self.lessor.demote(),
            Step::Renew(id) if self.lessor.is_primary() => {
                let _ = self.lessor.renew(id, self.now_ms);
            }
            Step::Renew(_) => {}
            Step::Due(max) => {
                let due = self.lessor.due_checkpoints(self.now_ms, max);
                assert!(due.len() <= max, "{} of {max} are due", due.len());
            }
            Step::Wait(ms) => {
                self.now_ms += ms;
                self.lessor.tick(self.now_ms);
            }
            Step::Restart => {
                let mut before = self.lessor.leases();
                self.lessor = Lessor::open(&self.backend.reader().view(), CONFIG);
                before.sort_unstable();
                assert_eq!(self.lessor.leases(), before, "leases changed over a restart");
            }
        }
        self.lessor.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn what_is_always_true_stays_true(steps in prop::collection::vec(step(), 1..200)) {
        let mut member = Member::new();
        for step in steps {
            member.act(step);
        }
    }
}
