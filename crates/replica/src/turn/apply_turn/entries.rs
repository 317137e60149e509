//! Committed entries, in their order, and in which order what they change becomes visible.

use super::{ApplyEffect, ApplyTurn, At, MembersChange};
use crate::Fault;
use crate::turn::{Caller, Changes, CoreEvent, Note, Urgency};
use apply::{Effect, Kind, Outcome};
use proto::raftpb::{Entry, EntryType};
use std::sync::Arc;

impl<C: Caller> ApplyTurn<C> {
    /// Whether entries must wait: until the file has taken some of what is buffered, or until a leader's
    /// snapshot has taken the place of everything.
    fn must_wait(&self) -> bool {
        let backend = &self.applier.machine.backend;
        self.restoring.is_some() || backend.is_full() && backend.job_is_out()
    }

    pub(super) fn apply(&mut self, entries: &[Entry], at: At<'_, '_, C>) -> Result<(), Fault> {
        if entries.is_empty() {
            return Ok(());
        }
        if !self.held.is_empty() || self.must_wait() {
            self.held.extend_from_slice(entries);
            return Ok(());
        }
        self.apply_now(entries, at)
    }

    /// Takes up what was held back, once nothing keeps it.
    pub(super) fn apply_held(&mut self, at: At<'_, '_, C>) -> Result<(), Fault> {
        if self.held.is_empty() || self.must_wait() {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        self.apply_now(&held, at)
    }

    /// Applies entries. What they change becomes visible in this order: members, the applied index, the
    /// core, watchers, alarms, answers.
    pub(super) fn apply_now(&mut self, entries: &[Entry], at: At<'_, '_, C>) -> Result<(), Fault> {
        // Leases granted now count from now.
        self.follow_leadership(at);
        let common = Arc::clone(&self.common);
        let wanted = |id| common.waiters.contains(id);
        let observer = &mut *at.observer;
        observer.note(Note::ApplyBegins);
        let each =
            |entry: &Entry, outcome: &Outcome| observer.note(Note::Applied { entry, outcome });
        let applied = self.applier.apply(entries, wanted, each)?;
        let has_changes = !applied.conf_changes.is_empty();
        if has_changes || applied.outcomes.iter().any(changes_members) {
            let members = Box::new(self.applier.machine.members.clone());
            let change =
                if has_changes { MembersChange::Configuration } else { MembersChange::Attributes };
            at.out.push(ApplyEffect::ShowMembers(members, change));
        }
        // After everything that a read which waits for this index looks at.
        self.show_applied(at);
        let (index, term) = (applied.index, applied.term);
        let urgency = if has_changes { Urgency::Urgent } else { Urgency::Lazy };
        let event = CoreEvent::Applied { index, conf_changes: applied.conf_changes };
        at.out.push(ApplyEffect::Core(event, urgency));
        if entries.iter().any(is_first_of_term) {
            at.out.push(ApplyEffect::TermBegun);
        }
        self.publish_and_answer(applied.outcomes, term, at);
        Ok(())
    }

    fn publish_and_answer(&mut self, outcomes: Vec<Outcome>, term: u64, at: At<'_, '_, C>) {
        let mut changes = Vec::new();
        let mut is_full = false;
        let mut answers = Vec::with_capacity(outcomes.len());
        for mut outcome in outcomes {
            match (&outcome.effect, outcome.kind) {
                (Effect::ClusterVersion { .. }, _) => {
                    self.show_cluster_version(at);
                    self.follow_cluster_version(at);
                }
                (_, Some(Kind::Alarm)) => {
                    at.observer.note(Note::Alarms(self.applier.machine.alarms()));
                }
                _ => {}
            }
            is_full |= outcome.effect == Effect::OutOfSpace;
            changes.extend(outcome.change.take());
            answers.push(outcome);
        }
        if !changes.is_empty() {
            // Watchers are on their way before the writer knows that it has written.
            at.out.push(ApplyEffect::Publish(Changes::new(changes, term)));
        }
        self.show_state(at);
        if is_full {
            self.raise_no_space(at);
        }
        // Whoever is answered finds what was answered, in every place.
        for outcome in answers {
            self.answer(outcome, at);
        }
    }
}

fn changes_members(outcome: &Outcome) -> bool {
    matches!(
        outcome.kind,
        Some(Kind::ClusterMemberAttrSet | Kind::ClusterVersionSet | Kind::DowngradeInfoSet)
    )
}

/// Whether it is what a new leader begins with.
fn is_first_of_term(entry: &Entry) -> bool {
    entry.r#type() == EntryType::EntryNormal && entry.data().is_empty()
}
