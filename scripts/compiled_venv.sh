#!/bin/sh
# Make .venv-compiled: the packages of .venv, and in the place of the sources the compiled wheel, which is built anew.
set -eu
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
HATCH_BUILD_HOOK_ENABLE_CUSTOM=true .venv/bin/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$wheels" .
rm -rf .venv-compiled
.venv/bin/python -m venv --without-pip .venv-compiled
.venv/bin/pip --quiet --disable-pip-version-check --python .venv-compiled/bin/python install --no-deps "$wheels"/*.whl
packages='import sysconfig; print(sysconfig.get_path("purelib"))'
printf '%s\n' "$(.venv/bin/python -c "$packages")" "$PWD/tests" >"$(.venv-compiled/bin/python -c "$packages")/tests.pth"
