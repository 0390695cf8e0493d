#!/bin/sh
# Write FILE (dist/konnectivity.cdx.json): what the images and the single file are made of, in CycloneDX' format. Installs the
# packages of docker/requirements.txt, each checked against its hash, in a scratch place, and lists what is there.
set -eu
cd "$(dirname "$0")/.."
file=${1:-dist/konnectivity.cdx.json}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PIP_QUIET=1 PYTHON="${PYTHON:-.venv/bin/python}" OLDER_OPENSSL=older # nothing of this place is shipped
prefix=${PREFIX:-$scratch/prefix} # what is there already is listed
if [ ! -e "$prefix" ]; then
    sh docker/install.sh packages "$prefix"
    sh docker/install.sh program "$prefix" .
fi
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' konnectivity/__init__.py)
sed "s/^dynamic = .*/version = \"$version\"/" pyproject.toml >"$scratch/pyproject.toml" # what is listed has a version
mkdir -p "$(dirname "$file")"
"${CYCLONEDX:-.venv/bin/cyclonedx-py}" environment --pyproject "$scratch/pyproject.toml" --mc-type application --spec-version 1.6 \
    --output-format JSON --output-reproducible --validate --output-file "$file" "$prefix/bin/python3"
