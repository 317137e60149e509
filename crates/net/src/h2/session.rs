//! Between a connection's events and the handlers.

use super::connection::{Connection, Event};
use super::head::Head;
use super::inbox::{ConnectionSink, StreamSink};
use crate::gzip;
use crate::http::{HttpRequest, Method};
use crate::rpc::{
    Code, GrpcService, Kind, ReplySink, Responder, Status, StreamHandler, StreamSender,
};
use crate::web::Web;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// What every session serves.
pub(crate) struct Services {
    pub(crate) grpc: Arc<dyn GrpcService>,
    pub(crate) web: Arc<Web>,
}

/// A call, as far as its handler goes.
enum Call {
    /// None, or one whose handler has all there is.
    Idle,
    /// A unary call that waits for its message.
    Unary(u16, Arc<Head>),
    /// A unary call whose handler has its message, on this stream.
    Asked(u32),
    /// A stream.
    Stream(Box<dyn StreamHandler>),
}

/// The calls of one connection, by the slots of their streams.
pub(crate) struct Session {
    calls: Vec<Call>,
    sink: Arc<ConnectionSink>,
}

impl Session {
    pub(crate) fn new(sink: ConnectionSink) -> Session {
        Session { calls: Vec::new(), sink: Arc::new(sink) }
    }

    /// Lets handlers hear of an event. Refusals go straight back into the connection.
    pub(crate) fn handle(&mut self, event: Event, connection: &mut Connection, to: &Services) {
        match event {
            Event::Call { stream, slot, head } => {
                let call = self.begin(stream, head, connection, to);
                self.put(slot, call);
            }
            Event::Message { stream, slot, body, is_packed: false } => {
                self.message(stream, slot, body, to);
            }
            Event::Message { stream, slot, body, is_packed: true } => {
                match gzip::unpack(&body, connection.limits.recv_max_bytes) {
                    Ok(body) => self.message(stream, slot, body, to),
                    Err(status) => self.give_up(stream, slot, connection, &status),
                }
            }
            Event::HalfClose { stream, slot } => self.half_close(stream, slot, connection),
            Event::Writable { slot } => {
                if let Call::Stream(handler) = self.at(slot) {
                    handler.writable();
                }
            }
            Event::Closed { stream, slot } => match std::mem::replace(self.at(slot), Call::Idle) {
                Call::Stream(mut handler) => handler.closed(),
                Call::Asked(asked) if asked == stream => self.sink.give_up(stream),
                Call::Idle | Call::Asked(_) | Call::Unary(..) => {}
            },
            Event::Plain { stream, head, body } => self.plain(stream, &head, body, to),
        }
    }

    /// An answer came to a call that was given up while it was on its way here.
    pub(crate) fn settle(&self, stream: u32) {
        self.sink.settle(u64::from(stream));
    }

    fn at(&mut self, slot: u32) -> &mut Call {
        let slot = slot as usize;
        if self.calls.len() <= slot {
            self.calls.resize_with(slot + 1, || Call::Idle);
        }
        &mut self.calls[slot]
    }

    fn put(&mut self, slot: u32, call: Call) {
        *self.at(slot) = call;
    }

    fn begin(
        &mut self,
        stream: u32,
        head: Arc<Head>,
        connection: &mut Connection,
        to: &Services,
    ) -> Call {
        let found = to.grpc.lookup(&head.path);
        let found = found.and_then(|method| head.packing.refusal().map_or(Ok(method), Err));
        match found {
            Ok(method) if method.kind == Kind::Unary => Call::Unary(method.id, head),
            Ok(method) => {
                let queued = Arc::new(AtomicUsize::new(0));
                connection.attach(stream, Arc::clone(&queued));
                let (inbox, address) = self.sink.way_back();
                let sink = Arc::new(StreamSink { inbox, address, queued });
                let out = StreamSender::new(sink, u64::from(stream));
                match to.grpc.stream(method.id, &head.call, out) {
                    Ok(handler) => Call::Stream(handler),
                    Err(status) => {
                        connection.finish(stream, &status);
                        Call::Idle
                    }
                }
            }
            Err(status) => {
                connection.finish(stream, &status);
                Call::Idle
            }
        }
    }

    fn message(&mut self, stream: u32, slot: u32, body: Bytes, to: &Services) {
        let call = self.at(slot);
        if let Call::Stream(handler) = call {
            return handler.message(body);
        }
        if matches!(call, Call::Unary(..))
            && let Call::Unary(method, head) = std::mem::replace(call, Call::Asked(stream))
        {
            let sink: Arc<dyn ReplySink> = Arc::<ConnectionSink>::clone(&self.sink);
            let reply = Responder::new(sink, u64::from(stream));
            to.grpc.unary(method, &head.call, body, reply);
        }
    }

    /// Ends a call whose message cannot be read; nothing that came behind it is heard by a unary one.
    fn give_up(&mut self, stream: u32, slot: u32, connection: &mut Connection, why: &Status) {
        if let call @ Call::Unary(..) = self.at(slot) {
            *call = Call::Idle;
        }
        connection.finish(stream, why);
    }

    fn half_close(&mut self, stream: u32, slot: u32, connection: &mut Connection) {
        match self.at(slot) {
            Call::Stream(handler) => handler.half_close(),
            call @ Call::Unary(..) => {
                *call = Call::Idle;
                let text = "grpc: the call ended without a whole message";
                connection.finish(stream, &Status::new(Code::Internal, text));
            }
            Call::Asked(_) | Call::Idle => {}
        }
    }

    fn plain(&self, stream: u32, head: &Head, body: Bytes, to: &Services) {
        let (path, query) = head.path.split_once('?').unwrap_or((&head.path, ""));
        let method = Method::from_bytes(&head.method).unwrap_or_default();
        let is_head = method == Method::HEAD;
        let request = HttpRequest {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers: Head::header_map(&head.call.metadata),
            body,
            peer: head.call.peer,
        };
        let sink = Arc::clone(&self.sink);
        to.web.answer(request, move |response| sink.respond(stream, response, is_head));
    }
}
