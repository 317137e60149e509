//! Members that are broken on purpose are found out.
#![allow(clippy::unwrap_used)] // the helpers of tests too

use sim::{Failure, Mistake, Plan, run};

/// Seeds within which a mistake must show.
const SEEDS: u64 = 60;

/// The first failure that a mistake leads to.
fn found(mistake: Mistake) -> Failure {
    let broken = |seed| Plan {
        trouble_ms: 5_000,
        mistake: Some(mistake),
        ..Plan::new(seed, if seed % 2 == 0 { 3 } else { 5 })
    };
    let failure = (0..SEEDS).find_map(|seed| run(broken(seed)).err());
    *failure.unwrap_or_else(|| panic!("nobody noticed {mistake:?}"))
}

fn is_found_as(mistake: Mistake, properties: &[&str]) {
    let failure = found(mistake);
    let Failure { event, property, tail, .. } = &failure;
    assert!(properties.contains(property), "{failure}");
    assert!(tail.lines().count() == 50 || *event < 50);
}

#[test]
fn a_log_that_is_not_synced() {
    is_found_as(Mistake::SkipSync, &["durability", "election safety"]);
}

#[test]
fn an_acknowledgement_before_the_write() {
    is_found_as(Mistake::AcknowledgeEarly, &["durability", "state machine safety"]);
}

#[test]
fn an_entry_applied_before_it_is_committed() {
    is_found_as(Mistake::ApplyUncommitted, &["state machine safety", "linearizability"]);
}

#[test]
fn a_read_that_asks_nobody() {
    is_found_as(Mistake::ReadLocally, &["linearizability"]);
}

#[test]
fn a_vote_that_is_not_written() {
    is_found_as(Mistake::ForgetVote, &["durability", "election safety"]);
}

#[test]
fn a_received_database_that_is_not_synced() {
    // A crash leaves a file that cannot be read, or none of what it held.
    is_found_as(Mistake::UnsyncedSnapshot, &["no faults of its own", "revisions"]);
}
