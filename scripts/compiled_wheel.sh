#!/bin/sh
# Make DIRECTORY (dist): the wheel whose hot modules are C extensions, for PYTHON and this machine. It needs a C compiler, and
# Python's headers. Two runs on one machine make the same bytes.
set -eu
cd "$(dirname "$0")/.."
mkdir -p "${1:-dist}"
directory=$(cd "${1:-dist}" && pwd)
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1 PYTHONHASHSEED=0 HATCH_BUILD_HOOK_ENABLE_CUSTOM=true
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"${PYTHON:-python3}" -m venv "$scratch"
for list in build compile; do
    "$scratch/bin/pip" install --require-hashes --only-binary=:all: -r "docker/requirements-$list.txt"
done
"$scratch/bin/python3" -m hatchling build --target wheel -d "$directory" >"$scratch/log" 2>&1 || { cat "$scratch/log" && exit 1; }
