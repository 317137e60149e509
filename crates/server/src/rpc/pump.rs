//! Streams that the server fills: one request, many messages, made no faster than they are read.

use super::Error;
use crate::shared::Shared;
use bytes::Bytes;
use net::rpc::{Status, StreamHandler, StreamSender};
use parking_lot::Mutex;
use std::sync::Arc;

/// A stream is not filled further while this many bytes wait to be sent.
const QUEUED_MAX: usize = 2 * 1024 * 1024;

/// Makes messages one after another.
pub(super) trait Producer: Send + 'static {
    /// The next message, `None` after the last.
    fn next(&mut self) -> Result<Option<Bytes>, Error>;
}

type Begin<P> = Box<dyn FnOnce(&Arc<Shared>, Bytes) -> Result<P, Error> + Send>;

/// A stream being filled.
pub(super) struct Pump<P> {
    shared: Arc<Shared>,
    out: StreamSender,
    begin: Option<Begin<P>>,
    /// Taken by whoever fills just now.
    producer: Arc<Mutex<Option<P>>>,
}

impl<P: Producer> Pump<P> {
    /// A handler that begins with the stream's one request.
    pub(super) fn open(
        shared: Arc<Shared>,
        out: StreamSender,
        begin: impl FnOnce(&Arc<Shared>, Bytes) -> Result<P, Error> + Send + 'static,
    ) -> Box<dyn StreamHandler> {
        let producer = Arc::new(Mutex::new(None));
        Box::new(Pump { shared, out, begin: Some(Box::new(begin)), producer })
    }

    fn fill(&self) {
        let (out, producer) = (self.out.clone(), Arc::clone(&self.producer));
        self.shared.in_pool(move || fill(&out, &producer));
    }
}

fn fill<P: Producer>(out: &StreamSender, producer: &Mutex<Option<P>>) {
    // Held throughout, so that two wake-ups do not fill at once.
    let mut producer = producer.lock();
    let Some(making) = producer.as_mut() else { return };
    while out.queued() < QUEUED_MAX {
        match making.next() {
            Ok(Some(message)) => out.send(message),
            Ok(None) => {
                *producer = None;
                return out.finish(Status::OK);
            }
            Err(error) => {
                *producer = None;
                return out.finish(error);
            }
        }
    }
}

impl<P: Producer> StreamHandler for Pump<P> {
    fn message(&mut self, body: Bytes) {
        let Some(begin) = self.begin.take() else { return };
        let (out, producer) = (self.out.clone(), Arc::clone(&self.producer));
        let shared = Arc::clone(&self.shared);
        self.shared.in_pool(move || match begin(&shared, body) {
            Ok(ready) => {
                *producer.lock() = Some(ready);
                fill(&out, &producer);
            }
            Err(error) => out.finish(error),
        });
    }

    fn half_close(&mut self) {}

    fn writable(&mut self) {
        self.fill();
    }

    fn closed(&mut self) {
        *self.producer.lock() = None;
    }
}
