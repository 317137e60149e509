//! The gRPC services: which methods there are, and who handles them.

mod check;
pub(crate) mod cluster;
mod downgrade;
mod error;
pub(crate) mod forward;
#[cfg(test)]
mod hash_tests;
mod health;
mod kv;
pub(crate) mod lease;
mod maintenance;
mod meter;
mod pump;
mod reflection;
mod watch;

pub(crate) use error::Error;
pub(crate) use meter::Meter;

use crate::metrics::{self, MethodCounts};
use crate::shared::Shared;
use bytes::Bytes;
use net::rpc::{
    CallHead, Code, GrpcService, Kind, Method, Responder, Status, StreamHandler, StreamSender,
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
    MemberAdd,
    MemberRemove,
    MemberUpdate,
    MemberList,
    MemberPromote,
    MoveLeader,
    Downgrade,
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
const CLUSTER: &str = "etcdserverpb.Cluster";
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
    (Call::MemberAdd, CLUSTER, "MemberAdd", UNARY),
    (Call::MemberRemove, CLUSTER, "MemberRemove", UNARY),
    (Call::MemberUpdate, CLUSTER, "MemberUpdate", UNARY),
    (Call::MemberList, CLUSTER, "MemberList", UNARY),
    (Call::MemberPromote, CLUSTER, "MemberPromote", UNARY),
    (Call::MoveLeader, MAINTENANCE, "MoveLeader", UNARY),
    (Call::Downgrade, MAINTENANCE, "Downgrade", UNARY),
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

/// Methods that etcd has and this version does not serve yet: metrics know them.
const UNSERVED: &[(&str, &[&str])] = &[(
    "etcdserverpb.Auth",
    &[
        "AuthDisable",
        "AuthEnable",
        "AuthStatus",
        "Authenticate",
        "RoleAdd",
        "RoleDelete",
        "RoleGet",
        "RoleGrantPermission",
        "RoleList",
        "RoleRevokePermission",
        "UserAdd",
        "UserChangePassword",
        "UserDelete",
        "UserGet",
        "UserGrantRole",
        "UserList",
        "UserRevokeRole",
    ],
)];

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
    pub(crate) meter: Arc<Meter>,
}

impl Service {
    /// For a member; with durations of calls where metrics are to be extensive.
    pub(crate) fn new(shared: Arc<Shared>, extensive_metrics: bool) -> Service {
        let mut by_path = HashMap::new();
        let mut counts = Vec::new();
        // The methods served come first, so that a method's number is its place.
        for (id, (_, service, method, kind)) in CALLS.iter().enumerate() {
            let shape = if *kind == UNARY { Kind::Unary } else { Kind::Stream };
            by_path.insert(format!("/{service}/{method}"), Method { id: id as u16, kind: shape });
            counts.push(MethodCounts::new(service, method, kind));
        }
        for (service, methods) in UNSERVED {
            let unserved = methods.iter().map(|method| MethodCounts::new(service, method, UNARY));
            counts.extend(unserved);
        }
        if extensive_metrics {
            let durations = metrics::durations();
            counts.iter_mut().for_each(|method| method.record_durations(&durations));
            shared.metrics.add_durations(&durations);
        }
        let meter = Meter::new(Arc::clone(&shared), counts);
        Service { shared, by_path, meter: Arc::new(meter) }
    }

    fn gate(&self, call: Call, head: &CallHead) -> Result<(), Error> {
        use Call::{HealthCheck, HealthList, HealthWatch, Range, Reflect, Snapshot, Status};
        let for_learners = matches!(
            call,
            Status | Range | Snapshot | HealthCheck | HealthList | HealthWatch | Reflect
        );
        if !for_learners && self.shared.roster.is_learner() {
            return Err(Error::NotForLearners);
        }
        if requires_leader(head)
            && self.shared.gauges.leader.load(std::sync::atomic::Ordering::Relaxed) == 0
        {
            return Err(Error::NoLeader);
        }
        Ok(())
    }

    /// What serves a stream.
    fn open(
        &self,
        method: u16,
        head: &CallHead,
        out: StreamSender,
    ) -> Result<Box<dyn StreamHandler>, Error> {
        let shared = Arc::clone(&self.shared);
        let (call, ..) = CALLS[usize::from(method)];
        self.gate(call, head)?;
        let led = requires_leader(head).then(|| out.clone());
        let handler = match call {
            Call::Watch => watch::open(shared, out),
            Call::LeaseKeepAlive => lease::keep_alive(shared, out),
            Call::RangeStream => kv::range_stream(shared, out),
            Call::Snapshot => maintenance::snapshot(shared, out),
            Call::HealthWatch => health::watch(out),
            Call::Reflect => reflection::open(out),
            _ => return Err(Error::NotSupported),
        };
        Ok(match led {
            Some(out) => self.shared.led_streams.keep(out, handler),
            None => handler,
        })
    }

    /// Counts a call by its client's version.
    fn count_client(&self, head: &CallHead, is_stream: bool) {
        self.shared.metrics.calls.count_client(is_stream, head.get("client-api-version"));
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
            Call::MemberAdd => cluster::add(shared, &body, reply),
            Call::MemberRemove => cluster::remove(shared, &body, reply),
            Call::MemberUpdate => cluster::update(shared, &body, reply),
            Call::MemberList => cluster::list(shared, &body, reply),
            Call::MemberPromote => cluster::promote(shared, &body, reply),
            Call::MoveLeader => cluster::move_leader(shared, &body, reply),
            Call::Downgrade => downgrade::downgrade(shared, &body, reply),
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

/// Whether the client would rather be refused than served by a member without a leader.
fn requires_leader(head: &CallHead) -> bool {
    head.get("hasleader") == Some("true")
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
        Err(_) => Err(Refused::new(reply, Error::MalformedRequest)),
    }
}

impl GrpcService for Service {
    fn lookup(&self, path: &str) -> Result<Method, Status> {
        if let Some(method) = self.by_path.get(path) {
            return Ok(*method);
        }
        let parts = path.strip_prefix('/').and_then(|path| path.rsplit_once('/'));
        let Some((service, method)) = parts else {
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
        let begun = self.meter.start(method, body.len());
        let reply = reply.metered(Arc::clone(&self.meter) as _, method, begun);
        self.count_client(head, false);
        let (call, ..) = CALLS[usize::from(method)];
        let result = match self.gate(call, head) {
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
        let (metered, out) = self.meter.stream(method, out);
        self.count_client(head, true);
        match self.open(method, head, out) {
            Ok(handler) => Ok(metered.around(handler)),
            Err(error) => {
                let status = Status::from(error);
                metered.end(status.code);
                Err(status)
            }
        }
    }
}
