#!/usr/bin/env bash
# Passes every check: format, lints, tests, documents, and what real peers make of us.
# With CI=true nothing may be skipped; otherwise what needs Go is left out where there is no Go.
set -euo pipefail
cd "$(dirname "$0")"

if [ "${CI:-}" = true ]; then
  # Nothing is built twice there: what makes a second build quick would only fill the disk.
  export CARGO_INCREMENTAL=0
fi

echo "== format"
cargo fmt --all --check
echo "== lints"
cargo clippy --workspace --all-targets --locked -- -D warnings
echo "== tests"
# Once, for the tests, the programs and the examples that the interop tests start.
cargo build --workspace --all-targets --locked
cargo test --workspace --locked
echo "== documents"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

echo "== interop"
if ! command -v go >/dev/null; then
  if [ "${CI:-}" = true ]; then
    echo "Go is needed for the interop tests; install Go 1.26" >&2
    exit 1
  fi
  echo "skipped: there is no Go on this machine"
  exit 0
fi
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
interop/build.sh
cd interop
test -z "$(gofmt -l .)" || { gofmt -l .; exit 1; }
go vet ./...
skip=()
if [ "${CI:-}" != true ] && [ "$(id -u)" != 0 ]; then
  echo "skipped: what needs root (network namespaces, slow disks)"
  skip=(-skip '^TestNetns|WithSlowDisk$')
fi
HOLDFAST_REQUIRE=1 HOLDFAST_ETCD="$target/debug/etcd" \
  HOLDFAST_PEER_ECHO="$target/debug/examples/peer_echo" go test -count=1 -parallel 4 -timeout 20m "${skip[@]}" ./...
