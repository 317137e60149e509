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

type Again = fn(&Bytes) -> Result<Vec<u8>, prost::DecodeError>;

/// Every message of etcd and ours of that name.
const MESSAGES: &[(&str, Again)] = &[
    ("authpb.Permission", again::<proto::authpb::Permission>),
    ("authpb.Role", again::<proto::authpb::Role>),
    ("authpb.User", again::<proto::authpb::User>),
    ("authpb.UserAddOptions", again::<proto::authpb::UserAddOptions>),
    ("etcdserverpb.AlarmMember", again::<proto::etcdserverpb::AlarmMember>),
    ("etcdserverpb.AlarmRequest", again::<proto::etcdserverpb::AlarmRequest>),
    ("etcdserverpb.AlarmResponse", again::<proto::etcdserverpb::AlarmResponse>),
    ("etcdserverpb.AuthDisableRequest", again::<proto::etcdserverpb::AuthDisableRequest>),
    ("etcdserverpb.AuthDisableResponse", again::<proto::etcdserverpb::AuthDisableResponse>),
    ("etcdserverpb.AuthEnableRequest", again::<proto::etcdserverpb::AuthEnableRequest>),
    ("etcdserverpb.AuthEnableResponse", again::<proto::etcdserverpb::AuthEnableResponse>),
    ("etcdserverpb.AuthRoleAddRequest", again::<proto::etcdserverpb::AuthRoleAddRequest>),
    ("etcdserverpb.AuthRoleAddResponse", again::<proto::etcdserverpb::AuthRoleAddResponse>),
    ("etcdserverpb.AuthRoleDeleteRequest", again::<proto::etcdserverpb::AuthRoleDeleteRequest>),
    ("etcdserverpb.AuthRoleDeleteResponse", again::<proto::etcdserverpb::AuthRoleDeleteResponse>),
    ("etcdserverpb.AuthRoleGetRequest", again::<proto::etcdserverpb::AuthRoleGetRequest>),
    ("etcdserverpb.AuthRoleGetResponse", again::<proto::etcdserverpb::AuthRoleGetResponse>),
    (
        "etcdserverpb.AuthRoleGrantPermissionRequest",
        again::<proto::etcdserverpb::AuthRoleGrantPermissionRequest>,
    ),
    (
        "etcdserverpb.AuthRoleGrantPermissionResponse",
        again::<proto::etcdserverpb::AuthRoleGrantPermissionResponse>,
    ),
    ("etcdserverpb.AuthRoleListRequest", again::<proto::etcdserverpb::AuthRoleListRequest>),
    ("etcdserverpb.AuthRoleListResponse", again::<proto::etcdserverpb::AuthRoleListResponse>),
    (
        "etcdserverpb.AuthRoleRevokePermissionRequest",
        again::<proto::etcdserverpb::AuthRoleRevokePermissionRequest>,
    ),
    (
        "etcdserverpb.AuthRoleRevokePermissionResponse",
        again::<proto::etcdserverpb::AuthRoleRevokePermissionResponse>,
    ),
    ("etcdserverpb.AuthStatusRequest", again::<proto::etcdserverpb::AuthStatusRequest>),
    ("etcdserverpb.AuthStatusResponse", again::<proto::etcdserverpb::AuthStatusResponse>),
    ("etcdserverpb.AuthUserAddRequest", again::<proto::etcdserverpb::AuthUserAddRequest>),
    ("etcdserverpb.AuthUserAddResponse", again::<proto::etcdserverpb::AuthUserAddResponse>),
    (
        "etcdserverpb.AuthUserChangePasswordRequest",
        again::<proto::etcdserverpb::AuthUserChangePasswordRequest>,
    ),
    (
        "etcdserverpb.AuthUserChangePasswordResponse",
        again::<proto::etcdserverpb::AuthUserChangePasswordResponse>,
    ),
    ("etcdserverpb.AuthUserDeleteRequest", again::<proto::etcdserverpb::AuthUserDeleteRequest>),
    ("etcdserverpb.AuthUserDeleteResponse", again::<proto::etcdserverpb::AuthUserDeleteResponse>),
    ("etcdserverpb.AuthUserGetRequest", again::<proto::etcdserverpb::AuthUserGetRequest>),
    ("etcdserverpb.AuthUserGetResponse", again::<proto::etcdserverpb::AuthUserGetResponse>),
    (
        "etcdserverpb.AuthUserGrantRoleRequest",
        again::<proto::etcdserverpb::AuthUserGrantRoleRequest>,
    ),
    (
        "etcdserverpb.AuthUserGrantRoleResponse",
        again::<proto::etcdserverpb::AuthUserGrantRoleResponse>,
    ),
    ("etcdserverpb.AuthUserListRequest", again::<proto::etcdserverpb::AuthUserListRequest>),
    ("etcdserverpb.AuthUserListResponse", again::<proto::etcdserverpb::AuthUserListResponse>),
    (
        "etcdserverpb.AuthUserRevokeRoleRequest",
        again::<proto::etcdserverpb::AuthUserRevokeRoleRequest>,
    ),
    (
        "etcdserverpb.AuthUserRevokeRoleResponse",
        again::<proto::etcdserverpb::AuthUserRevokeRoleResponse>,
    ),
    ("etcdserverpb.AuthenticateRequest", again::<proto::etcdserverpb::AuthenticateRequest>),
    ("etcdserverpb.AuthenticateResponse", again::<proto::etcdserverpb::AuthenticateResponse>),
    ("etcdserverpb.CompactionRequest", again::<proto::etcdserverpb::CompactionRequest>),
    ("etcdserverpb.CompactionResponse", again::<proto::etcdserverpb::CompactionResponse>),
    ("etcdserverpb.Compare", again::<proto::etcdserverpb::Compare>),
    ("etcdserverpb.DefragmentRequest", again::<proto::etcdserverpb::DefragmentRequest>),
    ("etcdserverpb.DefragmentResponse", again::<proto::etcdserverpb::DefragmentResponse>),
    ("etcdserverpb.DeleteRangeRequest", again::<proto::etcdserverpb::DeleteRangeRequest>),
    ("etcdserverpb.DeleteRangeResponse", again::<proto::etcdserverpb::DeleteRangeResponse>),
    ("etcdserverpb.DowngradeInfo", again::<proto::etcdserverpb::DowngradeInfo>),
    ("etcdserverpb.DowngradeRequest", again::<proto::etcdserverpb::DowngradeRequest>),
    ("etcdserverpb.DowngradeResponse", again::<proto::etcdserverpb::DowngradeResponse>),
    (
        "etcdserverpb.DowngradeVersionTestRequest",
        again::<proto::etcdserverpb::DowngradeVersionTestRequest>,
    ),
    ("etcdserverpb.EmptyResponse", again::<proto::etcdserverpb::EmptyResponse>),
    ("etcdserverpb.HashKVRequest", again::<proto::etcdserverpb::HashKvRequest>),
    ("etcdserverpb.HashKVResponse", again::<proto::etcdserverpb::HashKvResponse>),
    ("etcdserverpb.HashRequest", again::<proto::etcdserverpb::HashRequest>),
    ("etcdserverpb.HashResponse", again::<proto::etcdserverpb::HashResponse>),
    (
        "etcdserverpb.InternalAuthenticateRequest",
        again::<proto::etcdserverpb::InternalAuthenticateRequest>,
    ),
    ("etcdserverpb.InternalRaftRequest", again::<proto::etcdserverpb::InternalRaftRequest>),
    ("etcdserverpb.LeaseCheckpoint", again::<proto::etcdserverpb::LeaseCheckpoint>),
    ("etcdserverpb.LeaseCheckpointRequest", again::<proto::etcdserverpb::LeaseCheckpointRequest>),
    ("etcdserverpb.LeaseCheckpointResponse", again::<proto::etcdserverpb::LeaseCheckpointResponse>),
    ("etcdserverpb.LeaseGrantRequest", again::<proto::etcdserverpb::LeaseGrantRequest>),
    ("etcdserverpb.LeaseGrantResponse", again::<proto::etcdserverpb::LeaseGrantResponse>),
    ("etcdserverpb.LeaseKeepAliveRequest", again::<proto::etcdserverpb::LeaseKeepAliveRequest>),
    ("etcdserverpb.LeaseKeepAliveResponse", again::<proto::etcdserverpb::LeaseKeepAliveResponse>),
    ("etcdserverpb.LeaseLeasesRequest", again::<proto::etcdserverpb::LeaseLeasesRequest>),
    ("etcdserverpb.LeaseLeasesResponse", again::<proto::etcdserverpb::LeaseLeasesResponse>),
    ("etcdserverpb.LeaseRevokeRequest", again::<proto::etcdserverpb::LeaseRevokeRequest>),
    ("etcdserverpb.LeaseRevokeResponse", again::<proto::etcdserverpb::LeaseRevokeResponse>),
    ("etcdserverpb.LeaseStatus", again::<proto::etcdserverpb::LeaseStatus>),
    ("etcdserverpb.LeaseTimeToLiveRequest", again::<proto::etcdserverpb::LeaseTimeToLiveRequest>),
    ("etcdserverpb.LeaseTimeToLiveResponse", again::<proto::etcdserverpb::LeaseTimeToLiveResponse>),
    ("etcdserverpb.Member", again::<proto::etcdserverpb::Member>),
    ("etcdserverpb.MemberAddRequest", again::<proto::etcdserverpb::MemberAddRequest>),
    ("etcdserverpb.MemberAddResponse", again::<proto::etcdserverpb::MemberAddResponse>),
    ("etcdserverpb.MemberListRequest", again::<proto::etcdserverpb::MemberListRequest>),
    ("etcdserverpb.MemberListResponse", again::<proto::etcdserverpb::MemberListResponse>),
    ("etcdserverpb.MemberPromoteRequest", again::<proto::etcdserverpb::MemberPromoteRequest>),
    ("etcdserverpb.MemberPromoteResponse", again::<proto::etcdserverpb::MemberPromoteResponse>),
    ("etcdserverpb.MemberRemoveRequest", again::<proto::etcdserverpb::MemberRemoveRequest>),
    ("etcdserverpb.MemberRemoveResponse", again::<proto::etcdserverpb::MemberRemoveResponse>),
    ("etcdserverpb.MemberUpdateRequest", again::<proto::etcdserverpb::MemberUpdateRequest>),
    ("etcdserverpb.MemberUpdateResponse", again::<proto::etcdserverpb::MemberUpdateResponse>),
    ("etcdserverpb.Metadata", again::<proto::etcdserverpb::Metadata>),
    ("etcdserverpb.MoveLeaderRequest", again::<proto::etcdserverpb::MoveLeaderRequest>),
    ("etcdserverpb.MoveLeaderResponse", again::<proto::etcdserverpb::MoveLeaderResponse>),
    ("etcdserverpb.PutRequest", again::<proto::etcdserverpb::PutRequest>),
    ("etcdserverpb.PutResponse", again::<proto::etcdserverpb::PutResponse>),
    ("etcdserverpb.RangeRequest", again::<proto::etcdserverpb::RangeRequest>),
    ("etcdserverpb.RangeResponse", again::<proto::etcdserverpb::RangeResponse>),
    ("etcdserverpb.RangeStreamResponse", again::<proto::etcdserverpb::RangeStreamResponse>),
    ("etcdserverpb.RequestHeader", again::<proto::etcdserverpb::RequestHeader>),
    ("etcdserverpb.RequestOp", again::<proto::etcdserverpb::RequestOp>),
    ("etcdserverpb.ResponseHeader", again::<proto::etcdserverpb::ResponseHeader>),
    ("etcdserverpb.ResponseOp", again::<proto::etcdserverpb::ResponseOp>),
    ("etcdserverpb.SnapshotRequest", again::<proto::etcdserverpb::SnapshotRequest>),
    ("etcdserverpb.SnapshotResponse", again::<proto::etcdserverpb::SnapshotResponse>),
    ("etcdserverpb.StatusRequest", again::<proto::etcdserverpb::StatusRequest>),
    ("etcdserverpb.StatusResponse", again::<proto::etcdserverpb::StatusResponse>),
    ("etcdserverpb.TxnRequest", again::<proto::etcdserverpb::TxnRequest>),
    ("etcdserverpb.TxnResponse", again::<proto::etcdserverpb::TxnResponse>),
    ("etcdserverpb.WatchCancelRequest", again::<proto::etcdserverpb::WatchCancelRequest>),
    ("etcdserverpb.WatchCreateRequest", again::<proto::etcdserverpb::WatchCreateRequest>),
    ("etcdserverpb.WatchProgressRequest", again::<proto::etcdserverpb::WatchProgressRequest>),
    ("etcdserverpb.WatchRequest", again::<proto::etcdserverpb::WatchRequest>),
    ("etcdserverpb.WatchResponse", again::<proto::etcdserverpb::WatchResponse>),
    ("leasepb.Lease", again::<proto::leasepb::Lease>),
    ("leasepb.LeaseInternalRequest", again::<proto::leasepb::LeaseInternalRequest>),
    ("leasepb.LeaseInternalResponse", again::<proto::leasepb::LeaseInternalResponse>),
    ("membershippb.Attributes", again::<proto::membershippb::Attributes>),
    (
        "membershippb.ClusterMemberAttrSetRequest",
        again::<proto::membershippb::ClusterMemberAttrSetRequest>,
    ),
    (
        "membershippb.ClusterVersionSetRequest",
        again::<proto::membershippb::ClusterVersionSetRequest>,
    ),
    ("membershippb.DowngradeInfoSetRequest", again::<proto::membershippb::DowngradeInfoSetRequest>),
    ("membershippb.Member", again::<proto::membershippb::Member>),
    ("membershippb.RaftAttributes", again::<proto::membershippb::RaftAttributes>),
    ("mvccpb.Event", again::<proto::mvccpb::Event>),
    ("mvccpb.KeyValue", again::<proto::mvccpb::KeyValue>),
    ("raftpb.ConfChange", again::<proto::raftpb::ConfChange>),
    ("raftpb.ConfChangeSingle", again::<proto::raftpb::ConfChangeSingle>),
    ("raftpb.ConfChangeV2", again::<proto::raftpb::ConfChangeV2>),
    ("raftpb.ConfState", again::<proto::raftpb::ConfState>),
    ("raftpb.Entry", again::<proto::raftpb::Entry>),
    ("raftpb.HardState", again::<proto::raftpb::HardState>),
    ("raftpb.Message", again::<proto::raftpb::Message>),
    ("raftpb.Snapshot", again::<proto::raftpb::Snapshot>),
    ("raftpb.SnapshotMetadata", again::<proto::raftpb::SnapshotMetadata>),
    ("snappb.snapshot", again::<proto::snappb::Snapshot>),
    ("v3electionpb.CampaignRequest", again::<proto::v3electionpb::CampaignRequest>),
    ("v3electionpb.CampaignResponse", again::<proto::v3electionpb::CampaignResponse>),
    ("v3electionpb.LeaderKey", again::<proto::v3electionpb::LeaderKey>),
    ("v3electionpb.LeaderRequest", again::<proto::v3electionpb::LeaderRequest>),
    ("v3electionpb.LeaderResponse", again::<proto::v3electionpb::LeaderResponse>),
    ("v3electionpb.ProclaimRequest", again::<proto::v3electionpb::ProclaimRequest>),
    ("v3electionpb.ProclaimResponse", again::<proto::v3electionpb::ProclaimResponse>),
    ("v3electionpb.ResignRequest", again::<proto::v3electionpb::ResignRequest>),
    ("v3electionpb.ResignResponse", again::<proto::v3electionpb::ResignResponse>),
    ("v3lockpb.LockRequest", again::<proto::v3lockpb::LockRequest>),
    ("v3lockpb.LockResponse", again::<proto::v3lockpb::LockResponse>),
    ("v3lockpb.UnlockRequest", again::<proto::v3lockpb::UnlockRequest>),
    ("v3lockpb.UnlockResponse", again::<proto::v3lockpb::UnlockResponse>),
    ("walpb.Record", again::<proto::walpb::Record>),
    ("walpb.Snapshot", again::<proto::walpb::Snapshot>),
];

/// Decodes and encodes as the message of this name; `None` where we have no such message.
fn round_trip(name: &str, bytes: &Bytes) -> Option<Result<Vec<u8>, prost::DecodeError>> {
    MESSAGES.iter().find(|(known, _)| *known == name).map(|(_, again)| again(bytes))
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
