//! Changes of the configuration lead where the reference's do.
#![allow(clippy::unwrap_used)] // the helpers of tests too

mod common;

use common::{Directive, changes as parse};
use proptest::prelude::*;
use proto::raftpb::ConfChangeSingle;
use raft::{Changer, Configuration, Tracker, describe, restore};

#[test]
fn configurations_follow_as_recorded() {
    common::run_foreign("confchange", || {
        let mut tracker = Tracker::new(10, 0);
        let mut last_index = 0;
        move |directive: &Directive| {
            let text = handle(&mut tracker, last_index, directive);
            last_index += 1;
            text.unwrap_or_else(|error| error + "\n")
        }
    });
}

fn handle(tracker: &mut Tracker, last_index: u64, directive: &Directive) -> Result<String, String> {
    let changes = parse(&directive.input)?;
    let changer = Changer { tracker, last_index };
    let auto_leave = directive.args.iter().find(|arg| arg.key == "autoleave");
    let auto_leave = auto_leave.is_some_and(|arg| arg.values[0] == "true");
    let changed = match directive.command.as_str() {
        "simple" => changer.simple(&changes),
        "enter-joint" => changer.enter_joint(auto_leave, &changes),
        "leave-joint" if !changes.is_empty() => return Err("this command takes no input".into()),
        "leave-joint" => changer.leave_joint(),
        _ => return Err("unknown command".into()),
    };
    (tracker.config, tracker.progress) = changed.map_err(|error| error.to_string())?;
    Ok(format!("{}\n{}", tracker.config, tracker.progress))
}

fn change() -> impl Strategy<Value = ConfChangeSingle> {
    (0..4i32, 1..6u64)
        .prop_map(|(kind, id)| ConfChangeSingle { r#type: Some(kind), node_id: Some(id) })
}

/// A tracker of voters 1, 2 and 3.
fn three_voters() -> Tracker {
    let mut tracker = Tracker::new(10, 0);
    for change in parse("v1 v2 v3").unwrap() {
        let changed = Changer { tracker: &tracker, last_index: 1 }.simple(&[change]).unwrap();
        (tracker.config, tracker.progress) = changed;
    }
    tracker
}

/// Whether every majority of one configuration shares a voter with every majority of the other.
fn overlap(one: &Configuration, other: &Configuration) -> bool {
    (0..64u64).all(|set| {
        let agrees = |config: &Configuration, bits: u64| {
            let said = |id: u64| Some(bits & (1 << id) != 0);
            config.voters.vote_result(said) == raft::VoteResult::Won
        };
        !(agrees(one, set) && agrees(other, !set))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Thesis, sections 4.1 and 4.3: no change lets two disjoint majorities decide.
    #[test]
    fn quorums_before_and_after_a_change_overlap(changes in prop::collection::vec(change(), 1..6)) {
        let mut tracker = three_voters();
        let changer = |tracker: &Tracker, changes: &[ConfChangeSingle]| {
            Changer { tracker, last_index: 1 }.enter_joint(false, changes)
        };
        if let Ok((simple, _)) = (Changer { tracker: &tracker, last_index: 1 }).simple(&changes) {
            prop_assert!(overlap(&tracker.config, &simple));
        }
        if let Ok(joint) = changer(&tracker, &changes) {
            prop_assert!(overlap(&tracker.config, &joint.0));
            (tracker.config, tracker.progress) = joint;
            let left = Changer { tracker: &tracker, last_index: 1 }.leave_joint().unwrap();
            prop_assert!(overlap(&tracker.config, &left.0));
        }
    }

    #[test]
    fn a_configuration_comes_back_from_its_message(
        changes in prop::collection::vec(change(), 1..6),
        auto_leave: bool,
    ) {
        let tracker = three_voters();
        let joint = Changer { tracker: &tracker, last_index: 1 }.enter_joint(auto_leave, &changes);
        if let Ok((config, _)) = joint {
            let state = config.to_conf_state();
            let again = restore(&tracker, 1, &state).unwrap();
            prop_assert_eq!(again.0, config, "{}", describe::conf_state(&state));
        }
    }
}
