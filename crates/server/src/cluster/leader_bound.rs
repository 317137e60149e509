//! Streams that end when the leader is lost: those of clients that asked for it with `hasleader`
//! (reference: `server/etcdserver/api/v3rpc/interceptor.go`).

use crate::rpc::Error;
use crate::shared::Shared;
use bytes::Bytes;
use net::rpc::{StreamHandler, StreamSender};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Every such stream that is open.
#[derive(Default)]
pub(crate) struct LeaderBound {
    streams: Mutex<HashMap<u64, StreamSender>>,
}

impl LeaderBound {
    /// Has a stream end when the leader is lost.
    pub(crate) fn bind(
        shared: &Arc<Shared>,
        inner: Box<dyn StreamHandler>,
        out: StreamSender,
    ) -> Box<dyn StreamHandler> {
        let id = shared.next_stream.fetch_add(1, Ordering::Relaxed);
        shared.leader_bound.streams.lock().insert(id, out);
        Box::new(Bound { shared: Arc::clone(shared), inner, id })
    }

    /// The leader is lost. Whoever handles a stream hears that it is closed.
    pub(crate) fn end_all(&self) {
        let streams = std::mem::take(&mut *self.streams.lock());
        for out in streams.into_values() {
            out.finish(Error::NoLeader);
        }
    }
}

/// A handler whose stream is taken off the list when it is closed.
struct Bound {
    shared: Arc<Shared>,
    inner: Box<dyn StreamHandler>,
    id: u64,
}

impl StreamHandler for Bound {
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
        self.shared.leader_bound.streams.lock().remove(&self.id);
        self.inner.closed();
    }
}
