//! One watcher.

use crate::event::Event;
use crate::queue::Ticket;
use bytes::Bytes;
use proto::etcdserverpb::WatchCreateRequest;
use proto::etcdserverpb::watch_create_request::FilterType;

/// Where a watcher is, and so how it gets its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the hub's index: from changes as they are published.
    Synced,
    /// In the hub's queue: from history, when its turn comes.
    Queued(Ticket),
    /// With its stream, that has no room: from history later.
    Waiting(Ticket),
    /// Nowhere: new, or its history is gone and only its id is left.
    Nowhere,
}

/// What is watched, and how far it has come.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) key: Bytes,
    /// `None`: the key alone. Empty: no end.
    pub(crate) end: Option<Bytes>,
    pub(crate) prev_kv: bool,
    pub(crate) fragment: bool,
    pub(crate) progress_notify: bool,
    no_put: bool,
    no_delete: bool,
    pub(crate) place: Place,
    /// The revision it was asked to start at; 0 where none was.
    start: i64,
    /// Everything before this revision has been delivered or is not wanted. A synced watcher's may
    /// lag: it has all that was published, whatever this says.
    pub(crate) next: i64,
    /// It has had events since progress was last told.
    pub(crate) is_busy: bool,
}

impl Watcher {
    /// A watcher that is created when `now` is the current revision.
    pub(crate) fn new(request: &WatchCreateRequest, now: i64) -> Watcher {
        let has = |filter: FilterType| request.filters.contains(&(filter as i32));
        let start = request.start_revision;
        let key =
            if request.key.is_empty() { Bytes::from_static(b"\0") } else { request.key.clone() };
        let end = match request.range_end.as_ref() {
            [] => None,
            [0] => Some(Bytes::new()),
            _ => Some(request.range_end.clone()),
        };
        Watcher {
            key,
            end,
            prev_kv: request.prev_kv,
            fragment: request.fragment,
            progress_notify: request.progress_notify,
            no_put: has(FilterType::Noput),
            no_delete: has(FilterType::Nodelete),
            place: Place::Nowhere,
            start,
            next: if start == 0 { now + 1 } else { start },
            is_busy: false,
        }
    }

    /// A range that holds no key.
    pub(crate) fn is_empty_range(&self) -> bool {
        self.end.as_ref().is_some_and(|end| !end.is_empty() && self.key >= *end)
    }

    /// Whether it may hear that it has everything up to `current`: it has, and `current` is not
    /// before its start.
    pub(crate) fn has_come_to(&self, current: i64) -> bool {
        self.place == Place::Synced && self.start <= current && self.next <= current + 1
    }

    /// Whether it wants an event of a key that it covers.
    pub(crate) fn wants(&self, revision: i64, is_delete: bool) -> bool {
        let filtered = if is_delete { self.no_delete } else { self.no_put };
        !filtered && revision >= self.next
    }

    /// The same.
    pub(crate) fn wants_event(&self, event: &Event) -> bool {
        self.wants(event.revision, event.is_delete)
    }
}
