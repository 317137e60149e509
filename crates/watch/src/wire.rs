//! Responses, put together from shared pieces.

use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb::{ResponseHeader, WatchResponse};

/// Cancel reasons, in etcd's words.
pub(crate) const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
pub(crate) const EMPTY_RANGE: &str = "mvcc: watcher range is empty";
pub(crate) const DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";
/// The id in answers that belong to no watcher.
pub(crate) const NO_ID: i64 = -1;

/// A response without events.
pub(crate) fn response(header: ResponseHeader, response: WatchResponse) -> Bytes {
    WatchResponse { header: Some(header), ..response }.encode_to_vec().into()
}

/// A response with events: its head, then the events as they are.
pub(crate) fn with_events(
    header: ResponseHeader,
    watch_id: i64,
    fragment: bool,
    events: Vec<Bytes>,
) -> Vec<Bytes> {
    let head = WatchResponse { watch_id, fragment, ..WatchResponse::default() };
    let mut pieces = Vec::with_capacity(events.len() + 1);
    pieces.push(response(header, head));
    pieces.extend(events);
    pieces
}

/// Cuts events into runs of about `max` bytes, each of at least one event.
pub(crate) fn fragments(events: Vec<Bytes>, max: usize) -> Vec<Vec<Bytes>> {
    let mut runs: Vec<Vec<Bytes>> = Vec::new();
    let mut size = 0;
    for event in events {
        match runs.last_mut() {
            Some(run) if size + event.len() < max => {
                size += event.len();
                run.push(event);
            }
            _ => {
                size = event.len();
                runs.push(vec![event]);
            }
        }
    }
    runs
}
