//! Streams that end when there is no leader, because their clients asked for that
//! (reference: `monitorLeader` in `server/etcdserver/api/v3rpc/interceptor.go`).

use crate::Error;
use bytes::Bytes;
use net::rpc::{StreamHandler, StreamSender};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Such streams, by number.
#[derive(Default)]
pub(crate) struct LedStreams {
    table: Mutex<(u64, HashMap<u64, StreamSender>)>,
}

impl LedStreams {
    /// Keeps a stream in mind until its handler hears that it is over.
    pub(crate) fn keep(
        self: &Arc<Self>,
        out: StreamSender,
        handler: Box<dyn StreamHandler>,
    ) -> Box<dyn StreamHandler> {
        let mut table = self.table.lock();
        table.0 += 1;
        let number = table.0;
        table.1.insert(number, out);
        Box::new(LedStream { inner: handler, streams: Arc::clone(self), number })
    }

    /// Ends all of them: there is no leader.
    pub(crate) fn end_all(&self) {
        let streams = std::mem::take(&mut self.table.lock().1);
        for out in streams.into_values() {
            out.finish(Error::NoLeader);
        }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.table.lock().1.is_empty()
    }
}

struct LedStream {
    inner: Box<dyn StreamHandler>,
    streams: Arc<LedStreams>,
    number: u64,
}

impl StreamHandler for LedStream {
    fn message(&mut self, body: Bytes) {
        self.inner.message(body);
    }

    fn half_close(&mut self) {
        self.inner.half_close();
    }

    fn writable(&mut self) {
        self.inner.writable();
    }

    fn closed(&mut self) {
        self.inner.closed();
    }
}

impl Drop for LedStream {
    fn drop(&mut self) {
        self.streams.table.lock().1.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use net::rpc::{ReplySink, Status};

    #[derive(Default)]
    struct Ends(Mutex<Vec<(u64, Status)>>);

    impl ReplySink for Ends {
        fn reply(&self, _: u64, _: Result<Bytes, Status>) {}
        fn message(&self, _: u64, _: Vec<Bytes>) {}
        fn finish(&self, id: u64, status: Status) {
            self.0.lock().push((id, status));
        }
        fn queued(&self, _: u64) -> usize {
            0
        }
    }

    struct Idle;

    impl StreamHandler for Idle {
        fn message(&mut self, _: Bytes) {}
        fn half_close(&mut self) {}
        fn writable(&mut self) {}
        fn closed(&mut self) {}
    }

    #[test]
    fn those_that_are_open_end_once() {
        let (ends, streams) = (Arc::new(Ends::default()), Arc::new(LedStreams::default()));
        let keep = |id| streams.keep(StreamSender::new(ends.clone(), id), Box::new(Idle));
        let (gone, _open) = (keep(1), keep(2));
        drop(gone);
        streams.end_all();
        streams.end_all();
        assert_eq!(*ends.0.lock(), [(2, Status::from(Error::NoLeader))]);
        assert!(streams.is_empty());
    }
}
