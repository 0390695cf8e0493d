#!/bin/sh
# Run `konnectivity demo` from .venv if it is there, else from .cache/demo, which has the programs and what they need alone.
set -eu
bin=.venv/bin
if [ ! -e .venv/.stamp ]; then
    bin=.cache/demo/bin
    stamp=.cache/demo/.$(cksum pyproject.toml | tr ' ' -)
    if [ ! -e "$stamp" ]; then
        python=${PYTHON:-python3}
        sh scripts/python_check.sh "$python"
        echo "step 1 of 3: a virtual environment in .cache/demo"
        rm -rf .cache/demo
        "$python" -m venv .cache/demo
        echo "step 2 of 3: this project and the packages that it needs, 80 MB; about 20 seconds"
        "$bin/pip" install --quiet --disable-pip-version-check -e .
        touch "$stamp"
        echo "step 3 of 3: the demo"
    fi
fi
echo "running a server and an agent on loopback; a few seconds"
exec "$bin/konnectivity" demo "$@"
