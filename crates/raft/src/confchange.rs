//! Which configuration follows from a change (thesis, chapter 4).
//!
//! A simple change moves at most one voter, so any majority of the old and of the new configuration
//! overlap (section 4.1). Everything else goes through a joint configuration, in which both the old
//! voters and the new ones must agree (section 4.3):
//!
//! ```text
//! voters (1 2 3)  --enter-->  (1 2 4) and (1 2 3)  --leave-->  (1 2 4)
//! ```
//! A voter that is to become a learner stays a voter of the outgoing half until the joint
//! configuration is left, and waits in `learners_next`.

use crate::progress::Progress;
use crate::tracker::{Configuration, ProgressMap, Tracker, check};
use proto::raftpb::{ConfChangeSingle, ConfChangeType, ConfState};
use std::collections::BTreeSet;
use thiserror::Error;

/// Why a change is not possible.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfChangeError {
    /// A joint configuration must be left first.
    #[error("config is already joint")]
    AlreadyJoint,
    /// Without voters there is nobody to agree.
    #[error("can't make a zero-voter config joint")]
    NoVoters,
    /// There is no joint configuration.
    #[error("can't leave a non-joint config")]
    NotJoint,
    /// Simple changes do not go with a joint configuration.
    #[error("can't apply simple config change in joint config")]
    SimpleInJoint,
    /// Majorities before and after might not overlap.
    #[error("more than one voter changed without entering joint config")]
    TooManyVoters,
    /// Nobody would be left to agree.
    #[error("removed all voters")]
    RemovedAllVoters,
    /// The configuration contradicts itself.
    #[error("{0}")]
    Broken(String),
}

/// A configuration with what is known of its members.
pub type Changed = (Configuration, ProgressMap);

/// Works out changes to a tracker's configuration, and leaves the tracker as it is.
#[derive(Clone, Copy, Debug)]
pub struct Changer<'a> {
    /// What the changes begin with.
    pub tracker: &'a Tracker,
    /// The last entry of the log: new members are probed from there.
    pub last_index: u64,
}

impl Changer<'_> {
    /// The joint configuration that these changes begin.
    ///
    /// # Errors
    /// See [`ConfChangeError`].
    pub fn enter_joint(
        &self,
        auto_leave: bool,
        changes: &[ConfChangeSingle],
    ) -> Result<Changed, ConfChangeError> {
        let (mut config, mut progress) = self.checked_copy()?;
        if config.voters.is_joint() {
            return Err(ConfChangeError::AlreadyJoint);
        }
        if config.voters.incoming.0.is_empty() {
            return Err(ConfChangeError::NoVoters);
        }
        config.voters.outgoing = config.voters.incoming.clone();
        self.apply(&mut config, &mut progress, changes)?;
        config.auto_leave = auto_leave;
        check(&config, &progress).map_err(ConfChangeError::Broken)?;
        Ok((config, progress))
    }

    /// The configuration after a joint one.
    ///
    /// # Errors
    /// See [`ConfChangeError`].
    pub fn leave_joint(&self) -> Result<Changed, ConfChangeError> {
        let (mut config, mut progress) = self.checked_copy()?;
        if !config.voters.is_joint() {
            return Err(ConfChangeError::NotJoint);
        }
        for id in std::mem::take(&mut config.learners_next) {
            config.learners.insert(id);
            progress.0.get_mut(&id).expect("checked above").is_learner = true;
        }
        for id in std::mem::take(&mut config.voters.outgoing.0) {
            if !config.voters.incoming.0.contains(&id) && !config.learners.contains(&id) {
                progress.0.remove(&id);
            }
        }
        config.auto_leave = false;
        check(&config, &progress).map_err(ConfChangeError::Broken)?;
        Ok((config, progress))
    }

    /// The configuration after changes that move at most one voter.
    ///
    /// # Errors
    /// See [`ConfChangeError`].
    pub fn simple(&self, changes: &[ConfChangeSingle]) -> Result<Changed, ConfChangeError> {
        let (mut config, mut progress) = self.checked_copy()?;
        if config.voters.is_joint() {
            return Err(ConfChangeError::SimpleInJoint);
        }
        self.apply(&mut config, &mut progress, changes)?;
        let before = &self.tracker.config.voters.incoming.0;
        if before.symmetric_difference(&config.voters.incoming.0).count() > 1 {
            return Err(ConfChangeError::TooManyVoters);
        }
        check(&config, &progress).map_err(ConfChangeError::Broken)?;
        Ok((config, progress))
    }

    fn checked_copy(&self) -> Result<Changed, ConfChangeError> {
        check(&self.tracker.config, &self.tracker.progress).map_err(ConfChangeError::Broken)?;
        Ok((self.tracker.config.clone(), self.tracker.progress.clone()))
    }

    fn apply(
        &self,
        config: &mut Configuration,
        progress: &mut ProgressMap,
        changes: &[ConfChangeSingle],
    ) -> Result<(), ConfChangeError> {
        // The owner sets the member to 0 where it refuses a change that is in the log.
        for change in changes.iter().filter(|change| change.node_id() != 0) {
            let id = change.node_id();
            match change.r#type() {
                ConfChangeType::ConfChangeAddNode => self.make_voter(config, progress, id),
                ConfChangeType::ConfChangeAddLearnerNode => {
                    self.make_learner(config, progress, id);
                }
                ConfChangeType::ConfChangeRemoveNode => {
                    remove(config, progress, id);
                }
                ConfChangeType::ConfChangeUpdateNode => {}
            }
        }
        if config.voters.incoming.0.is_empty() {
            return Err(ConfChangeError::RemovedAllVoters);
        }
        Ok(())
    }

    fn make_voter(&self, config: &mut Configuration, progress: &mut ProgressMap, id: u64) {
        progress.0.entry(id).or_insert_with(|| self.newcomer(false)).is_learner = false;
        config.learners.remove(&id);
        config.learners_next.remove(&id);
        config.voters.incoming.0.insert(id);
    }

    fn make_learner(&self, config: &mut Configuration, progress: &mut ProgressMap, id: u64) {
        let Some(known) = progress.0.get(&id).cloned() else {
            config.learners.insert(id);
            progress.0.insert(id, self.newcomer(true));
            return;
        };
        if known.is_learner {
            return;
        }
        remove(config, progress, id);
        let still_votes = config.voters.outgoing.0.contains(&id);
        let learners = if still_votes { &mut config.learners_next } else { &mut config.learners };
        learners.insert(id);
        progress.0.insert(id, Progress { is_learner: !still_votes, ..known });
    }

    /// A member that was just added counts as heard, so that a check for a quorum does not depose
    /// the leader before it could answer.
    fn newcomer(&self, is_learner: bool) -> Progress {
        let inflights = self.tracker.inflights();
        let next = self.last_index.max(1);
        Progress { recent_active: true, ..Progress::new(next, inflights, is_learner) }
    }
}

fn remove(config: &mut Configuration, progress: &mut ProgressMap, id: u64) {
    if !progress.0.contains_key(&id) {
        return;
    }
    config.voters.incoming.0.remove(&id);
    config.learners.remove(&id);
    config.learners_next.remove(&id);
    if !config.voters.outgoing.0.contains(&id) {
        progress.0.remove(&id);
    }
}

fn single(kind: ConfChangeType, ids: &[u64]) -> impl Iterator<Item = ConfChangeSingle> {
    ids.iter().map(move |id| ConfChangeSingle { r#type: Some(kind as i32), node_id: Some(*id) })
}

/// The configuration that a message describes, with members of whom nothing is known.
///
/// It is rebuilt as it came about: the outgoing voters one by one, and on top of them the change
/// that removed them and brought in the others.
///
/// # Errors
/// The message contradicts itself.
pub fn restore(
    limits: &Tracker,
    last_index: u64,
    state: &ConfState,
) -> Result<Changed, ConfChangeError> {
    use ConfChangeType::{ConfChangeAddLearnerNode, ConfChangeAddNode, ConfChangeRemoveNode};
    let mut tracker = limits.emptied();
    let step = |tracker: &mut Tracker, change: ConfChangeSingle| {
        let changed = Changer { tracker, last_index }.simple(&[change])?;
        (tracker.config, tracker.progress) = changed;
        Ok(())
    };
    let incoming = single(ConfChangeAddNode, &state.voters)
        .chain(single(ConfChangeAddLearnerNode, &state.learners))
        .chain(single(ConfChangeAddLearnerNode, &state.learners_next));
    if state.voters_outgoing.is_empty() {
        for change in incoming {
            step(&mut tracker, change)?;
        }
        return Ok((tracker.config, tracker.progress));
    }
    for change in single(ConfChangeAddNode, &state.voters_outgoing) {
        step(&mut tracker, change)?;
    }
    let leaving = single(ConfChangeRemoveNode, &state.voters_outgoing);
    let changes: Vec<ConfChangeSingle> = leaving.chain(incoming).collect();
    Changer { tracker: &tracker, last_index }.enter_joint(state.auto_leave(), &changes)
}

/// Whether two messages describe the same configuration, in whatever order they list members.
pub(crate) fn is_equivalent(one: &ConfState, other: &ConfState) -> bool {
    fn set(ids: &[u64]) -> BTreeSet<u64> {
        ids.iter().copied().collect()
    }
    set(&one.voters) == set(&other.voters)
        && set(&one.learners) == set(&other.learners)
        && set(&one.voters_outgoing) == set(&other.voters_outgoing)
        && set(&one.learners_next) == set(&other.learners_next)
        && one.auto_leave() == other.auto_leave()
}
