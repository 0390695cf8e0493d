#!/bin/sh
# Build Kamaji's manager into .cache/bin/kamaji and put its CRDs and webhooks into .cache/kamaji: 20 minutes the first time.
#
# KAMAJI_SOURCES is Kamaji's source as a .tar.gz or as a checkout:
#     git clone https://github.com/clastix/kamaji
# The manager is built again only if the source has changed. Kamaji is compiled with the patch release of Kubernetes that
# tests/cluster/kube/go.mod names, if the minor release is the same, so that both share compiled packages.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=$here/../../.cache
. "$here/../go_environment.sh"
sources=${KAMAJI_SOURCES:-}
mkdir -p "$cache/bin" "$cache/kamaji"
cache=$(cd "$cache" && pwd)

if [ -f "$sources" ]; then
    key=$(sha256sum "$sources" | cut -d' ' -f1)
    commit=$(tar -tzf "$sources" | sed -n '1s/^kamaji-\([^/]*\).*/\1/p')
elif [ -f "$sources/charts/kamaji/crds/kamaji.clastix.io_tenantcontrolplanes.yaml" ]; then
    key=$(cd "$sources" && find . \( -name '*.go' -o -name 'go.*' -o -path './charts/*.yaml' \) -type f | sort | xargs sha256sum | sha256sum | cut -d' ' -f1)
    commit=$(git -C "$sources" rev-parse --short=8 HEAD 2>/dev/null || true)
else
    echo "KAMAJI_SOURCES is '$sources'; set it to a folder with Kamaji's source, or a .tar.gz of one:" >&2
    echo "    git clone https://github.com/clastix/kamaji && export KAMAJI_SOURCES=\$PWD/kamaji" >&2
    exit 1
fi
if [ -x "$cache/bin/kamaji" ] && [ "$(cat "$cache/kamaji/source" 2>/dev/null)" = "$key" ]; then
    exit 0
fi
echo "building Kamaji's manager ${commit:-of a source without a commit}; about 20 minutes the first time"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -f "$sources" ]; then
    tar -xzf "$sources" -C "$work" --strip-components=1
else
    cp -r "$sources/." "$work"
fi
rm -rf "$cache/kamaji/crds"
cp -r "$work/charts/kamaji/crds" "$cache/kamaji/crds"
cp "$work/charts/kamaji/controller-gen/"*.yaml "$cache/kamaji/"
kubernetes=$(sed -n 's/^\tk8s.io\/kubernetes v1\.//p' "$here/../cluster/kube/go.mod")
sed -i "s/\( k8s\.io\/[a-z-]* v\)0\.${kubernetes%.*}\.[0-9]*$/\10.$kubernetes/" "$work/go.mod"
(cd "$work" && go build -mod=mod -ldflags='-s -w' -o "$cache/bin/kamaji" .)
echo "${commit:-unknown}" >"$cache/kamaji/commit"
echo "$key" >"$cache/kamaji/source"
