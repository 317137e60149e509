//! Changes as they happen: published one by one, or passed over where there are too many.

use crate::event::Event;
use crate::hub::{Hub, Sink, Target};
use crate::ids::WatcherId;
use crate::watcher::Place;
use crate::wire;
use bytes::Bytes;
use mvcc::{Change, ReadTxn, Reader};
use proto::etcdserverpb::ResponseHeader;
use std::collections::BTreeMap;

impl Hub {
    /// A change of the store, in order. Costs next to nothing where nobody watches.
    pub fn publish(&mut self, change: &Change) {
        let (revision, current, seen) = (change.revision, self.current, self.reader.revision());
        assert!(revision > current, "{revision} comes after {current}");
        assert!(revision <= seen, "{revision} is published to watchers, and readers see {seen}");
        assert!(!change.events.is_empty(), "nothing changed at {revision}");
        self.current = change.revision;
        if self.synced.len() > 0 {
            self.publish_events(change);
        }
        self.pay_progress();
    }

    fn publish_events(&mut self, change: &Change) {
        let mut interested: BTreeMap<WatcherId, Vec<usize>> = BTreeMap::new();
        for (place, event) in change.events.iter().enumerate() {
            self.synced.watching(&event.key, &mut |id| {
                interested.entry(id).or_default().push(place);
            });
        }
        if interested.is_empty() {
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
        let read = self.reader.read();
        for (id, places) in interested {
            self.deliver(id, &mut events, &places, &read);
        }
    }

    /// Hands a synced watcher what of a revision it wants, or makes it wait for room.
    fn deliver(&mut self, id: WatcherId, events: &mut [Event], places: &[usize], read: &ReadTxn) {
        let revision = self.current;
        let header = self.header_at(revision);
        let fragment_bytes = self.limits.fragment_bytes;
        let Some(open) = self.streams.get_mut(&id.0) else { return };
        let has_room = open.has_room();
        let Some(watcher) = open.watchers.get_mut(&id.1) else { return };
        let mut wanted =
            places.iter().copied().filter(|place| watcher.wants_event(&events[*place])).peekable();
        if wanted.peek().is_none() {
            return;
        }
        if !has_room {
            watcher.next = revision;
            return self.move_to(id, Target::Stream);
        }
        let wanted: Vec<usize> = wanted.collect();
        watcher.next = revision + 1;
        watcher.is_busy = true;
        let (prev_kv, fragment) = (watcher.prev_kv, watcher.fragment);
        self.events_sent += wanted.len() as u64;
        let fields = wanted.into_iter().map(|place| events[place].field(prev_kv, read)).collect();
        send_events(&mut *open.sink, header, id.1, fragment.then_some(fragment_bytes), fields);
    }

    /// Changes up to this revision will not be published: they came faster than they could be.
    /// Synced watchers read them from history.
    pub fn overrun(&mut self, revision: i64) {
        if revision <= self.current {
            return;
        }
        for id in self.synced_at(revision) {
            self.move_to(id, Target::Queue);
        }
        self.current = revision;
        self.pay_progress();
    }

    /// The synced watchers that have something to expect up to a revision that is not published;
    /// each then knows how far it has come.
    fn synced_at(&mut self, revision: i64) -> Vec<WatcherId> {
        let published = self.current;
        let mut behind = Vec::new();
        for (stream, open) in &mut self.streams {
            for (id, watcher) in &mut open.watchers {
                if watcher.place == Place::Synced {
                    watcher.next = watcher.next.max(published + 1);
                    if watcher.next <= revision {
                        behind.push((*stream, *id));
                    }
                }
            }
        }
        // In an order that a run of the same events repeats.
        behind.sort_unstable();
        behind
    }

    /// The member's state was replaced by a leader's snapshot, that held everything up to `revision`
    /// when `reader` was made; what follows is published, even if the reader shows it already. Watchers go on from where they were: what the snapshot brought
    /// comes from its history, nothing comes twice, and a watcher of a revision yet to come waits
    /// for it.
    pub fn snapshot_installed(&mut self, reader: Reader, revision: i64) {
        let seen = reader.revision();
        assert!(revision <= seen, "a snapshot of {revision} whose readers see {seen}");
        self.reader = reader;
        self.overrun(revision);
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
    assert!(!fields.is_empty(), "watcher {watch_id} is sent a response without events");
    let runs = match fragment_bytes {
        Some(max) => wire::fragments(fields, wire::head_len(header, watch_id), max),
        None => vec![fields],
    };
    let last = runs.len() - 1;
    for (n, run) in runs.into_iter().enumerate() {
        sink.send(wire::with_events(header, watch_id, n < last, run));
    }
}
