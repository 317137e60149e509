//! Compiles the `.proto` files with a compiler written in Rust, so that no `protoc` is needed.
use prost::Message;
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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    prost_build::Config::new()
        .bytes(["."])
        .enable_type_names()
        .include_file("messages.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
