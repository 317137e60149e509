//! Visibility: what a member shows goes forward, members come before the index that stands for them, and
//! the hub hears of each revision once, before the client that made it hears.

use super::{Violation, ensure};
use crate::member::{Common, Member};
use crate::model::Model;
use proto::etcdserverpb::AlarmType;
use std::collections::BTreeMap;

const PROPERTY: &str = "visibility";

/// What members have shown.
#[derive(Default)]
pub(crate) struct Visibility {
    /// Place -> the life and the last index it showed in it.
    shown: BTreeMap<usize, (u32, u64)>,
}

impl Visibility {
    /// A member shows that so much is applied.
    pub(crate) fn shows(
        &mut self,
        model: &Model,
        (place, life): (usize, u32),
        common: &Common,
        index: u64,
    ) -> Result<(), Violation> {
        let before = self.shown.insert(place, (life, index));
        let before = before.filter(|(lived, _)| *lived == life).map_or(0, |(_, index)| index);
        ensure(PROPERTY, index >= before, || {
            format!("m{place} shows that {index} is applied, after {before}")
        })?;
        let members = common.members();
        let shown: BTreeMap<u64, bool> =
            members.list().map(|member| (member.id, member.is_learner)).collect();
        let due = model.members_at(index);
        ensure(PROPERTY, shown == due, || {
            format!("m{place} shows index {index} with members {shown:x?}, not {due:x?}")
        })
    }

    /// A member's state machine has nothing to do: what it shows is what is applied.
    pub(crate) fn rests(member: &Member) -> Result<(), Violation> {
        let (figures, machine) = (&member.common.figures, &member.apply.turn.applier().machine);
        let shown = (figures.applied(), figures.no_space(), figures.leases());
        let is_full = machine.alarms().is_raised(AlarmType::Nospace);
        let due = (member.applied(), is_full, machine.lessor.len() as u64);
        ensure(PROPERTY, shown == due, || {
            format!("{:x} shows (index, alarm, leases) {shown:?} and has {due:?}", member.id)
        })
    }

    /// A client hears that its write made this revision.
    pub(crate) fn answers(place: usize, revision: i64, published: i64) -> Result<(), Violation> {
        ensure(PROPERTY, revision <= published, || {
            format!(
                "m{place} answers with revision {revision}, watchers are to hear to {published}"
            )
        })
    }

    /// The hub hears of changes up to a revision.
    pub(crate) fn hub_hears(place: usize, revision: i64, heard: i64) -> Result<(), Violation> {
        ensure(PROPERTY, revision > heard, || {
            format!("the hub of m{place} hears of revision {revision} and was at {heard}")
        })
    }
}
