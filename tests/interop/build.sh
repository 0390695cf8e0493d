#!/bin/sh
# Builds the Go programs of this folder into .cache/bin. Does nothing if their sources are those of the last build.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../go_environment.sh"

build() {
    go build -modfile=go-2024.mod -o "$bin/driver-2024" ./driver
    go build -modfile=go-tunnel.mod -o "$bin/tunnel" ./tunnel
    go build -modfile=go-tunnel.mod -tags=reusable -o "$bin/driver-reusable" ./driver
    GOBIN=$bin go install ./driver ./fetch ./judge ./kubelet ./peer
}

build_once peer "$here" "$here/../../.cache/bin"
