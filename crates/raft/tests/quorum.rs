//! Majorities and joint majorities decide as the reference's do.
#![allow(clippy::unwrap_used)] // the helpers of tests too

mod common;

use common::Directive;
use raft::{Joint, Majority};
use std::collections::BTreeMap;
use std::fmt::Write;

#[test]
fn quorums_decide_as_recorded() {
    common::run_foreign("quorum", || handle);
}

/// What a script says of voters. 0 stands for a voter of whom nothing is known.
#[derive(Default)]
struct Case {
    ids: Vec<u64>,
    joint_ids: Option<Vec<u64>>,
    indexes: Vec<u64>,
    votes: Vec<u64>,
}

impl Case {
    fn of(directive: &Directive) -> Case {
        let mut case = Case::default();
        for arg in &directive.args {
            let numbers = arg.values.iter().filter(|value| *value != "zero");
            match arg.key.as_str() {
                "cfg" => case.ids = numbers.map(|id| id.parse().unwrap()).collect(),
                "cfgj" => case.joint_ids = Some(numbers.map(|id| id.parse().unwrap()).collect()),
                "idx" => {
                    case.indexes = numbers.map(|index| index.parse().unwrap_or(0)).collect();
                }
                "votes" => case.votes = arg.values.iter().map(|vote| number(vote)).collect(),
                key => panic!("unknown arg {key}"),
            }
        }
        case
    }

    /// Gives each voter what stands at its place, in the order in which they are first named.
    fn known(&self, values: &[u64]) -> BTreeMap<u64, u64> {
        let mut seen = Vec::new();
        for id in self.ids.iter().chain(self.joint_ids.iter().flatten()) {
            if !seen.contains(id) {
                seen.push(*id);
            }
        }
        seen.into_iter().zip(values.iter().copied()).filter(|(_, value)| *value != 0).collect()
    }

    fn voters(&self) -> Joint {
        let outgoing = self.joint_ids.clone().unwrap_or_default();
        Joint {
            incoming: self.ids.iter().copied().collect(),
            outgoing: outgoing.into_iter().collect(),
        }
    }
}

fn number(vote: &str) -> u64 {
    match vote {
        "_" => 0,
        "n" => 1,
        "y" => 2,
        other => panic!("unknown vote: {other}"),
    }
}

fn handle(directive: &Directive) -> String {
    let case = Case::of(directive);
    let values = if directive.command == "vote" { &case.votes } else { &case.indexes };
    let voters = case.voters();
    let ids = voters.ids();
    if ids.len() != values.len() {
        let ids = ids.iter().map(|id| format!("{id}:{{}}")).collect::<Vec<_>>().join(" ");
        let values = values.iter().map(|value| index(*value)).collect::<Vec<_>>().join(" ");
        return format!(
            "error: mismatched input (explicit or _) for voters map[{ids}]: [{values}]"
        );
    }
    let known = case.known(values);
    match (directive.command.as_str(), case.joint_ids.is_some()) {
        ("committed", false) => committed(&voters.incoming, &known),
        ("committed", true) => committed_jointly(&voters, &known),
        ("vote", _) => vote(&voters, &known, case.joint_ids.is_some()),
        (other, _) => panic!("unknown command: {other}"),
    }
}

fn swapped(voters: &Joint) -> Joint {
    Joint { incoming: voters.outgoing.clone(), outgoing: voters.incoming.clone() }
}

fn committed(voters: &Majority, known: &BTreeMap<u64, u64>) -> String {
    let acked = |id| known.get(&id).copied();
    let decided = voters.committed_index(acked);
    let mut text = describe(voters, known);
    let alone = Joint { incoming: voters.clone(), outgoing: Majority::default() };
    let twice = Joint { incoming: voters.clone(), outgoing: voters.clone() };
    let others = [
        ("alternative computation", by_definition(voters, known)),
        ("zero-joint quorum", alone.committed_index(acked)),
        ("self-joint quorum", twice.committed_index(acked)),
    ];
    for (how, other) in others.into_iter().filter(|(_, other)| *other != decided) {
        let _ = writeln!(text, "{} <-- via {how}", index(other));
    }
    // What lies below the decision may lie lower still.
    for (id, known_index) in known.iter().filter(|(_, known)| decided > **known) {
        for lower in [known_index - 1, 0] {
            let acked = |other| if other == *id { Some(lower) } else { acked(other) };
            let other = voters.committed_index(acked);
            if other != decided {
                let _ = write!(text, "{} <-- overlaying {id}->{lower}", index(other));
            }
        }
    }
    text + &index(decided) + "\n"
}

/// The highest index that as many have acknowledged as make a majority, by trying each.
fn by_definition(voters: &Majority, known: &BTreeMap<u64, u64>) -> u64 {
    if voters.0.is_empty() {
        return u64::MAX;
    }
    let acked: Vec<u64> = voters.0.iter().filter_map(|id| known.get(id)).copied().collect();
    let is_held = |at: &&u64| acked.iter().filter(|index| index >= at).count() > voters.0.len() / 2;
    acked.iter().filter(is_held).max().copied().unwrap_or(0)
}

fn committed_jointly(voters: &Joint, known: &BTreeMap<u64, u64>) -> String {
    let acked = |id| known.get(&id).copied();
    let mut text = describe(&Majority(voters.ids()), known);
    let decided = voters.committed_index(acked);
    let other = swapped(voters).committed_index(acked);
    if other != decided {
        let _ = writeln!(text, "{} <-- via symmetry", index(other));
    }
    text + &index(decided) + "\n"
}

fn vote(voters: &Joint, known: &BTreeMap<u64, u64>, is_joint: bool) -> String {
    let said = |id| known.get(&id).map(|vote| *vote != 1);
    if !is_joint {
        return format!("{}\n", voters.incoming.vote_result(said));
    }
    let (result, other) = (voters.vote_result(said), swapped(voters).vote_result(said));
    let symmetry =
        if other == result { String::new() } else { format!("{other} <-- via symmetry\n") };
    format!("{symmetry}{result}\n")
}

fn index(index: u64) -> String {
    if index == u64::MAX { "∞".into() } else { index.to_string() }
}

/// A bar for each voter, longer for a higher index.
fn describe(voters: &Majority, known: &BTreeMap<u64, u64>) -> String {
    let count = voters.0.len();
    if count == 0 {
        return "<empty majority quorum>".into();
    }
    let index_of = |id: &u64| known.get(id).copied().unwrap_or(0);
    let mut text = format!("{}    idx\n", " ".repeat(count));
    for id in &voters.0 {
        let bar = voters.0.iter().filter(|other| index_of(other) < index_of(id)).count();
        let bar = if known.contains_key(id) {
            format!("{}>{}", "x".repeat(bar), " ".repeat(count - bar))
        } else {
            format!("?{}", " ".repeat(count))
        };
        let _ = writeln!(text, "{bar} {:>5}    (id={id:x})", index_of(id));
    }
    text
}
