//! The way in: finds the row of a call, refuses what the row refuses, counts, and hands on.

use crate::meter::Meter;
use crate::refused::Refused;
use crate::row::{Handler, Leader, Learner, Row};
use crate::rows::{ROWS, UNSERVED};
use crate::{Call, Error, Services};
use bytes::Bytes;
use metrics::{MethodCounts, Metrics};
use net::rpc::{
    CallHead, Code, GrpcService, Kind, Method, Responder, Status, StreamHandler, StreamSender,
};
use replica::turn::Time;
use std::collections::HashMap;
use std::sync::Arc;

/// The place in its cluster of the server behind the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The server is a learner and has no vote.
    pub is_learner: bool,
    /// The server knows a leader.
    pub has_leader: bool,
}

/// A server of the rows: a member's [`Services`], or a proxy that asks another server.
pub trait Rows: Send + Sync + 'static {
    /// Its place in its cluster.
    fn standing(&self) -> Standing;
    /// The time since it started.
    fn now(&self) -> Time;
    /// A unary call.
    fn unary(&self, row: &'static Row, call: &Call, body: Bytes, reply: Responder);
    /// A stream begins.
    ///
    /// # Errors
    /// What the stream ends with at once.
    fn stream(
        &self,
        row: &'static Row,
        call: &Call,
        out: StreamSender,
    ) -> Result<Box<dyn StreamHandler>, Error>;
}

/// The entrance for calls: all rows, and the server behind them.
pub struct Front {
    rows: Arc<dyn Rows>,
    metrics: Arc<Metrics>,
    by_path: HashMap<String, Method>,
    meter: Arc<Meter>,
}

impl Front {
    /// The rows, served by `rows`; with durations of calls where metrics are to be extensive.
    pub fn new(rows: Arc<dyn Rows>, metrics: Arc<Metrics>, extensive_metrics: bool) -> Front {
        let mut by_path = HashMap::new();
        let mut counts = Vec::new();
        // The methods served come first, so that a method's number is its place.
        for (id, row) in ROWS.iter().enumerate() {
            let kind = if row.handler.is_unary() { Kind::Unary } else { Kind::Stream };
            by_path.insert(row.path(), Method { id: id as u16, kind });
            counts.push(MethodCounts::new(row.service, row.method, row.shape.name()));
        }
        for (service, methods) in UNSERVED {
            let unserved = methods.iter().map(|method| MethodCounts::new(service, method, "unary"));
            counts.extend(unserved);
        }
        if extensive_metrics {
            let durations = metrics::durations();
            counts.iter_mut().for_each(|method| method.record_durations(&durations));
            metrics.add_durations(&durations);
        }
        let meter = Arc::new(Meter::new(Arc::clone(&metrics), counts));
        Front { rows, metrics, by_path, meter }
    }

    /// The counts of all methods.
    pub fn counts(&self) -> &[MethodCounts] {
        &self.meter.counts
    }

    /// Refuses what the row of a call refuses. A call whose time is over is not begun.
    fn gate(&self, row: &Row, call: &Call) -> Result<(), Error> {
        let standing = self.rows.standing();
        if row.learner == Learner::Refuses && standing.is_learner {
            return Err(Error::NotForLearners);
        }
        if row.leader == Leader::IfAsked && call.requires_leader && !standing.has_leader {
            return Err(Error::NoLeader);
        }
        if call.deadline.is_some() && call.is_over(self.rows.now()) {
            return Err(Error::NotProposed);
        }
        Ok(())
    }

    /// The context of a call that comes in now. The time is taken only where a limit needs it.
    fn call(&self, head: &CallHead) -> Call {
        let now = if head.timeout.is_some() { self.rows.now() } else { Time::ZERO };
        Call::from_head(head, now)
    }

    /// Counts a call by its client's version.
    fn count_client(&self, call: &Call, is_stream: bool) {
        let version = call.api_version.as_ref().and_then(|text| std::str::from_utf8(text).ok());
        self.metrics.calls.count_client(is_stream, version);
    }
}

impl GrpcService for Front {
    fn lookup(&self, path: &str) -> Result<Method, Status> {
        if let Some(method) = self.by_path.get(path) {
            return Ok(*method);
        }
        let parts = path.strip_prefix('/').and_then(|path| path.rsplit_once('/'));
        let Some((service, method)) = parts else {
            let text = format!("malformed method name: {path:?}");
            return Err(Status::new(Code::Unimplemented, text));
        };
        let text = if ROWS.iter().any(|row| row.service == service) {
            format!("unknown method {method} for service {service}")
        } else {
            format!("unknown service {service}")
        };
        Err(Status::new(Code::Unimplemented, text))
    }

    fn unary(&self, method: u16, head: &CallHead, body: Bytes, reply: Responder) {
        let begun = self.meter.start(method, body.len());
        let reply = reply.metered(Arc::clone(&self.meter) as _, method, begun);
        let (row, call) = (&ROWS[usize::from(method)], self.call(head));
        self.count_client(&call, false);
        match (self.gate(row, &call), row.handler) {
            (Err(error), _) => reply.fail(error),
            (Ok(()), Handler::Own(handler)) => {
                if let Err(refused) = handler(&body, reply) {
                    refused.tell();
                }
            }
            (Ok(()), _) => self.rows.unary(row, &call, body, reply),
        }
    }

    fn stream(
        &self,
        method: u16,
        head: &CallHead,
        out: StreamSender,
    ) -> Result<Box<dyn StreamHandler>, Status> {
        let (metered, out) = self.meter.stream(method, out);
        let (row, call) = (&ROWS[usize::from(method)], self.call(head));
        self.count_client(&call, true);
        let opened = match (self.gate(row, &call), row.handler) {
            (Err(error), _) => Err(error),
            (Ok(()), Handler::OwnStream(handler)) => Ok(handler(ROWS, out)),
            (Ok(()), _) => self.rows.stream(row, &call, out),
        };
        match opened {
            Ok(handler) => Ok(metered.around(handler)),
            Err(error) => {
                let status = Status::from(error);
                metered.end(status.code);
                Err(status)
            }
        }
    }
}

/// A member serves the rows with its own handlers.
pub struct MemberRows(pub Arc<Services>);

impl Rows for MemberRows {
    fn standing(&self) -> Standing {
        let common = self.0.common();
        Standing { is_learner: common.is_learner(), has_leader: common.figures.leader() != 0 }
    }

    fn now(&self) -> Time {
        self.0.now()
    }

    fn unary(&self, row: &'static Row, call: &Call, body: Bytes, reply: Responder) {
        let result = match row.handler {
            Handler::Unary(handler) => handler(&self.0, call, &body, reply),
            _ => Err(Refused::new(reply, Error::NotSupported)),
        };
        if let Err(refused) = result {
            refused.tell();
        }
    }

    fn stream(
        &self,
        row: &'static Row,
        call: &Call,
        out: StreamSender,
    ) -> Result<Box<dyn StreamHandler>, Error> {
        let Handler::Stream(open) = row.handler else { return Err(Error::NotSupported) };
        let led = call.requires_leader.then(|| out.clone());
        let handler = open(&self.0, call, out);
        Ok(match led {
            Some(out) => self.0.led_streams.keep(out, handler),
            None => handler,
        })
    }
}
