//! One entry's request against the tables, in one transaction: what each kind of it does.

use crate::effect::Effect;
use crate::quota::Quota;
use crate::{Alarms, Refusal, Reply, kv, txn as transaction, versions};
use backend::ApplyTxn;
use lease::Lessor;
use membership::Members;
use mvcc::{Change, Operations, Store};
use proto::etcdserverpb as pb;
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmType};
use proto::membershippb as mpb;

/// One entry on its way: what it may touch, and what it led to.
pub(crate) struct Step<'b, 'm> {
    pub(crate) txn: ApplyTxn<'b>,
    pub(crate) store: &'m mut Store,
    pub(crate) lessor: &'m mut Lessor,
    pub(crate) members: &'m mut Members,
    pub(crate) alarms: &'m mut Alarms,
    pub(crate) quota: Quota,
    pub(crate) size_bytes: u64,
    /// Nobody here waits for the reply: reads in a transaction are left out.
    pub(crate) skip_ranges: bool,
    pub(crate) change: Option<Change>,
    pub(crate) effect: Effect,
    pub(crate) operations: Operations,
}

impl Step<'_, '_> {
    fn write(
        &mut self,
        act: impl FnOnce(&mut mvcc::WriteTxn<'_, '_>, &mut Lessor) -> Result<Reply, Refusal>,
    ) -> Result<Reply, Refusal> {
        let mut txn = self.store.begin(&mut self.txn);
        let reply = act(&mut txn, self.lessor);
        self.operations = txn.operations();
        self.change = txn.end();
        reply
    }
}

type Applied = Result<Reply, Refusal>;

/// A read that reached the log changes nothing.
pub(crate) fn range(_step: &mut Step<'_, '_>, _request: pb::RangeRequest) -> Applied {
    Ok(Reply::Done)
}

pub(crate) fn put(step: &mut Step<'_, '_>, request: pb::PutRequest) -> Applied {
    step.write(|txn, lessor| kv::put(txn, lessor, &request))
}

pub(crate) fn delete_range(step: &mut Step<'_, '_>, request: pb::DeleteRangeRequest) -> Applied {
    step.write(|txn, lessor| Ok(kv::delete_range(txn, lessor, &request)))
}

pub(crate) fn txn(step: &mut Step<'_, '_>, request: pb::TxnRequest) -> Applied {
    let skip_ranges = step.skip_ranges;
    step.write(|txn, lessor| transaction::apply(txn, lessor, &request, skip_ranges).map(Reply::Txn))
}

pub(crate) fn compact(step: &mut Step<'_, '_>, request: pb::CompactionRequest) -> Applied {
    step.store.schedule_compaction(&mut step.txn, request.revision)?;
    step.effect = Effect::Compact(request.revision);
    Ok(Reply::Compaction { revision: step.store.revision() })
}

pub(crate) fn grant(step: &mut Step<'_, '_>, request: pb::LeaseGrantRequest) -> Applied {
    let granted = step.lessor.grant(&mut step.txn, request.id, request.ttl)?;
    let revision = step.store.revision();
    Ok(Reply::LeaseGrant { id: request.id, ttl: granted.ttl, revision })
}

/// The lease's record and all its keys go in one revision.
pub(crate) fn revoke(step: &mut Step<'_, '_>, request: pb::LeaseRevokeRequest) -> Applied {
    let keys = step.lessor.revoke(&mut step.txn, request.id)?;
    let mut txn = step.store.begin(&mut step.txn);
    for key in &keys {
        txn.delete_range(key, &bytes::Bytes::new(), false);
    }
    step.operations = txn.operations();
    step.change = txn.end();
    let revision = step.change.as_ref().map_or(step.store.revision(), |change| change.revision);
    Ok(Reply::LeaseRevoke { revision })
}

pub(crate) fn checkpoint(step: &mut Step<'_, '_>, request: pb::LeaseCheckpointRequest) -> Applied {
    step.lessor.checkpoint(&mut step.txn, &request.checkpoints);
    Ok(Reply::LeaseCheckpoint { revision: step.store.revision() })
}

pub(crate) fn alarm(step: &mut Step<'_, '_>, request: AlarmRequest) -> Applied {
    let alarm = AlarmMember { member_id: request.member_id, alarm: request.alarm };
    let changed = match AlarmAction::try_from(request.action) {
        Ok(AlarmAction::Get) => step.alarms.list(request.alarm),
        Ok(AlarmAction::Activate) if request.alarm == AlarmType::None as i32 => vec![],
        Ok(AlarmAction::Activate) => {
            step.alarms.raise(&mut step.txn, alarm);
            vec![alarm]
        }
        Ok(AlarmAction::Deactivate) => {
            let lowered = step.alarms.lower(&mut step.txn, alarm);
            if lowered { vec![alarm] } else { vec![] }
        }
        Err(_) => return Err(Refusal::UnknownAlarmAction),
    };
    Ok(Reply::Alarm(changed))
}

pub(crate) fn set_cluster_version(
    step: &mut Step<'_, '_>,
    request: mpb::ClusterVersionSetRequest,
) -> Applied {
    let is_lower = versions::is_below(&request.ver, step.members.cluster_version());
    step.members.set_cluster_version(&mut step.txn, &request.ver);
    step.effect = Effect::ClusterVersion { is_lower };
    Ok(Reply::Done)
}

pub(crate) fn set_attributes(
    step: &mut Step<'_, '_>,
    request: mpb::ClusterMemberAttrSetRequest,
) -> Applied {
    let attributes = request.member_attributes.unwrap_or_default();
    let (name, urls) = (attributes.name, attributes.client_urls);
    step.members.set_attributes(&mut step.txn, request.member_id, name, urls);
    Ok(Reply::Done)
}

pub(crate) fn set_downgrade(
    step: &mut Step<'_, '_>,
    request: mpb::DowngradeInfoSetRequest,
) -> Applied {
    step.members.set_downgrade(&mut step.txn, request.enabled, &request.ver);
    Ok(Reply::Done)
}
