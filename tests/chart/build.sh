#!/bin/sh
# Builds Helm from its Go module into .cache/bin: about two minutes the first time, after tests/cluster/build.sh, which shares
# packages. Does nothing if its sources are those of the last build.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../go_environment.sh"

build() {
    go build -ldflags='-s -w' -o "$bin/helm" helm.sh/helm/v4/cmd/helm
}

build_once helm "$here" "$here/../../.cache/bin"
