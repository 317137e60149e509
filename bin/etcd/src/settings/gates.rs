//! Feature gates: `--feature-gates=Name=true,...`.

use super::{Node, Setting, Unfit};
use std::ffi::OsStr;

/// How far a gate of etcd's has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Alpha,
    Beta,
}

/// A gate of etcd.
struct Gate {
    name: &'static str,
    default: bool,
    stage: Stage,
    /// This version can do both: it has the feature, or nobody can tell.
    is_free: bool,
}

const fn alpha(name: &'static str, is_free: bool) -> Gate {
    Gate { name, default: false, stage: Stage::Alpha, is_free }
}

const fn beta(name: &'static str, is_free: bool) -> Gate {
    Gate { name, default: true, stage: Stage::Beta, is_free }
}

/// Every gate (reference: `server/features/etcd_features.go`).
const GATES: [Gate; 9] = [
    alpha("CompactHashCheck", false),
    beta("FastLeaseKeepAlive", true),
    alpha("InitialCorruptCheck", false),
    alpha(CHECKPOINT, true),
    alpha(CHECKPOINT_PERSIST, true),
    alpha("PriorityRequest", false),
    alpha("SetMemberLocalAddr", false),
    alpha("StopGRPCServiceOnDefrag", false),
    beta("TxnModeWriteWithSharedBuffer", true),
];
const CHECKPOINT: &str = "LeaseCheckpoint";
const CHECKPOINT_PERSIST: &str = "LeaseCheckpointPersist";

/// Gates that stand for all others of a stage that are not named.
const UMBRELLAS: [(&str, Stage); 2] = [("AllAlpha", Stage::Alpha), ("AllBeta", Stage::Beta)];

/// What was said of the gates. What is said later adds to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct FeatureGates {
    named: [Option<bool>; GATES.len()],
    umbrellas: [Option<bool>; UMBRELLAS.len()],
}

/// The gates that change what this version does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gates {
    /// The leader notes in the log how much time leases have left. With the cluster versions that
    /// this version serves, such notes are always stored; `LeaseCheckpointPersist` adds nothing.
    pub(crate) lease_checkpoint: bool,
    /// Whether they were asked to be stored.
    pub(crate) lease_checkpoint_persist: bool,
}

impl FeatureGates {
    fn add(&mut self, text: &str) -> Result<(), String> {
        let mut read = self.clone();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, value) = one(part)?;
            let umbrella = UMBRELLAS.iter().position(|(umbrella, _)| *umbrella == name);
            let gate = GATES.iter().position(|gate| gate.name == name);
            match (gate, umbrella) {
                (Some(at), _) => read.named[at] = Some(value),
                (None, Some(at)) => read.umbrellas[at] = Some(value),
                (None, None) => return Err(format!("unrecognized feature gate: {name}")),
            }
        }
        *self = read;
        Ok(())
    }

    /// By its own name or that of its stage.
    fn said_of(&self, at: usize) -> Option<bool> {
        let umbrella = UMBRELLAS.iter().position(|(_, stage)| *stage == GATES[at].stage);
        let of_stage = umbrella.and_then(|umbrella| self.umbrellas[umbrella]);
        self.named[at].or(of_stage)
    }

    fn is_on(&self, at: usize) -> bool {
        self.said_of(at).unwrap_or(GATES[at].default)
    }

    /// # Errors
    /// Features that this version does not have, and one without the other that it needs.
    pub(crate) fn check(&self) -> Result<Gates, String> {
        let is_on = |name| (0..GATES.len()).any(|at| GATES[at].name == name && self.is_on(at));
        let lease_checkpoint = is_on(CHECKPOINT);
        let lease_checkpoint_persist = is_on(CHECKPOINT_PERSIST);
        if lease_checkpoint_persist && !lease_checkpoint {
            return Err(format!(
                "enabling feature gate {CHECKPOINT_PERSIST} requires enabling feature gate \
                 {CHECKPOINT}"
            ));
        }
        let asked =
            (0..GATES.len()).find(|&at| !GATES[at].is_free && self.is_on(at) != GATES[at].default);
        if let Some(at) = asked {
            let (name, value) = (GATES[at].name, self.is_on(at));
            return Err(format!(
                "--feature-gates: {name}={value} is not supported by this version"
            ));
        }
        Ok(Gates { lease_checkpoint, lease_checkpoint_persist })
    }
}

impl Setting for FeatureGates {
    fn set_text(&mut self, text: &OsStr) -> Result<(), String> {
        self.add(text.to_str().ok_or("not UTF-8")?)
    }

    fn set_node(&mut self, node: &Node) -> Result<(), Unfit> {
        let mut text = String::new();
        text.set_node(node)?;
        self.add(&text).map_err(Unfit::Value)
    }

    fn show(&self) -> String {
        let gates = (0..GATES.len()).map(|at| (GATES[at].name, self.said_of(at)));
        let umbrellas = UMBRELLAS.iter().map(|(name, _)| *name).zip(self.umbrellas);
        let said = gates.chain(umbrellas).filter_map(|(name, value)| Some((name, value?)));
        let mut said: Vec<String> = said.map(|(name, value)| format!("{name}={value}")).collect();
        said.sort();
        said.join(",")
    }
}

fn one(part: &str) -> Result<(&str, bool), String> {
    let (name, value) = part.split_once('=').unwrap_or((part, ""));
    let (name, value) = (name.trim(), value.trim());
    if !part.contains('=') {
        return Err(format!("missing bool value for {name}"));
    }
    let read = cli::go::parse_bool(value);
    let value = read.map_err(|error| format!("invalid value of {name}={value}, err: {error}"))?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gates(lease_checkpoint: bool, lease_checkpoint_persist: bool) -> Gates {
        Gates { lease_checkpoint, lease_checkpoint_persist }
    }

    fn read(text: &str) -> Result<Gates, String> {
        let mut gates = FeatureGates::default();
        gates.set_text(OsStr::new(text))?;
        gates.check()
    }

    #[test]
    fn gates_are_read_as_etcd_reads_them() {
        assert_eq!(read(""), Ok(gates(false, false)));
        let on = read("LeaseCheckpointPersist=true, LeaseCheckpoint = T,FastLeaseKeepAlive=0");
        assert_eq!(on, Ok(gates(true, true)));
        assert_eq!(read("LeaseCheckpoint=1"), Ok(gates(true, false)));
        assert_eq!(read("CompactHashCheck=false"), Ok(gates(false, false)));
        assert_eq!(read("AllAlpha=false,AllBeta=false"), Ok(gates(false, false)));
    }

    #[test]
    fn what_is_said_later_adds_to_it() {
        let mut gates = FeatureGates::default();
        gates.set_text(OsStr::new("LeaseCheckpoint=true")).unwrap();
        gates.set_text(OsStr::new("LeaseCheckpointPersist=true")).unwrap();
        assert_eq!(gates.show(), "LeaseCheckpoint=true,LeaseCheckpointPersist=true");
        assert_eq!(gates.check(), Ok(self::gates(true, true)));
    }

    #[test]
    fn a_stage_is_shown_with_all_its_gates() {
        let mut gates = FeatureGates::default();
        gates.set_text(OsStr::new("AllBeta=false,FastLeaseKeepAlive=true")).unwrap();
        let all = "AllBeta=false,FastLeaseKeepAlive=true,TxnModeWriteWithSharedBuffer=false";
        assert_eq!(gates.show(), all);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |text: &str, what: &str| {
            let error = read(text).unwrap_err();
            assert!(error.contains(what), "{error}");
        };
        refused("Nonsense=true", "unrecognized feature gate: Nonsense");
        refused("LeaseCheckpoint", "missing bool value for LeaseCheckpoint");
        refused("LeaseCheckpoint=yes", "strconv.ParseBool: parsing \"yes\": invalid syntax");
        refused("LeaseCheckpointPersist=true", "requires enabling feature gate LeaseCheckpoint");
        refused("CompactHashCheck=true", "not supported by this version");
        refused("AllAlpha=true", "CompactHashCheck=true is not supported by this version");
    }
}
