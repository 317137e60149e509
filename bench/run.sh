#!/usr/bin/env bash
# Sets ours beside the real etcd: builds what is missing, runs both, prints the table.
# All arguments go to the program; see bench/README.md.
set -euo pipefail
cd "$(dirname "$0")"
[ -x ../interop/bin/etcd ] || ../interop/build.sh
if [ -z "${HOLDFAST_ETCD:-}" ] && [ ! -x ../target/release/etcd ]; then
    (cd .. && cargo build --release -p etcd)
fi
mkdir -p out
go build -o out/bench .
exec ./out/bench "$@"
