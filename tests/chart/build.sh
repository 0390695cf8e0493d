#!/bin/sh
# Builds Helm from its Go module into .cache/bin: about two minutes the first time, after tests/cluster/build.sh, which shares
# packages. Does nothing if its sources are those of the last build.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bin=$here/../../.cache/bin
. "$here/../go_environment.sh"
mkdir -p "$bin"
key=$(source_key "$here")
if [ -x "$bin/helm" ] && [ "$(cat "$bin/helm.key" 2>/dev/null)" = "$key" ]; then
    exit 0
fi
bin=$(cd "$bin" && pwd)
cd "$here"
go build -ldflags='-s -w' -o "$bin/helm" helm.sh/helm/v4/cmd/helm
echo "$key" >"$bin/helm.key"
