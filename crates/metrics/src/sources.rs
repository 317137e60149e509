//! Where the figures are read that change all the time.

use membership::Members;
use peer::PeerStats;
use replica::turn::Figures;

/// What is read when somebody asks, since it changes all the time.
#[derive(Clone, Copy)]
pub struct Sources<'s> {
    /// What the member shows of itself.
    pub figures: &'s Figures,
    /// The keys.
    pub reader: &'s mvcc::Reader,
    /// Who the members are.
    pub members: &'s Members,
    /// Every other member's counts, by id.
    pub peers: &'s [(u64, PeerStats)],
    /// This member.
    pub member_id: u64,
    /// Whether this member has no vote yet.
    pub is_learner: bool,
    /// Proposals that wait to be applied.
    pub proposals_pending: usize,
    /// The quota of the database, in bytes.
    pub quota_bytes: i64,
}
