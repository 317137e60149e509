//! Bringing watchers from where they are to now.

use crate::event::Event;
use crate::hub::{Hub, WatcherId, send_events};
use crate::watcher::State;
use bytes::Bytes;
use mvcc::ReadTxn;
use prost::Message;
use proto::etcdserverpb::WatchResponse;
use proto::mvccpb::KeyValue;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Watchers taken along in one walk through history.
const WATCHERS_MAX: usize = 512;
/// Revisions with events in one response.
const REVISIONS_MAX: usize = 1000;
/// Changes looked at in one step.
const CHANGES_MAX: usize = 20_000;

/// A piece of history.
struct Piece {
    events: Vec<Event>,
    /// Everything up to this revision has been looked at.
    to: i64,
}

impl Hub {
    /// Brings some watchers a bounded piece further; `true` where there is more to do.
    pub fn step(&mut self) -> bool {
        let batch: Vec<WatcherId> = self.take_batch();
        if batch.is_empty() {
            return !self.queue.is_empty();
        }
        let read = self.reader.read();
        let compacted = read.compacted();
        let mut live = Vec::new();
        for id in batch {
            if self.next_of(id) < compacted {
                self.cancel_compacted(id, compacted);
            } else {
                live.push(id);
            }
        }
        let Some(from) = live.iter().map(|id| self.next_of(*id)).min() else {
            return !self.queue.is_empty();
        };
        match self.read_piece(&read, from) {
            Some(mut piece) => {
                for id in live {
                    self.catch_up(id, &mut piece, &read);
                }
            }
            // A compaction has come in between: look again.
            None => self.queue.extend(live),
        }
        !self.queue.is_empty()
    }

    /// The next watchers whose streams have room. The others wait for it.
    fn take_batch(&mut self) -> Vec<WatcherId> {
        let mut batch = Vec::new();
        while batch.len() < WATCHERS_MAX {
            let Some(id) = self.queue.pop_front() else { break };
            let Some(open) = self.streams.get_mut(&id.0) else { continue };
            if open.sink.has_room() {
                batch.push(id);
            } else {
                open.waiting.insert(id.1);
            }
        }
        batch
    }

    fn next_of(&self, (stream, id): WatcherId) -> i64 {
        self.streams[&stream].watchers[&id].next
    }

    /// The watcher hears how far history is gone. Its id stays taken until it is canceled.
    fn cancel_compacted(&mut self, id: WatcherId, compact_revision: i64) {
        let watcher = self.streams.get_mut(&id.0).and_then(|open| open.watchers.remove(&id.1));
        if let Some(mut watcher) = watcher {
            self.unlist(id, &watcher);
            watcher.state = State::Compacted;
            if let Some(open) = self.streams.get_mut(&id.0) {
                open.watchers.insert(id.1, watcher);
            }
        }
        let canceled = WatchResponse {
            watch_id: id.1,
            canceled: true,
            compact_revision,
            ..Default::default()
        };
        self.tell(id.0, 0, canceled);
    }

    /// Changes from a revision on, up to the last one published here.
    fn read_piece(&self, read: &ReadTxn, from: i64) -> Option<Piece> {
        let mut piece = Piece { events: Vec::new(), to: self.current };
        let mut revisions = 0;
        let mut last = 0;
        let current = self.current;
        let walked = read.history(from, |revision, is_delete, stored| {
            if revision.main > current {
                return ControlFlow::Break(());
            }
            if revision.main != last {
                if revisions == REVISIONS_MAX || piece.events.len() >= CHANGES_MAX {
                    piece.to = last;
                    return ControlFlow::Break(());
                }
                revisions += 1;
                last = revision.main;
            }
            let stored = Bytes::copy_from_slice(stored);
            let kv = KeyValue::decode(stored.clone()).unwrap_or_default();
            let is_create = !is_delete && kv.create_revision == kv.mod_revision;
            let event = Event::new(kv.key, revision.main, is_delete, &stored);
            piece.events.push(event.created(is_create));
            ControlFlow::Continue(())
        });
        walked.is_ok().then_some(piece)
    }

    fn catch_up(&mut self, id: WatcherId, piece: &mut Piece, read: &ReadTxn) {
        let header = self.header_at(self.current);
        let (current, fragment_bytes) = (self.current, self.limits.fragment_bytes);
        let Some(open) = self.streams.get_mut(&id.0) else { return };
        let Some(watcher) = open.watchers.get_mut(&id.1) else { return };
        let mut by_place: BTreeMap<usize, Bytes> = BTreeMap::new();
        for (place, event) in piece.events.iter_mut().enumerate() {
            if watcher.wants(event) {
                by_place.insert(place, event.field(watcher.prev_kv, read));
            }
        }
        watcher.next = watcher.next.max(piece.to + 1);
        if watcher.next > current {
            watcher.state = State::Synced;
        } else {
            self.queue.push_back(id);
        }
        if !by_place.is_empty() {
            watcher.is_busy = true;
            let fragment = watcher.fragment.then_some(fragment_bytes);
            let fields = by_place.into_values().collect();
            send_events(&mut *open.sink, header, id.1, fragment, fields);
        }
    }
}
