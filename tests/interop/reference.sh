#!/bin/sh
# Build server and agent of the reference (kubernetes-sigs/apiserver-network-proxy) into .cache/bin/reference-VERSION/.
#
# REFERENCE_SOURCES is a folder with apiserver-network-proxy-VERSION for each version, as a tar.gz or as a checkout:
#     git clone --branch v0.36.0 https://github.com/kubernetes-sigs/apiserver-network-proxy apiserver-network-proxy-v0.36.0
# A version is built again only if its source has changed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=$here/../../.cache
. "$here/../go_environment.sh"
versions=${REFERENCE_VERSIONS:-4f8517c1 v0.36.0 v0.31.0}
: "${REFERENCE_SOURCES:?name the folder with the sources of the reference: see the head of tests/interop/reference.sh}"
mkdir -p "$cache/bin"
cache=$(cd "$cache" && pwd)

for version in $versions; do
    name=apiserver-network-proxy-$version
    bin=$cache/bin/reference-$version
    archive=$REFERENCE_SOURCES/$name.tar.gz
    if [ -f "$archive" ]; then
        key=$(sha256sum "$archive" | cut -d' ' -f1)
    elif [ -d "$REFERENCE_SOURCES/$name" ]; then
        key=$(cd "$REFERENCE_SOURCES/$name" && find . -name '*.go' -o -name 'go.*' | sort | xargs sha256sum | sha256sum | cut -d' ' -f1)
    else
        echo "$REFERENCE_SOURCES has neither $name.tar.gz nor a checkout $name: see the head of $0" >&2
        exit 1
    fi
    if [ -x "$bin/proxy-agent" ] && [ "$(cat "$bin/source" 2>/dev/null)" = "$key" ]; then
        continue
    fi
    echo "building the reference $version; about two minutes the first time"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    source=$REFERENCE_SOURCES/$name
    if [ -f "$archive" ]; then
        tar -xzf "$archive" -C "$work"
        source=$work/$name
    fi
    mkdir -p "$bin"
    (cd "$source" && go build -o "$bin/proxy-server" ./cmd/server && go build -o "$bin/proxy-agent" ./cmd/agent)
    echo "$key" >"$bin/source"
    rm -rf "$work"
done
