//! Watch: a stream's requests go to the hub, its answers come from there.

use super::Error;
use crate::drive::HubEvent;
use crate::shared::Shared;
use bytes::Bytes;
use net::rpc::{StreamHandler, StreamSender};
use prost::Message;
use proto::etcdserverpb::WatchRequest;
use proto::etcdserverpb::watch_request::RequestUnion;
use replica::watch::{Hub, Sink};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Events stop while this many bytes wait to be sent on a stream.
const QUEUED_MAX: usize = 1024 * 1024;

/// `Watch.Watch`.
pub(super) fn open(shared: Arc<Shared>, out: StreamSender) -> Box<dyn StreamHandler> {
    let id = shared.next_stream.fetch_add(1, Ordering::Relaxed);
    let stream = WatchStream { shared, id, out: out.clone() };
    stream.on_hub(move |hub| hub.open(id, Box::new(WatchSink { out })));
    Box::new(stream)
}

struct WatchStream {
    shared: Arc<Shared>,
    id: u64,
    out: StreamSender,
}

impl WatchStream {
    fn on_hub(&self, act: impl FnOnce(&mut Hub) + Send + 'static) {
        self.shared.hub.send(HubEvent::Do(Box::new(act)));
    }
}

impl StreamHandler for WatchStream {
    fn message(&mut self, body: Bytes) {
        let Ok(request) = WatchRequest::decode(body) else {
            self.shared.metrics.calls.stream_failed("receive", "watch");
            return self.out.finish(Error::Malformed);
        };
        let id = self.id;
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => {
                self.on_hub(move |hub| hub.create(id, &create));
            }
            Some(RequestUnion::CancelRequest(cancel)) => {
                self.on_hub(move |hub| hub.cancel(id, cancel.watch_id));
            }
            Some(RequestUnion::ProgressRequest(_)) => {
                self.on_hub(move |hub| hub.request_progress(id));
            }
            None => {}
        }
    }

    /// The client may send no more; its watchers go on.
    fn half_close(&mut self) {}

    fn writable(&mut self) {
        let id = self.id;
        self.on_hub(move |hub| hub.writable(id));
    }

    fn closed(&mut self) {
        let id = self.id;
        self.on_hub(move |hub| hub.close(id));
    }
}

struct WatchSink {
    out: StreamSender,
}

impl Sink for WatchSink {
    fn send(&mut self, pieces: Vec<Bytes>) {
        self.out.send_pieces(pieces);
    }

    fn has_room(&self) -> bool {
        self.out.queued() < QUEUED_MAX
    }
}
