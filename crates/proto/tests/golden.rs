//! Our definitions beside those of etcd's Go types: every field, value and method by number and name,
//! and every message decoded from etcd's bytes and encoded back to the same ones. The golden files
//! are written by `go run ./cmd/golden` in `interop`.

use bytes::Bytes;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet,
};
use std::collections::BTreeSet;

const SCHEMA: &str = include_str!("../../../interop/golden/schema.txt");
const BYTES: &str = include_str!("../../../interop/golden/bytes.txt");

fn again<M: Message + Default>(bytes: &Bytes) -> Result<Vec<u8>, prost::DecodeError> {
    Ok(M::decode(bytes.clone())?.encode_to_vec())
}

/// Decodes and encodes as the message of this name; `None` where we have no such message.
fn round_trip(name: &str, bytes: &Bytes) -> Option<Result<Vec<u8>, prost::DecodeError>> {
    macro_rules! by_name {
        ($($known:literal => $kind:ty,)*) => {
            match name {
                $($known => Some(again::<$kind>(bytes)),)*
                _ => None,
            }
        };
    }
    by_name! {
        "authpb.Permission" => proto::authpb::Permission,
        "authpb.Role" => proto::authpb::Role,
        "authpb.User" => proto::authpb::User,
        "authpb.UserAddOptions" => proto::authpb::UserAddOptions,
        "etcdserverpb.AlarmMember" => proto::etcdserverpb::AlarmMember,
        "etcdserverpb.AlarmRequest" => proto::etcdserverpb::AlarmRequest,
        "etcdserverpb.AlarmResponse" => proto::etcdserverpb::AlarmResponse,
        "etcdserverpb.AuthDisableRequest" => proto::etcdserverpb::AuthDisableRequest,
        "etcdserverpb.AuthDisableResponse" => proto::etcdserverpb::AuthDisableResponse,
        "etcdserverpb.AuthEnableRequest" => proto::etcdserverpb::AuthEnableRequest,
        "etcdserverpb.AuthEnableResponse" => proto::etcdserverpb::AuthEnableResponse,
        "etcdserverpb.AuthRoleAddRequest" => proto::etcdserverpb::AuthRoleAddRequest,
        "etcdserverpb.AuthRoleAddResponse" => proto::etcdserverpb::AuthRoleAddResponse,
        "etcdserverpb.AuthRoleDeleteRequest" => proto::etcdserverpb::AuthRoleDeleteRequest,
        "etcdserverpb.AuthRoleDeleteResponse" => proto::etcdserverpb::AuthRoleDeleteResponse,
        "etcdserverpb.AuthRoleGetRequest" => proto::etcdserverpb::AuthRoleGetRequest,
        "etcdserverpb.AuthRoleGetResponse" => proto::etcdserverpb::AuthRoleGetResponse,
        "etcdserverpb.AuthRoleGrantPermissionRequest" => proto::etcdserverpb::AuthRoleGrantPermissionRequest,
        "etcdserverpb.AuthRoleGrantPermissionResponse" => proto::etcdserverpb::AuthRoleGrantPermissionResponse,
        "etcdserverpb.AuthRoleListRequest" => proto::etcdserverpb::AuthRoleListRequest,
        "etcdserverpb.AuthRoleListResponse" => proto::etcdserverpb::AuthRoleListResponse,
        "etcdserverpb.AuthRoleRevokePermissionRequest" => proto::etcdserverpb::AuthRoleRevokePermissionRequest,
        "etcdserverpb.AuthRoleRevokePermissionResponse" => proto::etcdserverpb::AuthRoleRevokePermissionResponse,
        "etcdserverpb.AuthStatusRequest" => proto::etcdserverpb::AuthStatusRequest,
        "etcdserverpb.AuthStatusResponse" => proto::etcdserverpb::AuthStatusResponse,
        "etcdserverpb.AuthUserAddRequest" => proto::etcdserverpb::AuthUserAddRequest,
        "etcdserverpb.AuthUserAddResponse" => proto::etcdserverpb::AuthUserAddResponse,
        "etcdserverpb.AuthUserChangePasswordRequest" => proto::etcdserverpb::AuthUserChangePasswordRequest,
        "etcdserverpb.AuthUserChangePasswordResponse" => proto::etcdserverpb::AuthUserChangePasswordResponse,
        "etcdserverpb.AuthUserDeleteRequest" => proto::etcdserverpb::AuthUserDeleteRequest,
        "etcdserverpb.AuthUserDeleteResponse" => proto::etcdserverpb::AuthUserDeleteResponse,
        "etcdserverpb.AuthUserGetRequest" => proto::etcdserverpb::AuthUserGetRequest,
        "etcdserverpb.AuthUserGetResponse" => proto::etcdserverpb::AuthUserGetResponse,
        "etcdserverpb.AuthUserGrantRoleRequest" => proto::etcdserverpb::AuthUserGrantRoleRequest,
        "etcdserverpb.AuthUserGrantRoleResponse" => proto::etcdserverpb::AuthUserGrantRoleResponse,
        "etcdserverpb.AuthUserListRequest" => proto::etcdserverpb::AuthUserListRequest,
        "etcdserverpb.AuthUserListResponse" => proto::etcdserverpb::AuthUserListResponse,
        "etcdserverpb.AuthUserRevokeRoleRequest" => proto::etcdserverpb::AuthUserRevokeRoleRequest,
        "etcdserverpb.AuthUserRevokeRoleResponse" => proto::etcdserverpb::AuthUserRevokeRoleResponse,
        "etcdserverpb.AuthenticateRequest" => proto::etcdserverpb::AuthenticateRequest,
        "etcdserverpb.AuthenticateResponse" => proto::etcdserverpb::AuthenticateResponse,
        "etcdserverpb.CompactionRequest" => proto::etcdserverpb::CompactionRequest,
        "etcdserverpb.CompactionResponse" => proto::etcdserverpb::CompactionResponse,
        "etcdserverpb.Compare" => proto::etcdserverpb::Compare,
        "etcdserverpb.DefragmentRequest" => proto::etcdserverpb::DefragmentRequest,
        "etcdserverpb.DefragmentResponse" => proto::etcdserverpb::DefragmentResponse,
        "etcdserverpb.DeleteRangeRequest" => proto::etcdserverpb::DeleteRangeRequest,
        "etcdserverpb.DeleteRangeResponse" => proto::etcdserverpb::DeleteRangeResponse,
        "etcdserverpb.DowngradeInfo" => proto::etcdserverpb::DowngradeInfo,
        "etcdserverpb.DowngradeRequest" => proto::etcdserverpb::DowngradeRequest,
        "etcdserverpb.DowngradeResponse" => proto::etcdserverpb::DowngradeResponse,
        "etcdserverpb.DowngradeVersionTestRequest" => proto::etcdserverpb::DowngradeVersionTestRequest,
        "etcdserverpb.EmptyResponse" => proto::etcdserverpb::EmptyResponse,
        "etcdserverpb.HashKVRequest" => proto::etcdserverpb::HashKvRequest,
        "etcdserverpb.HashKVResponse" => proto::etcdserverpb::HashKvResponse,
        "etcdserverpb.HashRequest" => proto::etcdserverpb::HashRequest,
        "etcdserverpb.HashResponse" => proto::etcdserverpb::HashResponse,
        "etcdserverpb.InternalAuthenticateRequest" => proto::etcdserverpb::InternalAuthenticateRequest,
        "etcdserverpb.InternalRaftRequest" => proto::etcdserverpb::InternalRaftRequest,
        "etcdserverpb.LeaseCheckpoint" => proto::etcdserverpb::LeaseCheckpoint,
        "etcdserverpb.LeaseCheckpointRequest" => proto::etcdserverpb::LeaseCheckpointRequest,
        "etcdserverpb.LeaseCheckpointResponse" => proto::etcdserverpb::LeaseCheckpointResponse,
        "etcdserverpb.LeaseGrantRequest" => proto::etcdserverpb::LeaseGrantRequest,
        "etcdserverpb.LeaseGrantResponse" => proto::etcdserverpb::LeaseGrantResponse,
        "etcdserverpb.LeaseKeepAliveRequest" => proto::etcdserverpb::LeaseKeepAliveRequest,
        "etcdserverpb.LeaseKeepAliveResponse" => proto::etcdserverpb::LeaseKeepAliveResponse,
        "etcdserverpb.LeaseLeasesRequest" => proto::etcdserverpb::LeaseLeasesRequest,
        "etcdserverpb.LeaseLeasesResponse" => proto::etcdserverpb::LeaseLeasesResponse,
        "etcdserverpb.LeaseRevokeRequest" => proto::etcdserverpb::LeaseRevokeRequest,
        "etcdserverpb.LeaseRevokeResponse" => proto::etcdserverpb::LeaseRevokeResponse,
        "etcdserverpb.LeaseStatus" => proto::etcdserverpb::LeaseStatus,
        "etcdserverpb.LeaseTimeToLiveRequest" => proto::etcdserverpb::LeaseTimeToLiveRequest,
        "etcdserverpb.LeaseTimeToLiveResponse" => proto::etcdserverpb::LeaseTimeToLiveResponse,
        "etcdserverpb.Member" => proto::etcdserverpb::Member,
        "etcdserverpb.MemberAddRequest" => proto::etcdserverpb::MemberAddRequest,
        "etcdserverpb.MemberAddResponse" => proto::etcdserverpb::MemberAddResponse,
        "etcdserverpb.MemberListRequest" => proto::etcdserverpb::MemberListRequest,
        "etcdserverpb.MemberListResponse" => proto::etcdserverpb::MemberListResponse,
        "etcdserverpb.MemberPromoteRequest" => proto::etcdserverpb::MemberPromoteRequest,
        "etcdserverpb.MemberPromoteResponse" => proto::etcdserverpb::MemberPromoteResponse,
        "etcdserverpb.MemberRemoveRequest" => proto::etcdserverpb::MemberRemoveRequest,
        "etcdserverpb.MemberRemoveResponse" => proto::etcdserverpb::MemberRemoveResponse,
        "etcdserverpb.MemberUpdateRequest" => proto::etcdserverpb::MemberUpdateRequest,
        "etcdserverpb.MemberUpdateResponse" => proto::etcdserverpb::MemberUpdateResponse,
        "etcdserverpb.Metadata" => proto::etcdserverpb::Metadata,
        "etcdserverpb.MoveLeaderRequest" => proto::etcdserverpb::MoveLeaderRequest,
        "etcdserverpb.MoveLeaderResponse" => proto::etcdserverpb::MoveLeaderResponse,
        "etcdserverpb.PutRequest" => proto::etcdserverpb::PutRequest,
        "etcdserverpb.PutResponse" => proto::etcdserverpb::PutResponse,
        "etcdserverpb.RangeRequest" => proto::etcdserverpb::RangeRequest,
        "etcdserverpb.RangeResponse" => proto::etcdserverpb::RangeResponse,
        "etcdserverpb.RangeStreamResponse" => proto::etcdserverpb::RangeStreamResponse,
        "etcdserverpb.RequestHeader" => proto::etcdserverpb::RequestHeader,
        "etcdserverpb.RequestOp" => proto::etcdserverpb::RequestOp,
        "etcdserverpb.ResponseHeader" => proto::etcdserverpb::ResponseHeader,
        "etcdserverpb.ResponseOp" => proto::etcdserverpb::ResponseOp,
        "etcdserverpb.SnapshotRequest" => proto::etcdserverpb::SnapshotRequest,
        "etcdserverpb.SnapshotResponse" => proto::etcdserverpb::SnapshotResponse,
        "etcdserverpb.StatusRequest" => proto::etcdserverpb::StatusRequest,
        "etcdserverpb.StatusResponse" => proto::etcdserverpb::StatusResponse,
        "etcdserverpb.TxnRequest" => proto::etcdserverpb::TxnRequest,
        "etcdserverpb.TxnResponse" => proto::etcdserverpb::TxnResponse,
        "etcdserverpb.WatchCancelRequest" => proto::etcdserverpb::WatchCancelRequest,
        "etcdserverpb.WatchCreateRequest" => proto::etcdserverpb::WatchCreateRequest,
        "etcdserverpb.WatchProgressRequest" => proto::etcdserverpb::WatchProgressRequest,
        "etcdserverpb.WatchRequest" => proto::etcdserverpb::WatchRequest,
        "etcdserverpb.WatchResponse" => proto::etcdserverpb::WatchResponse,
        "leasepb.Lease" => proto::leasepb::Lease,
        "leasepb.LeaseInternalRequest" => proto::leasepb::LeaseInternalRequest,
        "leasepb.LeaseInternalResponse" => proto::leasepb::LeaseInternalResponse,
        "membershippb.Attributes" => proto::membershippb::Attributes,
        "membershippb.ClusterMemberAttrSetRequest" => proto::membershippb::ClusterMemberAttrSetRequest,
        "membershippb.ClusterVersionSetRequest" => proto::membershippb::ClusterVersionSetRequest,
        "membershippb.DowngradeInfoSetRequest" => proto::membershippb::DowngradeInfoSetRequest,
        "membershippb.Member" => proto::membershippb::Member,
        "membershippb.RaftAttributes" => proto::membershippb::RaftAttributes,
        "mvccpb.Event" => proto::mvccpb::Event,
        "mvccpb.KeyValue" => proto::mvccpb::KeyValue,
        "raftpb.ConfChange" => proto::raftpb::ConfChange,
        "raftpb.ConfChangeSingle" => proto::raftpb::ConfChangeSingle,
        "raftpb.ConfChangeV2" => proto::raftpb::ConfChangeV2,
        "raftpb.ConfState" => proto::raftpb::ConfState,
        "raftpb.Entry" => proto::raftpb::Entry,
        "raftpb.HardState" => proto::raftpb::HardState,
        "raftpb.Message" => proto::raftpb::Message,
        "raftpb.Snapshot" => proto::raftpb::Snapshot,
        "raftpb.SnapshotMetadata" => proto::raftpb::SnapshotMetadata,
        "snappb.snapshot" => proto::snappb::Snapshot,
        "v3electionpb.CampaignRequest" => proto::v3electionpb::CampaignRequest,
        "v3electionpb.CampaignResponse" => proto::v3electionpb::CampaignResponse,
        "v3electionpb.LeaderKey" => proto::v3electionpb::LeaderKey,
        "v3electionpb.LeaderRequest" => proto::v3electionpb::LeaderRequest,
        "v3electionpb.LeaderResponse" => proto::v3electionpb::LeaderResponse,
        "v3electionpb.ProclaimRequest" => proto::v3electionpb::ProclaimRequest,
        "v3electionpb.ProclaimResponse" => proto::v3electionpb::ProclaimResponse,
        "v3electionpb.ResignRequest" => proto::v3electionpb::ResignRequest,
        "v3electionpb.ResignResponse" => proto::v3electionpb::ResignResponse,
        "v3lockpb.LockRequest" => proto::v3lockpb::LockRequest,
        "v3lockpb.LockResponse" => proto::v3lockpb::LockResponse,
        "v3lockpb.UnlockRequest" => proto::v3lockpb::UnlockRequest,
        "v3lockpb.UnlockResponse" => proto::v3lockpb::UnlockResponse,
        "walpb.Record" => proto::walpb::Record,
        "walpb.Snapshot" => proto::walpb::Snapshot,
    }
}

fn unhex(text: &str) -> Bytes {
    let digit = |c: u8| (c as char).to_digit(16).expect("hexadecimal") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[test]
fn every_message_of_etcd_comes_back_as_the_same_bytes() {
    let mut count = 0;
    for line in BYTES.lines() {
        let mut parts = line.split(' ');
        let (name, what) = (parts.next().unwrap(), parts.next().unwrap());
        let bytes = unhex(parts.next().unwrap_or_default());
        let encoded = round_trip(name, &bytes)
            .unwrap_or_else(|| panic!("no message {name}"))
            .unwrap_or_else(|error| panic!("{name} {what}: {error}"));
        assert_eq!(Bytes::from(encoded), bytes, "{name} {what}");
        count += 1;
    }
    assert!(count > 400, "only {count} examples");
}

#[test]
fn a_field_lands_where_its_name_says() {
    let line = |name: &str| {
        let start = format!("{name} full ");
        unhex(BYTES.lines().find_map(|line| line.strip_prefix(&start)).expect("an example"))
    };
    let kv = proto::mvccpb::KeyValue::decode(line("mvccpb.KeyValue")).unwrap();
    assert_eq!((&kv.key[..], kv.create_revision, kv.mod_revision), (&b"b1"[..], 2, 3));
    assert_eq!((kv.version, &kv.value[..], kv.lease), (4, &b"b5"[..], 6));
    let entry = proto::raftpb::Entry::decode(line("raftpb.Entry")).unwrap();
    assert_eq!((entry.r#type, entry.term, entry.index), (Some(2), Some(1), Some(2)));
    assert_eq!(entry.data.as_deref(), Some(&b"b4"[..]));
    let record = proto::walpb::Record::decode(line("walpb.Record")).unwrap();
    assert_eq!(
        (record.r#type, record.crc, record.data.as_deref()),
        (Some(1), Some(2), Some(&b"b3"[..]))
    );
}

#[test]
fn explicit_zeros_of_proto2_are_kept_apart_from_absence() {
    let state = proto::raftpb::HardState { term: Some(0), vote: None, commit: Some(0) };
    assert_eq!(state.encode_to_vec(), [0x08, 0, 0x18, 0]);
}

/// The same lines as in schema.txt, from our own definitions.
fn our_schema() -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).expect("our descriptors");
    let mut lines = BTreeSet::new();
    for file in &set.file {
        for message in &file.message_type {
            message_lines(file, message, &mut lines);
        }
        for kind in &file.enum_type {
            enum_lines(file.package(), kind, &mut lines);
        }
        service_lines(file, &mut lines);
    }
    lines
}

fn message_lines(
    file: &FileDescriptorProto,
    message: &DescriptorProto,
    lines: &mut BTreeSet<String>,
) {
    let name = format!("{}.{}", file.package(), message.name());
    for field in &message.field {
        let union = match field.oneof_index {
            Some(at) => message.oneof_decl[at as usize].name(),
            None => "-",
        };
        lines.insert(format!(
            "field {name} {}",
            field_line(file.syntax() == "proto3", field, union)
        ));
    }
    for kind in &message.enum_type {
        enum_lines(&name, kind, lines);
    }
    lines.insert(format!("message {name}"));
}

fn field_line(proto3: bool, field: &FieldDescriptorProto, union: &str) -> String {
    let label = field.label().as_str_name().trim_start_matches("LABEL_").to_lowercase();
    let kind = field.r#type().as_str_name().trim_start_matches("TYPE_").to_lowercase();
    let refers = field.type_name().trim_start_matches('.');
    let refers = if refers.is_empty() { "-" } else { refers };
    let repeated = field.label() == Label::Repeated;
    let message = field.r#type() == Type::Message;
    let presence = !repeated && (message || !proto3 || union != "-");
    let scalar = !matches!(field.r#type(), Type::Message | Type::String | Type::Bytes);
    let asked = field.options.as_ref().and_then(|options| options.packed);
    let packed = repeated && scalar && asked.unwrap_or(proto3);
    let flag = |set: bool, name: &'static str| if set { name } else { "-" };
    format!(
        "{} {} {label} {kind} {refers} {union} {} {}",
        field.number(),
        field.name(),
        flag(presence, "presence"),
        flag(packed, "packed")
    )
}

fn enum_lines(scope: &str, kind: &EnumDescriptorProto, lines: &mut BTreeSet<String>) {
    for value in &kind.value {
        lines.insert(format!("enum {scope}.{} {} {}", kind.name(), value.number(), value.name()));
    }
}

fn service_lines(file: &FileDescriptorProto, lines: &mut BTreeSet<String>) {
    for service in &file.service {
        for method in &service.method {
            let flag = |set: bool, name: &'static str| if set { name } else { "-" };
            lines.insert(format!(
                "method /{}.{}/{} {} {} {} {}",
                file.package(),
                service.name(),
                method.name(),
                method.input_type().trim_start_matches('.'),
                method.output_type().trim_start_matches('.'),
                flag(method.client_streaming(), "stream-in"),
                flag(method.server_streaming(), "stream-out")
            ));
        }
    }
}

#[test]
fn every_field_value_and_method_is_etcds() {
    let ours = our_schema();
    let missing: Vec<&str> = SCHEMA.lines().filter(|line| !ours.contains(*line)).collect();
    assert!(missing.is_empty(), "etcd has, we have not:\n{}", missing.join("\n"));
    let theirs: BTreeSet<&str> = SCHEMA.lines().collect();
    let packages: BTreeSet<&str> =
        BYTES.lines().filter_map(|line| line.split_once('.')).map(|(package, _)| package).collect();
    let is_etcds = |line: &&String| {
        let name = line.split(' ').nth(1).expect("a name").trim_start_matches('/');
        packages.contains(name.split('.').next().expect("a package"))
    };
    let extra: Vec<&String> =
        ours.iter().filter(is_etcds).filter(|line| !theirs.contains(line.as_str())).collect();
    assert!(extra.is_empty(), "we have, etcd has not:\n{extra:#?}");
}
