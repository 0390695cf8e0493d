#!/bin/sh
# Builds .cache/bin/grafana-dashboard, which reads a dashboard with Grafana's types. Does nothing if its sources are those of the
# last build.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../go_environment.sh"

build() {
    go build -o "$bin/grafana-dashboard" .
}

build_once grafana-dashboard "$here/grafana" "$here/../../.cache/bin"
