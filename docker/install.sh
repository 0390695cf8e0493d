#!/bin/sh
# Make the virtual environment PREFIX: the packages of requirements.txt, each checked against its hash, and konnectivity.
# Usage: install.sh packages PREFIX; then install.sh program PREFIX SOURCE, a directory or a wheel, such as a compiled one.
# Needs python3 (or PYTHON) with venv, nothing else.
set -eu
what=$1 prefix=$2 python=${PYTHON:-python3}
here=$(dirname "$0")
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_COMPILE=1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$python" -m venv "$scratch/build" # its pip fills PREFIX, which gets none
pip() { "$scratch/build/bin/python3" -m pip "$@"; }
checked="--require-hashes --only-binary=:all:"

case $what in
packages)
    "$python" -m venv --without-pip "$prefix"
    # shellcheck disable=SC2086
    pip --python "$prefix/bin/python3" install $checked -r "$here/requirements.txt"
    ;;
program)
    wheel=$3
    if [ -d "$3" ]; then
        # shellcheck disable=SC2086
        pip install $checked -r "$here/requirements-build.txt"
        pip wheel --no-build-isolation --no-deps --wheel-dir "$scratch" "$3"
        wheel=$(echo "$scratch"/konnectivity-*.whl)
    fi
    pip --python "$prefix/bin/python3" install --no-index --no-deps "$wheel"
    # pip's note on the scratch directory differs between two builds.
    for notes in "$prefix"/lib/python3*/site-packages/konnectivity-*.dist-info; do
        rm "$notes/direct_url.json"
        sed -i '/direct_url.json/d' "$notes/RECORD"
    done
    # From OpenSSL 3.5 on, TLS 1.3 agrees on the hybrid X25519MLKEM768 by default, as Go's does.
    "$prefix/bin/python3" -c '
import ssl, sys
print("key exchange of", ssl.OPENSSL_VERSION, file=sys.stderr)
if ssl.OPENSSL_VERSION_INFO < (3, 5) and sys.argv[1:] != ["older"]:
    sys.exit("no hybrid key exchange (X25519MLKEM768) before OpenSSL 3.5; OLDER_OPENSSL=older builds without it")
' ${OLDER_OPENSSL:-}
    for name in proxy-server proxy-agent konnectivity; do
        # -I: neither the environment nor the working directory brings in other code. -B: the file system is read-only.
        printf '#!%s/bin/python3 -IB\nfrom konnectivity.runtime.launcher import main\n\nmain()\n' "$prefix" >"$prefix/bin/$name"
        chmod 755 "$prefix/bin/$name"
    done
    ;;
esac
