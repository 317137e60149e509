#!/usr/bin/env bash
# Builds the reference's programs from their published modules into interop/bin.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p bin
go build -o bin/etcd ./cmd/etcd
(cd etcd36 && go build -o ../bin/etcd36 .)
go build -o bin/etcdctl go.etcd.io/etcd/etcdctl/v3
go build -o bin/etcdutl go.etcd.io/etcd/etcdutl/v3
go build -o bin/bbolt go.etcd.io/bbolt/cmd/bbolt
