//! The replicated state machine: owns all state that committed entries change.

use crate::effect::Effect;
use crate::envelope;
use crate::kinds::{Kind, Request};
use crate::quota::Quota;
use crate::step::Step;
use crate::{Alarms, Fault, Refusal, Reply, kv, versions};
use backend::{Backend, EntryId, Table};
use bytes::Bytes;
use lease::Lessor;
use membership::Members;
use mvcc::{Change, Operations, Store};
use prost::Message;
use proto::etcdserverpb::AlarmType;
use proto::raftpb::{ConfChange, Entry, EntryType};

const AUTH_REVISION: &[u8] = b"authRevision";

/// What a machine is told once.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The database quota as the flag gives it: 0 default, negative none.
    pub quota_bytes: i64,
    /// Learners that the cluster may have at a time.
    pub learners_max: usize,
}

/// The state machine of one member.
///
/// Always true between two entries, and asserted by [`Machine::check`]:
/// 1. What is compacted was written: the compacted revision is not above the current one.
/// 2. A key belongs to a lease exactly where its value names that lease and the lease exists; only a
///    database that others wrote may hold keys whose lease comes later.
/// 3. Leases, members, versions and alarms in memory are those that a restart would find in the
///    tables: what is applied never depends on how long a member has been running.
/// 4. Each part's own truths: [`Lessor::check`].
pub struct Machine {
    /// The database; its commits are the owner's business.
    pub backend: Backend,
    /// Keys with history.
    pub store: Store,
    /// Leases.
    pub lessor: Lessor,
    /// Members and versions.
    pub members: Members,
    alarms: Alarms,
    quota: Quota,
}

/// A machine and what was left half-done when it last stopped.
pub struct Opened {
    /// The machine.
    pub machine: Machine,
    /// A compaction that was promised but not finished.
    pub unfinished_compaction: Option<i64>,
}

/// The result of one entry.
#[derive(Debug)]
pub struct Outcome {
    /// Whose waiter gets it; 0 where nobody can wait.
    pub id: u64,
    /// The reply, or why there is none.
    pub result: Result<Reply, Refusal>,
    /// What watchers see. Visible to readers already.
    pub change: Option<Change>,
    /// What the replica must do now.
    pub effect: Effect,
    /// What was asked, where it was executed.
    pub kind: Option<Kind>,
    /// The reads and writes it consisted of.
    pub operations: Operations,
}

impl Outcome {
    fn empty() -> Outcome {
        Outcome {
            id: 0,
            result: Ok(Reply::Done),
            change: None,
            effect: Effect::None,
            kind: None,
            operations: Operations::default(),
        }
    }
}

impl Machine {
    /// Builds the machine from a database.
    ///
    /// # Errors
    /// Damaged data, and databases with authentication enabled: serving those without checking
    /// anyone would open them to everyone.
    pub fn open(
        mut backend: Backend,
        lease: lease::Config,
        config: Config,
    ) -> Result<Opened, Fault> {
        begin_auth(&mut backend);
        let view = backend.reader().view();
        if view.get(Table::Auth, b"authEnabled").is_some_and(|v| v.first() == Some(&1)) {
            return Err(Fault::Unsupported(
                "authentication is enabled in this data directory and this version cannot check \
                 it yet; disable it with `etcdctl auth disable` before switching"
                    .into(),
            ));
        }
        let mut lessor = Lessor::open(&view, lease);
        let (store, restored) = Store::open(&backend)?;
        for (key, id) in restored.attachments {
            lessor.restore_attachment(key, id);
        }
        let mut members = Members::load(&view)?;
        versions::check(&view, &members)?;
        members.set_learners_max(config.learners_max);
        let machine = Machine {
            members,
            alarms: Alarms::load(&view),
            quota: Quota::from_flag(config.quota_bytes),
            backend,
            store,
            lessor,
        };
        Ok(Opened { machine, unfinished_compaction: restored.unfinished_compaction })
    }

    /// The alarms raised.
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// The quota in force.
    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// Asserts what is always true of [`Machine`]. Costs a walk over everything.
    pub fn check(&self) {
        let (compacted, current) = (self.store.compacted(), self.store.revision());
        assert!(current >= 1, "the first revision is 1, and this is {current}");
        assert!(compacted <= current, "compacted at {compacted}, and written up to {current}");
        self.lessor.check();
        self.check_attachments();
        let view = self.backend.reader().view();
        self.alarms.check(&view);
        let stored = Members::load(&view).expect("members that were written can be read");
        assert!(self.members.list().eq(stored.list()), "the members, and those stored");
        assert!(self.members.removed().eq(stored.removed()), "the removed, and those stored");
        let (version, other) = (self.members.cluster_version(), stored.cluster_version());
        assert_eq!(version, other, "the cluster's version, and the one stored");
        assert_eq!(self.members.downgrade(), stored.downgrade(), "the downgrade, and the stored");
    }

    /// Asserts that keys and leases name each other.
    fn check_attachments(&self) {
        // From the empty key on, that a log may hold though no client can put it.
        let every = kv::whole_range(&Bytes::new(), &Bytes::from_static(b"\0"));
        let live = self.store.reader().read().range(&every).expect("what is current can be read");
        let mut attached = 0;
        for kv in live.kvs {
            let kv = kv.decode();
            let named = Some(kv.lease).filter(|id| *id != 0 && self.lessor.exists(*id));
            let holder = self.lessor.lease_of(&kv.key);
            assert_eq!(holder, named, "the lease of the key {:?}", kv.key);
            attached += usize::from(holder.is_some());
        }
        let of_lease = |id| self.lessor.time_to_live(id, 0, true).map_or(0, |it| it.keys.len());
        let held: usize = self.lessor.leases().into_iter().map(of_lease).sum();
        assert_eq!(held, attached, "leases hold keys that are not alive");
    }

    /// Applies a committed entry. `wanted(id)` tells whether somebody here waits for its reply;
    /// where nobody does, reads inside transactions are left out.
    ///
    /// # Errors
    /// An entry that cannot be understood: the member must stop rather than diverge.
    pub fn apply(&mut self, entry: &Entry, wanted: impl Fn(u64) -> bool) -> Result<Outcome, Fault> {
        let at = EntryId { term: entry.term(), index: entry.index() };
        let before = self.backend.applied();
        let is_replay = at.index <= before.index;
        let outcome = match entry.r#type() {
            EntryType::EntryNormal if is_replay => Ok(Outcome::empty()),
            EntryType::EntryNormal => self.apply_normal(entry, at, wanted),
            EntryType::EntryConfChange => self.apply_conf_change(entry, at, is_replay),
            EntryType::EntryConfChangeV2 => Err(Fault::Entry { index: at.index }),
        }?;
        let (after, due) = (self.backend.applied(), if is_replay { before } else { at });
        assert_eq!(after, due, "entry {at:?} was applied behind {before:?}");
        Ok(outcome)
    }

    fn apply_normal(
        &mut self,
        entry: &Entry,
        at: EntryId,
        wanted: impl Fn(u64) -> bool,
    ) -> Result<Outcome, Fault> {
        let data = entry.data.clone().unwrap_or_default();
        if data.is_empty() {
            // A new leader's first entry.
            self.backend.begin().finish(at);
            return Ok(Outcome::empty());
        }
        let envelope = envelope::decode(data).ok_or(Fault::Entry { index: at.index })?;
        if let Request::Unsupported(field) = envelope.request {
            return Err(Fault::Unsupported(format!(
                "entry {} of the log needs field {field} of InternalRaftRequest, which this \
                 version does not apply",
                at.index
            )));
        }
        if let Request::ClusterVersionSet(request) = &envelope.request {
            versions::check_cluster(&request.ver)?;
        }
        let skip_ranges = !wanted(envelope.id);
        let size = self.backend.size();
        let mut step = Step {
            txn: self.backend.begin(),
            store: &mut self.store,
            lessor: &mut self.lessor,
            members: &mut self.members,
            alarms: &mut self.alarms,
            quota: self.quota,
            size_bytes: size,
            skip_ranges,
            change: None,
            effect: Effect::None,
            operations: Operations::default(),
        };
        let kind = envelope.request.kind();
        let result = dispatch(&mut step, envelope.request);
        let Step { txn, change, effect, operations, .. } = step;
        // Rule 3 of the crate: what was refused would be in the tables all the same.
        let refused = result.as_ref().err().filter(|_| change.is_some());
        assert!(refused.is_none(), "{refused:?} was refused and has changed keys");
        txn.finish(at);
        if let Some(change) = &change {
            let before = self.store.revision();
            assert_eq!(change.revision, before + 1, "one entry is at most one revision");
            self.store.publish(change);
            assert_eq!(self.store.revision(), change.revision, "readers do not see the change");
        }
        let result = if effect == Effect::OutOfSpace { Err(Refusal::NoSpace) } else { result };
        Ok(Outcome { id: envelope.id, result, change, effect, kind, operations })
    }

    /// Raft hears of every change again on replay; the tables only of new ones.
    fn apply_conf_change(
        &mut self,
        entry: &Entry,
        at: EntryId,
        is_replay: bool,
    ) -> Result<Outcome, Fault> {
        let data = entry.data.clone().unwrap_or_default();
        let mut change = ConfChange::decode(data).map_err(|_| Fault::Entry { index: at.index })?;
        let mut result = Ok(Reply::Done);
        if !is_replay {
            let mut txn = self.backend.begin();
            let before = self.members.list().count();
            if let Err(refusal) = self.members.apply_conf_change(&mut txn, &change) {
                let after = self.members.list().count();
                assert_eq!(before, after, "a refused change of the members has changed them");
                result = Err(refusal.into());
                // Raft ignores a change of node 0.
                change.node_id = Some(0);
            }
            txn.finish(at);
        }
        let id = change.id();
        Ok(Outcome { id, result, effect: Effect::ConfChange(change), ..Outcome::empty() })
    }
}

/// Whoever first opens a database gives its permissions a revision, as etcd does: the hash of the
/// whole file counts it.
fn begin_auth(backend: &mut Backend) {
    if backend.reader().view().get(Table::Auth, AUTH_REVISION).is_none() {
        let mut txn = backend.begin_maintenance();
        txn.put(Table::Auth, AUTH_REVISION, Bytes::copy_from_slice(&1u64.to_be_bytes()));
        txn.finish();
    }
}

/// Executes a request, unless an alarm stops it.
fn dispatch(step: &mut Step<'_, '_>, request: Request) -> Result<Reply, Refusal> {
    check_alarms(step, &request)?;
    let cost = request.cost();
    let result = request.apply(step);
    if result.is_ok() && !step.quota.admits(step.size_bytes, cost) {
        step.effect = Effect::OutOfSpace;
    }
    result
}

/// A corrupt cluster takes no writes; a full one none that grow it.
fn check_alarms(step: &Step<'_, '_>, request: &Request) -> Result<(), Refusal> {
    if request.is_stopped_by_corruption() && step.alarms.is_raised(AlarmType::Corrupt) {
        return Err(Refusal::Corrupt);
    }
    if request.cost() > 0 && step.alarms.is_raised(AlarmType::Nospace) {
        return Err(Refusal::NoSpace);
    }
    Ok(())
}
