#!/bin/sh
# Resolve the dependencies and write docker/requirements*.txt: every version, and the hash of every file it may come as.
# For all platforms and Python 3.11 and newer. `constraints.sh --upgrade` takes new versions; else those in use stay.
set -eu
tools=.cache/constraints
[ -x "$tools/bin/uv" ] || { python3 -m venv "$tools" && "$tools/bin/pip" install --quiet uv; }
lock() {
    "$tools/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --custom-compile-command "sh scripts/constraints.sh" "$@"
}
lock pyproject.toml --output-file docker/requirements.txt "$@"
python3 -c 'import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' |
    lock - --output-file docker/requirements-build.txt "$@"
python3 -c 'import tomllib
wheel = tomllib.load(open("pyproject.toml", "rb"))["tool"]["hatch"]["build"]["targets"]["wheel"]
print(*wheel["hooks"]["custom"]["dependencies"], sep="\n")' |
    lock - --output-file docker/requirements-compile.txt "$@"
