#!/bin/sh
# Check that PYTHON is 3.11 or newer and has ensurepip, which Debian ships apart as python3-venv: it is installed if we may.
set -eu
python=$1
"$python" - <<'PY' || exit 1
import sys
if sys.version_info < (3, 11):
    sys.exit(f"Python 3.11 or newer is needed; {sys.executable} is {sys.version.split()[0]} (set PYTHON=...)")
PY
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    as_root=
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    if command -v apt-get >/dev/null && $as_root true 2>/dev/null; then
        echo "installing python3-venv, which Debian ships apart from Python"
        $as_root apt-get update -qq && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv
    else
        echo "Python has no ensurepip. On Debian or Ubuntu: sudo apt-get install python3-venv" >&2
        exit 1
    fi
fi
