//! The hub: all streams, all watchers, one order.

use crate::event::Event;
use crate::watcher::{State, Watcher};
use crate::wire::{self, COMPACTED, DUPLICATE_ID, EMPTY_RANGE, NO_ID};
use bytes::Bytes;
use mvcc::{Change, ReadTxn, Reader};
use proto::etcdserverpb::{ResponseHeader, WatchCreateRequest, WatchResponse};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// A stream's number.
pub type StreamId = u64;
/// A watcher: its stream and its id there.
pub(crate) type WatcherId = (StreamId, i64);

/// Where a stream's responses go.
pub trait Sink: Send {
    /// Sends an encoded `WatchResponse` that lies in pieces.
    fn send(&mut self, pieces: Vec<Bytes>);
    /// Whether it will take more now. [`Hub::writable`] must be called when it does again.
    fn has_room(&self) -> bool;
}

/// Limits of the hub.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Responses to watchers that asked for fragments are cut at this many bytes.
    pub fragment_bytes: usize,
    /// How often watchers hear of progress, in milliseconds.
    pub progress_interval_ms: u64,
}

pub(crate) struct Stream {
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) watchers: BTreeMap<i64, Watcher>,
    next_id: i64,
    /// Watchers that wait for room in the sink.
    pub(crate) waiting: BTreeSet<i64>,
    next_progress_ms: u64,
}

/// All watchers of a member.
pub struct Hub {
    pub(crate) reader: Reader,
    pub(crate) limits: Limits,
    pub(crate) header: ResponseHeader,
    /// The last change published here; the store may be ahead.
    pub(crate) current: i64,
    pub(crate) streams: HashMap<StreamId, Stream>,
    /// Watchers of single keys.
    keys: HashMap<Bytes, Vec<WatcherId>>,
    /// Watchers of ranges, by their first key: those that begin after a key cannot cover it.
    ranges: BTreeMap<(Bytes, WatcherId), ()>,
    /// Watchers that catch up, the next one in front.
    pub(crate) queue: VecDeque<WatcherId>,
    now_ms: u64,
}

impl Hub {
    /// A hub for a store, whose changes from now on will be published to it.
    pub fn new(reader: Reader, limits: Limits, cluster_id: u64, member_id: u64) -> Hub {
        let current = reader.revision();
        let header = ResponseHeader { cluster_id, member_id, ..ResponseHeader::default() };
        Hub {
            reader,
            limits,
            header,
            current,
            streams: HashMap::new(),
            keys: HashMap::new(),
            ranges: BTreeMap::new(),
            queue: VecDeque::new(),
            now_ms: 0,
        }
    }

    /// The term that responses show.
    pub fn set_term(&mut self, term: u64) {
        self.header.raft_term = term;
    }

    /// How many watchers there are, and how many of them catch up.
    pub fn watchers(&self) -> (usize, usize) {
        let all = self.streams.values().map(|stream| stream.watchers.len()).sum();
        let waiting: usize = self.streams.values().map(|stream| stream.waiting.len()).sum();
        (all, self.queue.len() + waiting)
    }

    /// How many streams there are.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    pub(crate) fn header_at(&self, revision: i64) -> ResponseHeader {
        ResponseHeader { revision, ..self.header }
    }

    /// Opens a stream under a number that the caller has not used before.
    pub fn open(&mut self, id: StreamId, sink: Box<dyn Sink>) {
        let stream = Stream {
            sink,
            watchers: BTreeMap::new(),
            next_id: 0,
            waiting: BTreeSet::new(),
            next_progress_ms: self.now_ms + self.limits.progress_interval_ms,
        };
        self.streams.insert(id, stream);
    }

    /// Forgets a stream and all its watchers.
    pub fn close(&mut self, stream: StreamId) {
        let Some(closed) = self.streams.remove(&stream) else { return };
        for (id, watcher) in &closed.watchers {
            self.unlist((stream, *id), watcher);
        }
        self.queue.retain(|(of, _)| *of != stream);
    }

    /// Creates a watcher; the stream is told, or why there is none.
    pub fn create(&mut self, stream: StreamId, request: &WatchCreateRequest) {
        let watcher = Watcher::new(request, self.current);
        if request.start_revision < 0 {
            return self.refuse(stream, COMPACTED);
        }
        if watcher.is_empty_range() {
            return self.refuse(stream, EMPTY_RANGE);
        }
        let header = self.header_at(self.current);
        let Some(open) = self.streams.get_mut(&stream) else { return };
        let id = match request.watch_id {
            0 => {
                while open.watchers.contains_key(&open.next_id) {
                    open.next_id += 1;
                }
                open.next_id += 1;
                open.next_id - 1
            }
            chosen if open.watchers.contains_key(&chosen) => {
                return self.refuse(stream, DUPLICATE_ID);
            }
            chosen => chosen,
        };
        let created = WatchResponse { watch_id: id, created: true, ..Default::default() };
        open.sink.send(vec![wire::response(header, created)]);
        self.list((stream, id), &watcher);
        if watcher.state == State::CatchingUp {
            self.queue.push_back((stream, id));
        }
        if let Some(open) = self.streams.get_mut(&stream) {
            open.watchers.insert(id, watcher);
        }
    }

    fn refuse(&mut self, stream: StreamId, reason: &str) {
        let refused = WatchResponse {
            watch_id: NO_ID,
            created: true,
            canceled: true,
            cancel_reason: reason.into(),
            ..Default::default()
        };
        self.tell(stream, self.current, refused);
    }

    /// Sends a response without events.
    pub(crate) fn tell(&mut self, stream: StreamId, revision: i64, response: WatchResponse) {
        let header = self.header_at(revision);
        if let Some(open) = self.streams.get_mut(&stream) {
            open.sink.send(vec![wire::response(header, response)]);
        }
    }

    /// Tells a stream that a watcher could not be created for a reason found elsewhere.
    pub fn deny(&mut self, stream: StreamId, reason: &str) {
        self.refuse(stream, reason);
    }

    /// Cancels a watcher. An unknown id is nothing to speak of.
    pub fn cancel(&mut self, stream: StreamId, id: i64) {
        let Some(open) = self.streams.get_mut(&stream) else { return };
        let Some(watcher) = open.watchers.remove(&id) else { return };
        open.waiting.remove(&id);
        self.unlist((stream, id), &watcher);
        self.queue.retain(|queued| *queued != (stream, id));
        let canceled = WatchResponse { watch_id: id, canceled: true, ..Default::default() };
        self.tell(stream, self.current, canceled);
    }

    /// Answers with the current revision where every watcher of the stream has come that far.
    pub fn request_progress(&mut self, stream: StreamId) {
        let current = self.current;
        let Some(open) = self.streams.get(&stream) else { return };
        let is_there =
            |watcher: &Watcher| watcher.state == State::Synced && watcher.next <= current + 1;
        if open.watchers.is_empty() || !open.watchers.values().all(is_there) {
            return;
        }
        self.tell(stream, current, WatchResponse { watch_id: NO_ID, ..Default::default() });
    }

    fn list(&mut self, id: WatcherId, watcher: &Watcher) {
        if watcher.end.is_none() {
            self.keys.entry(watcher.key.clone()).or_default().push(id);
        } else {
            self.ranges.insert((watcher.key.clone(), id), ());
        }
    }

    pub(crate) fn unlist(&mut self, id: WatcherId, watcher: &Watcher) {
        if watcher.end.is_some() {
            self.ranges.remove(&(watcher.key.clone(), id));
        } else if let Some(ids) = self.keys.get_mut(&watcher.key) {
            ids.retain(|listed| *listed != id);
            if ids.is_empty() {
                self.keys.remove(&watcher.key);
            }
        }
    }

    /// A change of the store, in order. Costs next to nothing where nobody watches.
    pub fn publish(&mut self, change: &Change) {
        assert!(change.revision > self.current, "changes are published in order");
        self.current = change.revision;
        if self.keys.is_empty() && self.ranges.is_empty() {
            return;
        }
        let mut events: Vec<Event> = change
            .events
            .iter()
            .map(|event| {
                Event::new(event.key.clone(), change.revision, event.is_tombstone, &event.kv)
                    .created(event.is_create)
            })
            .collect();
        let mut interested: BTreeMap<WatcherId, Vec<usize>> = BTreeMap::new();
        for (place, event) in events.iter().enumerate() {
            for id in self.watching(&event.key) {
                interested.entry(id).or_default().push(place);
            }
        }
        if interested.is_empty() {
            return;
        }
        let read = self.reader.read();
        for (id, places) in interested {
            self.deliver(id, &mut events, &places, &read);
        }
    }

    /// The watchers whose keys include this one.
    fn watching(&self, key: &Bytes) -> Vec<WatcherId> {
        let mut ids = self.keys.get(key).cloned().unwrap_or_default();
        let begin_at_or_before = self.ranges.keys().take_while(|(start, _)| start <= key);
        ids.extend(begin_at_or_before.map(|(_, id)| *id).filter(|(stream, id)| {
            let watcher = self.streams.get(stream).and_then(|open| open.watchers.get(id));
            watcher.is_some_and(|watcher| watcher.covers(key))
        }));
        ids
    }

    /// Hands a synced watcher what of a revision it wants.
    fn deliver(&mut self, id: WatcherId, events: &mut [Event], places: &[usize], read: &ReadTxn) {
        let revision = self.current;
        let header = self.header_at(revision);
        let fragment_bytes = self.limits.fragment_bytes;
        let Some(open) = self.streams.get_mut(&id.0) else { return };
        let Some(watcher) = open.watchers.get_mut(&id.1) else { return };
        if watcher.state != State::Synced || watcher.next > revision {
            return;
        }
        let wanted: Vec<usize> =
            places.iter().copied().filter(|place| watcher.wants(&events[*place])).collect();
        if !wanted.is_empty() && !open.sink.has_room() {
            watcher.state = State::CatchingUp;
            watcher.next = revision;
            open.waiting.insert(id.1);
            return;
        }
        watcher.next = revision + 1;
        if wanted.is_empty() {
            return;
        }
        watcher.is_busy = true;
        let (prev_kv, fragment) = (watcher.prev_kv, watcher.fragment);
        let fields = wanted.iter().map(|place| events[*place].field(prev_kv, read)).collect();
        send_events(&mut *open.sink, header, id.1, fragment.then_some(fragment_bytes), fields);
    }

    /// A stream's sink takes more again.
    pub fn writable(&mut self, stream: StreamId) {
        if let Some(open) = self.streams.get_mut(&stream) {
            let waiting = std::mem::take(&mut open.waiting);
            self.queue.extend(waiting.into_iter().map(|id| (stream, id)));
        }
    }

    /// Lets time pass: watchers that asked for it hear of progress.
    pub fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        let (current, interval) = (self.current, self.limits.progress_interval_ms);
        let mut due: Vec<WatcherId> = Vec::new();
        for (stream, open) in &mut self.streams {
            if open.next_progress_ms > now_ms {
                continue;
            }
            open.next_progress_ms = now_ms + interval;
            let has_room = open.sink.has_room();
            for (id, watcher) in &mut open.watchers {
                let was_busy = std::mem::take(&mut watcher.is_busy);
                let is_there = watcher.state == State::Synced && watcher.next <= current + 1;
                if watcher.progress_notify && is_there && !was_busy && has_room {
                    due.push((*stream, *id));
                }
            }
        }
        for (stream, watch_id) in due {
            self.tell(stream, current, WatchResponse { watch_id, ..Default::default() });
        }
    }

    /// Asserts what is always true.
    pub fn check(&self) {
        for (stream, open) in &self.streams {
            for (id, watcher) in &open.watchers {
                let queued = self.queue.contains(&(*stream, *id));
                let waits = open.waiting.contains(id);
                match watcher.state {
                    State::CatchingUp => assert!(queued != waits, "in exactly one place"),
                    State::Synced => assert!(!queued && !waits && watcher.next > 0),
                    State::Compacted => assert!(!queued && !waits),
                }
            }
        }
    }
}

/// Sends events as one response, or as fragments where the watcher takes those.
pub(crate) fn send_events(
    sink: &mut dyn Sink,
    header: ResponseHeader,
    watch_id: i64,
    fragment_bytes: Option<usize>,
    fields: Vec<Bytes>,
) {
    let runs = match fragment_bytes {
        Some(max) => wire::fragments(fields, max),
        None => vec![fields],
    };
    let last = runs.len() - 1;
    for (n, run) in runs.into_iter().enumerate() {
        sink.send(wire::with_events(header, watch_id, n < last, run));
    }
}
