//! Every message that crosses a wire or rests on disk, as plain data.
//!
//! One module per protobuf package, named as etcd names it; all `bytes` fields are
//! [`bytes::Bytes`], so decoding from a `Bytes` copies nothing. The sources are in `proto/`;
//! field numbers and kinds are those of etcd v3.7 and are proven against the Go types in
//! `interop`.

mod secret;

#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/messages.rs"));
}

pub use generated::{
    authpb, etcdserverpb, leasepb, membershippb, mvccpb, raftpb, snappb, v3electionpb, v3lockpb,
    walpb,
};

/// The release of etcd that Holdfast takes the place of: told by servers, members and clients.
///
/// The only place in Rust that names it; `tests/tidy.rs` holds the Go modules against it.
pub const VERSION: &str = "3.7.3";
/// The cluster version of a cluster whose members all have [`VERSION`]: its minor release.
pub const CLUSTER_VERSION: &str = "3.7.0";

/// The standard gRPC services that are served beside etcd's own.
pub mod grpc {
    pub use super::generated::grpc::{health, reflection};
}

/// The encoded `google.protobuf.FileDescriptorSet` of every definition here, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
