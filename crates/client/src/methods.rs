//! Every unary method, as a table: its request, its answer, its path, and whether it may be
//! repeated when nobody knows if it was executed.

use prost::Message;
use proto::etcdserverpb as pb;
use proto::{v3electionpb as election, v3lockpb as lock};

/// Whether a call whose fate is unknown may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It changes nothing: it may also run at several servers side by side.
    Read,
    /// Executing it twice does no harm.
    Safe,
    /// It might take effect twice.
    Unsafe,
}

/// A request with exactly one answer.
pub trait Unary: Message + Clone + Default + 'static {
    /// The answer.
    type Response: Message + Default + 'static;
    /// `/package.Service/Method`.
    const PATH: &'static str;
    /// Whether it may be repeated.
    const REPEAT: Repeat;
}

macro_rules! methods {
    ($($repeat:ident $service:literal $method:literal $request:path => $response:path;)*) => {$(
        impl Unary for $request {
            type Response = $response;
            const PATH: &'static str = concat!("/", $service, "/", $method);
            const REPEAT: Repeat = Repeat::$repeat;
        }
    )*};
}

// The first column follows the reference's client (client/v3/retry.go), where `Read` is `Safe` too.
methods! {
    Read "etcdserverpb.KV" "Range" pb::RangeRequest => pb::RangeResponse;
    Unsafe "etcdserverpb.KV" "Put" pb::PutRequest => pb::PutResponse;
    Unsafe "etcdserverpb.KV" "DeleteRange" pb::DeleteRangeRequest => pb::DeleteRangeResponse;
    Unsafe "etcdserverpb.KV" "Txn" pb::TxnRequest => pb::TxnResponse;
    Unsafe "etcdserverpb.KV" "Compact" pb::CompactionRequest => pb::CompactionResponse;
    Safe "etcdserverpb.Lease" "LeaseGrant" pb::LeaseGrantRequest => pb::LeaseGrantResponse;
    Safe "etcdserverpb.Lease" "LeaseRevoke" pb::LeaseRevokeRequest => pb::LeaseRevokeResponse;
    Read "etcdserverpb.Lease" "LeaseTimeToLive"
        pb::LeaseTimeToLiveRequest => pb::LeaseTimeToLiveResponse;
    Read "etcdserverpb.Lease" "LeaseLeases" pb::LeaseLeasesRequest => pb::LeaseLeasesResponse;
    Unsafe "etcdserverpb.Cluster" "MemberAdd" pb::MemberAddRequest => pb::MemberAddResponse;
    Unsafe "etcdserverpb.Cluster" "MemberRemove"
        pb::MemberRemoveRequest => pb::MemberRemoveResponse;
    Unsafe "etcdserverpb.Cluster" "MemberUpdate"
        pb::MemberUpdateRequest => pb::MemberUpdateResponse;
    Read "etcdserverpb.Cluster" "MemberList" pb::MemberListRequest => pb::MemberListResponse;
    Unsafe "etcdserverpb.Cluster" "MemberPromote"
        pb::MemberPromoteRequest => pb::MemberPromoteResponse;
    Safe "etcdserverpb.Maintenance" "Alarm" pb::AlarmRequest => pb::AlarmResponse;
    Read "etcdserverpb.Maintenance" "Status" pb::StatusRequest => pb::StatusResponse;
    Unsafe "etcdserverpb.Maintenance" "Defragment"
        pb::DefragmentRequest => pb::DefragmentResponse;
    Read "etcdserverpb.Maintenance" "Hash" pb::HashRequest => pb::HashResponse;
    Read "etcdserverpb.Maintenance" "HashKV" pb::HashKvRequest => pb::HashKvResponse;
    Safe "etcdserverpb.Maintenance" "MoveLeader" pb::MoveLeaderRequest => pb::MoveLeaderResponse;
    Unsafe "etcdserverpb.Maintenance" "Downgrade" pb::DowngradeRequest => pb::DowngradeResponse;
    Unsafe "etcdserverpb.Auth" "AuthEnable" pb::AuthEnableRequest => pb::AuthEnableResponse;
    Unsafe "etcdserverpb.Auth" "AuthDisable" pb::AuthDisableRequest => pb::AuthDisableResponse;
    Unsafe "etcdserverpb.Auth" "AuthStatus" pb::AuthStatusRequest => pb::AuthStatusResponse;
    Unsafe "etcdserverpb.Auth" "Authenticate"
        pb::AuthenticateRequest => pb::AuthenticateResponse;
    Unsafe "etcdserverpb.Auth" "UserAdd" pb::AuthUserAddRequest => pb::AuthUserAddResponse;
    Read "etcdserverpb.Auth" "UserGet" pb::AuthUserGetRequest => pb::AuthUserGetResponse;
    Read "etcdserverpb.Auth" "UserList" pb::AuthUserListRequest => pb::AuthUserListResponse;
    Unsafe "etcdserverpb.Auth" "UserDelete"
        pb::AuthUserDeleteRequest => pb::AuthUserDeleteResponse;
    Unsafe "etcdserverpb.Auth" "UserChangePassword"
        pb::AuthUserChangePasswordRequest => pb::AuthUserChangePasswordResponse;
    Unsafe "etcdserverpb.Auth" "UserGrantRole"
        pb::AuthUserGrantRoleRequest => pb::AuthUserGrantRoleResponse;
    Unsafe "etcdserverpb.Auth" "UserRevokeRole"
        pb::AuthUserRevokeRoleRequest => pb::AuthUserRevokeRoleResponse;
    Unsafe "etcdserverpb.Auth" "RoleAdd" pb::AuthRoleAddRequest => pb::AuthRoleAddResponse;
    Read "etcdserverpb.Auth" "RoleGet" pb::AuthRoleGetRequest => pb::AuthRoleGetResponse;
    Read "etcdserverpb.Auth" "RoleList" pb::AuthRoleListRequest => pb::AuthRoleListResponse;
    Unsafe "etcdserverpb.Auth" "RoleDelete"
        pb::AuthRoleDeleteRequest => pb::AuthRoleDeleteResponse;
    Unsafe "etcdserverpb.Auth" "RoleGrantPermission"
        pb::AuthRoleGrantPermissionRequest => pb::AuthRoleGrantPermissionResponse;
    Unsafe "etcdserverpb.Auth" "RoleRevokePermission"
        pb::AuthRoleRevokePermissionRequest => pb::AuthRoleRevokePermissionResponse;
    Unsafe "v3lockpb.Lock" "Lock" lock::LockRequest => lock::LockResponse;
    Unsafe "v3lockpb.Lock" "Unlock" lock::UnlockRequest => lock::UnlockResponse;
    Unsafe "v3electionpb.Election" "Campaign"
        election::CampaignRequest => election::CampaignResponse;
    Unsafe "v3electionpb.Election" "Proclaim"
        election::ProclaimRequest => election::ProclaimResponse;
    Unsafe "v3electionpb.Election" "Leader" election::LeaderRequest => election::LeaderResponse;
    Unsafe "v3electionpb.Election" "Resign" election::ResignRequest => election::ResignResponse;
}
