#!/bin/sh
# Builds etcd, kube-apiserver and kubectl (one executable) and the node into .cache/bin: about ten minutes the first time.
# Does nothing if they are newer than their sources.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
bin=$here/../../.cache/bin
PATH=$PATH:/usr/local/go/bin
mkdir -p "$bin"
if [ -x "$bin/node" ] && [ -z "$(find "$here" \( -name '*.go' -o -name 'go.*' \) -newer "$bin/node")" ]; then
    exit 0
fi
cd "$here"
GOBIN=$(cd "$bin" && pwd) go install -trimpath -ldflags='-s -w' ./kube ./node
