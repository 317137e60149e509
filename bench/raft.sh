#!/usr/bin/env bash
# Sets our raft crate beside go.etcd.io/raft: builds both, runs them in turn, prints the table.
# All arguments go to the program (-rounds, -entries, -bytes); see README.md.
set -euo pipefail
cd "$(dirname "$0")"
cargo build --release --locked -p raft --example throughput
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
mkdir -p out
go build -o out/raft ./raft
exec ./out/raft -ours "$target/release/examples/throughput" "$@"
