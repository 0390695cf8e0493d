#!/bin/sh
# Builds the programs of a cluster (one executable) and a stand-in for a node into .cache/bin: about ten minutes the first time.
# Does nothing if their sources are those of the last build.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
bin=$here/../../.cache/bin
. "$here/../go_environment.sh"
mkdir -p "$bin"
key=$(source_key "$here")
if [ -x "$bin/node" ] && [ "$(cat "$bin/node.key" 2>/dev/null)" = "$key" ]; then
    exit 0
fi
cd "$here"
GOBIN=$(cd "$bin" && pwd) go install -ldflags='-s -w' ./kube ./node
echo "$key" >"$bin/node.key"
