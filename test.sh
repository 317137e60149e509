#!/usr/bin/env bash
# Passes every check: format, lints, tests, documents, and what real peers make of us.
# With CI=true nothing may be skipped; otherwise what needs Go is left out where there is no Go.
set -euo pipefail
cd "$(dirname "$0")"

# What is missing is said before anything is built; with CI=true it ends the run.
missing=()
lacks() { # PROGRAM WHY
  command -v "$1" >/dev/null && return 1
  missing+=("$1 ($2)")
}
tests=(-run .)
if lacks go "Go 1.26, for every test beside the real etcd"; then
  tests=()
elif [ "$(id -u)" != 0 ]; then
  missing+=("root (members on network namespaces and slow disks)")
  tests=(-skip '^TestNetns|WithSlowDisk$|^TestStartLines$')
else
  namespaces=
  lacks ip "iproute2, for members on network namespaces" && namespaces='^TestNetns|^TestStartLines$'
  lacks tc "iproute2, for members on network namespaces" && namespaces='^TestNetns|^TestStartLines$'
  lacks strace "strace, for slow disks" && namespaces="${namespaces:+$namespaces|}"'Slow$|WithSlowDisk$'
  [ -n "$namespaces" ] && tests=(-skip "$namespaces")
fi
if [ ${#missing[@]} -gt 0 ]; then
  echo "missing on this machine, and left out of the tests:"
  printf '  %s\n' "${missing[@]}"
  if [ "${CI:-}" = true ]; then
    echo "with CI=true nothing may be left out" >&2
    exit 1
  fi
fi

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
if [ ${#tests[@]} = 0 ]; then
  echo "skipped: there is no Go on this machine"
  exit 0
fi
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
interop/build.sh
cd interop
test -z "$(gofmt -l .)" || { gofmt -l .; exit 1; }
go vet ./...
HOLDFAST_REQUIRE=1 HOLDFAST_ETCD="$target/debug/etcd" \
  HOLDFAST_PEER_ECHO="$target/debug/examples/peer_echo" go test -count=1 -parallel 4 -timeout 40m "${tests[@]}" ./...
