//! Watch: a stream's requests go to the hub, its answers come from there.

use super::Error;
use crate::shared::Shared;
use bytes::Bytes;
use net::rpc::{StreamHandler, StreamSender};
use prost::Message;
use proto::etcdserverpb::WatchRequest;
use proto::etcdserverpb::watch_request::RequestUnion;
use replica::turn::WatchEvent;
use replica::watch::Sink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Events stop while this many bytes wait to be sent on a stream.
const QUEUED_MAX: usize = 1024 * 1024;
/// Bytes of events in one response from history, before its last revision: etcd's end after a
/// thousand revisions whatever they hold.
const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A response that is longer than this is counted until it is on the wire; while too many are, none is made longer.
const LONG_RESPONSE_BYTES: usize = 1024 * 1024;
const LONG_RESPONSES_BYTES_MAX: usize = 256 * 1024 * 1024;
/// A stream is ended whose requests that the hub has not come to take more than this.
const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a request that waits takes beside its body.
const REQUEST_BYTES: usize = 256;

/// `Watch.Watch`.
pub(super) fn open(shared: Arc<Shared>, out: StreamSender) -> Box<dyn StreamHandler> {
    let id = shared.next_stream.fetch_add(1, Ordering::Relaxed);
    let line = Arc::new(Line { out, is_over: AtomicBool::new(false) });
    let waiting = Arc::default();
    let long = Arc::clone(&shared.long_responses);
    let sink = WatchSink { line: Arc::clone(&line), long, waiting: Arc::clone(&waiting) };
    shared.hub.send(WatchEvent::Open(id, Box::new(sink)));
    Box::new(WatchStream { shared, id, line, waiting })
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
    /// Hands the hub a request whose message had so many bytes.
    fn request(&self, request: RequestUnion, bytes: usize) {
        let bytes = bytes + REQUEST_BYTES;
        if self.waiting.fetch_add(bytes, Ordering::Relaxed) > REQUEST_BYTES_MAX {
            self.line.end(Error::TooManyRequests);
            return self.close();
        }
        self.shared.hub.send(WatchEvent::Request(self.id, request, bytes));
    }

    fn close(&self) {
        self.shared.hub.send(WatchEvent::Close(self.id));
    }
}

impl StreamHandler for WatchStream {
    fn message(&mut self, body: Bytes) {
        if self.line.is_over.load(Ordering::Relaxed) {
            return;
        }
        let bytes = body.len();
        let Ok(request) = WatchRequest::decode(body) else {
            self.shared.metrics.calls.stream_failed("receive", "watch");
            return self.line.end(Error::Malformed);
        };
        if let Some(request) = request.request_union {
            self.request(request, bytes);
        }
    }

    /// The client may send no more; its watchers go on.
    fn half_close(&mut self) {}

    fn writable(&mut self) {
        self.shared.hub.send(WatchEvent::Writable(self.id));
    }

    fn closed(&mut self) {
        self.close();
    }
}

struct WatchSink {
    line: Arc<Line>,
    /// As the stream's.
    waiting: Arc<AtomicUsize>,
    /// Bytes of long responses, on all streams, that are not on the wire.
    long: Arc<AtomicUsize>,
}

/// The last piece of a long response: when it is on the wire, all of it is.
struct LongEnd {
    piece: Bytes,
    bytes: usize,
    long: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for LongEnd {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

impl Drop for LongEnd {
    fn drop(&mut self) {
        self.long.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Sink for WatchSink {
    fn send(&mut self, mut pieces: Vec<Bytes>) {
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        if bytes > LONG_RESPONSE_BYTES
            && let Some(piece) = pieces.pop()
        {
            self.long.fetch_add(bytes, Ordering::Relaxed);
            let long = Arc::clone(&self.long);
            pieces.push(Bytes::from_owner(LongEnd { piece, bytes, long }));
        }
        self.line.out.send_pieces(pieces);
    }

    fn has_room(&self) -> bool {
        self.line.out.queued() < QUEUED_MAX
    }

    fn response_bytes_max(&self) -> usize {
        let is_much = self.long.load(Ordering::Relaxed) >= LONG_RESPONSES_BYTES_MAX;
        if is_much { LONG_RESPONSE_BYTES } else { RESPONSE_BYTES_MAX }
    }

    fn taken(&mut self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn cut(&mut self) {
        self.line.end(Error::TooManyRequests);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;
    use net::rpc::Code;
    use proto::etcdserverpb::{PutRequest, PutResponse, WatchCreateRequest};
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
    fn long_responses_are_counted_until_they_are_sent() {
        let (client, long) = (crate::testing::Client::new(), Arc::new(AtomicUsize::new(0)));
        let sent: Arc<dyn net::rpc::ReplySink> = client.sink.clone();
        let line =
            Arc::new(Line { out: StreamSender::new(sent, 0), is_over: AtomicBool::new(false) });
        let mut sink = WatchSink { line, long: Arc::clone(&long), waiting: Arc::default() };
        assert_eq!(sink.response_bytes_max(), RESPONSE_BYTES_MAX);
        let end = LongEnd {
            piece: Bytes::new(),
            bytes: LONG_RESPONSES_BYTES_MAX,
            long: Arc::clone(&long),
        };
        long.fetch_add(LONG_RESPONSES_BYTES_MAX, Ordering::Relaxed);
        assert_eq!(sink.response_bytes_max(), LONG_RESPONSE_BYTES);
        drop(end);
        assert_eq!(sink.response_bytes_max(), RESPONSE_BYTES_MAX);
        // The client of this test takes at once what it is sent.
        sink.send(vec![Bytes::from(vec![0; LONG_RESPONSE_BYTES]), Bytes::from_static(b"x")]);
        assert_eq!(long.load(Ordering::Relaxed), 0);
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
