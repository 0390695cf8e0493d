#!/bin/sh
# Installs the HTTP/2 conformance tool h2spec for test_h2spec.py, as .cache/bin/h2spec. Does nothing if it is there.
set -eu

version=v2.2.1+incompatible # the newest that Go can install
bin=$(cd "$(dirname "$0")/../.." && pwd)/.cache/bin

if [ -x "$bin/h2spec" ]; then
    exit 0
fi
mkdir -p "$bin"
GOBIN=$bin go install "github.com/summerwind/h2spec/cmd/h2spec@$version"
