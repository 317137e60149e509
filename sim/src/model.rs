//! What the log means, told a second time and as simply as can be: the members' stores are
//! compared with it.

use apply::{Request, envelope};
use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb as pb;
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::compare::TargetUnion;
use proto::etcdserverpb::request_op::Request as Op;
use proto::raftpb::{ConfChange, ConfChangeType, Entry, EntryType};
use std::collections::{BTreeMap, BTreeSet};

/// Learners that members allow.
const LEARNERS_MAX: usize = 3;

/// A key's newest state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyState {
    pub(crate) value: Bytes,
    pub(crate) create_revision: i64,
    pub(crate) mod_revision: i64,
    pub(crate) version: i64,
    pub(crate) lease: i64,
}

/// A committed entry and what it must lead to.
#[derive(Clone, Debug)]
pub(crate) struct Committed {
    pub(crate) entry: Entry,
    /// The request's id.
    pub(crate) id: u64,
    /// Whether it is accepted.
    pub(crate) accepted: bool,
    /// The revision after it.
    pub(crate) revision: i64,
}

/// The cluster's log as far as it is known to be committed, and the state it leads to.
#[derive(Default)]
pub(crate) struct Model {
    log: Vec<Committed>,
    revision: i64,
    compacted: i64,
    /// For each key, its state after the entries that changed it.
    keys: BTreeMap<Bytes, Vec<(u64, Option<KeyState>)>>,
    leases: BTreeMap<i64, BTreeSet<Bytes>>,
    /// Lease -> its time to live in seconds, of all that ever were.
    granted: BTreeMap<i64, i64>,
    /// Lease -> the least that a checkpoint ever left it, in seconds.
    left: BTreeMap<i64, i64>,
    /// Alarms that are raised: their kind and member.
    alarms: BTreeSet<(i32, u64)>,
    /// Member -> whether it is a learner.
    members: BTreeMap<u64, bool>,
    /// The members after the entries that changed them.
    members_history: Vec<(u64, BTreeMap<u64, bool>)>,
    removed: BTreeSet<u64>,
    /// Revision -> what watchers hear of it.
    events: BTreeMap<i64, Vec<Event>>,
}

/// One change of a key, as watchers hear of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) key: Bytes,
    /// `None` where the key was deleted.
    pub(crate) value: Option<Bytes>,
}

impl Model {
    pub(crate) fn new() -> Model {
        Model { revision: 1, compacted: -1, ..Model::default() }
    }

    /// The last committed entry known.
    pub(crate) fn index(&self) -> u64 {
        self.log.len() as u64
    }

    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }

    pub(crate) fn compacted(&self) -> i64 {
        self.compacted
    }

    pub(crate) fn leases(&self) -> Vec<i64> {
        self.leases.keys().copied().collect()
    }

    /// A lease's time to live in seconds, and the least that it ever had left by a checkpoint.
    pub(crate) fn lease_times(&self, lease: i64) -> (i64, i64) {
        let ttl = self.granted.get(&lease).copied().unwrap_or(0);
        (ttl, self.left.get(&lease).copied().unwrap_or(ttl).min(ttl))
    }

    /// Members that have raised the alarm of a full database.
    pub(crate) fn full_members(&self) -> Vec<u64> {
        self.alarms.iter().map(|(_, member)| *member).collect()
    }

    /// What watchers hear of revisions from `from` on.
    pub(crate) fn events_from(&self, from: i64) -> impl Iterator<Item = (i64, &Vec<Event>)> {
        self.events.range(from..).map(|(revision, events)| (*revision, events))
    }

    /// The members after the entry at `index`.
    pub(crate) fn members_at(&self, index: u64) -> BTreeMap<u64, bool> {
        let count = self.members_history.partition_point(|(at, _)| *at <= index);
        self.members_history[..count].last().map(|(_, members)| members.clone()).unwrap_or_default()
    }

    /// Each member with whether it is a learner.
    pub(crate) fn members(&self) -> &BTreeMap<u64, bool> {
        &self.members
    }

    pub(crate) fn is_removed(&self, id: u64) -> bool {
        self.removed.contains(&id)
    }

    /// A committed entry.
    pub(crate) fn at(&self, index: u64) -> Option<&Committed> {
        self.log.get((index as usize).checked_sub(1)?)
    }

    /// The last entry known to be committed whose term is below this one, with its term.
    pub(crate) fn last_before(&self, term: u64) -> Option<(u64, u64)> {
        let count = self.log.partition_point(|one| one.entry.term() < term);
        let last = self.log[..count].last()?;
        Some((last.entry.index(), last.entry.term()))
    }

    /// Every key after the entry at `index`.
    pub(crate) fn content_at(&self, index: u64) -> BTreeMap<Bytes, KeyState> {
        let newest = |history: &Vec<(u64, Option<KeyState>)>| {
            let count = history.partition_point(|(at, _)| *at <= index);
            history[..count].last().and_then(|(_, state)| state.clone())
        };
        let states = self.keys.iter().map(|(key, history)| (key.clone(), newest(history)));
        states.filter_map(|(key, state)| Some((key, state?))).collect()
    }

    /// The revision of a key, 0 where it does not exist.
    pub(crate) fn mod_revision(&self, key: &Bytes) -> i64 {
        self.current(key).map_or(0, |state| state.mod_revision)
    }

    fn current(&self, key: &Bytes) -> Option<&KeyState> {
        self.keys.get(key)?.last()?.1.as_ref()
    }

    /// Takes the next committed entry.
    pub(crate) fn commit(&mut self, entry: &Entry) {
        let index = entry.index();
        let (id, accepted) = match entry.r#type() {
            EntryType::EntryNormal => self.normal(index, entry.data.clone().unwrap_or_default()),
            _ => self.conf_change(index, entry.data()),
        };
        let revision = self.revision;
        self.log.push(Committed { entry: entry.clone(), id, accepted, revision });
    }

    // ---- members ---------------------------------------------------------------------------

    fn conf_change(&mut self, index: u64, data: &[u8]) -> (u64, bool) {
        let change = ConfChange::decode(data).unwrap_or_default();
        let member = change.node_id();
        let accepted = !self.removed.contains(&member) && self.change_members(&change, member);
        if accepted {
            self.members_history.push((index, self.members.clone()));
        }
        (change.id(), accepted)
    }

    fn change_members(&mut self, change: &ConfChange, member: u64) -> bool {
        let context = String::from_utf8_lossy(change.context());
        let is_learner = self.members.get(&member).copied();
        match change.r#type() {
            ConfChangeType::ConfChangeRemoveNode => {
                self.removed.extend(is_learner.map(|_| member));
                self.members.remove(&member).is_some()
            }
            ConfChangeType::ConfChangeAddNode if context.contains("\"isPromote\":true") => {
                if is_learner == Some(true) {
                    self.members.insert(member, false);
                }
                is_learner == Some(true)
            }
            ConfChangeType::ConfChangeUpdateNode => is_learner.is_some(),
            kind => {
                let learns = kind == ConfChangeType::ConfChangeAddLearnerNode;
                let learners = self.members.values().filter(|learner| **learner).count();
                let fits = is_learner.is_none() && !(learns && learners >= LEARNERS_MAX);
                if fits {
                    self.members.insert(member, learns);
                }
                fits
            }
        }
    }

    // ---- keys ------------------------------------------------------------------------------

    fn normal(&mut self, index: u64, data: Bytes) -> (u64, bool) {
        if data.is_empty() {
            return (0, true);
        }
        let Some(envelope) = envelope::decode(data) else { return (0, false) };
        let before = self.revision;
        let accepted = self.execute(index, envelope.request);
        assert!(self.revision - before <= 1, "an entry makes one revision at most");
        (envelope.id, accepted)
    }

    fn execute(&mut self, index: u64, request: Request) -> bool {
        let next = self.revision + 1;
        let costs = matches!(request, Request::Put(_) | Request::Txn(_) | Request::LeaseGrant(_));
        if costs && !self.alarms.is_empty() {
            return false;
        }
        match request {
            Request::Put(put) => {
                if put.lease != 0 && !self.leases.contains_key(&put.lease) {
                    return false;
                }
                self.put(index, next, &put);
                self.revision = next;
                true
            }
            Request::DeleteRange(delete) => {
                self.delete(index, next, &delete);
                true
            }
            Request::Txn(txn) => {
                self.txn(index, next, &txn);
                true
            }
            Request::Compaction(request) => {
                let fits = request.revision > self.compacted && request.revision <= self.revision;
                self.compacted = if fits { request.revision } else { self.compacted };
                fits
            }
            Request::LeaseGrant(grant) => {
                let is_new = !self.leases.contains_key(&grant.id);
                self.leases.entry(grant.id).or_default();
                self.granted.entry(grant.id).or_insert(grant.ttl);
                is_new
            }
            Request::LeaseRevoke(revoke) => {
                let Some(keys) = self.leases.remove(&revoke.id) else { return false };
                keys.iter().for_each(|key| self.remove(index, next, key));
                true
            }
            Request::LeaseCheckpoint(noted) => {
                for one in noted.checkpoints.iter().filter(|one| one.remaining_ttl > 0) {
                    let left = self.left.entry(one.id).or_insert(one.remaining_ttl);
                    *left = one.remaining_ttl.min(*left);
                }
                true
            }
            Request::Alarm(alarm) => {
                let raised = (alarm.alarm, alarm.member_id);
                match AlarmAction::try_from(alarm.action) {
                    Ok(AlarmAction::Activate) => self.alarms.insert(raised),
                    Ok(AlarmAction::Deactivate) => self.alarms.remove(&raised),
                    _ => false,
                };
                true
            }
            _ => true,
        }
    }

    fn txn(&mut self, index: u64, next: i64, txn: &pb::TxnRequest) {
        let holds = |compare: &pb::Compare| match &compare.target_union {
            Some(TargetUnion::ModRevision(revision)) => {
                self.mod_revision(&compare.key) == *revision
            }
            _ => false,
        };
        let succeeds = txn.compare.iter().all(holds);
        for op in if succeeds { &txn.success } else { &txn.failure } {
            match &op.request {
                Some(Op::RequestPut(put)) => {
                    self.put(index, next, put);
                    self.revision = next;
                }
                Some(Op::RequestDeleteRange(delete)) => self.delete(index, next, delete),
                _ => {}
            }
        }
    }

    fn put(&mut self, index: u64, revision: i64, put: &pb::PutRequest) {
        let old = self.current(&put.key);
        let state = KeyState {
            value: put.value.clone(),
            create_revision: old.map_or(revision, |old| old.create_revision),
            mod_revision: revision,
            version: old.map_or(1, |old| old.version + 1),
            lease: put.lease,
        };
        self.detach(&put.key);
        if let Some(keys) = self.leases.get_mut(&put.lease) {
            keys.insert(put.key.clone());
        }
        let event = Event { key: put.key.clone(), value: Some(put.value.clone()) };
        self.events.entry(revision).or_default().push(event);
        self.keys.entry(put.key.clone()).or_default().push((index, Some(state)));
    }

    fn delete(&mut self, index: u64, revision: i64, delete: &pb::DeleteRangeRequest) {
        let (from, end) = (&delete.key, &delete.range_end);
        let covers = |key: &&Bytes| {
            if end.is_empty() { *key == from } else { *key >= from && *key < end }
        };
        let keys: Vec<Bytes> = self.keys.keys().filter(covers).cloned().collect();
        keys.iter().for_each(|key| self.remove(index, revision, key));
    }

    fn remove(&mut self, index: u64, revision: i64, key: &Bytes) {
        if self.current(key).is_some() {
            self.detach(key);
            let event = Event { key: key.clone(), value: None };
            self.events.entry(revision).or_default().push(event);
            self.keys.entry(key.clone()).or_default().push((index, None));
            self.revision = revision;
        }
    }

    fn detach(&mut self, key: &Bytes) {
        self.leases.values_mut().for_each(|keys| {
            keys.remove(key);
        });
    }
}
