//! One watcher.

use crate::event::Event;
use bytes::Bytes;
use proto::etcdserverpb::WatchCreateRequest;
use proto::etcdserverpb::watch_create_request::FilterType;

/// How a watcher gets its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// From changes as they are published.
    Synced,
    /// From history; it is in the hub's queue, or its stream waits for room.
    CatchingUp,
    /// Its history is gone; only its id is left.
    Compacted,
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
    pub(crate) state: State,
    /// Everything before this revision has been delivered or is not wanted.
    pub(crate) next: i64,
    /// It has had events since progress was last told.
    pub(crate) is_busy: bool,
}

impl Watcher {
    pub(crate) fn new(request: &WatchCreateRequest, current: i64) -> Watcher {
        let has = |filter: FilterType| request.filters.contains(&(filter as i32));
        let start = request.start_revision;
        let key =
            if request.key.is_empty() { Bytes::from_static(b"\0") } else { request.key.clone() };
        let end = match request.range_end.as_ref() {
            [] => None,
            [0] => Some(Bytes::new()),
            _ => Some(request.range_end.clone()),
        };
        let catches_up = start > 0 && start <= current;
        Watcher {
            key,
            end,
            prev_kv: request.prev_kv,
            fragment: request.fragment,
            progress_notify: request.progress_notify,
            no_put: has(FilterType::Noput),
            no_delete: has(FilterType::Nodelete),
            state: if catches_up { State::CatchingUp } else { State::Synced },
            next: if start == 0 { current + 1 } else { start },
            is_busy: false,
        }
    }

    /// A range that holds no key.
    pub(crate) fn is_empty_range(&self) -> bool {
        self.end.as_ref().is_some_and(|end| !end.is_empty() && self.key >= *end)
    }

    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        match &self.end {
            None => key == self.key,
            Some(end) => key >= self.key.as_ref() && (end.is_empty() || key < end.as_ref()),
        }
    }

    pub(crate) fn wants(&self, event: &Event) -> bool {
        let filtered = if event.is_delete { self.no_delete } else { self.no_put };
        !filtered && event.revision >= self.next && self.covers(&event.key)
    }
}
