#!/bin/sh
# Make DIRECTORY (dist): sdist, wheel, compiled wheel for this Python and machine (not with COMPILED=no), single file, kubectl plugin, files for hosts (manual pages, completion, systemd units),
# chart package, list of parts, and SHA256SUMS, all from the commit HEAD. RELEASE_URL is where the files are published.
# Two runs on one machine make the same bytes: times are those of the commit, and every package is pinned by its hash.
set -eu
cd "$(dirname "$0")/.."
mkdir -p "${1:-dist}"
directory=$(cd "${1:-dist}" && pwd)
SOURCE_DATE_EPOCH=$(git show --no-patch --format=%ct HEAD)
export SOURCE_DATE_EPOCH PYTHONHASHSEED=0 PIP_QUIET=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHON="${PYTHON:-python3}"
environment=$PWD/.venv
export CYCLONEDX="$environment/bin/cyclonedx-py"
umask 022
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/source" "$scratch/made"
git archive HEAD | tar -x -C "$scratch/source" # the commit alone: no file of a working copy can get in
cd "$scratch/source"
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' konnectivity/__init__.py)

archive() { # archive NAME TAR-ARGUMENTS...: a compressed tar file that depends on names and contents alone
    name=$1
    shift
    tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=go-w -cf - "$@" |
        gzip -9n >"$scratch/made/$name"
}
python() { PYTHONPATH=.:server:agent PYTHONDONTWRITEBYTECODE=1 "$environment/bin/python" "$@"; } # with the project's dependencies

echo "sdist and wheel"
"$PYTHON" -m venv "$scratch/build"
"$scratch/build/bin/pip" install --require-hashes --only-binary=:all: -r docker/requirements-build.txt
"$scratch/build/bin/python3" -m hatchling build -d "$scratch/made" >/dev/null 2>&1

if [ "${COMPILED:-yes}" = yes ]; then
    echo "compiled wheel"
    sh scripts/compiled_wheel.sh "$scratch/made"
fi

echo "virtual environment of the single file"
export PREFIX="$scratch/prefix" OLDER_OPENSSL=older # of which nothing is shipped
sh docker/install.sh packages "$PREFIX"
sh docker/install.sh program "$PREFIX" . 2>/dev/null

echo "single file"
"$PYTHON" scripts/single_file.py "$scratch/single" >/dev/null
plugin=konnectivity-$version-$("$PYTHON" -c '
import os, sys
print(f"python{sys.version_info[0]}.{sys.version_info[1]}-{os.uname().machine}")').tar.gz
cp LICENSE "$scratch/single"
archive "$plugin" -C "$scratch/single" konnectivity LICENSE
if [ -n "${RELEASE_URL:-}" ]; then
    python scripts/krew_manifest.py "$version" "$RELEASE_URL/$plugin" "$scratch/made/$plugin" >"$scratch/made/konnectivity.yaml"
fi

echo "files for hosts"
host=$scratch/konnectivity-$version-host
mkdir "$host"
python scripts/man_pages.py "$host/man"
mkdir "$host/completion"
for shell in bash zsh fish; do
    python -m konnectivity.tool.cli completion "$shell" >"$host/completion/konnectivity.$shell"
done
cp -r docs/start/systemd "$host"
archive "${host##*/}.tar.gz" -C "$scratch" "${host##*/}"

echo "list of parts"
sh scripts/sbom.sh "$scratch/made/konnectivity-$version.cdx.json"

if [ -d charts/konnectivity ]; then
    echo "chart package"
    archive "konnectivity-$version.tgz" -C charts konnectivity
fi

cd "$scratch/made"
sha256sum -- * >"$scratch/SHA256SUMS"
cp -- * "$scratch/SHA256SUMS" "$directory"
cat "$scratch/SHA256SUMS"
