//! The configuration in force, what is known of each member, and the votes of an election.

use crate::inflights::Inflights;
use crate::progress::Progress;
use crate::quorum::{Joint, VoteResult, write_ids};
use proto::raftpb::ConfState;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound::{Excluded, Unbounded};

/// Who votes and who only learns (thesis, sections 4.2.1 and 4.3).
///
/// Always true: nobody is voter and learner at once; `learners_next` are voters of the outgoing
/// half that turn into learners when the joint configuration is left; outside a joint configuration
/// `learners_next` is empty and `auto_leave` unset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// The voters.
    pub voters: Joint,
    /// Whether a joint configuration is left as soon as it is applied, without being asked.
    pub auto_leave: bool,
    /// Members that receive entries and do not vote.
    pub learners: BTreeSet<u64>,
    /// Outgoing voters that will be learners.
    pub learners_next: BTreeSet<u64>,
}

impl Configuration {
    /// The same as a message.
    pub fn to_conf_state(&self) -> ConfState {
        let list = |ids: &BTreeSet<u64>| ids.iter().copied().collect();
        ConfState {
            voters: self.voters.incoming.to_vec(),
            voters_outgoing: self.voters.outgoing.to_vec(),
            learners: list(&self.learners),
            learners_next: list(&self.learners_next),
            auto_leave: Some(self.auto_leave),
        }
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "voters={}", self.voters)?;
        let named = [(" learners=", &self.learners), (" learners_next=", &self.learners_next)];
        for (name, ids) in named.into_iter().filter(|(_, ids)| !ids.is_empty()) {
            f.write_str(name)?;
            write_ids(f, ids)?;
        }
        f.write_str(if self.auto_leave { " autoleave" } else { "" })
    }
}

/// What is known of each member, by id.
#[derive(Clone, Debug, Default)]
pub struct ProgressMap(pub BTreeMap<u64, Progress>);

impl fmt::Display for ProgressMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(id, progress)| writeln!(f, "{id}: {progress}"))
    }
}

/// The configuration with everything that a leader or candidate counts.
///
/// Always true, and asserted by [`Tracker::check`]: the truths of [`Configuration`]; there is progress
/// of its members and of nobody else, marked as a learner's where it is one's; and the truths of each
/// [`Progress`].
#[derive(Clone, Debug)]
pub struct Tracker {
    /// The configuration in force.
    pub config: Configuration,
    /// What is known of each voter and learner.
    pub progress: ProgressMap,
    votes: BTreeMap<u64, bool>,
    inflight_count_max: usize,
    inflight_bytes_max: u64,
}

impl Tracker {
    /// A tracker of nobody, with the limits of what may be on its way to a follower.
    pub fn new(inflight_count_max: usize, inflight_bytes_max: u64) -> Tracker {
        Tracker {
            config: Configuration::default(),
            progress: ProgressMap::default(),
            votes: BTreeMap::new(),
            inflight_count_max,
            inflight_bytes_max,
        }
    }

    /// Asserts what is always true of [`Tracker`].
    pub fn check(&self) {
        let config = &self.config;
        let checked = check(config, &self.progress);
        assert_eq!(checked, Ok(()), "the configuration {config}");
        for (id, progress) in &self.progress.0 {
            let is_learner = config.learners.contains(id);
            let is_member = is_learner || config.voters.contains(*id);
            assert!(is_member, "progress of {id}, who is not in {config}");
            assert_eq!(progress.is_learner, is_learner, "is {id} a learner in {config}?");
            progress.check();
        }
    }

    /// Whether votes are being counted.
    pub(crate) fn has_votes(&self) -> bool {
        !self.votes.is_empty()
    }

    /// The same limits with nobody in it.
    pub(crate) fn emptied(&self) -> Tracker {
        Tracker::new(self.inflight_count_max, self.inflight_bytes_max)
    }

    /// A window for a follower.
    pub(crate) fn inflights(&self) -> Inflights {
        Inflights::new(self.inflight_count_max, self.inflight_bytes_max)
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Progress> {
        self.progress.0.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Progress> {
        self.progress.0.get_mut(&id)
    }

    /// The member that follows this id in order.
    pub(crate) fn next_after(&self, id: u64) -> Option<u64> {
        self.progress.0.range((Excluded(id), Unbounded)).next().map(|(id, _)| *id)
    }

    /// Whether there is only one voter.
    pub(crate) fn is_singleton(&self) -> bool {
        self.config.voters.incoming.0.len() == 1 && !self.config.voters.is_joint()
    }

    /// The highest index that a quorum holds.
    pub(crate) fn committed(&self) -> u64 {
        self.config.voters.committed_index(|id| self.get(id).map(|progress| progress.matched))
    }

    /// Whether a quorum was heard lately.
    pub(crate) fn is_quorum_active(&self) -> bool {
        let voter = |id| self.get(id).filter(|progress| !progress.is_learner);
        let active = |id| voter(id).map(|progress| progress.recent_active);
        self.config.voters.vote_result(active) == VoteResult::Won
    }

    pub(crate) fn reset_votes(&mut self) {
        self.votes.clear();
    }

    /// Counts a vote; a second one of the same voter changes nothing.
    pub(crate) fn record_vote(&mut self, id: u64, granted: bool) {
        self.votes.entry(id).or_insert(granted);
    }

    /// How the election stands.
    pub(crate) fn tally_votes(&self) -> VoteResult {
        self.config.voters.vote_result(|id| self.votes.get(&id).copied())
    }
}

/// What contradicts itself in a configuration, or between it and the progress of its members.
pub(crate) fn check(config: &Configuration, progress: &ProgressMap) -> Result<(), String> {
    let broken = |what: String| Err(what);
    let voters = config.voters.ids();
    let sets: [&BTreeSet<u64>; 3] = [&voters, &config.learners, &config.learners_next];
    if let Some(id) = sets.into_iter().flatten().find(|id| !progress.0.contains_key(id)) {
        return broken(format!("no progress for {id}"));
    }
    for id in &config.learners_next {
        if !config.voters.outgoing.0.contains(id) {
            return broken(format!("{id} is in LearnersNext, but not Voters[1]"));
        }
        if progress.0[id].is_learner {
            return broken(format!("{id} is in LearnersNext, but is already marked as learner"));
        }
    }
    for id in &config.learners {
        if config.voters.contains(*id) {
            return broken(format!("{id} is in Learners and Voters"));
        }
        if !progress.0[id].is_learner {
            return broken(format!("{id} is in Learners, but is not marked as learner"));
        }
    }
    if !config.voters.is_joint() && !config.learners_next.is_empty() {
        return broken("cfg.LearnersNext must be nil when not joint".into());
    }
    if !config.voters.is_joint() && config.auto_leave {
        return broken("AutoLeave must be false when not joint".into());
    }
    Ok(())
}
