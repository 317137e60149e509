//! Scripts whose outputs the reference gave, and what their commands share.
#![allow(clippy::unwrap_used)] // the helpers of tests too
#![allow(dead_code)] // not every test wants all of them

use proto::raftpb::{ConfChangeSingle, ConfChangeType};
pub(crate) use script::Directive;
use script::Suite;
use std::env;
use std::path::{Path, PathBuf};

/// Runs the scripts of the reference's own tests, where they are on this machine. The project does
/// not carry them: what it shows by itself is in `tests/scripts`.
pub(crate) fn run_foreign<M: FnMut(&Directive) -> String>(kind: &str, machine: impl FnMut() -> M) {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/raft");
    let root = env::var_os("HOLDFAST_RAFT_TRACES").map_or(default, PathBuf::from);
    Suite::foreign(root.join(kind)).compared_by(without_log).run(machine);
}

/// Runs the scripts in `tests/scripts`, whose outputs a program in `interop` recorded.
pub(crate) fn run_recorded<M: FnMut(&Directive) -> String>(
    count_min: usize,
    machine: impl FnMut() -> M,
) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    Suite::recorded(dir, count_min).compared_by(without_log).run(machine);
}

/// The reference's log text is not compared. A command that says nothing else says `ok`.
fn without_log(text: &str) -> String {
    let is_log = |line: &&str| {
        let word = line.trim_start().split(' ').next().unwrap_or_default();
        ["DEBUG", "INFO", "WARN", "ERROR", "FATAL"].contains(&word)
    };
    let kept: String =
        text.lines().filter(|line| !is_log(line)).map(|l| format!("{l}\n")).collect();
    if kept.is_empty() && !text.is_empty() { "ok\n".into() } else { kept }
}

/// Changes as the scripts write them; see [`raft::describe::conf_changes`].
pub(crate) fn changes(input: &str) -> Result<Vec<ConfChangeSingle>, String> {
    input.split(' ').filter(|token| !token.is_empty()).map(change).collect()
}

fn change(token: &str) -> Result<ConfChangeSingle, String> {
    if token.len() < 2 {
        return Err(format!("unknown token {token}"));
    }
    let (letter, id) = token.split_at(1);
    let kind = match letter {
        "v" => ConfChangeType::ConfChangeAddNode,
        "l" => ConfChangeType::ConfChangeAddLearnerNode,
        "r" => ConfChangeType::ConfChangeRemoveNode,
        "u" => ConfChangeType::ConfChangeUpdateNode,
        _ => return Err(format!("unknown input: {token}")),
    };
    let wrong = |_| format!("strconv.ParseUint: parsing {id:?}: invalid syntax");
    let id = id.parse().map_err(wrong)?;
    Ok(ConfChangeSingle { r#type: Some(kind as i32), node_id: Some(id) })
}
