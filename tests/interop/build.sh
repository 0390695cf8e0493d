#!/bin/sh
# Builds the Go programs of this folder into .cache/bin. Does nothing if they are newer than their sources.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
bin=$here/../../.cache/bin
PATH=$PATH:/usr/local/go/bin
mkdir -p "$bin"
if [ -x "$bin/peer" ] && [ -z "$(find "$here" \( -name '*.go' -o -name 'go.*' \) -newer "$bin/peer")" ]; then
    exit 0
fi
cd "$here"
GOBIN=$(cd "$bin" && pwd) go install ./driver ./kubelet ./peer
