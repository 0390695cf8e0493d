#!/bin/sh
# Installs the HTTP/2 conformance tool h2spec for test_h2spec.py, as .cache/bin/h2spec. Does nothing if it is there.
set -eu

version=v2.2.1+incompatible # the newest that Go can install
here=$(cd "$(dirname "$0")" && pwd)
bin=$here/../../.cache/bin

if [ -x "$bin/h2spec" ]; then
    exit 0
fi
. "$here/../go_environment.sh"
mkdir -p "$bin"
GOBIN=$(cd "$bin" && pwd) go install "github.com/summerwind/h2spec/cmd/h2spec@$version"
