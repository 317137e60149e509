//! What the turns of a member and its callers share: the waiters, the figures, the members, the ids.

use super::core_turn::CoreEvent;
use super::figures::Figures;
use super::held_proposals::Proposal;
use super::ids::RequestIds;
use super::visible::Visible;
use super::waiters::Waiters;
use super::{Caller, Failure, Renewal, Time};
use apply::Kind;
use apply::envelope;
use membership::Members;
use parking_lot::RwLock;
use proto::etcdserverpb::RequestHeader;
use proto::raftpb::ConfChange;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Proposals are refused while this many committed entries wait to be applied.
const COMMIT_APPLY_GAP_MAX: u64 = 5000;

/// Limits on requests.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Bytes of an entry.
    pub entry_bytes_max: usize,
    /// How long a request may take.
    pub request_timeout: Time,
    /// After how long a silent leader is given up.
    pub election_timeout: Time,
}

/// Who asks for a write, as the log remembers it (reference: `RequestHeader` in `raft_internal.proto`), and
/// until when the request may be proposed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Author {
    /// The user, empty for none.
    pub username: String,
    /// The revision of the permissions that the request was checked with.
    pub auth_revision: u64,
    /// When nobody waits for the answer any more.
    pub deadline: Option<Time>,
}

/// Who waits for an entry to be applied.
pub enum Waiter<C: Caller> {
    /// A caller.
    Caller(C::Write),
    /// A caller whose compaction must be done in the file as well.
    InFile(C::Write),
    /// A renewal that the log must hear of first.
    Renewal(Renewal<C>),
    /// The member itself, that raises the alarm of a full database.
    NoSpaceAlarm,
    /// Nobody: if it does not come through, it is decided again.
    Nobody,
}

/// A waiter, and what is known of what it waits for.
pub struct Waiting<C: Caller> {
    /// Who waits.
    pub waiter: Waiter<C>,
    /// What was asked.
    pub kind: Kind,
    /// When it was asked.
    pub begun: Time,
    /// What a snapshot may show to be done.
    pub visible: Option<Visible>,
    /// When the caller waits no longer; after that it is not proposed.
    pub deadline: Option<Time>,
}

impl<C: Caller> Waiting<C> {
    /// Whether somebody still waits.
    pub fn is_wanted(&self, now: Time) -> bool {
        let is_gone = match &self.waiter {
            Waiter::Caller(write) | Waiter::InFile(write) => C::is_gone(write),
            Waiter::Renewal(_) | Waiter::NoSpaceAlarm | Waiter::Nobody => false,
        };
        !is_gone && self.deadline.is_none_or(|deadline| now < deadline)
    }
}

/// A request that was not taken, and why.
pub struct NotTaken<C: Caller> {
    /// Who waits for it.
    pub waiter: Waiter<C>,
    /// Why it was not taken.
    pub failure: Failure,
}

/// What is shared. Each part of it says who writes it.
pub struct Common<C: Caller> {
    /// The cluster.
    pub cluster_id: u64,
    /// This member.
    pub member_id: u64,
    /// Limits on requests.
    pub limits: RequestLimits,
    /// Names for requests and leases.
    pub ids: RequestIds,
    /// Written by whoever carries out the effects of the turns.
    pub figures: Figures,
    /// Filled by callers, emptied by the turns.
    pub waiters: Waiters<Waiting<C>>,
    /// The keys.
    pub reader: mvcc::Reader,
    /// Written by whoever carries out the effects of the apply turn.
    members: RwLock<Arc<Members>>,
    is_learner: AtomicBool,
    is_removed: AtomicBool,
}

impl<C: Caller> Common<C> {
    /// What the turns of this member share when it starts.
    pub fn new(
        (cluster_id, member_id): (u64, u64),
        limits: RequestLimits,
        ids: RequestIds,
        reader: mvcc::Reader,
        members: Members,
    ) -> Common<C> {
        let common = Common {
            cluster_id,
            member_id,
            limits,
            ids,
            figures: Figures::default(),
            waiters: Waiters::default(),
            reader,
            members: RwLock::new(Arc::new(members.clone())),
            is_learner: AtomicBool::new(false),
            is_removed: AtomicBool::new(false),
        };
        common.show_members(members);
        common
    }

    // ---- members ---------------------------------------------------------------------------

    /// Who the members are, as of what is applied.
    pub fn members(&self) -> Arc<Members> {
        Arc::clone(&self.members.read())
    }

    /// These are the members now.
    pub fn show_members(&self, members: Members) {
        let own = members.get(self.member_id);
        self.is_learner.store(own.is_some_and(|own| own.is_learner), Ordering::Relaxed);
        if members.is_removed(self.member_id) {
            self.expel();
        }
        *self.members.write() = Arc::new(members);
    }

    /// Whether this member has no vote yet.
    pub fn is_learner(&self) -> bool {
        self.is_learner.load(Ordering::Relaxed)
    }

    /// Whether this member was removed from the cluster.
    pub fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Relaxed)
    }

    /// This member was removed, as another one says that knows more.
    pub fn expel(&self) {
        self.is_removed.store(true, Ordering::Relaxed);
    }

    // ---- proposals -------------------------------------------------------------------------

    /// Takes a request: its waiter is kept, and the core is to be told what comes back.
    ///
    /// # Errors
    /// Too much is under way, or the request is too long.
    pub fn propose(
        &self,
        kind: Kind,
        request: &[u8],
        author: &Author,
        waiter: Waiter<C>,
        now: Time,
    ) -> Result<CoreEvent<C>, NotTaken<C>> {
        self.propose_in(kind, request, author, waiter, None, now)
    }

    /// Takes a request that only the leader of this term may make: it goes into this member's log, or
    /// nowhere, and is decided again if it does not come through.
    ///
    /// # Errors
    /// As [`Common::propose`].
    pub(crate) fn propose_as_leader(
        &self,
        kind: Kind,
        request: &[u8],
        term: u64,
        now: Time,
    ) -> Result<CoreEvent<C>, NotTaken<C>> {
        self.propose_in(kind, request, &Author::default(), Waiter::Nobody, Some(term), now)
    }

    fn propose_in(
        &self,
        kind: Kind,
        request: &[u8],
        author: &Author,
        waiter: Waiter<C>,
        as_leader_in: Option<u64>,
        now: Time,
    ) -> Result<CoreEvent<C>, NotTaken<C>> {
        let gap = self.figures.committed().saturating_sub(self.figures.applied());
        if gap > COMMIT_APPLY_GAP_MAX {
            return Err(NotTaken { waiter, failure: Failure::TooManyRequests });
        }
        let id = self.ids.next();
        let header = RequestHeader {
            id,
            username: author.username.clone(),
            auth_revision: author.auth_revision,
        };
        let data = envelope::encode(kind, request, &header);
        if data.len() > self.limits.entry_bytes_max {
            return Err(NotTaken { waiter, failure: Failure::RequestTooLarge });
        }
        let visible = Visible::of(kind, request);
        self.wait(
            id,
            Waiting { waiter, kind, begun: now, visible, deadline: author.deadline },
            now,
        )?;
        let proposal = match as_leader_in {
            Some(term) => Proposal::AsLeader { term, data },
            None => Proposal::Data(data),
        };
        Ok(CoreEvent::Propose { id, proposal })
    }

    /// Takes a change of the membership; as [`Common::propose`].
    ///
    /// # Errors
    /// Too many requests wait.
    pub fn propose_conf_change(
        &self,
        mut change: ConfChange,
        author: &Author,
        waiter: Waiter<C>,
        now: Time,
    ) -> Result<CoreEvent<C>, NotTaken<C>> {
        let id = self.ids.next();
        change.id = Some(id);
        let visible = Some(Visible::Change(change.clone()));
        // The kind under which the reference counts it.
        let kind = Kind::ClusterMemberAttrSet;
        self.wait(
            id,
            Waiting { waiter, kind, begun: now, visible, deadline: author.deadline },
            now,
        )?;
        Ok(CoreEvent::Propose { id, proposal: Proposal::Change(change) })
    }

    fn wait(&self, id: u64, waiting: Waiting<C>, now: Time) -> Result<(), NotTaken<C>> {
        let deadline = now + self.limits.request_timeout;
        self.waiters.insert(id, deadline, waiting).map_err(|waiting| {
            let failure = Failure::TooManyRequests;
            NotTaken { waiter: waiting.waiter, failure }
        })
    }
}
