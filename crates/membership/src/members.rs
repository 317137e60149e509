//! The members of the cluster, as committed entries made them.

use crate::{InitialCluster, Member};
use address::Url;
use backend::{ApplyTxn, Fault, MaintenanceTxn, Table, View};
use bytes::Bytes;
use proto::raftpb::{ConfChange, ConfChangeType, ConfState};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

const CLUSTER_VERSION: &[u8] = b"clusterVersion";
const DOWNGRADE: &[u8] = b"downgrade";
const CONF_STATE: &[u8] = b"confState";

/// Why a membership change is refused: the same on every member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The id was removed once and never returns.
    Removed,
    /// There is a member of this id.
    Exists,
    /// There is none.
    NotFound,
    /// A peer URL belongs to another member.
    PeerUrlExists,
    /// Only learners are promoted.
    NotLearner,
    /// There are as many learners as may be.
    TooManyLearners,
    /// The change cannot be read, or holds no usable URLs.
    Malformed,
}

/// A downgrade under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Downgrade {
    /// The version to go to.
    #[serde(rename = "target-version")]
    pub target_version: String,
    /// Whether one is under way.
    pub enabled: bool,
}

/// Learners that a cluster may have at a time, where nobody says otherwise.
pub const LEARNERS_MAX: usize = 1;

/// Who belongs to the cluster.
///
/// Always true, where only committed entries have changed the tables:
/// 1. A member is known by its own id, and has a peer URL.
/// 2. Whoever was removed is no member.
/// 3. Every member is a voter or a learner, not both.
/// 4. A downgrade has a target exactly while it is under way.
/// 5. The tables hold the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    members: BTreeMap<u64, Member>,
    removed: BTreeSet<u64>,
    cluster_version: Option<String>,
    downgrade: Downgrade,
    learners_max: usize,
}

/// The context of a change: the member, and whether a learner is promoted.
#[derive(Deserialize)]
struct Context {
    #[serde(flatten)]
    member: Member,
    #[serde(rename = "isPromote", default)]
    is_promote: bool,
}

#[derive(Serialize)]
struct ConfStateJson<'c> {
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    voters: &'c [u64],
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    learners: &'c [u64],
    auto_leave: bool,
}

impl Members {
    /// Reads the tables.
    ///
    /// # Errors
    /// A row that cannot be read: who leaves out a member counts other quorums than its peers.
    pub fn load(view: &View) -> Result<Members, Fault> {
        let mut members = BTreeMap::new();
        read_rows(view, Table::Members, |key, json| {
            parse_id(key)?;
            let member: Member = serde_json::from_slice(json).ok()?;
            members.insert(member.id, member);
            Some(())
        })?;
        let mut removed = BTreeSet::new();
        read_rows(view, Table::MembersRemoved, |key, _| {
            parse_id(key).map(|id| {
                removed.insert(id);
            })
        })?;
        let cluster_version = view
            .get(Table::Cluster, CLUSTER_VERSION)
            .map(|text| {
                String::from_utf8(text.to_vec()).map_err(|_| bad(Table::Cluster, CLUSTER_VERSION))
            })
            .transpose()?;
        let downgrade = view
            .get(Table::Cluster, DOWNGRADE)
            .map(|json| serde_json::from_slice(&json).map_err(|_| bad(Table::Cluster, DOWNGRADE)))
            .transpose()?
            .unwrap_or_default();
        Ok(Members { members, removed, cluster_version, downgrade, learners_max: LEARNERS_MAX })
    }

    /// Asserts what is always true. The view holds everything that was written; at no time an entry's
    /// changes without the rest of it.
    pub fn check(&self, view: &View) {
        for (id, member) in &self.members {
            assert_eq!(*id, member.id, "a member is known by its own id");
            assert!(!member.peer_urls.is_empty(), "member {id:x} has no peer URL");
            assert!(!self.removed.contains(id), "{id:x} is a member and was removed");
        }
        let state = self.conf_state();
        let counted = state.voters.len() + state.learners.len();
        assert_eq!(counted, self.members.len(), "every member is a voter or a learner");
        let Downgrade { enabled, target_version } = &self.downgrade;
        assert_eq!(*enabled, !target_version.is_empty(), "a downgrade to {target_version:?}");
        let stored = Members::load(view).map(|stored| stored.with_learners(self.learners_max));
        assert!(
            stored.as_ref().is_ok_and(|stored| stored == self),
            "{stored:?} is stored of {self:?}"
        );
    }

    fn with_learners(self, learners_max: usize) -> Members {
        Members { learners_max, ..self }
    }

    /// Sets how many learners there may be at a time; every member must be told the same.
    pub fn set_learners_max(&mut self, learners_max: usize) {
        self.learners_max = learners_max;
    }

    /// Puts the members of a new cluster in the place of those that a database knows, and of those
    /// it knows to be removed. Versions stay.
    pub fn replace(view: &View, txn: &mut MaintenanceTxn<'_>, cluster: &InitialCluster) -> Members {
        for table in [Table::Members, Table::MembersRemoved] {
            view.range(table, &[], &[], usize::MAX, |key, _| {
                txn.delete(table, key);
                ControlFlow::Continue(())
            });
        }
        for member in &cluster.members {
            txn.put(Table::Members, format!("{:x}", member.id).as_bytes(), member.to_json().into());
        }
        Members {
            members: cluster.members.iter().map(|member| (member.id, member.clone())).collect(),
            removed: BTreeSet::new(),
            cluster_version: None,
            downgrade: Downgrade::default(),
            learners_max: LEARNERS_MAX,
        }
    }

    /// All members by id.
    pub fn list(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// A member.
    pub fn get(&self, id: u64) -> Option<&Member> {
        self.members.get(&id)
    }

    /// Ids of members that were removed.
    pub fn removed(&self) -> impl Iterator<Item = u64> {
        self.removed.iter().copied()
    }

    /// Whether an id was removed.
    pub fn is_removed(&self, id: u64) -> bool {
        self.removed.contains(&id)
    }

    /// The version that all members understand, once it is known.
    pub fn cluster_version(&self) -> Option<&str> {
        self.cluster_version.as_deref()
    }

    /// The downgrade under way.
    pub fn downgrade(&self) -> &Downgrade {
        &self.downgrade
    }

    /// The voters and learners.
    pub fn conf_state(&self) -> ConfState {
        let ids = |learners: bool| {
            let chosen = self.members.values().filter(|member| member.is_learner == learners);
            chosen.map(|member| member.id).collect()
        };
        let (voters, learners) = (ids(false), ids(true));
        ConfState { voters, learners, auto_leave: Some(false), ..ConfState::default() }
    }

    /// Changes who belongs to the cluster.
    ///
    /// # Errors
    /// A refusal; nothing is changed then.
    pub fn apply_conf_change(
        &mut self,
        txn: &mut ApplyTxn<'_>,
        change: &ConfChange,
    ) -> Result<(), Refusal> {
        let id = change.node_id();
        if self.removed.contains(&id) {
            return Err(Refusal::Removed);
        }
        let kind = ConfChangeType::try_from(change.r#type.unwrap_or_default());
        let kind = kind.map_err(|_| Refusal::Malformed)?;
        let before = cfg!(debug_assertions).then(|| self.clone());
        let changed = match kind {
            ConfChangeType::ConfChangeAddNode => self.add(txn, id, change, false),
            ConfChangeType::ConfChangeAddLearnerNode => self.add(txn, id, change, true),
            ConfChangeType::ConfChangeRemoveNode => self.remove(txn, id),
            ConfChangeType::ConfChangeUpdateNode => self.update(txn, id, change),
        };
        if let Err(refusal) = changed {
            let is_same = before.is_none_or(|before| before == *self);
            assert!(is_same, "a change of {id:x} that is refused ({refusal:?}) changed something");
            return Err(refusal);
        }
        let is_removal = kind == ConfChangeType::ConfChangeRemoveNode;
        let (is_member, is_removed) = (self.members.contains_key(&id), self.removed.contains(&id));
        assert_eq!(is_member, !is_removal, "{id:x} after {kind:?}");
        assert_eq!(is_removed, is_removal, "{id:x} after {kind:?}");
        self.store_conf_state(txn);
        Ok(())
    }

    fn add(
        &mut self,
        txn: &mut ApplyTxn<'_>,
        id: u64,
        change: &ConfChange,
        is_learner: bool,
    ) -> Result<(), Refusal> {
        let context = context(change)?;
        if context.is_promote {
            let member = self.members.get_mut(&id).ok_or(Refusal::NotFound)?;
            if !member.is_learner {
                return Err(Refusal::NotLearner);
            }
            member.is_learner = false;
        } else {
            if self.members.contains_key(&id) {
                return Err(Refusal::Exists);
            }
            self.check_urls(id, &context.member)?;
            let learners = self.members.values().filter(|member| member.is_learner).count();
            if is_learner && learners >= self.learners_max {
                return Err(Refusal::TooManyLearners);
            }
            let before = self.members.insert(id, Member { id, is_learner, ..context.member });
            assert!(before.is_none(), "a member that is added takes nobody's place: {before:?}");
        }
        self.store(txn, id);
        Ok(())
    }

    fn remove(&mut self, txn: &mut ApplyTxn<'_>, id: u64) -> Result<(), Refusal> {
        self.members.remove(&id).ok_or(Refusal::NotFound)?;
        let is_new = self.removed.insert(id);
        assert!(is_new, "{id:x} is removed twice");
        let key = format!("{id:x}");
        txn.delete(Table::Members, key.as_bytes());
        txn.put(Table::MembersRemoved, key.as_bytes(), Bytes::from_static(b"removed"));
        Ok(())
    }

    fn update(
        &mut self,
        txn: &mut ApplyTxn<'_>,
        id: u64,
        change: &ConfChange,
    ) -> Result<(), Refusal> {
        let context = context(change)?;
        if !self.members.contains_key(&id) {
            return Err(Refusal::NotFound);
        }
        self.check_urls(id, &context.member)?;
        if let Some(member) = self.members.get_mut(&id) {
            member.peer_urls = context.member.peer_urls;
        }
        self.store(txn, id);
        Ok(())
    }

    /// A URL belongs to one member only, and must be one: what cannot be dialled would bring down
    /// etcd's members, which try. Go read some that it now refuses, so what looks like a URL is one
    /// here: whatever any member applied, every member must.
    fn check_urls(&self, id: u64, new: &Member) -> Result<(), Refusal> {
        let looks_like_one =
            |url: &String| url.split_once("://").is_some_and(|(_, rest)| !rest.is_empty());
        let is_url = |url: &String| Url::of_member(url).is_ok() || looks_like_one(url);
        if new.peer_urls.is_empty() || !new.peer_urls.iter().all(is_url) {
            return Err(Refusal::Malformed);
        }
        let others = self.members.values().filter(|member| member.id != id);
        let taken = others.flat_map(|member| &member.peer_urls).any(|u| new.peer_urls.contains(u));
        if taken { Err(Refusal::PeerUrlExists) } else { Ok(()) }
    }

    fn store(&self, txn: &mut ApplyTxn<'_>, id: u64) {
        if let Some(member) = self.members.get(&id) {
            txn.put(Table::Members, format!("{id:x}").as_bytes(), member.to_json().into());
        }
    }

    fn store_conf_state(&self, txn: &mut ApplyTxn<'_>) {
        let state = self.conf_state();
        let json =
            ConfStateJson { voters: &state.voters, learners: &state.learners, auto_leave: false };
        let json = serde_json::to_vec(&json).expect("plain data always becomes JSON");
        txn.put(Table::Meta, CONF_STATE, json.into());
    }

    /// Notes a member's name and client URLs. A member that is gone is ignored.
    pub fn set_attributes(
        &mut self,
        txn: &mut ApplyTxn<'_>,
        id: u64,
        name: String,
        client_urls: Vec<String>,
    ) {
        if let Some(member) = self.members.get_mut(&id) {
            member.name = name;
            member.client_urls = client_urls;
            self.store(txn, id);
        }
    }

    /// Sets the cluster's version. The storage's follows when this member is ready for it.
    pub fn set_cluster_version(&mut self, txn: &mut ApplyTxn<'_>, version: &str) {
        self.cluster_version = Some(version.to_owned());
        txn.put(Table::Cluster, CLUSTER_VERSION, Bytes::copy_from_slice(version.as_bytes()));
    }

    /// Begins or ends a downgrade.
    pub fn set_downgrade(&mut self, txn: &mut ApplyTxn<'_>, enabled: bool, target: &str) {
        let target_version = if enabled { target.to_owned() } else { String::new() };
        self.downgrade = Downgrade { target_version, enabled };
        let json = serde_json::to_vec(&self.downgrade).expect("plain data always becomes JSON");
        txn.put(Table::Cluster, DOWNGRADE, json.into());
    }
}

/// Hands every row of a table to `read`, which gives `None` where it makes no sense.
fn read_rows(
    view: &View,
    table: Table,
    mut read: impl FnMut(&[u8], &[u8]) -> Option<()>,
) -> Result<(), Fault> {
    let mut defect = None;
    view.range(table, &[], &[], usize::MAX, |key, value| match read(key, value) {
        Some(()) => ControlFlow::Continue(()),
        None => {
            defect = Some(bad(table, key));
            ControlFlow::Break(())
        }
    });
    defect.map_or(Ok(()), Err)
}

fn bad(table: Table, key: &[u8]) -> Fault {
    Fault::Corrupt { table: table.name(), what: format!("{} cannot be read", key.escape_ascii()) }
}

fn parse_id(key: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(key).ok()?, 16).ok()
}

fn context(change: &ConfChange) -> Result<Context, Refusal> {
    serde_json::from_slice(change.context.as_deref().unwrap_or_default())
        .map_err(|_| Refusal::Malformed)
}
