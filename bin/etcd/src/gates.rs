//! Feature gates: `--feature-gates=Name=true,...`.

/// A gate of etcd.
struct Gate {
    name: &'static str,
    default: bool,
    /// This version can do both: it has the feature, or nobody can tell.
    is_free: bool,
}

const fn gate(name: &'static str, default: bool, is_free: bool) -> Gate {
    Gate { name, default, is_free }
}

/// Every gate (reference: `server/features/etcd_features.go`).
const GATES: &[Gate] = &[
    gate("CompactHashCheck", false, false),
    gate("FastLeaseKeepAlive", true, true),
    gate("InitialCorruptCheck", false, false),
    gate("LeaseCheckpoint", false, true),
    gate("LeaseCheckpointPersist", false, true),
    gate("PriorityRequest", false, false),
    gate("SetMemberLocalAddr", false, false),
    gate("StopGRPCServiceOnDefrag", false, false),
    gate("TxnModeWriteWithSharedBuffer", true, true),
];

/// The gates that change what this version does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gates {
    /// The leader notes in the log how much time leases have left. With the cluster versions that
    /// this version serves, such notes are always stored; `LeaseCheckpointPersist` adds nothing.
    pub(crate) lease_checkpoint: bool,
}

/// Reads the flag's value.
///
/// # Errors
/// Gates that do not exist, values that are no booleans, features that this version does not have.
pub(crate) fn read(text: &str) -> Result<Gates, String> {
    let mut values: Vec<bool> = GATES.iter().map(|gate| gate.default).collect();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (name, value) = one(part)?;
        let at = GATES
            .iter()
            .position(|gate| gate.name == name)
            .ok_or_else(|| format!("unrecognized feature gate: {name}"))?;
        if value != GATES[at].default && !GATES[at].is_free {
            return Err(format!("--feature-gates: {part} is not supported by this version"));
        }
        values[at] = value;
    }
    let is_on = |name| GATES.iter().zip(&values).any(|(gate, value)| gate.name == name && *value);
    let lease_checkpoint = is_on("LeaseCheckpoint");
    if is_on("LeaseCheckpointPersist") && !lease_checkpoint {
        return Err("enabling feature gate LeaseCheckpointPersist requires enabling feature gate \
                    LeaseCheckpoint"
            .into());
    }
    Ok(Gates { lease_checkpoint })
}

fn one(part: &str) -> Result<(&str, bool), String> {
    let (name, value) = part
        .split_once('=')
        .map(|(name, value)| (name.trim(), value.trim()))
        .ok_or_else(|| format!("missing bool value for {}", part.trim()))?;
    // What Go takes for a boolean.
    let value = match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
        "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
        _ => return Err(format!("invalid value of {name}={value}: not a boolean")),
    };
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_read_as_etcd_reads_them() {
        assert_eq!(read(""), Ok(Gates { lease_checkpoint: false }));
        let on = read("LeaseCheckpointPersist=true, LeaseCheckpoint = T,FastLeaseKeepAlive=0");
        assert_eq!(on, Ok(Gates { lease_checkpoint: true }));
        assert_eq!(read("CompactHashCheck=false"), Ok(Gates { lease_checkpoint: false }));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |text: &str, what: &str| {
            let error = read(text).unwrap_err();
            assert!(error.contains(what), "{error}");
        };
        refused("Nonsense=true", "unrecognized feature gate: Nonsense");
        refused("LeaseCheckpoint", "missing bool value for LeaseCheckpoint");
        refused("LeaseCheckpoint=yes", "not a boolean");
        refused("LeaseCheckpointPersist=true", "requires enabling feature gate LeaseCheckpoint");
        refused("CompactHashCheck=true", "not supported by this version");
    }
}
