#!/bin/sh
# Make .venv with everything for development. Needs Python 3.11+; on Debian also python3-venv, installed if we may.
set -eu
python=${PYTHON:-python3}
sh scripts/python_check.sh "$python"
echo "making .venv, once, in about a minute; step 1 of 3: a virtual environment"
rm -rf .venv
"$python" -m venv --upgrade-deps .venv
echo "step 2 of 3: this project and the packages that it needs"
.venv/bin/pip install --quiet --disable-pip-version-check -e '.[grpcio,opentelemetry]'
echo "step 3 of 3: the tools for tests, checks and pages, 550 MB"
.venv/bin/pip install --quiet --disable-pip-version-check --group dev --group site
