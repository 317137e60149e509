#!/usr/bin/env bash
# Runs etcd and ours one after the other under the same load; prints ratios as markdown.
# Arguments go to the program: -duration 5s, -load 500000 ...
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --locked -p etcd
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
interop/build.sh
cd interop
exec go run ./cmd/bench -ours "$target/release/etcd" "$@"
