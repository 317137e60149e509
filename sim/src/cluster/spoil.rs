//! Mistakes that are made with what a turn wants done: changed, put into another order, or left out.

use crate::member::{ApplyEffect, CoreEvent};
use crate::plan::Mistake;
use apply::Kind;
use apply::envelope;
use replica::Persist;
use replica::turn::Proposal;
use std::collections::VecDeque;

/// Mistakes with what is to be written.
pub(super) fn persist(mistake: Option<Mistake>, persist: &mut Persist) {
    match mistake {
        Some(Mistake::SkipSync) => persist.sync = false,
        Some(Mistake::ForgetVote) => {
            persist.hard_state.iter_mut().for_each(|state| state.vote = None);
        }
        _ => {}
    }
}

/// Mistakes with what follows from a turn of the state machine.
pub(super) fn effects(mistake: Option<Mistake>, effects: &mut VecDeque<ApplyEffect>) {
    match mistake {
        Some(Mistake::AnswerBeforeWatchers) => {
            put_last(effects, |effect| matches!(effect, ApplyEffect::Publish(_)));
        }
        Some(Mistake::IndexBeforeMembers) => {
            put_last(effects, |effect| matches!(effect, ApplyEffect::ShowMembers(..)));
        }
        Some(Mistake::CheckpointTwice) => note_twice(effects),
        Some(Mistake::AnchorWatchersWrong) => {
            for effect in effects {
                if let ApplyEffect::Restored(_, revision) = effect {
                    *revision = 0;
                }
            }
        }
        _ => {}
    }
}

fn put_last(effects: &mut VecDeque<ApplyEffect>, is_late: impl Fn(&ApplyEffect) -> bool) {
    let (late, rest) = std::mem::take(effects).into_iter().partition(is_late);
    *effects = rest;
    let late: VecDeque<ApplyEffect> = late;
    effects.extend(late);
}

fn note_twice(effects: &mut VecDeque<ApplyEffect>) {
    for effect in std::mem::take(effects) {
        let again = match &effect {
            ApplyEffect::Core(CoreEvent::Propose { id, proposal }, urgency)
                if is_checkpoint(proposal) =>
            {
                let (id, proposal) = (*id, proposal.clone());
                Some(ApplyEffect::Core(CoreEvent::Propose { id, proposal }, *urgency))
            }
            _ => None,
        };
        effects.push_back(effect);
        effects.extend(again);
    }
}

fn is_checkpoint(proposal: &Proposal) -> bool {
    let Proposal::AsLeader { data, .. } = proposal else { return false };
    let kind = envelope::decode(data.clone()).and_then(|envelope| envelope.request.kind());
    kind == Some(Kind::LeaseCheckpoint)
}
