#!/bin/sh
# Installs actionlint, which checks GitHub's workflows, for test_workflows.py, as .cache/bin/actionlint. Does nothing if it is there.
set -eu

version=v1.7.12
here=$(cd "$(dirname "$0")" && pwd)
bin=$here/../../.cache/bin

if [ -x "$bin/actionlint" ] && "$bin/actionlint" -version | grep -qx "$version\|${version#v}"; then
    exit 0
fi
. "$here/../go_environment.sh"
mkdir -p "$bin"
GOBIN=$(cd "$bin" && pwd) go install "github.com/rhysd/actionlint/cmd/actionlint@$version"
