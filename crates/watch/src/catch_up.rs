//! Bringing watchers from where they are to now.

use crate::event::{Event, key_of};
use crate::hub::{Hub, Target};
use crate::ids::WatcherId;
use crate::index::Index;
use crate::publish::send_events;
use bytes::Bytes;
use mvcc::ReadTxn;
use proto::etcdserverpb::WatchResponse;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Watchers looked at in one step, and at most taken along in one walk through history.
const WATCHERS_MAX: usize = 2048;
/// Revisions with events in one response. Who is further ahead than this is not taken along.
const REVISIONS_MAX: usize = 1000;
/// Changes looked at in one step.
const CHANGES_MAX: usize = 20_000;
/// Events found in one step, each counted for every watcher that wants it.
const MATCHES_MAX: usize = 100_000;

/// A piece of history: what somebody in a batch of watchers wants to know.
struct Piece {
    events: Vec<Event>,
    /// Which of the events a watcher wants.
    wanted: BTreeMap<WatcherId, Vec<usize>>,
    /// Everything up to this revision has been looked at.
    to: i64,
}

/// What one response says, and how far it goes.
struct Portion {
    fields: Vec<Bytes>,
    to: i64,
}

/// What a walk through history has cost so far.
#[derive(Default)]
struct Cost {
    changes: usize,
    matches: usize,
    bytes: usize,
}

impl Cost {
    fn is_enough(&self, bytes_max: usize) -> bool {
        self.changes >= CHANGES_MAX || self.matches >= MATCHES_MAX || self.bytes >= bytes_max
    }
}

impl Hub {
    /// Brings the watcher in front, and others near it, a bounded piece further; `true` where there
    /// is more to do.
    pub fn step(&mut self) -> bool {
        if self.queue.is_empty() {
            return false;
        }
        let read = self.reader.read();
        if let Some(from) = self.ready_front(&read) {
            let batch = self.batch(from);
            // Without a piece, a compaction has come in between: look again.
            if let Some(mut piece) = self.read_piece(&read, from, &batch) {
                for id in batch {
                    self.catch_up(id, &mut piece, &read);
                }
            }
        }
        !self.queue.is_empty()
    }

    /// The next revision of the watcher in front, after those were sent off that cannot go on: the
    /// ones without room, and the ones whose history is gone.
    fn ready_front(&mut self, read: &ReadTxn) -> Option<i64> {
        let compacted = read.compacted();
        for _ in 0..WATCHERS_MAX {
            let id = self.queue.front()?;
            let (sink, watcher) = self.find(id)?;
            let next = watcher.next;
            if !sink.has_room() {
                self.move_to(id, Target::Stream);
            } else if next < compacted {
                self.cancel_compacted(id, compacted);
            } else {
                return Some(next);
            }
        }
        None
    }

    /// Queued watchers that a walk from this revision on serves: the one in front first, and none
    /// so far ahead that it would have to wait for the others.
    fn batch(&self, from: i64) -> Vec<WatcherId> {
        let near = from..from + REVISIONS_MAX as i64;
        let looked_at = self.queue.iter().take(WATCHERS_MAX);
        looked_at.filter(|id| near.contains(&self.next_of(*id))).collect()
    }

    fn next_of(&self, (stream, id): WatcherId) -> i64 {
        self.streams[&stream].watchers[&id].next
    }

    /// The watcher hears how far history is gone. Its id stays taken until it is canceled.
    fn cancel_compacted(&mut self, id: WatcherId, compact_revision: i64) {
        let next = self.next_of(id);
        assert!(next < compact_revision, "{id:?} can read {next}, compacted at {compact_revision}");
        self.move_to(id, Target::Nowhere);
        let canceled = WatchResponse {
            watch_id: id.1,
            canceled: true,
            compact_revision,
            ..Default::default()
        };
        self.tell(id.0, 0, canceled);
    }

    /// What the batch wants of the changes from a revision on, up to the last one published here.
    /// It ends between two revisions, where it has become enough: at the latest when it is as long
    /// as the first of the batch takes a response, but never before one revision.
    fn read_piece(&self, read: &ReadTxn, from: i64, batch: &[WatcherId]) -> Option<Piece> {
        let index = self.index_of(batch);
        let first = batch.first().and_then(|(stream, _)| self.streams.get(stream));
        let bytes_max = first.map_or(0, |open| open.sink.response_bytes_max());
        let mut piece = Piece { events: Vec::new(), wanted: BTreeMap::new(), to: self.current };
        let mut cost = Cost::default();
        let mut last = 0;
        let walked = read.history(from, |revision, is_delete, stored| {
            if revision.main > self.current {
                return ControlFlow::Break(());
            }
            if revision.main != last && last != 0 && cost.is_enough(bytes_max) {
                piece.to = last;
                return ControlFlow::Break(());
            }
            last = revision.main;
            let matches = self.note(&index, &mut piece, revision.main, is_delete, stored);
            cost.changes += 1;
            cost.matches += matches;
            cost.bytes += if matches > 0 { stored.len() } else { 0 };
            ControlFlow::Continue(())
        });
        walked.is_ok().then_some(piece)
    }

    fn index_of(&self, batch: &[WatcherId]) -> Index {
        let mut index = Index::default();
        for id in batch {
            index.insert(*id, &self.streams[&id.0].watchers[&id.1]);
        }
        index
    }

    /// Takes a change into the piece where somebody wants it; gives how many do.
    fn note(
        &self,
        index: &Index,
        piece: &mut Piece,
        revision: i64,
        is_delete: bool,
        stored: &[u8],
    ) -> usize {
        let mut matches = 0;
        let place = piece.events.len();
        index.watching(&key_of(stored), &mut |id| {
            if self.streams[&id.0].watchers[&id.1].wants(revision, is_delete) {
                piece.wanted.entry(id).or_default().push(place);
                matches += 1;
            }
        });
        if matches > 0 {
            piece.events.push(Event::from_history(revision, is_delete, stored));
        }
        matches
    }

    /// Hands a queued watcher its part of a piece, if its stream has room.
    fn catch_up(&mut self, id: WatcherId, piece: &mut Piece, read: &ReadTxn) {
        let header = self.header_at(self.current);
        let (current, fragment_bytes) = (self.current, self.limits.fragment_bytes);
        let Some((sink, watcher)) = self.find(id) else { return };
        if watcher.next > piece.to {
            // Its turn is yet to come.
            return;
        }
        if !sink.has_room() {
            return self.move_to(id, Target::Stream);
        }
        let bytes_max = sink.response_bytes_max();
        let portion = piece.portion(id, watcher.prev_kv, bytes_max, read);
        let (next, to) = (watcher.next, portion.to);
        assert!((next..=current).contains(&to), "{id:?} goes from {next} to {to} of {current}");
        watcher.next = portion.to + 1;
        let is_synced = watcher.next > current;
        if !portion.fields.is_empty() {
            watcher.is_busy = true;
            let fragment = watcher.fragment.then_some(fragment_bytes);
            let sent = portion.fields.len() as u64;
            send_events(sink, header, id.1, fragment, portion.fields);
            self.events_sent += sent;
        }
        self.move_to(id, if is_synced { Target::Index } else { Target::Queue });
    }
}

impl Piece {
    /// A watcher's part, as much as goes into a response; it ends between two revisions.
    /// Values before a change count, that a piece does not hold.
    fn portion(
        &mut self,
        id: WatcherId,
        prev_kv: bool,
        bytes_max: usize,
        read: &ReadTxn,
    ) -> Portion {
        let mut portion = Portion { fields: Vec::new(), to: self.to };
        let (mut revisions, mut bytes, mut last) = (0, 0, 0);
        for place in self.wanted.remove(&id).unwrap_or_default() {
            let event = &mut self.events[place];
            if event.revision != last {
                if revisions == REVISIONS_MAX || bytes >= bytes_max {
                    portion.to = event.revision - 1;
                    break;
                }
                revisions += 1;
                last = event.revision;
            }
            let field = event.field(prev_kv, read);
            bytes += field.len();
            portion.fields.push(field);
        }
        portion
    }
}
