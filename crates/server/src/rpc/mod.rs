//! The gRPC services: which methods there are, and who handles them.

mod check;
mod cluster;
mod error;
mod health;
mod kv;
mod lease;
mod maintenance;
mod pump;
mod reflection;
mod watch;

pub(crate) use error::Error;

use crate::metrics::MethodCounts;
use crate::shared::Shared;
use bytes::Bytes;
use net::rpc::{
    CallHead, Code, GrpcService, Kind, Method, ReplySink, Responder, Status, StreamHandler,
    StreamSender,
};
use prost::Message;
use std::collections::HashMap;
use std::sync::Arc;

/// Methods that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Range,
    RangeStream,
    Put,
    DeleteRange,
    Txn,
    Compact,
    Watch,
    LeaseGrant,
    LeaseRevoke,
    LeaseKeepAlive,
    LeaseTimeToLive,
    LeaseLeases,
    MemberList,
    Alarm,
    Status,
    Defragment,
    Hash,
    HashKv,
    Snapshot,
    HealthCheck,
    HealthList,
    HealthWatch,
    Reflect,
}

const KV: &str = "etcdserverpb.KV";
const LEASE: &str = "etcdserverpb.Lease";
const MAINTENANCE: &str = "etcdserverpb.Maintenance";
const HEALTH: &str = "grpc.health.v1.Health";

const UNARY: &str = "unary";
const SERVER_STREAM: &str = "server_stream";
const BIDI_STREAM: &str = "bidi_stream";

/// One row for each method.
const CALLS: &[(Call, &str, &str, &str)] = &[
    (Call::Range, KV, "Range", UNARY),
    (Call::RangeStream, KV, "RangeStream", SERVER_STREAM),
    (Call::Put, KV, "Put", UNARY),
    (Call::DeleteRange, KV, "DeleteRange", UNARY),
    (Call::Txn, KV, "Txn", UNARY),
    (Call::Compact, KV, "Compact", UNARY),
    (Call::Watch, "etcdserverpb.Watch", "Watch", BIDI_STREAM),
    (Call::LeaseGrant, LEASE, "LeaseGrant", UNARY),
    (Call::LeaseRevoke, LEASE, "LeaseRevoke", UNARY),
    (Call::LeaseKeepAlive, LEASE, "LeaseKeepAlive", BIDI_STREAM),
    (Call::LeaseTimeToLive, LEASE, "LeaseTimeToLive", UNARY),
    (Call::LeaseLeases, LEASE, "LeaseLeases", UNARY),
    (Call::MemberList, "etcdserverpb.Cluster", "MemberList", UNARY),
    (Call::Alarm, MAINTENANCE, "Alarm", UNARY),
    (Call::Status, MAINTENANCE, "Status", UNARY),
    (Call::Defragment, MAINTENANCE, "Defragment", UNARY),
    (Call::Hash, MAINTENANCE, "Hash", UNARY),
    (Call::HashKv, MAINTENANCE, "HashKV", UNARY),
    (Call::Snapshot, MAINTENANCE, "Snapshot", SERVER_STREAM),
    (Call::HealthCheck, HEALTH, "Check", UNARY),
    (Call::HealthList, HEALTH, "List", UNARY),
    (Call::HealthWatch, HEALTH, "Watch", SERVER_STREAM),
    (Call::Reflect, "grpc.reflection.v1.ServerReflection", "ServerReflectionInfo", BIDI_STREAM),
    (
        Call::Reflect,
        "grpc.reflection.v1alpha.ServerReflection",
        "ServerReflectionInfo",
        BIDI_STREAM,
    ),
];

/// Names of the services served, for reflection.
fn service_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = CALLS.iter().map(|(_, service, _, _)| *service).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// All services.
pub(crate) struct Service {
    shared: Arc<Shared>,
    by_path: HashMap<String, Method>,
    pub(crate) counts: Arc<Vec<MethodCounts>>,
}

impl Service {
    /// For a member.
    pub(crate) fn new(shared: Arc<Shared>) -> Service {
        let mut by_path = HashMap::new();
        let mut counts = Vec::new();
        for (id, (_, service, method, kind)) in CALLS.iter().enumerate() {
            let shape = if *kind == UNARY { Kind::Unary } else { Kind::Stream };
            by_path.insert(format!("/{service}/{method}"), Method { id: id as u16, kind: shape });
            counts.push(MethodCounts::new(service, method, kind));
        }
        Service { shared, by_path, counts: Arc::new(counts) }
    }

    fn gate(&self, head: &CallHead) -> Result<(), Error> {
        let requires_leader = head.get("hasleader") == Some("true");
        if requires_leader
            && self.shared.gauges.leader.load(std::sync::atomic::Ordering::Relaxed) == 0
        {
            return Err(Error::NoLeader);
        }
        Ok(())
    }

    /// Counts how a call ends on the way to its transport.
    fn counted(&self, method: u16, reply: Responder) -> Responder {
        self.counts[usize::from(method)].start();
        self.counts[usize::from(method)].receive();
        let inner = parking_lot::Mutex::new(Some(reply));
        let sink = CountingSink { counts: Arc::clone(&self.counts), method, inner };
        Responder::new(Arc::new(sink), 0)
    }

    fn dispatch(&self, call: Call, body: Bytes, reply: Responder) -> Result<(), Refused> {
        let shared = &self.shared;
        match call {
            Call::Range => kv::range(shared, &body, reply),
            Call::Put => kv::put(shared, &body, reply),
            Call::DeleteRange => kv::delete_range(shared, &body, reply),
            Call::Txn => kv::txn(shared, &body, reply),
            Call::Compact => kv::compact(shared, &body, reply),
            Call::LeaseGrant => lease::grant(shared, &body, reply),
            Call::LeaseRevoke => lease::revoke(shared, &body, reply),
            Call::LeaseTimeToLive => lease::time_to_live(shared, &body, reply),
            Call::LeaseLeases => lease::leases(shared, reply),
            Call::MemberList => cluster::list(shared, &body, reply),
            Call::Alarm => maintenance::alarm(shared, &body, reply),
            Call::Status => maintenance::status(shared, reply),
            Call::Defragment => maintenance::defragment(shared, reply),
            Call::Hash => maintenance::hash(shared, reply),
            Call::HashKv => maintenance::hash_kv(shared, &body, reply),
            Call::HealthCheck => health::check(&body, reply),
            Call::HealthList => health::list(reply),
            _ => Err(Refused::new(reply, Error::NotSupported)),
        }
    }
}

/// A call that is refused before it left the handler, with what to refuse.
struct Refused {
    reply: Responder,
    error: Error,
}

impl Refused {
    fn new(reply: Responder, error: Error) -> Refused {
        Refused { reply, error }
    }
}

/// Decodes a request, or refuses the call.
fn decode<M: Message + Default>(body: &Bytes, reply: Responder) -> Result<(M, Responder), Refused> {
    match M::decode(body.clone()) {
        Ok(message) => Ok((message, reply)),
        Err(_) => Err(Refused::new(reply, Error::Malformed)),
    }
}

impl GrpcService for Service {
    fn lookup(&self, path: &str) -> Result<Method, Status> {
        if let Some(method) = self.by_path.get(path) {
            return Ok(*method);
        }
        let Some((service, method)) = path.trim_start_matches('/').rsplit_once('/') else {
            let text = format!("malformed method name: {path:?}");
            return Err(Status::new(Code::Unimplemented, text));
        };
        let text = if CALLS.iter().any(|(_, known, _, _)| *known == service) {
            format!("unknown method {method} for service {service}")
        } else {
            format!("unknown service {service}")
        };
        Err(Status::new(Code::Unimplemented, text))
    }

    fn unary(&self, method: u16, head: &CallHead, body: Bytes, reply: Responder) {
        let reply = self.counted(method, reply);
        let (call, ..) = CALLS[usize::from(method)];
        let result = match self.gate(head) {
            Ok(()) => self.dispatch(call, body, reply),
            Err(error) => Err(Refused::new(reply, error)),
        };
        if let Err(refused) = result {
            refused.reply.fail(refused.error);
        }
    }

    fn stream(
        &self,
        method: u16,
        head: &CallHead,
        out: StreamSender,
    ) -> Result<Box<dyn StreamHandler>, Status> {
        self.counts[usize::from(method)].start();
        self.gate(head)?;
        let shared = Arc::clone(&self.shared);
        let (call, ..) = CALLS[usize::from(method)];
        match call {
            Call::Watch => Ok(watch::open(shared, out)),
            Call::LeaseKeepAlive => Ok(lease::keep_alive(shared, out)),
            Call::RangeStream => Ok(kv::range_stream(shared, out)),
            Call::Snapshot => Ok(maintenance::snapshot(shared, out)),
            Call::HealthWatch => Ok(health::watch(out)),
            Call::Reflect => Ok(reflection::open(out)),
            _ => Err(Error::NotSupported.into()),
        }
    }
}

struct CountingSink {
    counts: Arc<Vec<MethodCounts>>,
    method: u16,
    inner: parking_lot::Mutex<Option<Responder>>,
}

impl ReplySink for CountingSink {
    fn reply(&self, _id: u64, result: Result<Bytes, Status>) {
        let code = result.as_ref().map_or_else(|status| status.code, |_| Code::Ok);
        self.counts[usize::from(self.method)].handle(code);
        if let Some(reply) = self.inner.lock().take() {
            match result {
                Ok(message) => reply.reply(message),
                Err(status) => reply.fail(status),
            }
        }
    }

    fn message(&self, _id: u64, _pieces: Vec<Bytes>) {}

    fn finish(&self, _id: u64, _status: Status) {}

    fn queued(&self, _id: u64) -> usize {
        0
    }
}
