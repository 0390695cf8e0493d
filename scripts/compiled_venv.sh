#!/bin/sh
# Make .venv-compiled: the packages of .venv, and in the place of the sources the compiled wheel, which is built anew.
set -eu
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
PYTHON=.venv/bin/python sh scripts/compiled_wheel.sh "$wheels"
rm -rf .venv-compiled
.venv/bin/python -m venv --without-pip .venv-compiled
.venv/bin/pip --quiet --disable-pip-version-check --python .venv-compiled/bin/python install --no-deps "$wheels"/*.whl
packages='import sysconfig; print(sysconfig.get_path("purelib"))'
# The benchmarks, but not the sources beside them.
mkdir .venv-compiled/beside
ln -s "$PWD/benchmarks" .venv-compiled/beside/benchmarks
printf '%s\n' "$(.venv/bin/python -c "$packages")" "$PWD/tests" "$PWD/.venv-compiled/beside" \
    >"$(.venv-compiled/bin/python -c "$packages")/tests.pth"
