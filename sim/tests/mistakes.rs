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
    is_found_as(
        Mistake::ApplyUncommitted,
        &["state machine safety", "linearizability", "visibility"],
    );
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

#[test]
fn an_answer_before_watchers_are_on_their_way() {
    is_found_as(Mistake::AnswerBeforeWatchers, &["visibility"]);
}

#[test]
fn an_index_before_the_members_it_stands_for() {
    is_found_as(Mistake::IndexBeforeMembers, &["visibility"]);
}

#[test]
fn a_hub_that_takes_the_revision_it_finds_after_a_restore() {
    is_found_as(Mistake::RestoreAsksLate, &["visibility", "watching"]);
}

#[test]
fn a_lease_revoked_by_a_member_that_does_not_know_that_it_was_succeeded() {
    is_found_as(Mistake::RevokeUnconfirmed, &["leases"]);
}

#[test]
fn a_read_before_its_index() {
    is_found_as(Mistake::IndexBeforeApply, &["linearizability", "visibility"]);
}

#[test]
fn a_proposal_of_a_client_that_has_left() {
    is_found_as(Mistake::ProposeForTheDeparted, &["departures"]);
}

#[test]
fn waiters_lost_on_a_change_of_the_leader() {
    is_found_as(Mistake::LoseWaiters, &["answers"]);
}

#[test]
fn a_message_that_wakes_nobody() {
    is_found_as(Mistake::SleepOnUrgent, &["wake-ups"]);
}

#[test]
fn a_checkpoint_made_twice() {
    is_found_as(Mistake::CheckpointTwice, &["leases"]);
}

#[test]
fn a_database_sent_without_a_commit() {
    is_found_as(Mistake::SendUncommitted, &["snapshots"]);
}

#[test]
fn watchers_that_do_not_hear_of_a_restore() {
    is_found_as(Mistake::AnchorWatchersWrong, &["watching"]);
}
