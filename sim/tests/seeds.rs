//! Some hundred seeds, and each of them twice at first.
#![allow(clippy::unwrap_used)] // the helpers of tests too

use sim::{Plan, Summary, run};

/// Short runs: they are many.
fn plan(seed: u64) -> Plan {
    Plan { trouble_ms: 4_000, ..Plan::new(seed, Plan::members_of(seed)) }
}

fn holds(plan: Plan) -> Summary {
    run(plan).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn everything_holds() {
    let (mut writes, mut reads, mut stops, mut databases) = (0, 0, 0, 0);
    for seed in 0..200 {
        let counts = holds(plan(seed)).counts;
        writes += counts.writes;
        reads += counts.reads;
        stops += counts.stops;
        databases += counts.databases;
    }
    // A world in which nothing happens would prove nothing.
    assert!(writes > 5_000 && reads > 2_000, "{writes} writes, {reads} reads");
    assert!(stops > 800 && databases > 50, "{stops} stops, {databases} databases");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1_000..1_015 {
        assert_eq!(holds(plan(seed)), holds(plan(seed)));
    }
    assert_ne!(holds(plan(1)).hash, holds(plan(3)).hash);
}
