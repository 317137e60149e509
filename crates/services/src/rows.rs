//! The table of RPCs: one [`Row`] for each, with its handler.
//!
//! From the rows come dispatch, refusals, reflection and the counts of calls. A new RPC is one row, one
//! handler and one test.

use crate::row::{Handler, Leader, Learner, Permission, Row, Shape};
use crate::{cluster, downgrade, health, kv, lease, maintenance, reflection, watch};

const KV: &str = "etcdserverpb.KV";
const LEASE: &str = "etcdserverpb.Lease";
const CLUSTER: &str = "etcdserverpb.Cluster";
const MAINTENANCE: &str = "etcdserverpb.Maintenance";
const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
const REFLECTION_ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

macro_rules! rows {
    ($($service:expr, $method:literal, $shape:ident, $request:literal => $response:literal,
       $learner:ident, $leader:ident, $permission:ident, $kind:ident($handler:path);)*) => {
        &[$(Row {
            service: $service,
            method: $method,
            shape: Shape::$shape,
            types: [$request, $response],
            learner: Learner::$learner,
            leader: Leader::$leader,
            permission: Permission::$permission,
            handler: Handler::$kind($handler),
        }),*]
    };
}

/// Every RPC that is served. A row's place is its number for the transport.
#[rustfmt::skip] // one line says what it is, one who answers
pub const ROWS: &[Row] = rows! {
    KV, "Range", Unary, "etcdserverpb.RangeRequest" => "etcdserverpb.RangeResponse",
        Serves, IfAsked, Open, Unary(kv::range);
    KV, "RangeStream", ServerStream, "etcdserverpb.RangeRequest" => "etcdserverpb.RangeStreamResponse",
        Refuses, IfAsked, Open, Stream(kv::range_stream);
    KV, "Put", Unary, "etcdserverpb.PutRequest" => "etcdserverpb.PutResponse",
        Refuses, IfAsked, Open, Unary(kv::put);
    KV, "DeleteRange", Unary, "etcdserverpb.DeleteRangeRequest" => "etcdserverpb.DeleteRangeResponse",
        Refuses, IfAsked, Open, Unary(kv::delete_range);
    KV, "Txn", Unary, "etcdserverpb.TxnRequest" => "etcdserverpb.TxnResponse",
        Refuses, IfAsked, Open, Unary(kv::txn);
    KV, "Compact", Unary, "etcdserverpb.CompactionRequest" => "etcdserverpb.CompactionResponse",
        Refuses, IfAsked, Open, Unary(kv::compact);
    "etcdserverpb.Watch", "Watch", Bidirectional, "etcdserverpb.WatchRequest" => "etcdserverpb.WatchResponse",
        Refuses, IfAsked, Open, Stream(watch::open);
    LEASE, "LeaseGrant", Unary, "etcdserverpb.LeaseGrantRequest" => "etcdserverpb.LeaseGrantResponse",
        Refuses, IfAsked, Open, Unary(lease::grant);
    LEASE, "LeaseRevoke", Unary, "etcdserverpb.LeaseRevokeRequest" => "etcdserverpb.LeaseRevokeResponse",
        Refuses, IfAsked, Open, Unary(lease::revoke);
    LEASE, "LeaseKeepAlive", Bidirectional, "etcdserverpb.LeaseKeepAliveRequest" => "etcdserverpb.LeaseKeepAliveResponse",
        Refuses, IfAsked, Open, Stream(lease::keep_alive);
    LEASE, "LeaseTimeToLive", Unary, "etcdserverpb.LeaseTimeToLiveRequest" => "etcdserverpb.LeaseTimeToLiveResponse",
        Refuses, IfAsked, Open, Unary(lease::time_to_live);
    LEASE, "LeaseLeases", Unary, "etcdserverpb.LeaseLeasesRequest" => "etcdserverpb.LeaseLeasesResponse",
        Refuses, IfAsked, Open, Unary(lease::leases);
    CLUSTER, "MemberAdd", Unary, "etcdserverpb.MemberAddRequest" => "etcdserverpb.MemberAddResponse",
        Refuses, IfAsked, Open, Unary(cluster::add);
    CLUSTER, "MemberRemove", Unary, "etcdserverpb.MemberRemoveRequest" => "etcdserverpb.MemberRemoveResponse",
        Refuses, IfAsked, Open, Unary(cluster::remove);
    CLUSTER, "MemberUpdate", Unary, "etcdserverpb.MemberUpdateRequest" => "etcdserverpb.MemberUpdateResponse",
        Refuses, IfAsked, Open, Unary(cluster::update);
    CLUSTER, "MemberList", Unary, "etcdserverpb.MemberListRequest" => "etcdserverpb.MemberListResponse",
        Refuses, IfAsked, Open, Unary(cluster::list);
    CLUSTER, "MemberPromote", Unary, "etcdserverpb.MemberPromoteRequest" => "etcdserverpb.MemberPromoteResponse",
        Refuses, IfAsked, Open, Unary(cluster::promote);
    MAINTENANCE, "MoveLeader", Unary, "etcdserverpb.MoveLeaderRequest" => "etcdserverpb.MoveLeaderResponse",
        Refuses, IfAsked, Open, Unary(cluster::move_leader);
    MAINTENANCE, "Downgrade", Unary, "etcdserverpb.DowngradeRequest" => "etcdserverpb.DowngradeResponse",
        Refuses, IfAsked, Open, Unary(downgrade::downgrade);
    MAINTENANCE, "Alarm", Unary, "etcdserverpb.AlarmRequest" => "etcdserverpb.AlarmResponse",
        Refuses, IfAsked, Open, Unary(maintenance::alarm);
    MAINTENANCE, "Status", Unary, "etcdserverpb.StatusRequest" => "etcdserverpb.StatusResponse",
        Serves, IfAsked, Open, Unary(maintenance::status);
    MAINTENANCE, "Defragment", Unary, "etcdserverpb.DefragmentRequest" => "etcdserverpb.DefragmentResponse",
        Refuses, IfAsked, Open, Unary(maintenance::defragment);
    MAINTENANCE, "Hash", Unary, "etcdserverpb.HashRequest" => "etcdserverpb.HashResponse",
        Refuses, IfAsked, Open, Unary(maintenance::hash);
    MAINTENANCE, "HashKV", Unary, "etcdserverpb.HashKVRequest" => "etcdserverpb.HashKVResponse",
        Refuses, IfAsked, Open, Unary(maintenance::hash_kv);
    MAINTENANCE, "Snapshot", ServerStream, "etcdserverpb.SnapshotRequest" => "etcdserverpb.SnapshotResponse",
        Serves, IfAsked, Open, Stream(maintenance::snapshot);
    HEALTH, "Check", Unary, "grpc.health.v1.HealthCheckRequest" => "grpc.health.v1.HealthCheckResponse",
        Serves, IfAsked, Open, Own(health::check);
    HEALTH, "List", Unary, "grpc.health.v1.HealthListRequest" => "grpc.health.v1.HealthListResponse",
        Serves, IfAsked, Open, Own(health::list);
    HEALTH, "Watch", ServerStream, "grpc.health.v1.HealthCheckRequest" => "grpc.health.v1.HealthCheckResponse",
        Serves, IfAsked, Open, OwnStream(health::watch);
    REFLECTION, "ServerReflectionInfo", Bidirectional, "grpc.reflection.v1.ServerReflectionRequest" => "grpc.reflection.v1.ServerReflectionResponse",
        Serves, IfAsked, Open, OwnStream(reflection::open);
    REFLECTION_ALPHA, "ServerReflectionInfo", Bidirectional, "grpc.reflection.v1.ServerReflectionRequest" => "grpc.reflection.v1.ServerReflectionResponse",
        Serves, IfAsked, Open, OwnStream(reflection::open);
};

/// Methods that etcd has and this version does not serve yet: metrics know them.
pub(crate) const UNSERVED: &[(&str, &[&str])] = &[(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::service_names;
    use prost::Message;
    use prost_types::FileDescriptorSet;

    /// Every row says of an RPC what its definition says, and each defined RPC of a served service has a
    /// row.
    #[test]
    fn rows_agree_with_the_definitions() {
        let set = FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
        let mut defined = Vec::new();
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    let shape = match (method.client_streaming(), method.server_streaming()) {
                        (false, false) => Shape::Unary,
                        (false, true) => Shape::ServerStream,
                        _ => Shape::Bidirectional,
                    };
                    let name = format!("{}.{}", file.package(), service.name());
                    let types = [method.input_type(), method.output_type()];
                    let types = types.map(|name| name.trim_start_matches('.').to_owned());
                    defined.push((name, method.name().to_owned(), shape, types));
                }
            }
        }
        // The older name of reflection is served beside the newer one, with the same messages.
        let rows = ROWS.iter().filter(|row| row.service != REFLECTION_ALPHA);
        let mut served: Vec<_> = rows
            .map(|row| {
                let types = row.types.map(str::to_owned);
                (row.service.to_owned(), row.method.to_owned(), row.shape, types)
            })
            .collect();
        let names = service_names(ROWS);
        defined.retain(|(service, ..)| names.contains(&service.as_str()));
        let key = |row: &(String, String, Shape, [String; 2])| (row.0.clone(), row.1.clone());
        defined.sort_by_key(key);
        served.sort_by_key(key);
        assert_eq!(served, defined);
    }
}
