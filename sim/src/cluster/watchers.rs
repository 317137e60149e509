//! Watchers: with one member after the other, from now, from history, or from where they were.

use super::recovery::Phase;
use super::{Cluster, Event};
use crate::checks::{Heard, Violation, Watched};
use crate::requests;
use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{WatchCreateRequest, WatchProgressRequest, WatchResponse};
use replica::turn::WatchEvent;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use watch::{Sink, StreamId};

/// Time between two things that a watcher does, at most, in microseconds.
const PAUSE_US: u64 = 400_000;
/// Responses that a stream takes before it has no room.
const RESPONSES_MAX: usize = 3;

/// A stream's end at the watcher.
#[derive(Debug, Default)]
struct Received {
    responses: VecDeque<Vec<u8>>,
    /// The watcher does not read.
    is_blocked: bool,
    is_cut: bool,
}

/// A stream's end at the hub.
#[derive(Clone, Debug, Default)]
struct Stream(Arc<Mutex<Received>>);

impl Stream {
    fn with<T>(&self, act: impl FnOnce(&mut Received) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for Stream {
    fn send(&mut self, pieces: Vec<Bytes>) {
        self.with(|received| received.responses.push_back(pieces.concat()));
    }

    fn has_room(&self) -> bool {
        self.with(|received| !received.is_blocked && received.responses.len() < RESPONSES_MAX)
    }

    fn response_bytes_max(&self) -> usize {
        200
    }

    fn cut(&mut self) {
        self.with(|received| received.is_cut = true);
    }
}

/// Where a watcher is.
struct Attached {
    place: usize,
    life: u32,
    id: StreamId,
    stream: Stream,
}

/// A watcher.
pub(crate) struct Watcher {
    watched: Watched,
    progress_notify: bool,
    attached: Option<Attached>,
}

impl Cluster {
    /// A watcher of some keys, from now, from some revision of the past, or from one to come.
    pub(super) fn new_watcher(&mut self) -> Watcher {
        let low = self.rng.below(self.weather.keys);
        let end = match self.rng.below(3) {
            0 => None,
            1 => Some(requests::key(low + self.rng.between(1, 4))),
            _ => Some(Bytes::new()),
        };
        let (oldest, now) = (self.model.compacted().max(1), self.model.revision());
        let next = match self.rng.below(4) {
            0 => Some(self.rng.between(oldest as u64, now as u64) as i64),
            1 => Some(now + self.rng.between(1, 5) as i64),
            _ => None,
        };
        let watched = Watched { key: requests::key(low), end, next, floor: 0 };
        Watcher { watched, progress_notify: self.rng.per_mille(500), attached: None }
    }

    /// A watcher does something.
    pub(super) fn watcher(&mut self, number: usize) {
        let pause = self.rng.between(1_000, PAUSE_US);
        self.scheduler.after(pause, Event::Watcher(number));
        self.detach_from_dead(number);
        if self.watchers[number].attached.is_none() {
            return self.attach(number);
        }
        let is_troubled = self.phase == Phase::Trouble;
        match self.rng.below(10) {
            0 if is_troubled => self.detach(number),
            1 if is_troubled => {
                self.detach(number);
                self.watchers[number] = self.new_watcher();
            }
            2..4 => self.ask_for_progress(number),
            4..6 if is_troubled => self.block(number, true),
            _ => self.block(number, false),
        }
    }

    fn detach_from_dead(&mut self, number: usize) {
        let attached = self.watchers[number].attached.as_ref();
        let is_gone = |one: &Attached| {
            let is_dead =
                !self.lives(one.place, one.life) || self.nodes[one.place].member.is_none();
            is_dead || one.stream.with(|received| received.is_cut)
        };
        if attached.is_some_and(is_gone) {
            self.watchers[number].attached = None;
        }
    }

    fn attach(&mut self, number: usize) {
        let up: Vec<usize> = self.running().collect();
        let Some(&place) = self.rng.pick(&up) else { return };
        let node = &self.nodes[place];
        let (Some(member), life) = (&node.member, node.life) else { return };
        self.next_stream += 1;
        let (id, stream) = (self.next_stream, Stream::default());
        let watcher = &mut self.watchers[number];
        watcher.watched.floor = member.common.reader.revision();
        let create = WatchCreateRequest {
            key: watcher.watched.key.clone(),
            range_end: match &watcher.watched.end {
                Some(end) if end.is_empty() => Bytes::from_static(b"\0"),
                Some(end) => end.clone(),
                None => Bytes::new(),
            },
            start_revision: watcher.watched.next.unwrap_or(0),
            progress_notify: watcher.progress_notify,
            ..WatchCreateRequest::default()
        };
        let start = create.start_revision as u64;
        watcher.attached = Some(Attached { place, life, id, stream: stream.clone() });
        self.note(place, "watches", [number as u64, id, start, 0]);
        self.tell_watch(place, WatchEvent::Open(id, Box::new(stream)));
        self.tell_watch(place, WatchEvent::Request(id, RequestUnion::CreateRequest(create), 0));
    }

    fn detach(&mut self, number: usize) {
        if let Some(one) = self.watchers[number].attached.take() {
            self.note(one.place, "watches no more", [number as u64, one.id, 0, 0]);
            self.tell_watch(one.place, WatchEvent::Close(one.id));
        }
    }

    fn ask_for_progress(&mut self, number: usize) {
        if let Some(one) = &self.watchers[number].attached {
            let (place, id) = (one.place, one.id);
            let request = RequestUnion::ProgressRequest(WatchProgressRequest {});
            self.tell_watch(place, WatchEvent::Request(id, request, 0));
        }
    }

    fn block(&mut self, number: usize, is_blocked: bool) {
        let Some(one) = &self.watchers[number].attached else { return };
        let (place, id) = (one.place, one.id);
        one.stream.with(|received| received.is_blocked = is_blocked);
        if !is_blocked {
            self.tell_watch(place, WatchEvent::Writable(id));
        }
    }

    /// The hub of a member had a turn: its watchers read what came.
    pub(super) fn watchers_hear(&mut self, place: usize) -> Result<(), Violation> {
        for number in 0..self.watchers.len() {
            let is_here = |one: &&Attached| one.place == place && self.lives(one.place, one.life);
            let Some(one) = self.watchers[number].attached.as_ref().filter(is_here) else {
                continue;
            };
            let (id, responses) =
                (one.id, one.stream.with(|received| std::mem::take(&mut received.responses)));
            let was_full = responses.len() >= RESPONSES_MAX;
            for bytes in responses {
                self.hears(number, place, &bytes)?;
            }
            if was_full {
                self.tell_watch(place, WatchEvent::Writable(id));
            }
        }
        Ok(())
    }

    fn hears(&mut self, number: usize, place: usize, bytes: &[u8]) -> Result<(), Violation> {
        let response = WatchResponse::decode(bytes).unwrap_or_default();
        self.counts.watched += response.events.len() as u64;
        let revision = response.header.as_ref().map_or(0, |header| header.revision) as u64;
        let details = [number as u64, response.events.len() as u64, revision, 0];
        self.note(place, "watcher hears", details);
        let watcher = &mut self.watchers[number];
        if watcher.watched.hears(&self.model, &response)? == Heard::Over {
            self.detach(number);
        }
        Ok(())
    }

    /// Watchers that have not heard of everything.
    pub(super) fn watchers_behind(&self) -> Vec<usize> {
        let is_behind = |(number, watcher): (usize, &Watcher)| {
            let (watched, now) = (&watcher.watched, self.model.revision());
            let is_away = watcher.attached.is_none() || watched.next.is_none();
            (is_away || watched.awaits(&self.model, now).is_some()).then_some(number)
        };
        self.watchers.iter().enumerate().filter_map(is_behind).collect()
    }
}
