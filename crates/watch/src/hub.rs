//! The hub: all streams, all watchers, one order.

use crate::ids::{StreamId, WatcherId};
use crate::index::Index;
use crate::queue::Queue;
use crate::watcher::{Place, Watcher};
use crate::wire::{self, COMPACTED, DUPLICATE_ID, EMPTY_RANGE, NO_ID};
use bytes::Bytes;
use mvcc::Reader;
use proto::etcdserverpb::{ResponseHeader, WatchCreateRequest, WatchResponse};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Where a stream's responses go.
pub trait Sink: Send {
    /// Sends an encoded `WatchResponse` that lies in pieces.
    fn send(&mut self, pieces: Vec<Bytes>);
    /// Whether it will take more now. [`Hub::writable`] must be called when it does again.
    fn has_room(&self) -> bool;
    /// How many bytes of events it takes in one response from history, before the last revision in
    /// it. As many as it may cost: clients of the reference get up to a thousand revisions in one.
    fn response_bytes_max(&self) -> usize;
    /// The hub has come to a request whose message had so many bytes.
    fn taken(&mut self, bytes: usize) {
        let _ = bytes;
    }
    /// Ends the stream of a client that asks on and on and does not read the answers. The hub has
    /// forgotten the stream by then.
    fn cut(&mut self);
}

/// Limits of the hub.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Responses to watchers that asked for fragments are cut at this many bytes.
    pub fragment_bytes: usize,
    /// How often watchers hear of progress, in milliseconds.
    pub progress_interval_ms: u64,
    /// A stream is cut that was given this many bytes of answers since it last had room.
    pub answer_bytes_max: usize,
}

pub(crate) struct Stream {
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) watchers: BTreeMap<i64, Watcher>,
    next_id: i64,
    /// Watchers that wait for room in the sink, in the order in which they found none.
    waiting: Queue,
    /// Bytes of answers since the sink last had room.
    answer_bytes: usize,
    pub(crate) next_progress_ms: u64,
    /// Progress is owed when the hub has come to this revision.
    pub(crate) progress_due: Option<i64>,
}

/// All watchers of a member.
///
/// Always true, and asserted by [`Hub::check`]:
/// 1. The index holds exactly the synced watchers, the queue exactly the queued ones, and a stream's
///    own queue exactly those that wait for its room.
/// 2. A queued or waiting watcher's next revision has been published: there is something to read.
/// 3. The hub has come no further than readers see.
/// 4. A stream to which progress is owed stands in `progress_due` once, under a revision that has not
///    been published; nobody else does.
/// 5. No stream was given more bytes of answers than the limit since it had room.
/// 6. The counters of watchers count them.
pub struct Hub {
    pub(crate) reader: Reader,
    pub(crate) limits: Limits,
    pub(crate) header: ResponseHeader,
    /// The last change published here; the store may be ahead.
    pub(crate) current: i64,
    pub(crate) streams: HashMap<StreamId, Stream>,
    pub(crate) synced: Index,
    pub(crate) queue: Queue,
    waiting: usize,
    watchers: usize,
    /// Events handed to streams, one for each watcher that one went to.
    pub(crate) events_sent: u64,
    /// Streams to which progress is owed, by the revision it waits for.
    pub(crate) progress_due: BTreeSet<(i64, StreamId)>,
    pub(crate) now_ms: u64,
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
            synced: Index::default(),
            queue: Queue::default(),
            waiting: 0,
            watchers: 0,
            events_sent: 0,
            progress_due: BTreeSet::new(),
            now_ms: 0,
        }
    }

    /// The term that responses show.
    pub fn set_term(&mut self, term: u64) {
        self.header.raft_term = term;
    }

    /// How many watchers there are, and how many of them catch up.
    pub fn watchers(&self) -> (usize, usize) {
        (self.watchers, self.queue.len() + self.waiting)
    }

    /// How many events were handed to streams so far; one that two watchers want is two.
    pub fn events_sent(&self) -> u64 {
        self.events_sent
    }

    /// How many streams there are.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// The revision that readers see. Whoever asks for something now may know it already.
    pub(crate) fn visible(&self) -> i64 {
        self.reader.revision().max(self.current)
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
            waiting: Queue::default(),
            answer_bytes: 0,
            next_progress_ms: self.now_ms + self.limits.progress_interval_ms,
            progress_due: None,
        };
        let before = self.streams.insert(id, stream);
        assert!(before.is_none(), "stream {id} is open already");
    }

    /// Forgets a stream and all its watchers.
    pub fn close(&mut self, stream: StreamId) {
        self.forget(stream);
    }

    fn forget(&mut self, stream: StreamId) -> Option<Stream> {
        let closed = self.streams.remove(&stream)?;
        for (id, watcher) in &closed.watchers {
            match watcher.place {
                Place::Synced => self.synced.remove((stream, *id), watcher),
                Place::Queued(ticket) => self.queue.leave(ticket),
                Place::Waiting(_) | Place::Nowhere => {}
            }
        }
        let (waiting, watchers) = (closed.waiting.len(), closed.watchers.len());
        assert!(waiting <= self.waiting, "{waiting} of {} watchers wait", self.waiting);
        assert!(watchers <= self.watchers, "{watchers} of {} watchers go", self.watchers);
        self.waiting -= waiting;
        self.watchers -= watchers;
        if let Some(revision) = closed.progress_due {
            self.progress_due.remove(&(revision, stream));
        }
        Some(closed)
    }

    /// Creates a watcher; the stream is told, or why there is none.
    pub fn create(&mut self, stream: StreamId, request: &WatchCreateRequest) {
        let watcher = Watcher::new(request, self.visible());
        if request.start_revision < 0 {
            return self.deny(stream, COMPACTED);
        }
        if watcher.is_empty_range() {
            return self.deny(stream, EMPTY_RANGE);
        }
        let Some(open) = self.streams.get_mut(&stream) else { return };
        let Some(id) = open.id_for(request.watch_id) else {
            return self.deny(stream, DUPLICATE_ID);
        };
        let is_synced = watcher.next > self.current;
        let before = open.watchers.insert(id, watcher);
        assert!(before.is_none(), "stream {stream} has a watcher {id} already");
        self.watchers += 1;
        self.move_to((stream, id), if is_synced { Target::Index } else { Target::Queue });
        let created = WatchResponse { watch_id: id, created: true, ..Default::default() };
        self.answer(stream, created);
    }

    /// Tells a stream that a watcher could not be created, and why.
    pub fn deny(&mut self, stream: StreamId, reason: &str) {
        let refused = WatchResponse {
            watch_id: NO_ID,
            created: true,
            canceled: true,
            cancel_reason: reason.into(),
            ..Default::default()
        };
        self.answer(stream, refused);
    }

    /// Cancels a watcher. An unknown id is nothing to speak of.
    pub fn cancel(&mut self, stream: StreamId, id: i64) {
        if self.find((stream, id)).is_none() {
            return;
        }
        self.move_to((stream, id), Target::Nowhere);
        if let Some(open) = self.streams.get_mut(&stream) {
            open.watchers.remove(&id);
            self.watchers -= 1;
        }
        let canceled = WatchResponse { watch_id: id, canceled: true, ..Default::default() };
        self.answer(stream, canceled);
    }

    /// Answers a request. Nothing holds such answers back, so a client that does not read them is
    /// cut off when they have become too many.
    fn answer(&mut self, stream: StreamId, response: WatchResponse) {
        let bytes = wire::response(self.header_at(self.visible()), response);
        let max = self.limits.answer_bytes_max;
        let Some(open) = self.streams.get_mut(&stream) else { return };
        if open.sink.has_room() {
            open.answer_bytes = 0;
        }
        open.answer_bytes += bytes.len();
        if open.answer_bytes <= max {
            open.sink.send(vec![bytes]);
        } else if let Some(mut cut) = self.forget(stream) {
            cut.sink.cut();
        }
    }

    /// Sends a response without events, at a revision that it states something about.
    pub(crate) fn tell(&mut self, stream: StreamId, revision: i64, response: WatchResponse) {
        let header = self.header_at(revision);
        if let Some(open) = self.streams.get_mut(&stream) {
            open.sink.send(vec![wire::response(header, response)]);
        }
    }

    /// A watcher and the stream it belongs to.
    pub(crate) fn find(&mut self, id: WatcherId) -> Option<(&mut dyn Sink, &mut Watcher)> {
        let open = self.streams.get_mut(&id.0)?;
        let watcher = open.watchers.get_mut(&id.1)?;
        Some((&mut *open.sink, watcher))
    }

    /// Takes a watcher from where it is to another place; to the queue always at its end.
    pub(crate) fn move_to(&mut self, id: WatcherId, target: Target) {
        let Some(open) = self.streams.get_mut(&id.0) else { return };
        let Some(watcher) = open.watchers.get_mut(&id.1) else { return };
        match watcher.place {
            Place::Synced => self.synced.remove(id, watcher),
            Place::Queued(ticket) => self.queue.leave(ticket),
            Place::Waiting(ticket) => {
                open.waiting.leave(ticket);
                self.waiting -= 1;
            }
            Place::Nowhere => {}
        }
        watcher.place = match target {
            Target::Index => {
                self.synced.insert(id, watcher);
                Place::Synced
            }
            Target::Queue => Place::Queued(self.queue.join(id)),
            Target::Stream => {
                self.waiting += 1;
                Place::Waiting(open.waiting.join(id))
            }
            Target::Nowhere => Place::Nowhere,
        };
    }

    /// A stream's sink takes more again.
    pub fn writable(&mut self, stream: StreamId) {
        let Some(open) = self.streams.get(&stream) else { return };
        let waiting: Vec<WatcherId> = open.waiting.iter().collect();
        for id in waiting {
            self.move_to(id, Target::Queue);
        }
    }

    /// A request of a stream was worked on, whose message had so many bytes.
    pub fn taken(&mut self, stream: StreamId, bytes: usize) {
        if let Some(open) = self.streams.get_mut(&stream) {
            open.sink.taken(bytes);
        }
    }

    /// Asserts what is always true of [`Hub`].
    pub fn check(&self) {
        let (mut all, mut synced, mut queued, mut waiting, mut owed) = (0, 0, 0, 0, 0);
        for (stream, open) in &self.streams {
            all += open.watchers.len();
            let mut own_waiting = 0;
            for (id, watcher) in &open.watchers {
                let (id, next, current) = ((*stream, *id), watcher.next, self.current);
                match watcher.place {
                    Place::Synced => {
                        assert!(
                            self.synced.holds(id, watcher),
                            "{id:?} is synced and hears nothing"
                        );
                        synced += 1;
                    }
                    Place::Queued(ticket) => {
                        assert_eq!(
                            self.queue.holder(ticket),
                            Some(id),
                            "whose ticket is {ticket}?"
                        );
                        assert!(next <= current, "{id:?} is queued at {current} for {next}");
                        queued += 1;
                    }
                    Place::Waiting(ticket) => {
                        assert_eq!(
                            open.waiting.holder(ticket),
                            Some(id),
                            "whose place is {ticket}?"
                        );
                        assert!(next <= current, "{id:?} waits at {current} for {next}");
                        own_waiting += 1;
                    }
                    Place::Nowhere => {}
                }
            }
            assert_eq!(own_waiting, open.waiting.len(), "stream {stream}: who waits for room?");
            waiting += own_waiting;
            owed += usize::from(self.check_stream(*stream, open));
        }
        assert_eq!((all, waiting), (self.watchers, self.waiting), "watchers, and those waiting");
        assert_eq!(synced, self.synced.len(), "the index holds others than the synced");
        assert_eq!(queued, self.queue.len(), "the queue holds others than the queued");
        assert_eq!(owed, self.progress_due.len(), "progress is owed to streams that are gone");
        let seen = self.reader.revision();
        assert!(self.current <= seen, "{} is published, and readers see {seen}", self.current);
        self.synced.check();
        self.queue.check();
    }

    /// Asserts what is always true of a stream; gives whether it is owed progress.
    fn check_stream(&self, stream: StreamId, open: &Stream) -> bool {
        let (bytes, max) = (open.answer_bytes, self.limits.answer_bytes_max);
        assert!(bytes <= max, "stream {stream} was given {bytes} bytes of {max}");
        open.waiting.check();
        let Some(revision) = open.progress_due else { return false };
        let is_listed = self.progress_due.contains(&(revision, stream));
        assert!(is_listed, "stream {stream} is owed progress at {revision} and forgotten");
        assert!(revision > self.current, "stream {stream} is owed progress at {revision} still");
        true
    }
}

/// Where [`Hub::move_to`] takes a watcher; see [`Place`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Index,
    Queue,
    Stream,
    Nowhere,
}

impl Stream {
    /// Whether there is room for what is new: where others wait for room, it comes after them.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.is_empty() && self.sink.has_room()
    }

    /// The id for a new watcher: the one that was chosen, unless it is taken, or the next one.
    fn id_for(&mut self, chosen: i64) -> Option<i64> {
        if chosen != 0 {
            return (!self.watchers.contains_key(&chosen)).then_some(chosen);
        }
        while self.watchers.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        Some(self.next_id - 1)
    }
}
