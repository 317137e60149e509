//! Watching: every watcher hears of every change that it wants, once and in order, all of one revision
//! together, and progress only of what it has.

use super::{Violation, ensure};
use crate::model::{Event, Model};
use bytes::Bytes;
use proto::etcdserverpb::WatchResponse;
use proto::mvccpb::event::EventType;

const PROPERTY: &str = "watching";

/// What a watcher watches and how far it has come, whichever member it is with.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    /// From this key on.
    pub(crate) key: Bytes,
    /// Up to this key; `None` for the one key, an empty one for all.
    pub(crate) end: Option<Bytes>,
    /// The next revision it is to hear of; `None` until it is told where it begins.
    pub(crate) next: Option<i64>,
    /// Not before this revision it begins, where it begins now.
    pub(crate) floor: i64,
}

/// What a response means for the watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It goes on.
    On,
    /// The member knows nothing of it any more.
    Over,
}

impl Watched {
    fn wants(&self, key: &Bytes) -> bool {
        match &self.end {
            None => *key == self.key,
            Some(end) => *key >= self.key && (end.is_empty() || key < end),
        }
    }

    /// The first revision from the next one on, up to `to`, that the watcher wants to hear of.
    pub(crate) fn awaits(&self, model: &Model, to: i64) -> Option<i64> {
        let next = self.next?;
        let mut news = model.events_from(next).take_while(|(revision, _)| *revision <= to);
        news.find(|(_, events)| events.iter().any(|event| self.wants(&event.key)))
            .map(|(revision, _)| revision)
    }

    /// Takes what a member says.
    pub(crate) fn hears(
        &mut self,
        model: &Model,
        response: &WatchResponse,
    ) -> Result<Heard, Violation> {
        let revision = response.header.as_ref().map_or(0, |header| header.revision);
        if response.canceled {
            return self.is_canceled(model, response);
        }
        if response.created {
            let floor = self.floor;
            ensure(PROPERTY, self.next.is_some() || revision >= floor, || {
                format!("a watcher of now begins after {revision}, {floor} was shown before")
            })?;
            self.next.get_or_insert(revision + 1);
            return Ok(Heard::On);
        }
        if response.events.is_empty() {
            self.has_come_to(model, revision)?;
        } else {
            self.sees(model, response)?;
        }
        Ok(Heard::On)
    }

    fn is_canceled(&mut self, model: &Model, response: &WatchResponse) -> Result<Heard, Violation> {
        let (compacted, next) = (response.compact_revision, self.next.unwrap_or(0));
        ensure(PROPERTY, compacted > next && compacted <= model.compacted(), || {
            format!("{self:?} is canceled: {response:?}")
        })?;
        self.next = Some(compacted);
        Ok(Heard::Over)
    }

    /// Everything up to here has been heard.
    fn has_come_to(&mut self, model: &Model, revision: i64) -> Result<(), Violation> {
        let missed = self.awaits(model, revision);
        ensure(PROPERTY, missed.is_none(), || {
            format!(
                "{self:?} has not heard of {missed:?} and is told that it has come to {revision}"
            )
        })?;
        self.next = self.next.map(|next| next.max(revision + 1));
        Ok(())
    }

    fn sees(&mut self, model: &Model, response: &WatchResponse) -> Result<(), Violation> {
        let of = |event: &proto::mvccpb::Event| event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
        let events: Vec<(i64, Event)> =
            response.events.iter().map(|event| (of(event), shown(event))).collect();
        for together in events.chunk_by(|one, next| one.0 == next.0) {
            let revision = together[0].0;
            let next = self.next.unwrap_or(i64::MAX);
            ensure(PROPERTY, revision >= next, || {
                format!("{self:?} hears of {revision}, again or before it was to")
            })?;
            self.has_come_to(model, revision - 1)?;
            let all = model.events_from(revision).next().filter(|(at, _)| *at == revision);
            let due: Vec<&Event> = all
                .into_iter()
                .flat_map(|(_, events)| events)
                .filter(|e| self.wants(&e.key))
                .collect();
            let is_right = due.iter().copied().eq(together.iter().map(|(_, event)| event));
            ensure(PROPERTY, is_right, || {
                format!("{self:?} hears of {together:?}, it should be {due:?}")
            })?;
            self.next = Some(revision + 1);
        }
        Ok(())
    }
}

fn shown(event: &proto::mvccpb::Event) -> Event {
    let kv = event.kv.clone().unwrap_or_default();
    let is_put = event.r#type == EventType::Put as i32;
    Event { key: kv.key, value: is_put.then_some(kv.value) }
}
