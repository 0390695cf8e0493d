#!/bin/sh
# Build the programs of a cluster into .cache/bin/kubernetes-RELEASE: about twelve minutes for the first time.
#
# KUBERNETES is the release, one of kube/go-RELEASE.mod; empty means the release of kube/go.mod. Each release has a folder of its
# own. A program is built again only if its sources have changed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/../go_environment.sh"
default=$(sed -n 's/^\tk8s.io\/kubernetes v\(1\.[0-9]*\)\..*/\1/p' "$here/kube/go.mod")
release=${KUBERNETES:-$default}
modules=go
[ "$release" = "$default" ] || modules=go-$release
if [ ! -f "$here/kube/$modules.mod" ]; then
    echo "KUBERNETES is '$release'; set it to $default or to the release of a file in $here/kube:" "$here"/kube/go-*.mod >&2
    exit 1
fi
bin=$here/../../.cache/bin/kubernetes-$release
mkdir -p "$bin"
bin=$(cd "$bin" && pwd)

# Build the package $3 of the folder $1 with the module file $2.mod, unless its last build had the same sources.
build() {
    cd "$here/$1"
    key=$({ go version && find . -name '*.go' -o -name "$2.mod" -o -name "$2.sum" | LC_ALL=C sort | xargs sha256sum; } |
        sha256sum | cut -d' ' -f1)
    if [ ! -x "$bin/$1" ] || [ "$(cat "$bin/$1.key" 2>/dev/null)" != "$key" ]; then
        rm -f "$bin/$1.key"
        go build -modfile="$2.mod" -ldflags='-s -w' -o "$bin/$1" "$3"
        [ -z "${4:-}" ] || "$4"
        echo "$key" >"$bin/$1.key"
    fi
}

# Write the objects with which the metrics server's own sources install it.
write_objects() {
    "$bin/kube" kubectl kustomize "$(go list -m -f '{{.Dir}}' sigs.k8s.io/metrics-server)/manifests/base" >"$bin/metrics-server.yaml"
}

build kube "$modules" .
build node go .
build metrics-server go sigs.k8s.io/metrics-server/cmd/metrics-server write_objects
