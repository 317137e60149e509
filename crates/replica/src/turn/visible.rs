//! Who waits for something that a snapshot brought: the entry will not come any more, for it is among
//! those that the snapshot stands for.
//!
//! It is known of what leaves its mark in the state, whoever asked for it. Of a put it is not: another
//! may have written the same, and what the answer would have been is not in the state either.

use apply::{Kind, Machine, Reply};
use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmType};
use proto::membershippb as mpb;
use proto::raftpb::{ConfChange, ConfChangeType};

/// A proposal whose effect can be seen in the state.
pub enum Visible {
    /// A change of the membership.
    Change(ConfChange),
    /// A request of this kind.
    Request(Kind, Bytes),
}

impl Visible {
    /// What is kept of a request, where its effect can be seen.
    pub(crate) fn of(kind: Kind, request: &[u8]) -> Option<Visible> {
        let is_visible = matches!(
            kind,
            Kind::ClusterMemberAttrSet
                | Kind::ClusterVersionSet
                | Kind::DowngradeInfoSet
                | Kind::Alarm
        );
        is_visible.then(|| Visible::Request(kind, Bytes::copy_from_slice(request)))
    }

    /// The answer, if the state shows what was asked for.
    pub(crate) fn reply(&self, machine: &Machine) -> Option<Reply> {
        match self {
            Visible::Change(change) => is_changed(machine, change).then_some(Reply::Done),
            Visible::Request(kind, request) => request_reply(machine, *kind, request),
        }
    }
}

fn request_reply(machine: &Machine, kind: Kind, request: &Bytes) -> Option<Reply> {
    let members = &machine.members;
    let request = request.clone();
    let is_there = match kind {
        Kind::ClusterMemberAttrSet => {
            let asked = mpb::ClusterMemberAttrSetRequest::decode(request).ok()?;
            let attributes = asked.member_attributes.unwrap_or_default();
            members.get(asked.member_id).is_some_and(|member| {
                member.name == attributes.name && member.client_urls == attributes.client_urls
            })
        }
        Kind::ClusterVersionSet => {
            let asked = mpb::ClusterVersionSetRequest::decode(request).ok()?;
            members.cluster_version() == Some(asked.ver.as_str())
        }
        Kind::DowngradeInfoSet => {
            let asked = mpb::DowngradeInfoSetRequest::decode(request).ok()?;
            let downgrade = members.downgrade();
            downgrade.enabled == asked.enabled
                && (!asked.enabled || downgrade.target_version == asked.ver)
        }
        Kind::Alarm => return alarm_reply(machine, &AlarmRequest::decode(request).ok()?),
        _ => false,
    };
    is_there.then_some(Reply::Done)
}

fn alarm_reply(machine: &Machine, asked: &AlarmRequest) -> Option<Reply> {
    let is_raised =
        asked.action == AlarmAction::Activate as i32 && asked.alarm != AlarmType::None as i32;
    let alarm = AlarmMember { member_id: asked.member_id, alarm: asked.alarm };
    let raised = machine.alarms().list(asked.alarm);
    (is_raised && raised.contains(&alarm)).then(|| Reply::Alarm(vec![alarm]))
}

fn is_changed(machine: &Machine, change: &ConfChange) -> bool {
    let members = &machine.members;
    let member = members.get(change.node_id());
    match change.r#type() {
        ConfChangeType::ConfChangeRemoveNode => members.is_removed(change.node_id()),
        ConfChangeType::ConfChangeAddLearnerNode => member.is_some(),
        // A vote for one that was there before, or a member that was not.
        ConfChangeType::ConfChangeAddNode => member.is_some_and(|member| !member.is_learner),
        ConfChangeType::ConfChangeUpdateNode => {
            let asked: Option<membership::Member> = serde_json::from_slice(change.context()).ok();
            asked.zip(member).is_some_and(|(asked, member)| asked.peer_urls == member.peer_urls)
        }
    }
}
