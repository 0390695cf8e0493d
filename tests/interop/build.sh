#!/bin/sh
# Builds the Go programs of this folder into .cache/bin. Does nothing if their sources are those of the last build.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
bin=$here/../../.cache/bin
. "$here/../go_environment.sh"
mkdir -p "$bin"
key=$(source_key "$here")
if [ -x "$bin/peer" ] && [ "$(cat "$bin/peer.key" 2>/dev/null)" = "$key" ]; then
    exit 0
fi
cd "$here"
bin=$(cd "$bin" && pwd)
go build -modfile=go-2024.mod -o "$bin/driver-2024" ./driver
go build -modfile=go-tunnel.mod -o "$bin/tunnel" ./tunnel
go build -modfile=go-tunnel.mod -tags=reusable -o "$bin/driver-reusable" ./driver
GOBIN=$bin go install ./driver ./judge ./kubelet ./peer
echo "$key" >"$bin/peer.key"
