#!/usr/bin/env bash
# Sets ours beside the real etcd: builds what is missing, runs both, prints the table.
# All arguments go to the program; see bench/README.md.
set -euo pipefail
cd "$(dirname "$0")"
[ -x ../interop/bin/etcd ] || ../interop/build.sh
if [ -z "${HOLDFAST_ETCD:-}" ]; then
    cargo build --release --locked --bin etcd
    target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
    export HOLDFAST_ETCD="$target/release/etcd"
fi
mkdir -p out
go build -o out/bench .
exec ./out/bench "$@"
