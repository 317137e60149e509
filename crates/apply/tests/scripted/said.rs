//! Outcomes as scripts print them.

use apply::{Effect, Outcome, Refusal, Reply};
use mvcc::{Change, Kv};
use proto::etcdserverpb::AlarmMember;
use proto::mvccpb::KeyValue;

/// What an entry led to: its answer, what watchers see, what the member must do.
pub(crate) fn outcome(outcome: &Outcome) -> String {
    let mut text = match &outcome.result {
        Ok(reply) => format!("{}\n", lines(reply, "")),
        Err(refusal) => format!("refused: {}\n", refused(*refusal)),
    };
    if let Some(change) = &outcome.change {
        text += &format!("change {}: {}\n", change.revision, changes(change));
    }
    text += &match &outcome.effect {
        Effect::None => String::new(),
        Effect::ConfChange(change) if change.node_id() == 0 => "raft: no change\n".into(),
        Effect::ConfChange(change) => {
            format!("raft: {} {:x}\n", change.r#type().as_str_name(), change.node_id())
        }
        Effect::Compact(revision) => format!("to do: compact up to {revision}\n"),
        Effect::OutOfSpace => "to do: raise the alarm before the client hears of it\n".into(),
        Effect::ClusterVersion { is_lower: true } => "to do: cut the log, it is older now\n".into(),
        Effect::ClusterVersion { is_lower: false } => {
            "to do: follow the cluster's version\n".into()
        }
    };
    text
}

fn lines(reply: &Reply, indent: &str) -> String {
    let prev = |prev: &[Kv]| match prev {
        [] => String::new(),
        prev => format!(", before: {}", prev.iter().map(kv).collect::<Vec<_>>().join(" ")),
    };
    match reply {
        Reply::Put { revision, prev: before } => {
            format!("{indent}put at {revision}{}", prev(before.as_slice()))
        }
        Reply::DeleteRange { revision, deleted, prev: before } => {
            format!("{indent}deleted {deleted} at {revision}{}", prev(before))
        }
        Reply::Range(range) => {
            let kvs: Vec<String> = range.kvs.iter().map(kv).collect();
            let more = if range.more { ", and more" } else { "" };
            let (revision, count) = (range.revision, range.count);
            let kvs = if kvs.is_empty() { "none shown".into() } else { kvs.join(" ") };
            format!("{indent}{count} keys at {revision}: {kvs}{more}")
        }
        Reply::Txn(txn) => {
            let branch = if txn.succeeded { "then" } else { "else" };
            let mut text = format!("{indent}{branch}");
            if txn.revision != 0 {
                text += &format!(" at {}", txn.revision);
            }
            for response in &txn.responses {
                let deeper = format!("{indent}  ");
                let line =
                    response.as_ref().map_or(format!("{deeper}nothing"), |one| lines(one, &deeper));
                text = text + "\n" + &line;
            }
            text
        }
        Reply::Compaction { revision } => format!("{indent}compaction is promised at {revision}"),
        Reply::LeaseGrant { id, ttl, revision } => {
            format!("{indent}lease {id} of {ttl} s at {revision}")
        }
        Reply::LeaseRevoke { revision } => format!("{indent}lease revoked at {revision}"),
        Reply::LeaseCheckpoint { revision } => format!("{indent}noted at {revision}"),
        Reply::Alarm(alarms) => format!("{indent}alarms: {}", self::alarms(alarms)),
        Reply::Done => format!("{indent}done"),
    }
}

fn kv(kv: &Kv) -> String {
    stored(&kv.decode())
}

/// A key-value with what is not at its default: `k=v(create 2, mod 3, version 2, lease 1)`.
pub(crate) fn stored(kv: &KeyValue) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let lease = if kv.lease == 0 { String::new() } else { format!(", lease {}", kv.lease) };
    format!(
        "{}={}(create {}, mod {}, version {}{lease})",
        text(&kv.key),
        text(&kv.value),
        kv.create_revision,
        kv.mod_revision,
        kv.version
    )
}

fn changes(change: &Change) -> String {
    let events = change.events.iter().map(|event| {
        let key = String::from_utf8_lossy(&event.key);
        match (event.is_tombstone, event.is_create) {
            (true, _) => format!("{key} deleted"),
            (false, true) => format!("{key} created"),
            (false, false) => format!("{key} put"),
        }
    });
    events.collect::<Vec<_>>().join(", ")
}

pub(crate) fn alarms(alarms: &[AlarmMember]) -> String {
    if alarms.is_empty() {
        return "none".into();
    }
    let one = |alarm: &AlarmMember| {
        let kind = match alarm.alarm {
            1 => "nospace",
            2 => "corrupt",
            _ => "unknown",
        };
        format!("{kind} of {}", alarm.member_id)
    };
    alarms.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn refused(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::EmptyKey => "key is not provided",
        Refusal::KeyNotFound => "key not found",
        Refusal::Compacted => "required revision has been compacted",
        Refusal::FutureRevision => "required revision is a future revision",
        Refusal::InvalidSort => "invalid sort option",
        Refusal::LeaseNotFound => "requested lease not found",
        Refusal::LeaseExists => "lease already exists",
        Refusal::LeaseTtlTooLarge => "too large lease TTL",
        Refusal::NoSpace => "database space exceeded",
        Refusal::Corrupt => "corrupt cluster",
        Refusal::UnknownAlarmAction => "unknown alarm action",
        Refusal::MemberExists => "member ID already exist",
        Refusal::MemberNotFound => "member not found",
        Refusal::PeerUrlExists => "Peer URLs already exists",
        Refusal::MemberNotLearner => "can only promote a learner member",
        Refusal::TooManyLearners => "too many learner members in cluster",
        Refusal::MemberBadUrls => "given member URLs are invalid",
        Refusal::MemberRemoved => "the member has been removed",
        Refusal::NotSupported => "not supported",
    }
}
