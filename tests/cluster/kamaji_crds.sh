#!/bin/sh
# Prints the path of Kamaji's own CRD of TenantControlPlanes, taken out of its sources into .cache/kamaji.
# KAMAJI_SOURCES is Kamaji's sources: a folder (a git clone of Kamaji), or a .tar.gz of one.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sources=${KAMAJI_SOURCES:-}
file=charts/kamaji/crds/kamaji.clastix.io_tenantcontrolplanes.yaml
if [ -f "$sources/$file" ]; then
    echo "$sources/$file"
    exit 0
fi
if [ ! -f "$sources" ]; then
    echo "set KAMAJI_SOURCES to a folder with Kamaji's sources: git clone https://github.com/clastix/kamaji" >&2
    exit 1
fi
cache=$here/../../.cache/kamaji
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
tar -xzf "$sources" -C "$cache" --strip-components=1 --wildcards "*/$file"
echo "$cache/$file"
