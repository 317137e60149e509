//! What is seen of a turn while it runs.

use apply::{Effect, Kind, Outcome, Refusal, Reply};
use apply::{Request, envelope};
use proto::raftpb::Entry;
use replica::turn::{Note, Observer};

/// An applied entry, and what it led to.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) entry: Entry,
    /// The request's id.
    pub(crate) id: u64,
    pub(crate) result: Result<Reply, Refusal>,
    /// Whether it took effect.
    pub(crate) is_accepted: bool,
    /// The revision that it made.
    pub(crate) revision: Option<i64>,
    /// The lease that it granted.
    pub(crate) granted: Option<i64>,
    /// Whether it was applied before the member started again.
    pub(crate) is_replay: bool,
}

/// What one turn of the applier did.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The last entry that is applied.
    applied: u64,
    pub(crate) seen: Vec<Seen>,
    /// A leader's snapshot took the place of everything, so many times.
    pub(crate) restores: u64,
}

impl Notes {
    /// Nothing has happened yet; entries up to `applied` are applied.
    pub(crate) fn new(applied: u64) -> Notes {
        Notes { applied, ..Notes::default() }
    }
}

impl Observer for Notes {
    fn note(&mut self, note: Note<'_>) {
        match note {
            Note::Applied { entry, outcome } => {
                self.seen.push(seen(entry, outcome, entry.index() <= self.applied));
                self.applied = self.applied.max(entry.index());
            }
            Note::SnapshotApplying { begins: false, applied, .. } => {
                self.applied = applied;
                self.restores += 1;
            }
            _ => {}
        }
    }
}

fn seen(entry: &Entry, outcome: &Outcome, is_replay: bool) -> Seen {
    // A write that used up the quota is refused, and there all the same.
    let is_accepted = outcome.result.is_ok() || outcome.effect == Effect::OutOfSpace;
    let is_grant = is_accepted && outcome.kind == Some(Kind::LeaseGrant);
    Seen {
        entry: entry.clone(),
        id: outcome.id,
        result: outcome.result.clone(),
        is_accepted,
        granted: if is_grant { granted(entry) } else { None },
        revision: outcome.change.as_ref().map(|change| change.revision),
        is_replay,
    }
}

fn granted(entry: &Entry) -> Option<i64> {
    match envelope::decode(entry.data.clone()?)?.request {
        Request::LeaseGrant(grant) => Some(grant.id),
        _ => None,
    }
}

/// Hears of everything and keeps nothing.
pub(crate) struct Deaf;

impl Observer for Deaf {
    fn note(&mut self, _: Note<'_>) {}
}
