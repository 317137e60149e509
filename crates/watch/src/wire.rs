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
/// `WatchResponse.fragment`, where it is set.
const FRAGMENT_LEN: usize = 2;

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

/// Cuts events into runs as etcd does: `head_len` bytes of header and id come before each run, and
/// with them a run has less than `max` bytes, unless it is a single event.
pub(crate) fn fragments(events: Vec<Bytes>, head_len: usize, max: usize) -> Vec<Vec<Bytes>> {
    let total: usize = events.iter().map(Bytes::len).sum();
    if head_len + total < max || events.len() < 2 {
        return vec![events];
    }
    let (count, head_len) = (events.len(), head_len + FRAGMENT_LEN);
    let mut runs: Vec<Vec<Bytes>> = Vec::new();
    let mut size = 0;
    for event in events {
        match runs.last_mut() {
            Some(run) if size + event.len() < max => {
                size += event.len();
                run.push(event);
            }
            _ => {
                size = head_len + event.len();
                runs.push(vec![event]);
            }
        }
    }
    let sent: usize = runs.iter().map(Vec::len).sum();
    assert_eq!(sent, count, "events are lost between fragments");
    runs
}

/// How long a response's header and id are.
pub(crate) fn head_len(header: ResponseHeader, watch_id: i64) -> usize {
    let head = WatchResponse { header: Some(header), watch_id, ..WatchResponse::default() };
    head.encoded_len()
}
