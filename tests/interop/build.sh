#!/bin/sh
# Builds the Go programs of this folder into .cache/bin. Does nothing if they are newer than their sources.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
bin=$here/../../.cache/bin
PATH=$PATH:/usr/local/go/bin
mkdir -p "$bin"
if [ -x "$bin/peer" ] && [ -x "$bin/tunnel" ] && [ -z "$(find "$here" \( -name '*.go' -o -name 'go*.mod' \) -newer "$bin/peer")" ]; then
    exit 0
fi
cd "$here"
bin=$(cd "$bin" && pwd)
go build -modfile=go-2024.mod -o "$bin/driver-2024" ./driver
go build -modfile=go-tunnel.mod -o "$bin/tunnel" ./tunnel
GOBIN=$bin go install ./driver ./judge ./kubelet ./peer
touch "$bin/peer"
