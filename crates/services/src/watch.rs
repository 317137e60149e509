//! Watch: a stream's requests go to the hub, its answers come from there.

use crate::{Call, Error, Services};
use bytes::Bytes;
use net::rpc::{StreamHandler, StreamSender};
use prost::Message;
use proto::etcdserverpb::WatchRequest;
use proto::etcdserverpb::watch_request::RequestUnion;
use replica::turn::WatchEvent;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use watch::Sink;

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
pub(crate) fn open(
    services: &Arc<Services>,
    call: &Call,
    out: StreamSender,
) -> Box<dyn StreamHandler> {
    let id = services.next_stream.fetch_add(1, Ordering::Relaxed);
    let responses = Arc::new(ResponseStream { out, is_over: AtomicBool::new(false) });
    let waiting = Arc::default();
    let long = Arc::clone(&services.long_responses);
    let sink = WatchSink { responses: Arc::clone(&responses), long, waiting: Arc::clone(&waiting) };
    services.tell_hub(WatchEvent::Open(id, Box::new(sink)));
    let services = Arc::clone(services);
    Box::new(WatchStream { services, call: call.clone(), id, responses, waiting })
}

/// The responses to the client, and whether any more of them may be sent.
struct ResponseStream {
    out: StreamSender,
    /// The client was cut off; what it still sends is not looked at.
    is_over: AtomicBool,
}

impl ResponseStream {
    fn end(&self, error: Error) {
        if !self.is_over.swap(true, Ordering::Relaxed) {
            self.out.finish(error);
        }
    }
}

struct WatchStream {
    services: Arc<Services>,
    /// Who watches.
    call: Call,
    id: u64,
    responses: Arc<ResponseStream>,
    /// Bytes of requests that the hub has not come to.
    waiting: Arc<AtomicUsize>,
}

impl WatchStream {
    /// Hands the hub a request whose message had so many bytes.
    fn request(&self, request: RequestUnion, bytes: usize) {
        let bytes = bytes + REQUEST_BYTES;
        if self.waiting.fetch_add(bytes, Ordering::Relaxed) > REQUEST_BYTES_MAX {
            self.responses.end(Error::TooManyRequests);
            return self.close();
        }
        self.services.tell_hub(WatchEvent::Request(self.id, request, bytes));
    }

    fn close(&self) {
        self.services.tell_hub(WatchEvent::Close(self.id));
    }
}

impl StreamHandler for WatchStream {
    fn message(&mut self, body: Bytes) {
        if self.responses.is_over.load(Ordering::Relaxed) || self.services.is_over(&self.call) {
            return;
        }
        let bytes = body.len();
        let Ok(request) = WatchRequest::decode(body) else {
            self.services.metrics.calls.stream_failed("receive", "watch");
            return self.responses.end(Error::Malformed);
        };
        if let Some(request) = request.request_union {
            self.request(request, bytes);
        }
    }

    /// The client may send no more; its watchers go on.
    fn half_close(&mut self) {}

    fn writable(&mut self) {
        self.services.tell_hub(WatchEvent::Writable(self.id));
    }

    fn closed(&mut self) {
        self.close();
    }
}

struct WatchSink {
    responses: Arc<ResponseStream>,
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
        self.responses.out.send_pieces(pieces);
    }

    fn has_room(&self) -> bool {
        self.responses.out.queued() < QUEUED_MAX
    }

    fn response_bytes_max(&self) -> usize {
        let is_much = self.long.load(Ordering::Relaxed) >= LONG_RESPONSES_BYTES_MAX;
        if is_much { LONG_RESPONSE_BYTES } else { RESPONSE_BYTES_MAX }
    }

    fn taken(&mut self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn cut(&mut self) {
        self.responses.end(Error::TooManyRequests);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use net::rpc::{ReplySink, Status};

    /// A client that takes at once what it is sent.
    struct Reads;

    impl ReplySink for Reads {
        fn reply(&self, _: u64, _: Result<Bytes, Status>) {}
        fn message(&self, _: u64, _: Vec<Bytes>) {}
        fn finish(&self, _: u64, _: Status) {}
        fn queued(&self, _: u64) -> usize {
            0
        }
    }

    #[test]
    fn long_responses_are_counted_until_they_are_sent() {
        let long = Arc::new(AtomicUsize::new(0));
        let responses = Arc::new(ResponseStream {
            out: StreamSender::new(Arc::new(Reads), 0),
            is_over: AtomicBool::new(false),
        });
        let mut sink = WatchSink { responses, long: Arc::clone(&long), waiting: Arc::default() };
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
        sink.send(vec![Bytes::from(vec![0; LONG_RESPONSE_BYTES]), Bytes::from_static(b"x")]);
        assert_eq!(long.load(Ordering::Relaxed), 0);
    }
}
