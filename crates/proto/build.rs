//! Compiles the `.proto` files with a compiler written in Rust, so that no `protoc` is needed.
use std::{env, fs, path::PathBuf};

const FILES: &[&str] = &[
    "etcd/rpc.proto",
    "etcd/raft_internal.proto",
    "etcd/metadata.proto",
    "etcd/lease.proto",
    "etcd/wal.proto",
    "etcd/snap.proto",
    "etcd/lock.proto",
    "etcd/election.proto",
    "grpc/health.proto",
    "grpc/reflection.proto",
];

/// Messages that hold passwords or tokens; their `Debug` is in `src/secret.rs`.
const SECRET: &[&str] = &[
    ".authpb.User",
    ".etcdserverpb.AuthUserAddRequest",
    ".etcdserverpb.AuthUserChangePasswordRequest",
    ".etcdserverpb.AuthenticateRequest",
    ".etcdserverpb.AuthenticateResponse",
    ".etcdserverpb.InternalAuthenticateRequest",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).open_files(FILES)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // As the compiler has it: the plain types would leave out etcd's own options.
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    prost_build::Config::new()
        .bytes(["."])
        .enable_type_names()
        .skip_debug(SECRET)
        .include_file("messages.rs")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
