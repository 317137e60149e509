//! What stands behind a command.

use crate::common::{Directive, changes};
use proto::raftpb::{ConfChange, ConfChangeTransition, ConfChangeV2, ConfState};
use raft::{Config, Dropped, Node, ReadOnly, Storage};

/// What `add-nodes` says of new members.
pub(crate) struct NewMembers {
    pub(crate) config: Config,
    /// The configuration, index and content of the snapshot that they begin with.
    pub(crate) conf_state: ConfState,
    pub(crate) index: u64,
    pub(crate) content: String,
}

impl NewMembers {
    pub(crate) fn parse(directive: &Directive) -> Result<NewMembers, String> {
        let config = Config {
            election_ticks: super::member::ELECTION_TICKS,
            heartbeat_ticks: super::member::HEARTBEAT_TICKS,
            message_bytes_max: raft::wire::NO_LIMIT,
            inflight_count_max: i32::MAX as usize,
            ..Config::default()
        };
        let conf_state = ConfState { auto_leave: Some(false), ..ConfState::default() };
        let mut new = NewMembers { config, conf_state, index: 0, content: String::new() };
        for arg in &directive.args[1..] {
            for value in &arg.values {
                new.set(&arg.key, value)?;
            }
        }
        Ok(new)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let config = &mut self.config;
        match key {
            "voters" => self.conf_state.voters.push(number(value)),
            "learners" => self.conf_state.learners.push(number(value)),
            "inflight" => config.inflight_count_max = number(value) as usize,
            "index" => {
                self.index = number(value);
                config.applied = self.index;
            }
            "content" => value.clone_into(&mut self.content),
            "async-storage-writes" => config.async_storage_writes = boolean(value),
            "prevote" => config.pre_vote = boolean(value),
            "checkquorum" => config.check_quorum = boolean(value),
            "max-committed-size-per-ready" => config.applying_bytes_max = number(value),
            "disable-conf-change-validation" => {
                config.disable_conf_change_validation = boolean(value);
            }
            "read-only" => {
                config.read_only = match value {
                    "safe" => ReadOnly::Safe,
                    "lease-based" => ReadOnly::LeaseBased,
                    _ => return Err(format!("invalid read-only option {value:?}")),
                }
            }
            "step-down-on-removal" => config.step_down_on_removal = boolean(value),
            _ => {}
        }
        Ok(())
    }
}

pub(crate) fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

fn boolean(text: &str) -> bool {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => true,
        "0" | "f" | "F" | "FALSE" | "false" | "False" => false,
        _ => panic!("{text} is neither true nor false"),
    }
}

/// The members that a command names.
pub(crate) fn ids(directive: &Directive) -> Vec<u64> {
    let named = directive.args.iter().filter(|arg| arg.values.is_empty());
    named.filter_map(|arg| arg.key.parse().ok()).collect()
}

/// What a key is set to.
pub(crate) fn value<'a>(directive: &'a Directive, key: &str) -> Option<&'a str> {
    let arg = directive.args.iter().find(|arg| arg.key == key)?;
    arg.values.first().map(String::as_str)
}

/// A change in one of its two forms.
pub(crate) enum Proposed {
    One(ConfChange),
    Many(ConfChangeV2),
}

impl Proposed {
    pub(crate) fn propose<S: Storage>(&self, node: &mut Node<S>) -> Result<(), Dropped> {
        match self {
            Proposed::One(change) => node.propose_conf_change(change),
            Proposed::Many(change) => node.propose_conf_change_v2(change),
        }
    }
}

pub(crate) fn conf_change(directive: &Directive) -> Result<Proposed, String> {
    let mut one = false;
    let mut transition = ConfChangeTransition::Auto;
    for arg in &directive.args[1..] {
        for value in &arg.values {
            match (arg.key.as_str(), value.as_str()) {
                ("v1", value) => one = boolean(value),
                ("transition", "auto") => transition = ConfChangeTransition::Auto,
                ("transition", "implicit") => transition = ConfChangeTransition::JointImplicit,
                ("transition", "explicit") => transition = ConfChangeTransition::JointExplicit,
                ("transition", value) => return Err(format!("unknown transition {value}")),
                (key, _) => return Err(format!("unknown command {key}")),
            }
        }
    }
    let changes = changes(&directive.input)?;
    if !one {
        let transition = Some(transition as i32);
        return Ok(Proposed::Many(ConfChangeV2 { transition, changes, context: None }));
    }
    if changes.len() > 1 || transition != ConfChangeTransition::Auto {
        return Err("v1 conf change can only have one operation and no transition".into());
    }
    let (kind, id) = (changes[0].r#type, changes[0].node_id);
    Ok(Proposed::One(ConfChange { r#type: kind, node_id: id, ..ConfChange::default() }))
}
