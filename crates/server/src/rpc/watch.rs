//! Watch: a stream's requests go to the hub, its answers come from there.

use super::Error;
use crate::shared::Shared;
use bytes::Bytes;
use net::rpc::{StreamHandler, StreamSender};
use prost::Message;
use proto::etcdserverpb::WatchRequest;
use proto::etcdserverpb::watch_request::RequestUnion;
use replica::watch::{Hub, Sink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Events stop while this many bytes wait to be sent on a stream.
const QUEUED_MAX: usize = 1024 * 1024;
/// A stream is ended whose requests that the hub has not come to take more than this.
const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a request that waits takes beside its body.
const REQUEST_BYTES: usize = 256;

/// `Watch.Watch`.
pub(super) fn open(shared: Arc<Shared>, out: StreamSender) -> Box<dyn StreamHandler> {
    let id = shared.next_stream.fetch_add(1, Ordering::Relaxed);
    let line = Arc::new(Line { out, is_over: AtomicBool::new(false) });
    let sink = WatchSink { line: Arc::clone(&line) };
    shared.hub.on_hub(move |hub| hub.open(id, Box::new(sink)));
    Box::new(WatchStream { shared, id, line, waiting: Arc::default() })
}

/// The way back to the client.
struct Line {
    out: StreamSender,
    /// The client was cut off; what it still sends is not looked at.
    is_over: AtomicBool,
}

impl Line {
    fn end(&self, error: Error) {
        if !self.is_over.swap(true, Ordering::Relaxed) {
            self.out.finish(error);
        }
    }
}

struct WatchStream {
    shared: Arc<Shared>,
    id: u64,
    line: Arc<Line>,
    /// Bytes of requests that the hub has not come to.
    waiting: Arc<AtomicUsize>,
}

impl WatchStream {
    /// Has the hub act on a request of this many bytes.
    fn request(&self, bytes: usize, act: impl FnOnce(&mut Hub) + Send + 'static) {
        let bytes = bytes + REQUEST_BYTES;
        let waiting = Arc::clone(&self.waiting);
        if waiting.fetch_add(bytes, Ordering::Relaxed) > REQUEST_BYTES_MAX {
            self.line.end(Error::TooManyRequests);
            return self.closed_by_us();
        }
        self.shared.hub.on_hub(move |hub| {
            act(hub);
            waiting.fetch_sub(bytes, Ordering::Relaxed);
        });
    }

    fn closed_by_us(&self) {
        let id = self.id;
        self.shared.hub.on_hub(move |hub| hub.close(id));
    }
}

impl StreamHandler for WatchStream {
    fn message(&mut self, body: Bytes) {
        if self.line.is_over.load(Ordering::Relaxed) {
            return;
        }
        let (id, bytes) = (self.id, body.len());
        let Ok(request) = WatchRequest::decode(body) else {
            self.shared.metrics.calls.stream_failed("receive", "watch");
            return self.line.end(Error::Malformed);
        };
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => {
                self.request(bytes, move |hub| hub.create(id, &create));
            }
            Some(RequestUnion::CancelRequest(cancel)) => {
                self.request(bytes, move |hub| hub.cancel(id, cancel.watch_id));
            }
            Some(RequestUnion::ProgressRequest(_)) => {
                self.request(bytes, move |hub| hub.request_progress(id));
            }
            None => {}
        }
    }

    /// The client may send no more; its watchers go on.
    fn half_close(&mut self) {}

    fn writable(&mut self) {
        let id = self.id;
        self.shared.hub.on_hub(move |hub| hub.writable(id));
    }

    fn closed(&mut self) {
        self.closed_by_us();
    }
}

struct WatchSink {
    line: Arc<Line>,
}

impl Sink for WatchSink {
    fn send(&mut self, pieces: Vec<Bytes>) {
        self.line.out.send_pieces(pieces);
    }

    fn has_room(&self) -> bool {
        self.line.out.queued() < QUEUED_MAX
    }

    fn cut(&mut self) {
        self.line.end(Error::TooManyRequests);
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Bench;
    use net::rpc::Code;
    use proto::etcdserverpb::watch_request::RequestUnion;
    use proto::etcdserverpb::{PutRequest, PutResponse, WatchCreateRequest, WatchRequest};
    use proto::etcdserverpb::{WatchProgressRequest, WatchResponse};

    const WATCH: &str = "/etcdserverpb.Watch/Watch";

    fn create(key: String) -> WatchRequest {
        let create = WatchCreateRequest { key: key.into(), ..Default::default() };
        WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
    }

    #[test]
    fn who_does_not_read_answers_is_cut_off() {
        let bench = Bench::start();
        let mut stream = bench.stream(WATCH);
        stream.client.stop_reading();
        for n in 0..200_000 {
            stream.send(&create(n.to_string()));
        }
        let end = stream.client.end();
        assert_eq!((end.code, &*end.message), (Code::Unknown, "etcdserver: too many requests"));
        assert!(stream.client.queued() < 16 * 1024 * 1024, "{}", stream.client.queued());
    }

    #[test]
    fn a_watch_after_an_acknowledged_put_begins_after_it() {
        let bench = Bench::start();
        bench.until_it_leads();
        let mut stream = bench.stream(WATCH);
        for n in 0..200 {
            let key = n.to_string();
            let put = PutRequest { key: key.clone().into(), ..Default::default() };
            let put: PutResponse = bench.call("/etcdserverpb.KV/Put", &put);
            stream.send(&create(key));
            let created: WatchResponse = stream.client.message();
            assert!(created.created);
            assert!(created.header.unwrap().revision >= put.header.unwrap().revision);
        }
        let progress = RequestUnion::ProgressRequest(WatchProgressRequest {});
        stream.send(&WatchRequest { request_union: Some(progress) });
        let told: WatchResponse = stream.client.message();
        assert_eq!((told.watch_id, told.header.unwrap().revision), (-1, 201));
    }
}
