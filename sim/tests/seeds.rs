//! Some dozen seeds, and some of them twice.
#![allow(clippy::unwrap_used)] // the helpers of tests too

use sim::{Counts, Plan, Summary, run};

/// As many as a test may take; the program runs thousands.
const SEEDS: u64 = 50;

/// Short runs: they are many.
fn plan(seed: u64) -> Plan {
    Plan { trouble_ms: 3_000, ..Plan::new(seed, Plan::members_of(seed)) }
}

fn holds(plan: Plan) -> Summary {
    run(plan).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn everything_holds() {
    let mut total = Counts::default();
    for seed in 0..SEEDS {
        total.add(&holds(plan(seed)).counts);
    }
    // A world in which nothing happens would prove nothing.
    assert!(total.writes > 1_000 && total.reads > 400 && total.failures > 100, "{total:?}");
    assert!(total.stops > 200 && total.databases > 15 && total.restores > 8, "{total:?}");
    assert!(total.watched > 400 && total.no_space > 20 && total.departures > 20, "{total:?}");
    assert!(total.expiries > 80 && total.renewals > 50 && total.forwarded > 20, "{total:?}");
    assert!(total.checkpoints > 20, "{total:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1_000..1_008 {
        assert_eq!(holds(plan(seed)), holds(plan(seed)));
    }
    assert_ne!(holds(plan(1)).hash, holds(plan(3)).hash);
}
